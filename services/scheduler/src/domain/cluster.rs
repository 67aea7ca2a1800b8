//! What is set for a Kubernetes cluster beside how it is reached, and what its objects and pods say in the words of instances.

use gantry_kernel::{Name, OffsetDateTime};
use gantry_kubernetes::{Pod, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::Duration;

use super::engine::{Observation, Seen};
use super::model::WorkloadKind;

/// So long before its end a credential is to be renewed: who has to ask somebody else for one has the time.
const RENEW: Duration = Duration::days(30);

/// What is done when somebody has changed an object of an application on the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// It is told, and stays. Objects that are gone are made again all the same.
    #[default]
    Show,
    /// It is told, and put back.
    Correct,
}

/// Of one cluster, as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSettings {
    pub drift: Drift,
    /// Before the name of each space's namespace: `<prefix><org>-<project>-<space>`.
    pub namespace_prefix: String,
    /// The Pod Security level of the namespaces: privileged, baseline or restricted.
    pub pod_security: String,
    /// `<namespace>/<name>` of the Gateway that routes join; empty: routes become Ingresses.
    pub gateway: String,
    /// The class of Ingresses; the cluster's default if empty.
    pub ingress_class: String,
    /// The class of volumes that name none; the cluster's default if empty.
    pub storage_class: String,
    /// What others outside of the space may send to its workloads: nothing but what is published and routed, if true.
    pub isolate: bool,
    /// Namespaces whose pods reach every port of every pod all the same, such as that of a Prometheus.
    pub open_to: Vec<String>,
    /// The most that all workloads of one space may have together, as a ResourceQuota says it: `{"requests.cpu": "20", "pods": "200"}`.
    pub space_quota: std::collections::BTreeMap<String, String>,
    /// Bind the roles of people in each space's namespace: viewers to `view`, editors to `edit`, administrators to `admin`. The
    /// cluster has to trust the platform's identity, and the account needs `gantry cluster manifest --roles`.
    pub roles: bool,
    /// What the cluster puts before the names of groups (`--oidc-groups-prefix`).
    pub groups_prefix: String,
    /// Where it is, for spaces on several clusters: `eu-central-1`, and of a region `a`.
    pub region: String,
    pub zone: String,
    /// Not reached for so long it is lost, and reached again for as long it is back; 1 to 86400.
    pub grace_seconds: u32,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            drift: Drift::Show,
            namespace_prefix: "gantry-".into(),
            pod_security: "baseline".into(),
            gateway: String::new(),
            ingress_class: String::new(),
            storage_class: String::new(),
            isolate: true,
            open_to: Vec::new(),
            space_quota: std::collections::BTreeMap::new(),
            roles: false,
            groups_prefix: "gantry:".into(),
            region: String::new(),
            zone: String::new(),
            grace_seconds: 60,
        }
    }
}

impl ClusterSettings {
    /// (field, what is wrong with it), all of them.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        let label = |text: &str| text.len() <= 63 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if self.namespace_prefix.len() > 20 || !label(&self.namespace_prefix) || !self.namespace_prefix.starts_with(|c: char| c.is_ascii_lowercase()) {
            out.push(("settings.namespace_prefix".into(), "1 to 20 of a-z, 0-9 and '-', beginning with a letter".into()));
        }
        if !matches!(self.pod_security.as_str(), "privileged" | "baseline" | "restricted") {
            out.push(("settings.pod_security".into(), "must be privileged, baseline or restricted".into()));
        }
        for (name, amount) in &self.space_quota {
            if name.is_empty() || gantry_kubernetes::quantity(amount).is_none_or(|a| a < 0) {
                out.push((format!("settings.space_quota.{name}"), format!("`{amount}` is no amount, such as 20, 500m or 10Gi")));
            }
        }
        // Kubernetes gives rights to its own groups by that name.
        let prefix = &self.groups_prefix;
        if prefix.len() > 63 || prefix.starts_with("system:") || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            out.push(("settings.groups_prefix".into(), "at most 63 letters, digits and signs, not beginning with `system:`".into()));
        }
        let gateway = self.gateway.split_once('/').is_some_and(|(space, name)| !space.is_empty() && !name.is_empty() && label(space) && name.len() <= 253);
        if !self.gateway.is_empty() && !gateway {
            out.push(("settings.gateway".into(), "must be <namespace>/<name> of a Gateway".into()));
        }
        for (n, name) in self.open_to.iter().enumerate() {
            if name.is_empty() || !label(name) || name.starts_with('-') || name.ends_with('-') {
                out.push((format!("settings.open_to[{n}]"), format!("`{name}` is no name of a namespace")));
            }
        }
        if self.open_to.len() > 20 {
            out.push(("settings.open_to".into(), "at most 20 namespaces".into()));
        }
        if !(1..=86_400).contains(&self.grace_seconds) {
            out.push(("settings.grace_seconds".into(), "must be 1 to 86400".into()));
        }
        for (field, text) in [("region", &self.region), ("zone", &self.zone)] {
            if text.len() > 63 || text.contains(char::is_whitespace) || text.contains('/') {
                out.push((format!("settings.{field}"), "at most 63 characters, without spaces and `/`".into()));
            }
        }
        for (field, class) in [("ingress_class", &self.ingress_class), ("storage_class", &self.storage_class)] {
            if class.len() > 253 {
                out.push((format!("settings.{field}"), "at most 253 characters".into()));
            }
        }
        out
    }
}

/// Between a cluster's name and its node's: no node of an agent is called so.
const PARTED: &str = "--";

/// The name under which a cluster's node is told.
pub fn node_name(cluster: &str, node: &str) -> Option<Name> {
    let clean: String = node.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let mut text = format!("{cluster}{PARTED}{clean}");
    text.truncate(63);
    Name::parse(text.trim_end_matches('-')).ok()
}

/// The cluster of an instance's node; none: a node with an agent.
pub fn cluster_of(node: &str) -> Option<&str> {
    node.split_once(PARTED).map(|(cluster, _)| cluster)
}

/// A pod as any engine's instance.
pub fn observed(pod: &Pod) -> Observation {
    let seen = match pod.state {
        State::Pending | State::Starting => Seen::Starting,
        State::Running => Seen::Running,
        State::Unhealthy => Seen::Unhealthy,
        State::Stopping => Seen::Stopping,
        State::Succeeded => Seen::Exited,
        State::Failed => Seen::Failed,
    };
    Observation { seen, ready: pod.ready, address: pod.address.clone(), restarts: pod.restarts, exit_code: pod.exit_code, reason: pod.reason.clone() }
}

/// The number of a pod that a StatefulSet or an indexed job made.
pub fn ordinal(pod: &Pod) -> Option<u32> {
    pod.name.rsplit('-').next()?.parse().ok()
}

/// Whether a workload's object has all of its present template at work; otherwise what is missing.
///
/// # Errors
/// The reason, for a person.
pub fn rolled_out(kind: WorkloadKind, object: Option<&Value>) -> Result<(), String> {
    let Some(object) = object else { return Err("it is not on the cluster yet".into()) };
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    if kind != WorkloadKind::Job && kind != WorkloadKind::CronJob && number(&status["observedGeneration"]) < number(&object["metadata"]["generation"]) {
        return Err("the cluster has not looked at it yet".into());
    }
    let condition = |name: &str, wanted: &str| {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.into_iter().find(|c| c["type"] == name && c["status"] == wanted).map(|c| c["message"].as_str().unwrap_or_default().to_owned())
    };
    let enough = |wanted: u64, updated: u64, ready: u64, all: u64| match (updated >= wanted, ready >= wanted, all <= wanted) {
        (true, true, true) => Ok(()),
        (true, true, false) => Err(format!("{} of the revision before still run", all - wanted)),
        _ => Err(format!("{} of {wanted} are updated, {} are ready", updated.min(wanted), ready.min(wanted))),
    };
    match kind {
        WorkloadKind::Stateless => match condition("ReplicaFailure", "True") {
            Some(why) => Err(why),
            None => {
                let wanted = spec["replicas"].as_u64().unwrap_or(1);
                enough(wanted, number(&status["updatedReplicas"]), number(&status["availableReplicas"]), number(&status["replicas"]))
            }
        },
        WorkloadKind::Stateful => {
            let wanted = spec["replicas"].as_u64().unwrap_or(1);
            // Those below the partition stay as they are.
            let kept = number(&spec["updateStrategy"]["rollingUpdate"]["partition"]).min(wanted);
            let manual = spec["updateStrategy"]["type"] == "OnDelete";
            let updated = if manual { wanted } else { number(&status["updatedReplicas"]) + kept };
            enough(wanted, updated, number(&status["readyReplicas"]), number(&status["replicas"]))
        }
        WorkloadKind::Global => {
            let wanted = number(&status["desiredNumberScheduled"]);
            let manual = spec["updateStrategy"]["type"] == "OnDelete";
            let updated = if manual { wanted } else { number(&status["updatedNumberScheduled"]) };
            enough(wanted, updated, number(&status["numberAvailable"]), wanted)
        }
        WorkloadKind::Job => condition("Failed", "True").map_or(Ok(()), Err),
        WorkloadKind::CronJob => Ok(()),
    }
}

/// Are there fewer pods than there should be, without the object itself saying why? A Deployment does (`ReplicaFailure`).
pub fn lacks_pods(kind: WorkloadKind, object: Option<&Value>, pods: u64) -> bool {
    let Some(object) = object else { return false };
    let (spec, status) = (&object["spec"], &object["status"]);
    match kind {
        WorkloadKind::Stateful => pods < spec["replicas"].as_u64().unwrap_or(1),
        WorkloadKind::Global => pods < status["desiredNumberScheduled"].as_u64().unwrap_or(0),
        WorkloadKind::Job => {
            let mut conditions = status["conditions"].as_array().into_iter().flatten();
            let ended = conditions.any(|c| (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True");
            pods == 0 && !ended && spec["suspend"] != true && status["succeeded"].as_u64().unwrap_or(0) == 0
        }
        WorkloadKind::Stateless | WorkloadKind::CronJob => false,
    }
}

/// How many pods there should be and are not, of those that have a node or none yet; `replicas` counts as long as there is no object.
pub fn missing_pods(kind: WorkloadKind, object: Option<&Value>, replicas: u32, placed: u64) -> u32 {
    let number = |value: &Value| value.as_u64();
    let wanted = match (kind, object) {
        (WorkloadKind::Stateless | WorkloadKind::Stateful, Some(object)) => number(&object["spec"]["replicas"]).unwrap_or(1),
        (WorkloadKind::Stateless | WorkloadKind::Stateful, None) => u64::from(replicas),
        // Only the cluster knows how many nodes take one.
        (WorkloadKind::Global, Some(object)) => number(&object["status"]["desiredNumberScheduled"]).unwrap_or(0),
        (WorkloadKind::Job, Some(_)) => u64::from(lacks_pods(kind, object, placed)),
        // One at the least.
        (WorkloadKind::Global | WorkloadKind::Job, None) => 1,
        (WorkloadKind::CronJob, _) => 0,
    };
    u32::try_from(wanted.saturating_sub(placed)).unwrap_or(u32::MAX)
}

/// Does a StatefulSet that shall have this revision replace its pods one by one, all of them, and wait for each?
pub fn waits_for_each(set: &Value, revision: u64) -> bool {
    let spec = &set["spec"];
    let by_hand = spec["updateStrategy"]["type"] == "OnDelete";
    let some = spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0) > 0;
    let told = spec["template"]["metadata"]["labels"][gantry_kubernetes::REVISION] == revision.to_string().as_str();
    told && !by_hand && !some && spec["podManagementPolicy"] != "Parallel"
}

/// Is it a pod that does not come up, for a reason that does not pass by itself? (kubernetes.io/docs/concepts/containers/images
/// "ImagePullBackOff", pkg/kubelet/images and pkg/kubelet/kuberuntime of Kubernetes)
pub fn is_stuck(pod: &Pod) -> bool {
    const REASONS: [&str; 8] = [
        ": ImagePullBackOff",
        ": ErrImagePull",
        ": ErrImageNeverPull",
        ": InvalidImageName",
        ": CrashLoopBackOff",
        ": CreateContainerConfigError",
        ": CreateContainerError",
        ": RunContainerError",
    ];
    let unplaced = pod.state == State::Pending && pod.reason.contains("nodes are available");
    let failing = matches!(pod.state, State::Starting | State::Unhealthy) && REASONS.iter().any(|reason| pod.reason.contains(reason));
    !pod.ready && (unplaced || failing)
}

/// Why the pods of an object are refused, by the latest of its events.
pub fn refusal(events: &Value, uid: &str) -> Option<String> {
    let time = |e: &Value| {
        let times = [&e["series"]["lastObservedTime"], &e["lastTimestamp"], &e["eventTime"], &e["metadata"]["creationTimestamp"]];
        times.into_iter().find_map(|t| t.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let all = events["items"].as_array().into_iter().flatten();
    let latest = all.filter(|e| e["reason"] == "FailedCreate" && e["involvedObject"]["uid"] == uid).max_by_key(|e| time(e))?;
    Some(latest["message"].as_str()?.chars().take(600).collect())
}

/// What those are told whose cluster's credential ends within 30 days, or has ended.
pub fn ends_soon(cluster: &str, expires: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<String> {
    let ends = expires.filter(|at| *at - now < RENEW)?;
    let what = if ends <= now { "has ended" } else { "ends" };
    Some(format!("its credential {what} on {}: `gantry cluster access {cluster}` takes a new one", ends.date()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_of_clusters_have_names_of_their_own() {
        let node = node_name("east", "ip-10-0-0-1.eu-central-1.compute.internal").unwrap();
        assert_eq!((node.as_str(), cluster_of(node.as_str())), ("east--ip-10-0-0-1-eu-central-1-compute-internal", Some("east")));
        assert_eq!(cluster_of("n1"), None);
        assert!(node_name("east", &"n.".repeat(60)).unwrap().as_str().len() <= 63);
    }

    #[test]
    fn a_rollout_is_over_when_all_of_it_is_there() {
        let deployment = |updated: u64, available: u64, all: u64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 2},
                   "status": {"observedGeneration": 2, "updatedReplicas": updated, "availableReplicas": available, "replicas": all}})
        };
        let told = |object: &Value| rolled_out(WorkloadKind::Stateless, Some(object));
        assert_eq!(told(&deployment(2, 2, 2)), Ok(()));
        assert_eq!(told(&deployment(1, 2, 3)), Err("1 of 2 are updated, 2 are ready".into()));
        assert_eq!(told(&deployment(2, 2, 3)), Err("1 of the revision before still run".into()));
        let mut old = deployment(2, 2, 2);
        old["status"]["observedGeneration"] = 1.into();
        assert!(told(&old).is_err());
        let mut refused = deployment(0, 0, 0);
        refused["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]);
        assert_eq!(told(&refused), Err("exceeded quota".into()));
        assert!(rolled_out(WorkloadKind::Stateless, None).is_err());
        let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}});
        assert_eq!(rolled_out(WorkloadKind::Job, Some(&failed)), Err("BackoffLimitExceeded".into()));
    }

    #[test]
    fn refused_pods_are_seen_and_the_latest_reason_counts() {
        let set = json!({"spec": {"replicas": 2}});
        assert!(lacks_pods(WorkloadKind::Stateful, Some(&set), 1) && !lacks_pods(WorkloadKind::Stateful, Some(&set), 2));
        let job = |status: Value| json!({"spec": {}, "status": status});
        assert!(lacks_pods(WorkloadKind::Job, Some(&job(json!({}))), 0));
        assert!(!lacks_pods(WorkloadKind::Job, Some(&job(json!({"conditions": [{"type": "Complete", "status": "True"}]}))), 0));
        let event = |uid: &str, reason: &str, at: &str, message: &str| json!({"involvedObject": {"uid": uid}, "reason": reason, "lastTimestamp": at, "message": message});
        let all = json!({"items": [
            event("u", "FailedCreate", "2026-01-01T00:00:02Z", "new"), event("u", "FailedCreate", "2026-01-01T00:00:01Z", "old"),
            event("v", "FailedCreate", "2026-01-01T00:00:03Z", "of another"), event("u", "BackOff", "2026-01-01T00:00:04Z", "else")]});
        assert_eq!(refusal(&all, "u"), Some("new".into()));
        assert_eq!(refusal(&json!({}), "u"), None);
    }

    #[test]
    fn pods_that_were_never_made_are_missing_too() {
        let set = json!({"spec": {"replicas": 3}});
        assert_eq!(missing_pods(WorkloadKind::Stateless, Some(&set), 1, 1), 2, "as the cluster was told last");
        assert_eq!(missing_pods(WorkloadKind::Stateless, None, 2, 0), 2, "it was refused as a whole");
        let each = json!({"status": {"desiredNumberScheduled": 3}});
        assert_eq!([missing_pods(WorkloadKind::Global, Some(&each), 1, 0), missing_pods(WorkloadKind::Global, Some(&each), 1, 3)], [3, 0]);
        assert_eq!(missing_pods(WorkloadKind::Global, None, 1, 0), 1, "of how many nodes is not known");
        let job = json!({"spec": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}});
        assert_eq!([missing_pods(WorkloadKind::Job, Some(&job), 1, 0), missing_pods(WorkloadKind::CronJob, None, 1, 0)], [0, 0]);
    }

    #[test]
    fn a_pod_that_never_comes_up_is_known_by_its_reason() {
        let pod = |state: State, reason: &str| Pod {
            uid: "u".into(),
            namespace: "x".into(),
            name: "db-0".into(),
            owner: "a".into(),
            workload: "db".into(),
            revision: 2,
            node: "n".into(),
            state,
            ready: false,
            address: String::new(),
            restarts: 0,
            exit_code: 0,
            reason: reason.into(),
            containers: vec!["db".into()],
            resource_version: 1,
        };
        assert!(is_stuck(&pod(State::Starting, "db: ImagePullBackOff: no such image")));
        assert!(is_stuck(&pod(State::Unhealthy, "db: CrashLoopBackOff; it ended before: Error (exit code 3)")));
        assert!(is_stuck(&pod(State::Pending, "0/3 nodes are available: 3 Insufficient memory.")));
        assert!(!is_stuck(&pod(State::Pending, "waits for a node")) && !is_stuck(&pod(State::Unhealthy, "not ready")));
        assert!(!is_stuck(&pod(State::Stopping, "db: CrashLoopBackOff")), "it goes already");
        let set = |spec: Value| {
            let mut set = json!({"spec": {"template": {"metadata": {"labels": {gantry_kubernetes::REVISION: "1"}}}}});
            set["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            set
        };
        assert!(waits_for_each(&set(json!({})), 1) && !waits_for_each(&set(json!({})), 2));
        for other in [
            json!({"podManagementPolicy": "Parallel"}),
            json!({"updateStrategy": {"type": "OnDelete"}}),
            json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}}),
        ] {
            assert!(!waits_for_each(&set(other.clone()), 1), "{other}");
        }
    }

    #[test]
    fn a_credential_is_told_to_end_a_month_before() {
        let (now, day) = (OffsetDateTime::UNIX_EPOCH, Duration::days(1));
        assert_eq!((ends_soon("east", None, now), ends_soon("east", Some(now + day * 31), now)), (None, None));
        let soon = ends_soon("east", Some(now + day * 29), now).unwrap();
        assert!(soon.contains("ends on 1970-01-30") && soon.contains("gantry cluster access east"), "{soon}");
        assert!(ends_soon("east", Some(now - day), now).unwrap().contains("has ended on 1969-12-31"));
    }

    #[test]
    fn every_fault_of_the_settings_is_told() {
        assert_eq!(ClusterSettings::default().faults(), []);
        let wrong = ClusterSettings {
            namespace_prefix: "X".into(),
            pod_security: "none".into(),
            gateway: "only".into(),
            groups_prefix: "system:".into(),
            ..ClusterSettings::default()
        };
        let fields: Vec<String> = wrong.faults().into_iter().map(|f| f.0).collect();
        assert_eq!(fields, ["settings.namespace_prefix", "settings.pod_security", "settings.groups_prefix", "settings.gateway"]);
    }
}
