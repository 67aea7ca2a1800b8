//! The engine's words as protobuf and back.

use std::collections::BTreeMap;

use gantry_contract::proto::scheduler as proto;
use gantry_kernel::{AppId, InstanceId};

use crate::domain::app::Home;
use crate::domain::engine::{Facts, Observation, Report, Seen, WantedInstance, WantedNode, WantedService};
use crate::domain::model::{Check, MountKind, Probe, Purpose, Resources};

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
    }
}

/// Instances whose id is not one of ours are left out: they were made by something else.
pub fn report(from: proto::Status) -> Report {
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
    Report { generation: from.generation, instances: instances.collect(), rotation: rotation.collect() }
}

/// Generation 0; the sender counts.
pub fn wanted(from: &WantedNode, credentials: &BTreeMap<AppId, proto::ImageCredential>) -> proto::WantedState {
    proto::WantedState {
        generation: 0,
        instances: from.instances.iter().map(|i| instance(i, credentials.get(&i.app).cloned())).collect(),
        services: from.services.iter().map(service).collect(),
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

fn instance(from: &WantedInstance, credential: Option<proto::ImageCredential>) -> proto::WantedInstance {
    let spec = &from.spec;
    proto::WantedInstance {
        instance_id: from.id.to_string(),
        name: from.name.clone(),
        labels: Some(labels(&from.home, from.app, from.app_name.as_str(), from.workload.as_str(), from.revision)),
        image: spec.pinned.clone().unwrap_or_else(|| spec.image.clone()),
        credential,
        command: spec.command.clone(),
        args: spec.args.clone(),
        env: spec.env.iter().map(|(name, value)| proto::KeyValue { name: name.clone(), value: value.clone() }).collect(),
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
                },
                source: m.source.clone(),
                target: m.target.clone(),
                read_only: m.read_only,
                size_bytes: m.size_bytes,
            })
            .collect(),
        probes: spec.probes.iter().map(probe).collect(),
        files: spec.files.iter().map(|f| proto::FileContent { path: f.path.clone(), content: f.content.clone().into_bytes(), mode: f.mode }).collect(),
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
        stopping: from.stopping,
        dns_search: Vec::new(),
    }
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
        Check::Http { path, port } => ("http", path.clone(), *port, Vec::new()),
        Check::Tcp { port } => ("tcp", String::new(), *port, Vec::new()),
        Check::Grpc { port } => ("grpc", String::new(), *port, Vec::new()),
        Check::Command { command } => ("command", String::new(), 0, command.clone()),
    };
    let purpose = match from.purpose {
        Purpose::Startup => "startup",
        Purpose::Live => "live",
        Purpose::Ready => "ready",
    };
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
        routes: from.routes.iter().map(|r| proto::RouteMatch { host: r.host.clone(), path_prefix: r.path.clone() }).collect(),
        backends: from
            .backends
            .iter()
            .map(|b| proto::Backend { instance_id: b.instance.to_string(), port: b.port.into(), weight: 1, address: b.address.clone() })
            .collect(),
    }
}
