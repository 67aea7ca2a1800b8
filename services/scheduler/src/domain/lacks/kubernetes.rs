//! What a Kubernetes cluster does not do of a model: mostly what a pod has no word for.

use super::{Lack, Listing};
use crate::domain::kubernetes::host_name;
use crate::domain::model::{Hook, Model, PathKind, Restart, Route, Workload, WorkloadKind};

/// `gateway`: the cluster's routes join a Gateway. `timeouts`: those may have time limits. `together`: a StatefulSet may replace several
/// pods at a time.
pub fn kubernetes(model: &Model, gateway: bool, timeouts: bool, together: bool) -> Vec<Lack> {
    let mut out = Listing(Vec::new());
    for (name, workload) in &model.workloads {
        let at = format!("workloads.{name}");
        running(&at, workload, &mut out);
        let several = workload.kind == WorkloadKind::Stateful && workload.update.max_unavailable > 1;
        out.when(several && !together, format!("{at}.update.max_unavailable"), "a StatefulSet replaces its pods one by one before Kubernetes 1.35");
    }
    for (n, service) in model.services.iter().enumerate() {
        let at = format!("services[{n}]");
        out.when(!service.aliases.is_empty(), format!("{at}.aliases"), "a service has its own name on a cluster; more names are not made");
        out.when(
            !matches!(service.balance.as_str(), "roundrobin" | "source"),
            format!("{at}.balance"),
            "a cluster balances by turns, or by the client's address",
        );
    }
    for (n, service) in model.services.iter().enumerate() {
        let (access, at) = (&service.access, format!("services[{n}].access"));
        let counted = !access.deny.is_empty() || access.requests_per_second > 0 || access.concurrent > 0;
        out.when(counted, at.clone(), "a cluster knows which networks may connect (`allow`); the rest is for its load balancer or ingress controller");
        let unbalanced = service.publish.is_none_or(|p| p.wanted != service.called_at());
        out.when(!access.allow.is_empty() && unbalanced, at, "only a LoadBalancer of a cluster takes networks that may connect");
    }
    for (n, service) in model.services.iter().enumerate().filter(|_| !gateway) {
        for (r, route) in service.routes.iter().enumerate() {
            let at = format!("services[{n}].routes[{r}]");
            out.when(!is_plain(route), at, "an Ingress matches host and path; more needs the Gateway API and `gateway` in the cluster's settings");
        }
    }
    for (n, service) in model.services.iter().enumerate() {
        for (r, route) in service.routes.iter().enumerate() {
            let at = format!("services[{n}].routes[{r}]");
            let none = route.tls && route.tls_secret.is_empty();
            out.when(none, format!("{at}.tls"), "the platform's own authority gives no certificates to clusters: name a `tls_secret`");
            out.when(route.plain_http && !gateway, format!("{at}.plain_http"), "whether plain HTTP is led to HTTPS is set at the cluster's ingress controller");
        }
    }
    for (n, service) in model.services.iter().enumerate().filter(|_| gateway && !timeouts) {
        for (r, route) in service.routes.iter().enumerate() {
            let at = format!("services[{n}].routes[{r}].timeout_ms");
            out.when(
                route.timeout_ms > 0,
                at,
                "the cluster's HTTPRoutes have no time limits: they came into the standard channel of the Gateway API with v1.2",
            );
        }
    }
    for (n, step) in model.release.steps.iter().enumerate().filter(|_| !gateway) {
        let at = format!("release.steps[{n}].header");
        out.when(step.header.is_some(), at, "who has a header is known only by the Gateway API: set `gateway` in the cluster's settings");
    }
    for (name, volume) in &model.volumes {
        let other = !matches!(volume.driver.as_str(), "" | "local") || !volume.options.is_empty();
        out.when(other, format!("volumes.{name}.driver"), "name a storage class of the cluster instead of a driver");
    }
    for (name, network) in &model.networks {
        let own = network.internal || network.ipv6 || network.external.is_some() || !network.subnets.is_empty() || !network.options.is_empty();
        out.when(own, format!("networks.{name}"), "all workloads of a space share the cluster's network; use policies");
    }
    out.0
}

fn is_plain(r: &Route) -> bool {
    let matched = r.path_kind != PathKind::Pattern && r.headers.is_empty() && r.queries.is_empty() && r.method.is_empty();
    matched && r.weight.is_none() && r.rewrite.is_empty() && r.set_headers.is_empty() && r.timeout_ms == 0
}

fn running(at: &str, w: &Workload, out: &mut Listing) {
    let service = !matches!(w.kind, WorkloadKind::Job | WorkloadKind::CronJob);
    out.when(service && w.restart != Restart::Always, format!("{at}.restart"), "what is no job is always started again on a cluster");
    out.when(w.restart_attempts.is_some() && service, format!("{at}.restart_attempts"), "a cluster tries again without end");
    out.when(!w.devices.is_empty(), format!("{at}.devices"), "devices are given by device plugins: ask for them as `extended` resources");
    out.when(!w.ulimits.is_empty(), format!("{at}.ulimits"), "a pod has no word for limits of processes");
    out.when(w.limits.pids > 0, format!("{at}.limits.pids"), "the number of processes is limited by the kubelet, for all pods of a node");
    out.when(w.tuning != crate::domain::model::Tuning::default(), format!("{at}.tuning"), "the kernel's resource control is the kubelet's");
    match host_name(&w.hostname) {
        Some(label) => {
            let domain = !label.eq_ignore_ascii_case(&w.hostname);
            out.when(domain, format!("{at}.hostname"), &format!("a pod's own name has no domain: it is called `{label}`"));
        }
        None => out.when(!w.hostname.is_empty(), format!("{at}.hostname"), "a pod cannot be called so: letters, digits and `-`, at most 63"),
    }
    out.when(w.init_process, format!("{at}.init_process"), "a pod has no small init process; share processes, or bring one in the image");
    out.when(w.sharing.network_of.is_some(), format!("{at}.sharing.network_of"), "make it a sidecar: containers of one pod share a network");
    out.when(w.nics.len() > 1, format!("{at}.nics"), "a pod has one interface");
    out.when(w.user.split(':').any(|u| !u.is_empty() && u.parse::<u32>().is_err()), format!("{at}.user"), "users are numbers on a cluster");
    out.when(w.placement.max_per_node > 0, format!("{at}.placement.max_per_node"), "use affinity or spread");
    out.when(w.placement.all_or_none, format!("{at}.placement.all_or_none"), "a cluster places pods one by one");
    out.when(w.priority != 0, format!("{at}.priority"), "name a PriorityClass of the cluster");
    out.when(!w.restart_with.is_empty(), format!("{at}.restart_with"), "they are restarted together, and not one after the other");
    let none = w.scaling.as_ref().is_some_and(|s| s.min == 0);
    out.when(none, format!("{at}.scaling.min"), "a cluster's autoscaler keeps at least one instance");
    out.when(w.update.delay_seconds > 0, format!("{at}.update.delay_seconds"), "use min_ready_seconds");
    let owned = w.files.iter().any(|f| f.uid.is_some_and(|u| u > 0) || f.gid.is_some_and(|g| g > 0));
    out.when(owned, format!("{at}.files"), "files belong to root; use fs_group");
    for (list, name) in [(&w.hooks.post_start, "post_start"), (&w.hooks.pre_stop, "pre_stop")] {
        out.when(list.len() > 1, format!("{at}.hooks.{name}"), "a container has one hook of a kind");
        let own = |h: &Hook| matches!(h, Hook::Command { user, working_dir, env, privileged, .. } if !user.is_empty() || !working_dir.is_empty() || !env.is_empty() || *privileged);
        out.when(list.iter().any(own), format!("{at}.hooks.{name}"), "commands of hooks run as the container does");
    }
}
