//! What the containerd engine does not do of a model yet. One list for all input formats; another engine has its own.
//! A line leaves this file on the day the engine does it.

mod kubernetes;
mod worth;

use super::model::{Container, Hook, Model, Network, PathKind, Protocol, Release, ReleaseStrategy, Route, Service, Workload, WorkloadKind};

pub use kubernetes::kubernetes;
pub use worth::worth_knowing;

/// One part of a model without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Path in the model, such as `workloads.web.sidecars`.
    pub at: String,
    pub detail: String,
}

struct Listing(Vec<Lack>);

impl Listing {
    fn when(&mut self, lacks: bool, at: impl Into<String>, detail: &str) {
        if lacks {
            self.0.push(Lack { at: at.into(), detail: detail.to_owned() });
        }
    }
}

pub fn containerd(model: &Model) -> Vec<Lack> {
    let mut out = Listing(Vec::new());
    for (name, workload) in &model.workloads {
        let at = format!("workloads.{name}");
        running(&at, workload, &mut out);
        interfaces(&at, workload, model, &mut out);
        placing(&at, workload, &mut out);
        changing(&at, workload, &model.release, &mut out);
    }
    for (n, service) in model.services.iter().enumerate() {
        serving(&format!("services[{n}]"), service, model, &mut out);
    }
    for (name, volume) in &model.volumes {
        let at = format!("volumes.{name}");
        out.when(!volume.class.is_empty(), format!("{at}.class"), "nodes have one class of storage yet: their local disk");
        out.when(volume.access.iter().any(|a| a.ends_with("Many")), format!("{at}.access"), "a volume is on one node and cannot be shared between nodes yet");
        let other = !matches!(volume.driver.as_str(), "" | "local") || !volume.options.is_empty();
        out.when(other && volume.nfs().is_none(), format!("{at}.driver"), "only plain local volumes are made on nodes yet, and folders of NFS servers");
        out.when(volume.external.is_some(), format!("{at}.external"), "a volume belongs to its application; others' cannot be mounted yet");
    }
    for (name, network) in &model.networks {
        let at = format!("networks.{name}");
        if network.is_of_nodes() {
            out.when(network.internal, format!("{at}.internal"), "networks of the nodes are closed by whoever routes them: name no gateway");
            let other = network.options.keys().any(|name| !network.known_option(name));
            out.when(
                other,
                format!("{at}.options"),
                "of the options only parent, vlan and mode are followed yet, and of a vxlan parent, id, dstport, group and remote",
            );
            out.when(network.subnets.len() > 1, format!("{at}.subnets"), "a network of the nodes has one subnet yet");
        } else {
            let own = !matches!(network.driver.as_str(), "" | "bridge" | "overlay" | "default") || !network.options.is_empty() || !network.subnets.is_empty();
            let detail =
                "the workloads of a space share one network; subnets of their own are possible only on networks of the nodes (macvlan, ipvlan, vlan, vxlan)";
            out.when(own, at.clone(), detail);
        }
        out.when(network.ipv6, format!("{at}.ipv6"), "networks have no IPv6 addresses yet");
        out.when(network.external.is_some(), format!("{at}.external"), "other networks cannot be joined yet");
    }
    out.0
}

fn running(at: &str, w: &Workload, out: &mut Listing) {
    let asked = |c: &Container| !c.keeps_running && !c.probes.is_empty();
    out.when(w.init.iter().any(asked), format!("{at}.init"), "an init container that ends is waited for, not asked: its probes have no effect");
    out.when(w.sharing.host_network, format!("{at}.sharing.host_network"), "instances always have a network of their own");
    out.when(w.sharing.processes, format!("{at}.sharing.processes"), "the containers of an instance do not see each other's processes yet");
    out.when(w.sharing.network_of.is_some(), format!("{at}.sharing.network_of"), "instances of two workloads do not share a network namespace yet");
    out.when(!w.extended.is_empty(), format!("{at}.extended"), "nodes do not count GPUs and other extended resources yet");
    out.when(w.init_process, format!("{at}.init_process"), "no init process is added: use an image that brings one");
    out.when(!w.dns.policy.is_empty(), format!("{at}.dns.policy"), "names of the space are always served beside other resolvers");
    let tuned = &w.tuning;
    out.when(tuned.swappiness.is_some(), format!("{at}.tuning"), "how readily memory is swapped is the node's own: cgroup v2 knows no other");
    out.when(tuned.oom_kill_disable, format!("{at}.tuning"), "what is over its memory's limit is always ended: use `oom_score_adj` to say who is first");
    out.when(tuned.block_weight > 0, format!("{at}.tuning"), "disk bandwidth is not shared out on nodes yet");
    out.when(!tuned.cgroup_parent.is_empty(), format!("{at}.tuning"), "instances always stand below the agent's own group");
    hooks(at, w, out);
    out.when(
        !w.service_account.is_empty() && w.service_account != "default",
        format!("{at}.service_account"),
        "instances get no account of a cluster from the nodes",
    );
    out.when(w.service_token == Some(true), format!("{at}.service_token"), "instances get no account of a cluster from the nodes");
}

fn interfaces(at: &str, w: &Workload, model: &Model, out: &mut Listing) {
    let mut first = true;
    for (n, nic) in w.nics.iter().enumerate() {
        let at = format!("{at}.nics[{n}]");
        if model.networks.get(&nic.network).is_some_and(Network::is_of_nodes) {
            out.when(!nic.address6.is_empty(), at, "networks of the nodes have no fixed IPv6 addresses yet");
            continue;
        }
        let fixed = !nic.address4.is_empty() || !nic.address6.is_empty() || !nic.mac.is_empty() || !nic.interface.is_empty();
        out.when(
            fixed,
            at.clone(),
            "the space's network gives addresses and interface names; fixed ones are possible on networks of the nodes (macvlan, ipvlan, vlan, vxlan)",
        );
        // All of them are one interface.
        out.when(!first && (nic.up_bps > 0 || nic.down_bps > 0), at, "in the space's network an instance has one interface: only its first limits count");
        first = false;
    }
}

fn hooks(at: &str, w: &Workload, out: &mut Listing) {
    for (list, name) in [(&w.hooks.post_start, "post_start"), (&w.hooks.pre_stop, "pre_stop")] {
        for hook in list {
            if let Hook::Command { user, working_dir, env, privileged, .. } = hook {
                let own = !user.is_empty() || !working_dir.is_empty() || !env.is_empty() || *privileged;
                let detail = "commands of hooks run as the container does; their own user, folder and variables are not set yet";
                out.when(own, format!("{at}.hooks.{name}"), detail);
            }
        }
    }
}

fn placing(at: &str, w: &Workload, out: &mut Listing) {
    let class = &w.priority_class;
    let unknown = w.priority == 0 && super::placement::class_priority(class).is_none();
    out.when(unknown, format!("{at}.priority_class"), "the classes are low (-100), normal (0), high (100) and critical (1000); use a number for others");
}

fn changing(at: &str, w: &Workload, release: &Release, out: &mut Listing) {
    for (n, metric) in w.scaling.iter().flat_map(|s| &s.metrics).enumerate() {
        let place = super::gauges::Place { org: "", project: "", space: "", app: "", workload: "", services: &[] };
        if let Err(detail) = super::gauges::gauge(metric, w, &place) {
            out.when(true, format!("{at}.scaling.metrics[{n}]"), &detail);
        }
        out.when(!metric.container.is_empty(), format!("{at}.scaling.metrics[{n}].container"), "an instance is measured as a whole");
    }
    let indexed = w.kind == WorkloadKind::CronJob && w.job.as_ref().is_some_and(|job| job.indexed);
    out.when(indexed, format!("{at}.job.indexed"), "runs of a schedule do not go through their numbers yet");
    let numbered = w.kind == WorkloadKind::Stateful;
    out.when(w.update.partition > 0 && !numbered, format!("{at}.update.partition"), "only numbers of stateful workloads keep their revision");
    let exchanged = w.is_exchanged() && release.strategy != ReleaseStrategy::Rolling;
    out.when(w.update.manual && exchanged, format!("{at}.update.manual"), "a blue-green or canary release exchanges all instances");
    let stranger = w.restart_with.iter().any(|needed| !w.depends_on.contains_key(needed));
    out.when(stranger, format!("{at}.restart_with"), "only what it depends on is replaced before it; it is restarted with others beside them");
}

fn serving(at: &str, s: &Service, model: &Model, out: &mut Listing) {
    out.when(s.headless && s.port == 0, format!("{at}.headless"), "a name leads to the instances of a service with ports: name those that they listen on");
    let stays = s.protocol == Protocol::Udp && s.sticky_seconds > 0;
    out.when(stays, format!("{at}.sticky_seconds"), "datagrams stay with an instance by their sender's address as long as nothing changes; a time is not kept");
    let datagrams = s.protocol == Protocol::Udp && s.access.concurrent > 0;
    out.when(datagrams, format!("{at}.access.concurrent"), "datagrams are not under way for a time; limit their number in a second (requests_per_second)");
    for (n, route) in s.routes.iter().enumerate() {
        let at = format!("{at}.routes[{n}]");
        out.when(route.host.is_empty(), at.clone(), "a route needs a host: all tenants share the port of the routes");
        for pattern in patterns(route) {
            if let Some(fault) = gantry_kernel::pattern::fault(pattern) {
                out.when(true, at.clone(), &format!("the pattern `{pattern}` is not served on nodes: {fault}"));
            }
        }
        let named = |name: &str| !name.is_empty() && name.len() <= 256 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let mut names = route.headers.iter().chain(&route.queries).map(|v| &v.name).chain(route.set_headers.keys());
        out.when(!names.all(|name| named(name)), at.clone(), "names of headers and parameters are letters, digits, - and _ on nodes");
        let method = route.method.len() <= 32 && route.method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') && !route.method.starts_with('-');
        out.when(!method, at.clone(), "methods are letters on nodes");
        let mut lines = route.set_headers.values().chain([&route.rewrite]).chain(route.headers.iter().chain(&route.queries).map(|v| &v.value));
        let long = lines.any(|text| text.len() > 1024 || text.bytes().any(|b| b.is_ascii_control()));
        out.when(long || route.set_headers.len() > 64, at.clone(), "values are one line of at most 1024 bytes on nodes, and at most 64 headers are set");
        let odd = route.path_kind == PathKind::Exact && !route.path.bytes().all(|b| b.is_ascii_graphic());
        out.when(odd, at.clone(), "exact paths are written with %-signs where they hold spaces or letters beyond ASCII");
        out.when(route.headers.len() + route.queries.len() > 32, at.clone(), "at most 32 headers and parameters are asked for on nodes");
        if let Some(detail) = super::sites::lacks(model, route).filter(|_| route.is_served()) {
            out.when(true, format!("{at}.tls_secret"), &detail);
        }
    }
}

/// Of the path and of values.
fn patterns(route: &Route) -> impl Iterator<Item = &str> {
    let path = (route.path_kind == PathKind::Pattern).then_some(route.path.as_str());
    let values = route.headers.iter().chain(&route.queries).filter(|v| v.pattern).map(|v| v.value.as_str());
    path.into_iter().chain(values)
}
