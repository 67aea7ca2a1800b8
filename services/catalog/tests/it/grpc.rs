//! The catalogue over gRPC, as programs with a person's token use it.

use gantry_catalog::{Catalog, OF_REST};
use gantry_client::catalog as api;
use gantry_client::catalog::offerings_client::OfferingsClient;
use gantry_client::catalog::service_instances_client::ServiceInstancesClient;
use gantry_host::Service;
use gantry_testkit::agreement::{Apart, disagreements};
use gantry_testkit::refusals::Stranger::{Nothing, Own, Refused};
use gantry_testkit::refusals::{Callers, Line, faults};
use gantry_testkit::rpc::{by, gateway};
use serde_json::json;
use tonic::Code;

use crate::shelf::{LONG, Shelf};

#[test]
fn every_operation_of_rest_has_its_rpc_with_the_same_fields() {
    let document = serde_json::to_value(Catalog::openapi()).expect("JSON");
    let faults = disagreements(&document, OF_REST, &Apart::default());
    assert!(faults.is_empty(), "{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}

/// In an order in which an administrator can make all the calls one after another.
fn table() -> Vec<Line> {
    let space = json!({ "org": "acme", "project": "shop", "space": "test" });
    let wanted = json!({ "org": "acme", "project": "shop", "space": "test", "offering": "redis", "plan": "small", "name": "cache" });
    let cache = json!({ "org": "acme", "project": "shop", "space": "test", "instance": "cache" });
    let binding = json!({ "org": "acme", "project": "shop", "space": "test", "instance": "cache", "binding": "web" });
    vec![
        ("Offerings.ListOfferings", json!({}), Own),
        ("ServiceInstances.ListServiceInstances", space.clone(), Refused),
        ("ServiceInstances.WatchServiceInstances", space, Refused),
        ("ServiceInstances.RequestServiceInstance", wanted, Refused),
        ("ServiceInstances.GetServiceInstance", cache.clone(), Refused),
        ("ServiceInstances.Bind", json!({ "org": "acme", "project": "shop", "space": "test", "instance": "cache", "name": "web" }), Refused),
        ("ServiceInstances.GetBinding", binding.clone(), Nothing),
        // There is none, but what is not ready is told first.
        ("ServiceInstances.Unbind", binding, Refused),
        ("ServiceInstances.DeleteServiceInstance", cache, Refused),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_nobody_and_strangers_and_lets_those_who_may_through() {
    let shelf = Shelf::open().await;
    let callers = Callers { channel: gateway(&shelf.world, &shelf.host), stranger: &shelf.stranger, administrator: &shelf.editor };
    let wrong = faults(&callers, OF_REST, &table()).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_requested_watched_bound_and_deleted_over_grpc() {
    let shelf = Shelf::open().await;
    let channel = gateway(&shelf.world, &shelf.host);
    let offerings = OfferingsClient::new(channel.clone()).list_offerings(by(&shelf.viewer, ())).await.expect("a list").into_inner().items;
    let redis = offerings.iter().find(|o| o.name == "redis").expect("redis");
    assert!(redis.plans.iter().any(|p| p.parameters.is_some()), "with the schema of its parameters");

    let (org, project, space) = ("acme".to_owned(), "shop".to_owned(), "test".to_owned());
    let mut instances = ServiceInstancesClient::new(channel);
    let ask = api::ListServiceInstancesRequest { org: org.clone(), project: project.clone(), space: space.clone() };
    let mut watched = instances.watch_service_instances(by(&shelf.editor, ask)).await.expect("a stream").into_inner();
    assert!(watched.message().await.expect("it goes on").expect("as it is").items.is_empty());
    let wanted = api::RequestServiceInstanceRequest {
        org: org.clone(),
        project: project.clone(),
        space: space.clone(),
        name: "cache".into(),
        offering: "redis".into(),
        plan: "small".into(),
        parameters: None,
    };
    let unknown = api::RequestServiceInstanceRequest { offering: "oracle".into(), ..wanted.clone() };
    assert_eq!(instances.request_service_instance(by(&shelf.editor, unknown)).await.expect_err("no such offering").code(), Code::InvalidArgument);
    let refused = instances.request_service_instance(by(&shelf.viewer, wanted.clone())).await.expect_err("viewers request nothing");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let made = instances.request_service_instance(by(&shelf.editor, wanted)).await.expect("it is taken").into_inner();
    assert_eq!(made.state, "provisioning");
    shelf.scheduler.becomes("running", "");
    let ready = async {
        loop {
            let list = watched.message().await.expect("it goes on").expect("again");
            if list.items.first().is_some_and(|i| i.state == "ready") {
                return;
            }
        }
    };
    tokio::time::timeout(gantry_testkit::patience(LONG), ready).await.expect("that it is ready is told");

    let name = api::BindRequest { org: org.clone(), project: project.clone(), space: space.clone(), instance: "cache".into(), name: "web".into() };
    let bound = instances.bind(by(&shelf.editor, name)).await.expect("it is bound").into_inner();
    let again = api::GetBindingRequest { org: org.clone(), project: project.clone(), space: space.clone(), instance: "cache".into(), binding: "web".into() };
    let read = instances.get_binding(by(&shelf.editor, again.clone())).await.expect("it is read").into_inner();
    assert!(bound.credentials.is_some() && bound == read, "{read:?}");
    assert_eq!(instances.get_binding(by(&shelf.viewer, again)).await.expect_err("viewers see no secrets").code(), Code::PermissionDenied);
    let ask = api::DeleteServiceInstanceRequest { org, project, space, instance: "cache".into() };
    assert_eq!(instances.delete_service_instance(by(&shelf.editor, ask)).await.expect("it is taken").into_inner().name, "cache");
}
