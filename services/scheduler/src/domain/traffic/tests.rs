use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_kernel::{AppId, Name, OrgId, ProjectId, SpaceId, Uuid};

use super::*;
use crate::domain::app::Home;
use crate::domain::engine::{Observation, Report, Seen};
use crate::domain::model::{Access, Model, Preview, Publish, Workload};
use crate::domain::observe::Phase;
use crate::domain::wanted::{Reports, Standing};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn id(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

/// Instances 1 to `old` are of revision 1, 101 to 100 + `new` of revision 2, all ready.
fn app(old: u128, new: u128, traffic: Traffic) -> (AppView, Reports) {
    let uuid = Uuid::from_u128(9);
    let service = Service {
        routes: vec![Route::new("shop.test", "/")],
        publish: Some(Publish { wanted: 80, listen: 20_000 }),
        access: Access { concurrent: 9, ..Access::default() },
        preview: Some(Preview { host: "preview.shop.test".into(), publish: Some(Publish { wanted: 0, listen: 20_001 }) }),
        ..Service::plain(name("web"), name("web"), 80, Protocol::Http)
    };
    let model = Arc::new(Model { workloads: BTreeMap::from([(name("web"), Workload::default())]), services: vec![service], ..Model::default() });
    let standing =
        |n: u128, revision| Standing { id: id(n), workload: name("web"), index: 0, revision, node: name("a"), phase: Phase::Running, address: String::new() };
    let instances: Vec<Standing> = (1..=old).map(|n| standing(n, 1)).chain((101..=100 + new).map(|n| standing(n, 2))).collect();
    let seen =
        |i: &Standing| (i.id, Observation { seen: Seen::Running, ready: true, address: "10.0.0.1".into(), restarts: 0, exit_code: 0, reason: String::new() });
    let report = Report { generation: 1, instances: instances.iter().map(seen).collect(), ..Report::default() };
    let home = Home { org: OrgId(uuid), project: ProjectId(uuid), space: SpaceId(uuid), org_name: name("o"), project_name: name("p"), space_name: name("s") };
    let models = BTreeMap::from([(1, model.clone()), (2, model)]);
    let view = AppView { id: AppId(uuid), name: name("shop"), home, current: 2, from: Some(1), models, instances, traffic };
    (view, Reports::from([(name("a"), Arc::new(report))]))
}

fn share(percent: u32) -> Traffic {
    let header = Some(HeaderMatch { name: "X-Canary".into(), value: "yes".into() });
    Traffic { hidden: BTreeSet::new(), share: Some(Share { new: 2, percent, header }), wanted: BTreeMap::new() }
}

fn behind(service: &WantedService) -> Vec<(u128, u32)> {
    service.backends.iter().map(|b| (b.instance.0.as_u128(), b.weight)).collect()
}

#[test]
fn before_the_switch_all_go_to_the_old_and_the_preview_shows_the_new() {
    let (app, reports) = app(2, 2, share(0));
    let services = app.wanted_services(&name("a"), &reports);
    assert_eq!((behind(&services[0]), behind(&services[1])), (vec![(1, 100), (2, 100)], vec![(101, 100), (102, 100)]));
    assert!(services.iter().all(|s| s.access.concurrent == 9), "what is said of the one counts for the other");
    let preview = &services[1];
    assert_eq!((preview.name.as_str(), preview.listen, preview.routes[0].host.as_str()), ("web-preview", 20_001, "preview.shop.test"));
    assert_eq!(services[0].headers, [(HeaderMatch { name: "X-Canary".into(), value: "yes".into() }, preview.id.clone())]);
}

#[test]
fn a_share_is_a_matter_of_weights() {
    let (app, reports) = app(3, 1, share(25));
    let services = app.wanted_services(&name("a"), &reports);
    let weights: Vec<u32> = behind(&services[0]).into_iter().map(|(_, w)| w).collect();
    assert_eq!(weights, [256, 256, 256, 256]);
}

#[test]
fn after_the_switch_only_the_new_have_requests_and_where_there_are_none_the_old() {
    let (both, reports) = app(1, 1, share(100));
    assert_eq!(behind(&both.wanted_services(&name("a"), &reports)[0]), [(101, 100)]);
    let (alone, reports) = app(1, 0, share(100));
    assert_eq!(behind(&alone.wanted_services(&name("a"), &reports)[0]), [(1, 100)]);
}

#[test]
fn what_was_given_up_has_no_requests() {
    let given_up = Traffic { hidden: BTreeSet::from([2]), share: None, wanted: BTreeMap::from([(name("web"), 1)]) };
    let (mut view, reports) = app(1, 1, given_up);
    view.current = 1;
    assert_eq!(behind(&view.wanted_services(&name("a"), &reports)[0]), [(1, 100)]);
    assert!(!view.has_requests(&view.instances[1]) && view.has_requests(&view.instances[0]));
}

#[test]
fn the_first_old_one_that_is_back_does_not_get_everything() {
    let given_up = Traffic { hidden: BTreeSet::from([2]), share: None, wanted: BTreeMap::from([(name("web"), 3)]) };
    let behind_of = |old, new| {
        let (mut view, reports) = app(old, new, given_up.clone());
        view.current = 1;
        behind(&view.wanted_services(&name("a"), &reports)[0]).into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(behind_of(1, 3), [1, 101, 102, 103]);
    assert_eq!(behind_of(2, 2), [1, 2, 101, 102]);
    assert_eq!(behind_of(3, 1), [1, 2, 3]);
}

#[test]
fn what_was_given_up_stays_hidden_while_one_of_the_old_set_is_not_ready() {
    let given_up = Traffic { hidden: BTreeSet::from([2]), share: None, wanted: BTreeMap::from([(name("web"), 3)]) };
    let (mut view, mut reports) = app(3, 3, given_up);
    view.current = 1;
    Arc::make_mut(reports.get_mut(&name("a")).unwrap()).instances.get_mut(&id(2)).unwrap().ready = false;
    let shown: Vec<u128> = behind(&view.wanted_services(&name("a"), &reports)[0]).into_iter().map(|(id, _)| id).collect();
    // The node has its own instances in the list and knows itself whether they are ready; of another one's it hears.
    assert!(shown.iter().all(|id| *id < 100), "{shown:?}");
    let elsewhere: Vec<u128> = behind(&view.wanted_services(&name("b"), &reports)[0]).into_iter().map(|(id, _)| id).collect();
    assert_eq!(elsewhere, [1, 3]);
}

#[test]
fn an_instance_is_available_where_its_requests_are() {
    let (app, mut reports) = app(1, 1, share(0));
    let main = app.service_id(&app.models[&1].services[0]);
    let rotation = [(main.clone(), BTreeSet::from([id(1)])), (preview_id(&main), BTreeSet::from([id(101)]))];
    Arc::make_mut(reports.get_mut(&name("a")).unwrap()).rotation = rotation.into();
    assert!(app.is_available(&app.instances[0], &reports), "the old one need not be in the preview");
    assert!(app.is_available(&app.instances[1], &reports), "the new one need not be among the rest");
}
