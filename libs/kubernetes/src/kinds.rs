//! The kinds of objects that an engine makes, and where the API has them.

/// One kind at one version of its group.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty: the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
    /// Not every cluster has it, or lets us see it: [`crate::Capabilities::has`].
    pub optional: bool,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural, namespaced: true, optional: false }
}

pub const NAMESPACE: Kind = Kind { namespaced: false, ..kind("", "v1", "Namespace", "namespaces") };
/// Not made, but watched.
pub static POD: Kind = kind("", "v1", "Pod", "pods");

/// Only read.
pub static EVENT: Kind = kind("", "v1", "Event", "events");
pub static STORAGE_CLASS: Kind = Kind { namespaced: false, ..kind("storage.k8s.io", "v1", "StorageClass", "storageclasses") };
pub static INGRESS_CLASS: Kind = Kind { namespaced: false, ..kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses") };
pub static POD_METRICS: Kind = kind("metrics.k8s.io", "v1beta1", "PodMetrics", "pods");
pub static NODE_METRICS: Kind = Kind { namespaced: false, ..kind("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes") };
pub static CLUSTER_ROLE: Kind = Kind { namespaced: false, ..kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles") };

pub static NODE: Kind = Kind { namespaced: false, ..kind("", "v1", "Node", "nodes") };

/// Of CSI volumes, where the cluster has them; neither applied nor watched.
pub static VOLUME_SNAPSHOT: Kind = Kind { optional: true, ..kind("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots") };

/// What pods are to the API server. One that is there already is used, whoever has made it.
pub(crate) const ACCOUNT: &str = "ServiceAccount";

/// In the order in which they are applied: what is needed comes before what needs it.
pub static KINDS: [Kind; 20] = [
    NAMESPACE,
    kind("", "v1", "ResourceQuota", "resourcequotas"),
    kind("", "v1", "LimitRange", "limitranges"),
    kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    Kind { optional: true, ..kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings") },
    Kind { optional: true, ..kind("", "v1", ACCOUNT, "serviceaccounts") },
    kind("", "v1", "ConfigMap", "configmaps"),
    kind("", "v1", "Secret", "secrets"),
    kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    kind("", "v1", "Service", "services"),
    kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    kind("apps", "v1", "Deployment", "deployments"),
    kind("apps", "v1", "StatefulSet", "statefulsets"),
    kind("apps", "v1", "DaemonSet", "daemonsets"),
    kind("batch", "v1", "Job", "jobs"),
    kind("batch", "v1", "CronJob", "cronjobs"),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    kind("networking.k8s.io", "v1", "Ingress", "ingresses"),
    Kind { optional: true, ..kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes") },
];

impl Kind {
    /// By what an object says of itself.
    pub fn of(api_version: &str, kind: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|k| k.kind == kind && k.api_version() == api_version)
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `/apis/apps/v1/namespaces/x/deployments`, or of all namespaces.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { format!("/api/{}", self.version) } else { format!("/apis/{}/{}", self.group, self.version) };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    pub(crate) fn is_secret(rank: usize) -> bool {
        KINDS.get(rank).is_some_and(|k| k.kind == "Secret")
    }

    /// Where it stands in the order of applying.
    pub fn rank(&self) -> usize {
        KINDS.iter().position(|k| k == self).unwrap_or(KINDS.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let deployment = Kind::of("apps/v1", "Deployment").unwrap();
        assert_eq!(deployment.path(Some("x")), "/apis/apps/v1/namespaces/x/deployments");
        assert_eq!(deployment.path(None), "/apis/apps/v1/deployments");
        assert_eq!(NAMESPACE.path(Some("x")), "/api/v1/namespaces");
        assert!(Kind::of("v1", "Node").is_none() && Kind::of("apps/v1beta1", "Deployment").is_none());
    }
}
