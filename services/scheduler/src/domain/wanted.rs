//! What a node shall have: cut from applications' models and recorded instances. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_kernel::{AppId, InstanceId, Name};

use super::app::Home;
use super::engine::{Backend, OutsideName, PLAIN_WEIGHT, Report, Single, WantedInstance, WantedService};
use super::model::{Model, Mount, MountKind, Protocol, Service, Volume, Workload, WorkloadKind};
use super::observe::Phase;
use super::traffic::{self, Traffic};

/// A recorded instance that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub id: InstanceId,
    pub workload: Name,
    pub index: u32,
    pub revision: u64,
    pub node: Name,
    pub phase: Phase,
    /// As recorded, for the time before the node's first report.
    pub address: String,
}

/// One application as its nodes need to know it.
#[derive(Clone, Debug)]
pub struct AppView {
    pub id: AppId,
    pub name: Name,
    pub home: Home,
    pub current: u64,
    /// The revision that is being replaced: its services stay until the release is over.
    pub from: Option<u64>,
    /// The models of all revisions that have instances, and the current one.
    pub models: BTreeMap<u64, Arc<Model>>,
    pub instances: Vec<Standing>,
    /// Which revisions have which part of the requests.
    pub traffic: Traffic,
}

/// Everything that the nodes have reported. Cheap to clone: a large cluster reports much, and many look at it.
pub type Reports = BTreeMap<Name, Arc<Report>>;

impl AppView {
    /// Its balanced names: those of the current revision, and while a release is under way also those it replaces.
    pub fn services(&self) -> Vec<(u64, &Service)> {
        let mut out: Vec<(u64, &Service)> = Vec::new();
        for revision in std::iter::once(self.current).chain(self.from) {
            for service in self.models.get(&revision).map(|m| m.services.as_slice()).unwrap_or_default() {
                if !out.iter().any(|(_, s)| s.key() == service.key()) {
                    out.push((revision, service));
                }
            }
        }
        out
    }

    pub fn service_id(&self, service: &Service) -> String {
        format!("{}.{}", self.id, service.key())
    }

    /// The same service as the instance's own revision has it.
    pub(super) fn own<'a>(&'a self, instance: &Standing, service: &Service) -> Option<&'a Service> {
        if instance.workload != service.workload {
            return None;
        }
        self.models.get(&instance.revision)?.services.iter().find(|s| s.key() == service.key())
    }

    /// Ready, and in rotation wherever a node balances it.
    pub fn is_available(&self, instance: &Standing, reports: &Reports) -> bool {
        is_ready(instance, reports) && self.rotations_of(instance).into_iter().all(|id| is_in_all(instance, &rotations(&id, reports)))
    }

    /// All of a workload's that are.
    pub fn available(&self, workload: &Name, reports: &Reports) -> BTreeSet<InstanceId> {
        // Looked for once: thousands of nodes may balance the same thousand instances.
        let mut known: BTreeMap<String, Vec<&BTreeSet<InstanceId>>> = BTreeMap::new();
        let mut is_balanced = |instance: &Standing| {
            self.rotations_of(instance).into_iter().all(|id| is_in_all(instance, known.entry(id).or_insert_with_key(|id| rotations(id, reports))))
        };
        let ready = self.instances.iter().filter(|i| i.workload == *workload && is_ready(i, reports));
        ready.filter(|i| is_balanced(i)).map(|i| i.id).collect()
    }

    /// The revision that the previews show.
    pub fn newest(&self) -> u64 {
        self.traffic.share.as_ref().map_or(self.current, |share| share.new)
    }

    /// The balanced names that have to have it before it counts as available.
    fn rotations_of(&self, instance: &Standing) -> Vec<String> {
        let mut out = Vec::new();
        for (_, service) in self.services() {
            let Some(own) = self.own(instance, service) else { continue };
            if service.has_rotation() && self.has_requests(instance) {
                out.push(self.service_id(service));
            }
            if instance.revision == self.newest() && traffic::is_seen(own) {
                out.push(traffic::preview_id(&self.service_id(service)));
            }
        }
        out
    }

    /// Does its revision get any of the requests that are not asked of the preview?
    pub fn has_requests(&self, instance: &Standing) -> bool {
        let exchanged = self.models.get(&instance.revision).and_then(|m| m.workloads.get(&instance.workload)).is_some_and(Workload::is_exchanged);
        !exchanged || self.traffic.reaches(instance.revision)
    }

    /// Does another node still send it requests, or wait for answers? Its own node drains by itself.
    fn served_elsewhere(&self, instance: &Standing, reports: &Reports) -> bool {
        let prefix = self.id.to_string();
        let rotates = |r: &Report| r.rotation.iter().any(|(id, rotation)| id.starts_with(&prefix) && rotation.contains(&instance.id));
        reports.iter().any(|(node, r)| *node != instance.node && (rotates(r.as_ref()) || r.draining.contains(&instance.id)))
    }

    /// The instances of this application that shall be on `node`.
    pub fn instances_on(&self, node: &Name, reports: &Reports) -> Vec<WantedInstance> {
        self.instances.iter().filter(|i| i.node == *node).filter_map(|instance| self.wanted_instance(instance, reports)).collect()
    }

    /// One of its instances; `None`: its revision has no such workload. `reports`: at least of the nodes that balance something or wait
    /// for answers.
    pub fn wanted_instance(&self, instance: &Standing, reports: &Reports) -> Option<WantedInstance> {
        let model = self.models.get(&instance.revision)?;
        let workload = model.workloads.get(&instance.workload)?;
        let joined = model.networks.iter().filter(|(name, network)| network.is_of_nodes() && workload.nics.iter().any(|nic| nic.network == **name));
        Some(WantedInstance {
            networks: joined.map(|(name, network)| (name.clone(), network.clone())).collect(),
            id: instance.id,
            name: instance_name(&self.name, &instance.workload, instance.index),
            app: self.id,
            app_name: self.name.clone(),
            home: self.home.clone(),
            workload: instance.workload.clone(),
            revision: instance.revision,
            spec: Arc::new(self.with_volumes(workload, instance)),
            stopping: self.is_stopping(instance, reports),
        })
    }

    /// Is known what the instance shall be?
    pub fn is_known(&self, instance: &Standing) -> bool {
        self.models.get(&instance.revision).is_some_and(|m| m.workloads.contains_key(&instance.workload))
    }

    /// Is its node to stop it now?
    pub fn is_stopping(&self, instance: &Standing, reports: &Reports) -> bool {
        instance.phase == Phase::Stopping && !self.served_elsewhere(instance, reports)
    }

    /// Volumes named so that no two applications, and no two numbers of a stateful workload, share one.
    fn with_volumes(&self, workload: &Workload, instance: &Standing) -> Workload {
        let mut own = workload.clone();
        for container in own.others_mut() {
            self.name_volumes(&mut container.mounts, workload.kind, instance);
        }
        self.name_volumes(&mut own.mounts, workload.kind, instance);
        own
    }

    fn name_volumes(&self, mounts: &mut [Mount], kind: WorkloadKind, instance: &Standing) {
        let volumes = self.models.get(&instance.revision).map(|m| &m.volumes);
        let size = |m: &Mount| volumes.and_then(|all| all.get(&m.source)).map_or(0, |v| v.size_bytes);
        let sizes: Vec<u64> = mounts.iter().map(size).collect();
        let network = |m: &Mount| volumes.and_then(|all| all.get(&m.source)).and_then(Volume::nfs);
        let mut folders: Vec<Option<(String, bool)>> = mounts.iter().map(network).collect();
        for (n, mount) in mounts.iter_mut().enumerate().filter(|(_, m)| m.kind == MountKind::Volume) {
            if let Some((folder, read_only)) = folders[n].take() {
                (mount.kind, mount.source) = (MountKind::Nfs, folder);
                mount.read_only |= read_only;
                continue;
            }
            mount.source = match mount.source.as_str() {
                "" => format!("{}.anonymous-{n}", instance.id),
                name => volume_name(self.id, kind, name, instance.index),
            };
            if mount.size_bytes == 0 {
                mount.size_bytes = sizes.get(n).copied().unwrap_or(0);
            }
        }
    }

    /// Its services as every node balances them, with public addresses as if the node had them all.
    pub fn wanted_services(&self, node: &Name, reports: &Reports) -> Vec<WantedService> {
        let port = |s: &Service| (s.protocol == Protocol::Udp, s.publish.map_or(0, |p| p.listen));
        let all = self.services();
        // A port has one name: the new one, where a release gives it to another.
        let given: BTreeSet<(bool, u16)> = all.iter().filter(|(revision, _)| *revision == self.current).map(|(_, s)| port(s)).collect();
        let of = |(revision, service): (u64, &Service)| WantedService {
            id: self.service_id(service),
            name: service.name.clone(),
            app: self.id,
            app_name: self.name.clone(),
            home: self.home.clone(),
            workload: service.workload.clone(),
            revision,
            protocol: service.protocol,
            balance: service.balance.clone(),
            listen: Some(port(service)).filter(|p| revision == self.current || !given.contains(p)).map_or(0, |(_, listen)| listen),
            routes: service.routes.iter().filter(|r| r.is_served()).cloned().collect(),
            port: service.service_port,
            aliases: service.aliases.clone(),
            backends: traffic::shared(self, service, self.backends(service, node, reports)),
            headers: traffic::headers(self, service),
            hold: self.may_be_empty(service),
            access: service.access.clone(),
            public: service.address.as_ref().and_then(|a| Some((a.given?, service.public_port()))),
            singles: if service.headless { self.singles(service, reports) } else { Vec::new() },
            sticky_seconds: service.sticky_seconds,
            h2: service.h2,
            certificates: self.models.get(&revision).map(|model| super::sites::certificates(model, service)).unwrap_or_default(),
        };
        // A name without a port has nothing that a balancer could listen on.
        let services = all.iter().copied().filter(|(_, s)| s.port > 0);
        let previews = |at: (u64, &Service)| traffic::preview(self, at.1, of(at), || self.backends(at.1, node, reports));
        services.flat_map(|at| std::iter::once(of(at)).chain(previews(at))).collect()
    }

    /// Where a service's instances themselves are: those that are available, each at the port of its own revision.
    pub fn reached(&self, service: &Service, reports: &Reports) -> Vec<Backend> {
        let of = |instance: &Standing| {
            let own = self.own(instance, service).filter(|_| instance.phase != Phase::Stopping && self.is_available(instance, reports))?;
            let seen = reports.get(&instance.node)?.instances.get(&instance.id)?;
            Some(Backend { instance: instance.id, port: own.port, address: seen.address.clone(), weight: PLAIN_WEIGHT })
        };
        self.instances.iter().filter_map(of).collect()
    }

    /// Its names for what runs elsewhere: those of the current revision.
    pub fn outside(&self) -> impl Iterator<Item = OutsideName> + '_ {
        let of = self.models.get(&self.current).into_iter().flat_map(|model| &model.outside);
        of.map(move |(name, outside)| OutsideName {
            name: name.clone(),
            address: outside.address.clone(),
            app: self.id,
            app_name: self.name.clone(),
            home: self.home.clone(),
        })
    }

    /// Does its workload go down to nothing while nobody asks?
    fn may_be_empty(&self, service: &Service) -> bool {
        let workload = self.models.get(&self.current).and_then(|m| m.workloads.get(&service.workload));
        workload.and_then(|w| w.scaling.as_ref()).is_some_and(|s| s.min == 0)
    }

    /// By their names also while they are not ready: those of a cluster of databases have to find each other before they are.
    fn singles(&self, service: &Service, reports: &Reports) -> Vec<Single> {
        let of = |instance: &Standing| {
            self.own(instance, service)?;
            let seen = reports.get(&instance.node).and_then(|r| r.instances.get(&instance.id));
            let address = seen.map_or_else(|| instance.address.clone(), |o| o.address.clone());
            let names = vec![format!("{}-{}", instance.workload, instance.index), instance_name(&self.name, &instance.workload, instance.index)];
            (!address.is_empty()).then(|| Single { names, address, ready: is_ready(instance, reports) && self.has_requests(instance) })
        };
        self.instances.iter().filter(|i| i.phase != Phase::Stopping).filter_map(of).collect()
    }

    fn backends(&self, service: &Service, node: &Name, reports: &Reports) -> Vec<Backend> {
        let mut out = Vec::new();
        for instance in self.instances.iter().filter(|i| i.phase != Phase::Stopping) {
            let Some(own) = self.own(instance, service) else { continue };
            let seen = reports.get(&instance.node).and_then(|r| r.instances.get(&instance.id));
            let address = seen.map_or_else(|| instance.address.clone(), |o| o.address.clone());
            // A node knows best whether its own instances are ready; of others it learns only when they are.
            let counts = instance.node == *node || seen.map_or(instance.phase == Phase::Running, |o| o.ready);
            if counts {
                out.push(Backend { instance: instance.id, port: own.port, address, weight: PLAIN_WEIGHT });
            }
        }
        out
    }
}

fn is_ready(instance: &Standing, reports: &Reports) -> bool {
    let seen = reports.get(&instance.node).and_then(|r| r.instances.get(&instance.id));
    seen.is_some_and(|o| o.ready && o.seen == super::engine::Seen::Running)
}

/// What the balancers of a service have in rotation; those that have the same as the one before are left out.
fn rotations<'a>(id: &str, reports: &'a Reports) -> Vec<&'a BTreeSet<InstanceId>> {
    let mut out: Vec<&BTreeSet<InstanceId>> = Vec::new();
    for rotation in reports.values().filter_map(|r| r.rotation.get(id)) {
        if out.last().is_none_or(|before| *before != rotation) {
            out.push(rotation);
        }
    }
    out
}

/// Has every balancer got it, and is there one?
fn is_in_all(instance: &Standing, rotations: &[&BTreeSet<InstanceId>]) -> bool {
    !rotations.is_empty() && rotations.iter().all(|rotation| rotation.contains(&instance.id))
}

/// The pod's host name, within the 63 characters of a DNS label.
pub fn instance_name(app: &Name, workload: &Name, index: u32) -> String {
    let tail = format!("-{index}");
    let mut head = format!("{app}-{workload}");
    head.truncate(63 - tail.len());
    format!("{}{tail}", head.trim_end_matches('-'))
}

/// As its node calls a named volume.
pub fn volume_name(app: AppId, kind: WorkloadKind, name: &str, index: u32) -> String {
    match kind {
        WorkloadKind::Stateful => format!("{app}.{name}.{index}"),
        _ => format!("{app}.{name}"),
    }
}

/// The volumes by name that a workload keeps.
pub fn kept_volumes(workload: &Workload) -> BTreeSet<&str> {
    let others = workload.others().flat_map(|c| &c.mounts);
    workload.mounts.iter().chain(others).filter(|m| m.kind == MountKind::Volume && !m.source.is_empty()).map(|m| m.source.as_str()).collect()
}

/// Those of them that lie on the node itself: folders of servers are wherever it is. `volumes`: of its application.
pub fn node_volumes<'a>(workload: &'a Workload, volumes: &BTreeMap<String, Volume>) -> BTreeSet<&'a str> {
    let far = |source: &str| volumes.get(source).is_some_and(|v| v.nfs().is_some());
    kept_volumes(workload).into_iter().filter(|source| !far(source)).collect()
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{OrgId, ProjectId, SpaceId, Uuid};

    use super::*;
    use crate::domain::engine::{Observation, Seen};
    use crate::domain::model::{Outside, Publish};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn service(port: u16) -> Service {
        let publish = Some(Publish { wanted: 20080, listen: 20080 });
        Service { publish, ..Service::plain(name("web"), name("web"), port, Protocol::Tcp) }
    }

    fn standing(n: u128, revision: u64, node: &str, phase: Phase) -> Standing {
        Standing { id: InstanceId(Uuid::from_u128(n)), workload: name("web"), index: 0, revision, node: name(node), phase, address: String::new() }
    }

    fn view(instances: Vec<Standing>) -> AppView {
        let uuid = Uuid::from_u128(9);
        let model =
            |port| Arc::new(Model { workloads: BTreeMap::from([(name("web"), Workload::default())]), services: vec![service(port)], ..Model::default() });
        let home =
            Home { org: OrgId(uuid), project: ProjectId(uuid), space: SpaceId(uuid), org_name: name("o"), project_name: name("p"), space_name: name("s") };
        AppView {
            id: AppId(uuid),
            name: name("shop"),
            home,
            current: 2,
            from: Some(1),
            models: BTreeMap::from([(1, model(80)), (2, model(8080))]),
            instances,
            traffic: Traffic::default(),
        }
    }

    fn report(instances: &[u128], rotation: &[u128]) -> Arc<Report> {
        let id = |n: &u128| InstanceId(Uuid::from_u128(*n));
        let seen = |n: &u128| {
            (id(n), Observation { seen: Seen::Running, ready: true, address: format!("10.0.0.{n}"), restarts: 0, exit_code: 0, reason: String::new() })
        };
        let service = format!("{}.{}", AppId(Uuid::from_u128(9)), service(1).key());
        Arc::new(Report {
            generation: 1,
            instances: instances.iter().map(seen).collect(),
            rotation: BTreeMap::from([(service, rotation.iter().map(id).collect())]),
            ..Report::default()
        })
    }

    #[test]
    fn each_instance_is_reached_at_the_port_of_its_own_revision() {
        let app = view(vec![standing(1, 1, "a", Phase::Running), standing(2, 2, "a", Phase::Running)]);
        let services = app.wanted_services(&name("a"), &Reports::new());
        assert_eq!(services.len(), 1, "one published port is one service, whatever stands behind it");
        assert_eq!(services[0].backends.iter().map(|b| b.port).collect::<Vec<_>>(), [80, 8080]);
    }

    #[test]
    fn a_port_that_another_name_gets_is_the_new_ones_while_both_serve() {
        let mut app = view(vec![standing(1, 1, "a", Phase::Running), standing(2, 2, "a", Phase::Running)]);
        let renamed = Service { name: name("front"), ..service(8080) };
        let model = Model { workloads: BTreeMap::from([(name("web"), Workload::default())]), services: vec![renamed], ..Model::default() };
        app.models.insert(2, Arc::new(model));
        let services = app.wanted_services(&name("a"), &Reports::new());
        let listen: Vec<(&str, u16)> = services.iter().map(|s| (s.name.as_str(), s.listen)).collect();
        assert_eq!(listen, [("front", 20080), ("web", 0)]);
    }

    #[test]
    fn a_service_is_reached_at_its_available_instances_at_their_own_ports() {
        let app = view(vec![standing(1, 1, "a", Phase::Running), standing(2, 2, "a", Phase::Running), standing(3, 2, "a", Phase::Stopping)]);
        let at = |rotation: &[u128]| {
            let reports = Reports::from([(name("a"), report(&[1, 2, 3], rotation))]);
            app.reached(&service(8080), &reports).into_iter().map(|b| (b.address, b.port)).collect::<Vec<_>>()
        };
        assert_eq!(at(&[1, 2, 3]), [("10.0.0.1".to_owned(), 80), ("10.0.0.2".to_owned(), 8080)]);
        assert_eq!(at(&[2]), [("10.0.0.2".to_owned(), 8080)], "the other one is not balanced");
    }

    #[test]
    fn names_for_what_runs_elsewhere_are_those_of_the_current_revision() {
        let mut app = view(Vec::new());
        let outside = |address: &str| BTreeMap::from([(name("bank"), Outside { address: address.into(), ..Outside::default() })]);
        let model = |address: &str| Arc::new(Model { outside: outside(address), ..Model::default() });
        app.models = BTreeMap::from([(1, model("old.example.org")), (2, model("bank.example.org"))]);
        let names: Vec<(String, String, String)> = app.outside().map(|o| (o.name.to_string(), o.address, o.app_name.to_string())).collect();
        assert_eq!(names, [("bank".to_owned(), "bank.example.org".to_owned(), "shop".to_owned())]);
    }

    #[test]
    fn an_instance_is_available_when_every_balancer_has_it() {
        let app = view(vec![standing(1, 2, "a", Phase::Running)]);
        let reports = |b: &[u128]| Reports::from([(name("a"), report(&[1], &[1])), (name("b"), report(&[], b))]);
        assert!(app.is_available(&app.instances[0], &reports(&[1])));
        assert!(!app.is_available(&app.instances[0], &reports(&[])));
        assert!(!app.is_available(&app.instances[0], &Reports::new()), "nobody balances it yet");
    }

    #[test]
    fn the_available_ones_of_a_workload_are_those_that_are_available_each_for_itself() {
        let app = view(vec![standing(1, 2, "a", Phase::Running), standing(2, 2, "a", Phase::Running), standing(3, 2, "b", Phase::Running)]);
        let cases: [(&[u128], &[u128]); 3] = [(&[1, 2, 3], &[1, 2, 3]), (&[1, 2], &[1]), (&[], &[1, 2, 3])];
        for (a, b) in cases {
            let reports = Reports::from([(name("a"), report(&[1, 2], a)), (name("b"), report(&[3], b)), (name("c"), report(&[], a))]);
            let each: BTreeSet<InstanceId> = app.instances.iter().filter(|i| app.is_available(i, &reports)).map(|i| i.id).collect();
            assert_eq!(app.available(&name("web"), &reports), each, "{a:?} and {b:?} in rotation");
            assert!(app.available(&name("other"), &reports).is_empty());
        }
    }

    #[test]
    fn a_stopping_instance_leaves_all_balancers_before_it_is_stopped() {
        let app = view(vec![standing(1, 1, "a", Phase::Stopping)]);
        let reports = |b: &[u128]| Reports::from([(name("a"), report(&[1], &[1])), (name("b"), report(&[], b))]);
        assert!(app.wanted_services(&name("b"), &reports(&[1]))[0].backends.is_empty());
        assert!(!app.instances_on(&name("a"), &reports(&[1]))[0].stopping);
        assert!(app.instances_on(&name("a"), &reports(&[]))[0].stopping);
        let mut answering = reports(&[]);
        Arc::make_mut(answering.get_mut(&name("b")).unwrap()).draining.insert(app.instances[0].id);
        assert!(!app.instances_on(&name("a"), &answering)[0].stopping, "its answers through another node are waited for");
    }

    #[test]
    fn a_volume_of_an_nfs_server_is_mounted_from_there_and_others_are_the_nodes() {
        let mut app = view(vec![standing(1, 2, "a", Phase::Running)]);
        let options = [("type", "nfs"), ("o", "addr=nas.test,ro"), ("device", ":/exports/data")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let shared = Volume { options: options.into(), ..Volume::default() };
        let mounts = ["shared", "own"].map(|source| Mount::new(MountKind::Volume, source, format!("/{source}"))).to_vec();
        let model = Model {
            workloads: BTreeMap::from([(name("web"), Workload { mounts, ..Workload::default() })]),
            volumes: BTreeMap::from([("shared".to_owned(), shared), ("own".to_owned(), Volume::default())]),
            ..Model::default()
        };
        assert_eq!(node_volumes(&model.workloads[&name("web")], &model.volumes), BTreeSet::from(["own"]), "the other one ties it to no node");
        app.models.insert(2, Arc::new(model));
        let spec = app.instances_on(&name("a"), &Reports::new())[0].spec.clone();
        assert_eq!((spec.mounts[0].kind, spec.mounts[0].source.as_str(), spec.mounts[0].read_only), (MountKind::Nfs, "nas.test:/exports/data", true));
        assert_eq!((spec.mounts[1].kind, spec.mounts[1].source.clone()), (MountKind::Volume, format!("{}.own", app.id)));
        let half = Volume { options: [("type".to_owned(), "nfs".to_owned())].into(), ..Volume::default() };
        assert_eq!(half.nfs(), None);
    }

    #[test]
    fn a_name_stays_a_dns_label() {
        let long = name(&"x".repeat(63));
        assert_eq!(instance_name(&long, &long, 123).len(), 63);
        assert_eq!(instance_name(&name("a"), &name("b"), 0), "a-b-0");
    }

    #[test]
    fn the_instances_of_a_headless_service_have_names_of_their_own() {
        let at = |n: u128, index: u32, address: &str, phase: Phase| Standing { index, address: address.into(), ..standing(n, 2, "n1", phase) };
        let mut view =
            view(vec![at(1, 0, "", Phase::Running), at(2, 1, "10.0.0.22", Phase::Running), at(3, 2, "", Phase::Placed), at(4, 3, "10.0.0.4", Phase::Stopping)]);
        let reports = Reports::from([(name("n1"), report(&[1], &[]))]);
        assert!(view.wanted_services(&name("n2"), &reports)[0].singles.is_empty(), "its name means a balanced address");
        for model in view.models.values_mut() {
            Arc::make_mut(model).services[0].headless = true;
        }
        let services = view.wanted_services(&name("n2"), &reports);
        let told: Vec<_> = services[0].singles.iter().map(|s| (s.names.join(" "), s.address.as_str(), s.ready)).collect();
        assert_eq!(told, [("web-0 shop-web-0".to_owned(), "10.0.0.1", true), ("web-1 shop-web-1".to_owned(), "10.0.0.22", false)]);
    }
}
