//! The API over gRPC, as programs with a person's token use it.

mod agreement;
mod refusals;
mod sessions;

use gantry_client::scheduler as api;
use gantry_client::scheduler::apps_client::AppsClient;
use gantry_client::scheduler::clusters_client::ClustersClient;
use gantry_client::scheduler::instances_client::InstancesClient;
use gantry_client::scheduler::nodes_client::NodesClient;
use gantry_client::scheduler::placement_client::PlacementClient;
use gantry_client::scheduler::volumes_client::VolumesClient;
use gantry_kernel::{Role, Scope};
use gantry_testkit::rpc::by;
use tonic::Code;
use tonic_types::StatusExt;

use crate::agent::Agent;
use crate::place::{LONG, Place, web};

fn space() -> (String, String, String) {
    ("acme".into(), "shop".into(), "test".into())
}

fn deployment(document: String, dry_run: Option<bool>) -> api::DeployAppRequest {
    let (org, project, space) = space();
    let deployment = api::Deployment { name: "web".into(), document, reason: Some("over gRPC".into()), ..Default::default() };
    api::DeployAppRequest { org, project, space, deployment: Some(deployment), dry_run }
}

fn get_web() -> api::GetAppRequest {
    let (org, project, space) = space();
    api::GetAppRequest { org, project, space, app: "web".into() }
}

fn scale(replicas: u32) -> api::ScaleAppRequest {
    let (org, project, space) = space();
    api::ScaleAppRequest { org, project, space, app: "web".into(), workload: "web".into(), replicas }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_deployed_watched_scaled_and_deleted_over_grpc() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    let mut apps = AppsClient::new(place.channel("gateway"));
    let plan = apps.deploy_app(by(&place.token, deployment(web("1", 2), Some(true)))).await.unwrap().into_inner();
    assert_eq!(plan.revision, 1);
    assert_eq!(apps.get_app(by(&place.token, get_web())).await.unwrap_err().code(), Code::NotFound, "nothing was written");
    let deployed = apps.deploy_app(by(&place.token, deployment(web("1", 2), None))).await.unwrap();
    assert!(deployed.metadata().get("etag").is_some());
    assert!(deployed.get_ref().changed && deployed.get_ref().revision == 1);
    place.reaches("web", "running", 1).await;

    let (org, project, space) = space();
    let ask = api::ListAppsRequest { org: org.clone(), project: project.clone(), space: space.clone(), ..Default::default() };
    let listed = apps.list_apps(by(&place.token, ask)).await.unwrap().into_inner().items.remove(0);
    assert_eq!((listed.name.as_str(), listed.workloads[0].replicas, listed.workloads[0].kind.as_str()), ("web", 2, "stateless"));
    assert!(listed.endpoints[0].port == 20080 && !listed.endpoints[0].protocol.is_empty());
    assert!(listed.created_at.expect("when").seconds > 1_700_000_000);

    let mut watched = apps.watch_app(by(&place.token, get_web())).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().expect("as it is").state, "running");
    let scaled = apps.scale_app(by(&place.token, scale(3))).await.unwrap().into_inner();
    assert_eq!(scaled.workloads[0].replicas, 3);
    let grown = async { while watched.message().await.unwrap().expect("again").workloads[0].ready != 3 {} };
    tokio::time::timeout(gantry_testkit::patience(LONG), grown).await.expect("the third is told");

    let mut instances = InstancesClient::new(place.channel("gateway"));
    let ask = api::ListInstancesRequest { org: org.clone(), project: project.clone(), space: space.clone(), app: "web".into() };
    let all = instances.list_instances(by(&place.token, ask)).await.unwrap().into_inner().items;
    assert!(all.len() == 3 && all.iter().all(|i| i.node == "n1" && i.available && i.exit_code.is_none()), "{all:?}");

    let ask = api::ListRevisionsRequest { org: org.clone(), project: project.clone(), space: space.clone(), app: "web".into() };
    let revisions = apps.list_revisions(by(&place.token, ask)).await.unwrap().into_inner().items;
    assert_eq!((revisions[0].author.as_str(), revisions[0].reason.as_str()), (place.subject.as_str(), "over gRPC"));
    let ask = api::ExplainAppRequest { org: org.clone(), project: project.clone(), space: space.clone(), app: "web".into() };
    assert_eq!(apps.explain_app(by(&place.token, ask)).await.unwrap().into_inner().state, "running");
    let ask = api::ExportAppRequest {
        org: org.clone(),
        project: project.clone(),
        space: space.clone(),
        app: "web".into(),
        format: Some("compose".into()),
        ..Default::default()
    };
    let exported = apps.export_app(by(&place.token, ask)).await.unwrap().into_inner();
    assert!(exported.format == "compose" && exported.document.contains("acme/shop/web"), "{}", exported.document);

    let ask = api::DeleteAppRequest { org, project, space, app: "web".into() };
    apps.delete_app(by(&place.token, ask)).await.unwrap();
    assert_eq!(apps.get_app(by(&place.token, get_web())).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rest_refuses_grpc_refuses_with_the_same_code_and_details() {
    let place = Place::new().await;
    let mut apps = AppsClient::new(place.channel("gateway"));
    let bad = apps.deploy_app(by(&place.token, deployment(web("1", 1).replace("20080", "20080-x"), None))).await.unwrap_err();
    let code = bad.metadata().get("gantry-code").unwrap().to_str().unwrap().to_owned();
    assert_eq!((bad.code(), code.as_str()), (Code::InvalidArgument, "scheduler.document_invalid"), "{bad:?}");
    let details = bad.get_error_details();
    assert!(details.bad_request().unwrap().field_violations[0].field.starts_with("document:"), "{details:?}");
    assert_eq!(details.error_info().unwrap().metadata["trace_id"].len(), 32);

    apps.deploy_app(by(&place.token, deployment(web("1", 1), None))).await.unwrap();
    let mut stale = by(&place.token, scale(2));
    stale.metadata_mut().insert("if-match", "\"99\"".parse().unwrap());
    assert_eq!(apps.scale_app(stale).await.unwrap_err().code(), Code::Aborted, "somebody else was faster");
    let greedy = apps.scale_app(by(&place.token, scale(1001))).await.unwrap_err();
    let code = greedy.metadata().get("gantry-code").unwrap().to_str().unwrap().to_owned();
    assert_eq!((greedy.code(), code.as_str()), (Code::ResourceExhausted, "billing.quota_too_small"), "{greedy:?}");
    let missing = api::DeployAppRequest { deployment: None, ..deployment(String::new(), None) };
    let missing = apps.deploy_app(by(&place.token, missing)).await.unwrap_err().get_error_details();
    assert_eq!(missing.bad_request().unwrap().field_violations[0].field, "deployment");

    let viewer = place.world.user();
    place.world.identity.grant(&format!("user:{viewer}"), Role::Viewer, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let hers = place.world.token(viewer, "vic");
    assert_eq!(apps.get_app(by(&hers, get_web())).await.unwrap().into_inner().name, "web");
    assert_eq!(apps.scale_app(by(&hers, scale(2))).await.unwrap_err().code(), Code::PermissionDenied);
    let stranger = place.world.token(place.world.user(), "eve");
    let refused = match apps.watch_app(by(&stranger, get_web())).await {
        Ok(stream) => stream.into_inner().message().await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    assert_eq!(apps.get_app(get_web()).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_placement_processes_volumes_and_clusters_are_reached_over_grpc() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let op = place.world.user();
    for scope in [Scope::Platform, place.space.scope()] {
        place.world.identity.grant(&format!("user:{op}"), Role::Admin, scope).await;
    }
    place.world.identity.settle(&place.host).await;
    let op = place.world.token(op, "op");
    let channel = place.channel("gateway");
    let (org, project, space) = space();

    let mut nodes = NodesClient::new(channel.clone());
    let settings = api::NodeSettings {
        labels: [("disk".to_owned(), "fast".to_owned())].into(),
        system: Some(api::Room { cpu_millis: 500, ..Default::default() }),
        overcommit_cpu_percent: Some(200),
        ..Default::default()
    };
    let set = nodes
        .set_node_settings(by(&op, api::SetNodeSettingsRequest { node: "n1".into(), settings: Some(settings), ..Default::default() }))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((set.labels["disk"].as_str(), set.system.unwrap().cpu_millis, set.overcommit_memory_percent), ("fast", 500, None));
    let got = nodes.get_node_settings(by(&op, api::GetNodeSettingsRequest { node: "n1".into() })).await.unwrap();
    assert!(got.metadata().get("etag").is_some() && got.get_ref().labels["disk"] == "fast");
    let mut stale = by(&op, api::SetNodeSettingsRequest { node: "n1".into(), settings: Some(api::NodeSettings::default()), ..Default::default() });
    stale.metadata_mut().insert("if-match", "\"0\"".parse().unwrap());
    assert_eq!(nodes.set_node_settings(stale).await.unwrap_err().code(), Code::Aborted, "something was set already");
    nodes.cordon_node(by(&op, api::CordonNodeRequest { node: "n1".into() })).await.unwrap();
    let node = nodes.list_nodes(by(&op, ())).await.unwrap().into_inner().items.remove(0);
    assert!(node.cordoned && node.facts.unwrap().cpu_millis == Some(4000), "{:?}", node.settings);

    let mut placement = PlacementClient::new(channel.clone());
    let fast = api::NodeCondition { attribute: "node.labels.disk".into(), operator: "in".into(), values: vec!["fast".into()], weight: None };
    let rules = api::PlacementRules { spread: Some(7), preferred: vec![fast], ..Default::default() };
    let ask = api::SetPlacementRequest { org: org.clone(), project: project.clone(), space: space.clone(), rules: Some(rules) };
    placement.set_placement(by(&op, ask)).await.unwrap();
    let ask = api::GetPlacementRequest { org: org.clone(), project: project.clone(), space: space.clone() };
    let rules = placement.get_placement(by(&op, ask)).await.unwrap().into_inner();
    assert_eq!((rules.spread, rules.pack, rules.preferred[0].weight), (Some(7), None, Some(50)), "with REST's default");

    let mut instances = InstancesClient::new(channel.clone());
    let ask = api::ListProcessesRequest {
        org: org.clone(),
        project: project.clone(),
        space: space.clone(),
        app: "web".into(),
        instance: "web-web-0".into(),
        ..Default::default()
    };
    let process = instances.list_processes(by(&place.token, ask)).await.unwrap().into_inner().items.remove(0);
    assert_eq!((process.pid, process.command.as_str()), (1, "init"));
    let signal = |pid| api::SignalProcessRequest {
        org: org.clone(),
        project: project.clone(),
        space: space.clone(),
        app: "web".into(),
        instance: "web-web-0".into(),
        pid,
        signal: "TERM".into(),
        ..Default::default()
    };
    instances.signal_process(by(&place.token, signal(1))).await.unwrap();
    assert_eq!(instances.signal_process(by(&place.token, signal(2))).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(agent.opened().iter().filter(|o| o.kind == "signal").map(|o| o.pid).collect::<Vec<_>>(), [1, 2]);

    let ask = api::ListVolumesRequest { org, project, space };
    let volumes = VolumesClient::new(channel.clone()).list_volumes(by(&place.token, ask)).await.unwrap().into_inner();
    assert_eq!((volumes.unreachable.len(), volumes.items[0].node.as_deref()), (0, Some("n1")), "{:?}", volumes.items);

    let mut clusters = ClustersClient::new(channel);
    let manifest = clusters.get_cluster_manifest(by(&op, api::GetClusterManifestRequest::default())).await.unwrap().into_inner();
    assert_eq!(manifest.content_type, "application/yaml");
    assert!(String::from_utf8_lossy(&manifest.data).contains("kind: ServiceAccount"));
    assert!(clusters.list_clusters(by(&op, ())).await.unwrap().into_inner().items.is_empty());
}
