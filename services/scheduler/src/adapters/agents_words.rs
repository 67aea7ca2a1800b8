//! The engine's words as protobuf and back.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_contract::proto::scheduler as proto;
use gantry_kernel::{AppId, InstanceId};

use crate::domain::app::Home;
use crate::domain::engine::{
    Facts, ImageSeen, Isolation, Observation, Opening, OutsideName, PodRoute, Report, RouteCertificate, Seen, Sign, WantedInstance, WantedNode, WantedService,
};
use crate::domain::isolation;
use crate::domain::jobs;
use crate::domain::model::{
    Access, Check, Condition, Container, EnvFact, File, Hook, MountKind, Network, Nic, PathKind, Probe, Purpose, Resources, Restart, Route, Tuning, ValueMatch,
    Workload,
};
use crate::domain::placement::Guard;

pub fn facts(from: proto::NodeFacts) -> Facts {
    Facts {
        architecture: from.architecture,
        os: from.os,
        kernel: from.kernel,
        virtual_machine: from.virtual_machine,
        cpu_millis: from.cpu_millis,
        memory_bytes: from.memory_bytes,
        storage_bytes: from.storage_bytes,
        runtime: from.runtime,
        runtime_classes: from.runtime_classes,
        zone: from.zone,
        labels: from.labels.into_iter().collect(),
        address: from.address,
        pod_network: from.pod_network,
    }
}

/// The ways to the pods of other nodes.
pub fn routes(from: &[PodRoute]) -> proto::Routes {
    let route = |r: &PodRoute| proto::NodeRoute { node: r.node.to_string(), address: r.address.clone(), pod_network: r.pod_network.clone() };
    proto::Routes { nodes: from.iter().map(route).collect() }
}

/// Instances whose id is not one of ours are left out: they were made by something else.
pub fn report(from: proto::Status) -> Report {
    let sign = |s: &proto::Sign| Sign { container: s.container.clone(), sign: s.kind.clone(), detail: s.detail.clone(), action: s.action.clone() };
    let found = from.instances.iter().filter(|i| !i.signs.is_empty());
    let signs = found.filter_map(|i| Some((i.instance_id.parse().ok()?, i.signs.iter().map(sign).collect()))).collect();
    let instances = from.instances.into_iter().filter_map(|i| {
        let id: InstanceId = i.instance_id.parse().ok()?;
        let seen = match i.state.as_str() {
            "running" => Seen::Running,
            "unhealthy" => Seen::Unhealthy,
            "stopping" => Seen::Stopping,
            "exited" => Seen::Exited,
            "failed" => Seen::Failed,
            _ => Seen::Starting,
        };
        Some((id, Observation { seen, ready: i.ready, address: i.address, restarts: i.restarts, exit_code: i.exit_code, reason: i.reason }))
    });
    let rotation = from.balancers.into_iter().map(|b| (b.service_id, b.in_rotation.iter().filter_map(|i| i.parse().ok()).collect()));
    let seen = |i: &proto::ImageStatus| ImageSeen { state: i.state.clone(), reason: i.reason.clone() };
    let images = from.images.iter().map(|i| (i.image.clone(), seen(i))).collect();
    Report {
        images,
        signs,
        generation: from.generation,
        instances: instances.collect(),
        rotation: rotation.collect(),
        waiting: from.waiting.iter().cloned().collect(),
        draining: from.draining.iter().filter_map(|i| i.parse().ok()).collect(),
    }
}

/// Generation 0; the sender counts.
pub fn wanted(from: &WantedNode, credentials: &BTreeMap<AppId, proto::ImageCredential>) -> proto::WantedState {
    let own = |i: &WantedInstance| {
        let id = isolation::id(i.app, &i.workload, i.revision);
        let isolation = if from.isolations.contains_key(&id) { id } else { String::new() };
        proto::WantedInstance { isolation, ..instance(i, credentials.get(&i.app).cloned(), from.guards.get(&i.home.space)) }
    };
    proto::WantedState {
        generation: 0,
        instances: from.instances.iter().map(own).collect(),
        services: from.services.iter().map(service).collect(),
        isolations: from.isolations.iter().map(|(id, i)| isolated(id, i)).collect(),
        guarded: from.guarded.iter().map(ToString::to_string).collect(),
        node_addresses: from.node_addresses.iter().cloned().collect(),
        outside: from.outside.iter().map(outside).collect(),
    }
}

fn outside(from: &OutsideName) -> proto::OutsideName {
    let labels = labels(&from.home, from.app, from.app_name.as_str(), "", 0);
    proto::OutsideName { name: from.name.to_string(), address: from.address.clone(), labels: Some(labels) }
}

fn isolated(id: &str, from: &Isolation) -> proto::Isolation {
    let openings = |all: &[Opening]| all.iter().map(opening).collect();
    proto::Isolation {
        id: id.to_owned(),
        policies: from.policies.clone(),
        ingress: from.ingress.is_some(),
        from: openings(from.ingress.as_deref().unwrap_or_default()),
        egress: from.egress.is_some(),
        to: openings(from.egress.as_deref().unwrap_or_default()),
        opened: openings(&from.opened),
        services: from.services.iter().cloned().collect(),
        refused: from.refused.iter().cloned().collect(),
    }
}

fn opening(from: &Opening) -> proto::Opening {
    let port = |p: &crate::domain::engine::PortRange| proto::PortRange { protocol: p.protocol.into(), first: p.first.into(), last: p.last.into() };
    proto::Opening {
        everywhere: from.everywhere,
        networks: from.networks.iter().cloned().collect(),
        except: from.except.iter().cloned().collect(),
        ports: from.ports.iter().map(port).collect(),
    }
}

fn labels(home: &Home, app: AppId, app_name: &str, workload: &str, revision: u64) -> proto::Labels {
    proto::Labels {
        org: home.org_name.to_string(),
        project: home.project_name.to_string(),
        space: home.space_name.to_string(),
        app: app_name.to_owned(),
        workload: workload.to_owned(),
        app_id: app.to_string(),
        org_id: home.org.to_string(),
        revision,
    }
}

fn guard(from: &Guard) -> proto::Guard {
    let egress = from.egress.iter().map(|e| proto::Egress { network: e.network.clone(), port: e.port.into() });
    proto::Guard { action: from.action.clone(), closed: from.closed, egress: egress.collect(), programs: from.programs.clone() }
}

/// In which variable Kubernetes tells an indexed job's container its number.
const INDEX: &str = "JOB_COMPLETION_INDEX";

fn instance(from: &WantedInstance, credential: Option<proto::ImageCredential>, watch: Option<&Guard>) -> proto::WantedInstance {
    let other = |c: &Container| {
        let mut spec = Workload::default();
        spec.adopt(c.clone());
        // What is asked of the whole instance counts for each container, and what a variable is filled with is the whole's.
        spec.fs_group = from.spec.fs_group;
        spec.labels.clone_from(&from.spec.labels);
        spec.annotations.clone_from(&from.spec.annotations);
        spec.service_account.clone_from(&from.spec.service_account);
        proto::WantedInstance { name: c.name.clone(), keeps_running: c.keeps_running, credential: credential.clone(), ..container(&spec) }
    };
    let restart = if jobs::retries(&from.spec).is_some() { Restart::Never } else { from.spec.restart };
    let mut out = proto::WantedInstance {
        init: from.spec.init.iter().map(other).collect(),
        sidecars: from.spec.sidecars.iter().map(other).collect(),
        instance_id: from.id.to_string(),
        name: from.name.clone(),
        labels: Some(labels(&from.home, from.app, from.app_name.as_str(), from.workload.as_str(), from.revision)),
        stopping: from.stopping,
        fenced: from.spec.placement.fenced,
        host_pid: from.spec.sharing.host_pid,
        host_ipc: from.spec.sharing.host_ipc,
        guard: watch.map(guard),
        after: from
            .spec
            .depends_on
            .iter()
            .map(|(workload, condition)| proto::Await { workload: workload.to_string(), until: until(*condition).into() })
            .collect(),
        // Tries that are counted are instances of their own: the node would try for ever.
        restart_policy: restart.as_str().into(),
        restarts_and_one: from.spec.restart_attempts.map_or(0, |n| n.saturating_add(1)),
        credential: credential.clone(),
        // What is in no network of the nodes is in the space's.
        up_bps: own(from).map_or(0, |n| n.up_bps),
        down_bps: own(from).map_or(0, |n| n.down_bps),
        nics: from.spec.nics.iter().filter_map(|n| Some(nic(n, from.networks.get(&n.network)?))).collect(),
        ..container(&from.spec)
    };
    if jobs::is_indexed(&from.spec) && !from.spec.env.contains_key(INDEX) && !from.spec.env_facts.contains_key(INDEX) {
        out.env_facts.push(proto::EnvFact { name: INDEX.into(), fact: "number".into() });
    }
    out
}

fn own(from: &WantedInstance) -> Option<&Nic> {
    from.spec.nics.iter().find(|n| !from.networks.contains_key(&n.network))
}

fn nic(from: &Nic, network: &Network) -> proto::Nic {
    let subnet = network.subnets.first().cloned().unwrap_or_default();
    proto::Nic {
        network: from.network.clone(),
        driver: network.driver.clone(),
        parent: network.parent().to_owned(),
        mode: network.mode().to_owned(),
        vlan: network.vlan().into(),
        subnet: subnet.subnet,
        gateway: subnet.gateway,
        range: subnet.range,
        address: from.address4.clone(),
        mac: from.mac.clone(),
        interface: from.interface.clone(),
        up_bps: from.up_bps,
        down_bps: from.down_bps,
        vni: network.vni(),
        dst_port: network.dst_port().unwrap_or(0).into(),
        multicast: network.other_end("group").to_owned(),
        remote: network.other_end("remote").to_owned(),
    }
}

/// What belongs to one container; of the main one also what belongs to its instance.
fn container(spec: &Workload) -> proto::WantedInstance {
    proto::WantedInstance {
        image: spec.pinned.clone().unwrap_or_else(|| spec.image.clone()),
        command: spec.command.iter().map(|text| named(text, spec)).collect(),
        args: spec.args.iter().map(|text| named(text, spec)).collect(),
        env: spec
            .env
            .iter()
            .map(|(name, value)| (name.clone(), if spec.env_sources.contains_key(name) { value.clone() } else { named(value, spec) }))
            .chain(described(spec))
            .map(|(name, value)| proto::KeyValue { name, value })
            .collect(),
        working_dir: spec.working_dir.clone(),
        user: spec.user.clone(),
        requests: Some(resources(&spec.requests)),
        limits: Some(resources(&spec.limits)),
        mounts: spec
            .mounts
            .iter()
            .map(|m| proto::Mount {
                kind: match m.kind {
                    MountKind::Volume => "volume".into(),
                    MountKind::Tmpfs => "tmpfs".into(),
                    MountKind::Bind => "bind".into(),
                    MountKind::Scratch => "scratch".into(),
                    MountKind::Nfs => "nfs".into(),
                },
                source: m.source.clone(),
                target: m.target.clone(),
                read_only: m.read_only,
                size_bytes: m.size_bytes,
                sub_path: m.sub_path.clone(),
                propagation: m.seen_below().into(),
            })
            .collect(),
        probes: spec.probes.iter().map(probe).collect(),
        files: spec
            .files
            .iter()
            .map(|f| proto::FileContent {
                path: f.path.clone(),
                content: content(f),
                mode: f.mode,
                folder: f.folder.clone(),
                live: f.live,
                uid: f.uid.unwrap_or(0),
                gid: f.gid.unwrap_or(0),
            })
            .collect(),
        restart_policy: spec.restart.as_str().into(),
        stop_grace_seconds: spec.stop_grace_seconds,
        stop_signal: spec.stop_signal.clone(),
        privileged: spec.privileged,
        read_only_root: spec.read_only_root,
        cap_add: spec.cap_add.clone(),
        cap_drop: spec.cap_drop.clone(),
        sysctls: spec.sysctls.clone().into_iter().collect(),
        runtime_class: spec.runtime_class.clone(),
        seccomp: if spec.seccomp.is_empty() { "runtime/default".into() } else { spec.seccomp.clone() },
        ulimits: spec.ulimits.clone(),
        ports: spec.ports.iter().map(|p| u32::from(*p)).collect(),
        dns_search: spec.dns.searches.clone(),
        hostname: spec.hostname.clone(),
        dns_servers: spec.dns.servers.clone(),
        dns_options: spec.dns.options.clone(),
        extra_hosts: spec.extra_hosts.clone().into_iter().collect(),
        apparmor: spec.apparmor.clone(),
        selinux: selinux(&spec.selinux),
        groups: spec.groups.clone(),
        devices: spec
            .devices
            .iter()
            .map(|d| proto::Device { source: d.source.clone(), target: d.target.clone(), permissions: d.permissions.clone() })
            .collect(),
        tty: spec.tty,
        stdin: spec.stdin,
        post_start: spec.hooks.post_start.iter().map(hook).collect(),
        pre_stop: spec.hooks.pre_stop.iter().map(hook).collect(),
        env_facts: spec.env_facts.iter().filter_map(|(name, f)| Some(proto::EnvFact { name: name.clone(), fact: fact(f)?.into() })).collect(),
        fs_group: spec.fs_group,
        run_as_non_root: spec.run_as_non_root,
        tuning: tuning(&spec.tuning),
        new_privileges: match spec.no_new_privileges {
            None => "",
            Some(true) => "no",
            Some(false) => "yes",
        }
        .into(),
        ..Default::default()
    }
}

/// `$(NAME)` in a text by the variable, for those that come from a config: readers do not know the contents of what a space keeps.
fn named(text: &str, spec: &Workload) -> String {
    if !text.contains("$(") {
        return text.to_owned();
    }
    let variables = spec.env_sources.keys().filter_map(|name| Some((name, spec.env.get(name)?)));
    variables.fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

/// Variables that are filled from what the document itself says.
fn described(spec: &Workload) -> impl Iterator<Item = (String, String)> {
    spec.env_facts.iter().filter_map(|(name, fact)| {
        let value = match fact {
            EnvFact::Label(label) => spec.labels.get(label),
            EnvFact::Annotation(annotation) => spec.annotations.get(annotation),
            // As the document calls it, and a cluster one of which nothing is said; there is no such account here.
            EnvFact::ServiceAccount if spec.service_account.is_empty() => return Some((name.clone(), "default".to_owned())),
            EnvFact::ServiceAccount => Some(&spec.service_account),
            _ => return None,
        };
        Some((name.clone(), value.cloned().unwrap_or_default()))
    })
}

fn fact(fact: &EnvFact) -> Option<&'static str> {
    Some(match fact {
        EnvFact::Instance => "instance",
        EnvFact::InstanceId => "instance_id",
        EnvFact::Number => "number",
        EnvFact::Address => "address",
        EnvFact::Node => "node",
        EnvFact::NodeAddress => "node_address",
        EnvFact::Application => "application",
        EnvFact::Workload => "workload",
        EnvFact::Space => "space",
        EnvFact::CpuLimit => "cpu_limit",
        EnvFact::MemoryLimit => "memory_limit",
        EnvFact::CpuRequest => "cpu_request",
        EnvFact::MemoryRequest => "memory_request",
        EnvFact::ServiceAccount | EnvFact::Label(_) | EnvFact::Annotation(_) => return None,
    })
}

fn until(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Healthy => "ready",
        Condition::Completed => "completed",
    }
}

fn pairs(from: &BTreeMap<String, String>) -> Vec<proto::KeyValue> {
    from.iter().map(|(name, value)| proto::KeyValue { name: name.clone(), value: value.clone() }).collect()
}

fn hook(from: &Hook) -> proto::Hook {
    match from {
        Hook::Command { command, .. } => proto::Hook { kind: "command".into(), command: command.clone(), ..Default::default() },
        Hook::Http { path, port, https, host, headers } => proto::Hook {
            kind: "http".into(),
            path: path.clone(),
            port: (*port).into(),
            https: *https,
            host: host.clone(),
            headers: pairs(headers),
            ..Default::default()
        },
        Hook::Sleep { seconds } => proto::Hook { kind: "sleep".into(), seconds: *seconds, ..Default::default() },
    }
}

/// SELinux is switched off for a container by a type that may do everything.
fn selinux(label: &str) -> String {
    if label == "disable" { "::spc_t:".into() } else { label.to_owned() }
}

/// What is no text is kept as base64; a broken one stays as it is.
fn content(file: &File) -> Vec<u8> {
    let text = file.content.clone();
    if file.base64 { STANDARD.decode(&text).unwrap_or(text.into_bytes()) } else { text.into_bytes() }
}

/// Nothing where there is nothing that nodes do.
fn tuning(from: &Tuning) -> Option<proto::Tuning> {
    let out = proto::Tuning {
        cpu_shares: from.cpu_shares,
        cpuset: from.cpuset.clone(),
        cpuset_memory: from.cpuset_memory.clone(),
        memory_swap_bytes: from.memory_swap_bytes,
        oom_score_adj: from.oom_score_adj,
    };
    (out != proto::Tuning::default()).then_some(out)
}

fn resources(from: &Resources) -> proto::Resources {
    proto::Resources {
        cpu_millis: from.cpu_millis.into(),
        memory_bytes: from.memory_bytes,
        storage_bytes: from.storage_bytes,
        pids: from.pids,
        bandwidth_bps: 0,
    }
}

fn probe(from: &Probe) -> proto::Probe {
    let (kind, path, port, command) = match &from.check {
        Check::Http { path, port, .. } => ("http", path.clone(), *port, Vec::new()),
        Check::Tcp { port } => ("tcp", String::new(), *port, Vec::new()),
        Check::Grpc { port, .. } => ("grpc", String::new(), *port, Vec::new()),
        Check::Command { command } => ("command", String::new(), 0, command.clone()),
    };
    let purpose = match from.purpose {
        Purpose::Startup => "startup",
        Purpose::Live => "live",
        Purpose::Ready => "ready",
    };
    let mut asked = proto::Probe::default();
    match &from.check {
        Check::Http { https, host, headers, .. } => (asked.https, asked.host, asked.headers) = (*https, host.clone(), pairs(headers)),
        Check::Grpc { service, .. } => asked.service = service.clone(),
        Check::Tcp { .. } | Check::Command { .. } => {}
    }
    proto::Probe {
        purpose: purpose.into(),
        kind: kind.into(),
        path,
        port: port.into(),
        command,
        period_ms: from.period_ms,
        timeout_ms: from.timeout_ms,
        failure_threshold: from.failure_threshold,
        success_threshold: from.success_threshold,
        initial_delay_ms: from.initial_delay_ms,
        ..asked
    }
}

fn service(from: &WantedService) -> proto::WantedService {
    proto::WantedService {
        service_id: from.id.clone(),
        name: from.name.to_string(),
        labels: Some(labels(&from.home, from.app, from.app_name.as_str(), from.workload.as_str(), from.revision)),
        protocol: from.protocol.as_str().into(),
        balance: from.balance.clone(),
        listen_port: from.listen.into(),
        routes: from.routes.iter().filter(|r| r.is_plain()).map(|r| proto::RouteMatch { host: r.host.clone(), path_prefix: r.path.clone() }).collect(),
        rules: from.routes.iter().filter(|r| !r.is_plain()).map(rule).collect(),
        sticky_seconds: from.sticky_seconds,
        h2: from.h2,
        certificates: from.certificates.iter().filter_map(certificate).collect(),
        backends: from
            .backends
            .iter()
            .map(|b| proto::Backend { instance_id: b.instance.to_string(), port: b.port.into(), weight: b.weight, address: b.address.clone() })
            .collect(),
        port: from.port.into(),
        aliases: from.aliases.iter().cloned().collect(),
        headers: from.headers.iter().map(|(h, to)| proto::HeaderTo { name: h.name.clone(), value: h.value.clone(), service_id: to.clone() }).collect(),
        hold: from.hold,
        access: (from.access != Access::default()).then(|| access(&from.access)),
        singles: from.singles.iter().map(|s| proto::Single { names: s.names.clone(), address: s.address.clone(), ready: s.ready }).collect(),
        public_addresses: from.public.iter().map(|(address, port)| proto::PublicAddress { address: address.to_string(), port: (*port).into() }).collect(),
    }
}

/// None as long as the platform's authority has given none.
fn certificate(from: &RouteCertificate) -> Option<proto::RouteCertificate> {
    let (chain, key) = from.pem.clone()?;
    Some(proto::RouteCertificate { host: from.host.clone(), chain, key, plain_http: from.plain_http })
}

fn rule(from: &Route) -> proto::RouteRule {
    let values = |all: &[ValueMatch]| {
        let value = |v: &ValueMatch| proto::RouteValue { name: v.name.clone(), value: v.value.clone(), pattern: v.pattern };
        all.iter().map(value).collect()
    };
    let kind = match from.path_kind {
        PathKind::Prefix => "prefix",
        PathKind::Exact => "exact",
        PathKind::Pattern => "pattern",
    };
    proto::RouteRule {
        host: from.host.clone(),
        path_kind: kind.into(),
        path: from.path.clone(),
        headers: values(&from.headers),
        queries: values(&from.queries),
        method: from.method.clone(),
        weight: from.weight,
        rewrite: from.rewrite.clone(),
        set_headers: from.set_headers.iter().map(|(name, value)| proto::KeyValue { name: name.clone(), value: value.clone() }).collect(),
        timeout_ms: from.timeout_ms,
    }
}

fn access(from: &Access) -> proto::ServiceAccess {
    proto::ServiceAccess { allow: from.allow.clone(), deny: from.deny.clone(), requests_per_second: from.requests_per_second, concurrent: from.concurrent }
}

#[cfg(test)]
mod tests;
