//! Repositories and runs over gRPC, as programs with a person's token use them.

use gantry_cicd::{Cicd, OF_REST};
use gantry_client::cicd as api;
use gantry_client::cicd::repositories_client::RepositoriesClient;
use gantry_client::cicd::runs_client::RunsClient;
use gantry_host::Service;
use gantry_kernel::Role;
use gantry_testkit::agreement::{Apart, disagreements};
use gantry_testkit::refusals::Stranger::{Nothing, Refused};
use gantry_testkit::refusals::{Callers, Line, faults};
use gantry_testkit::rpc::{by, gateway};
use serde_json::json;
use tonic::Code;

use crate::place::{Place, WAIT};

const WAITS: &str = "stages:\n- name: ship\n  steps:\n  - {name: sure, approval: Ship it?}\n";

#[test]
fn every_operation_of_rest_has_its_rpc_with_the_same_fields() {
    let document = serde_json::to_value(Cicd::openapi()).unwrap();
    let faults = disagreements(&document, OF_REST, &Apart::default());
    assert!(faults.is_empty(), "{}", faults.into_iter().collect::<Vec<_>>().join("\n"));
}

/// In an order in which an administrator can make all the calls one after another.
fn table() -> Vec<Line> {
    let shop = json!({ "org": "acme", "project": "shop" });
    let run = json!({ "org": "acme", "project": "shop", "run": "00000000-0000-4000-8000-000000000000" });
    let with = |name: &str, value: &str| {
        let mut more = run.clone();
        more[name] = json!(value);
        more
    };
    vec![
        ("Repositories.ListRepositories", shop.clone(), Refused),
        ("Repositories.WatchRepositories", shop.clone(), Refused),
        ("Repositories.CreateRepository", json!({ "org": "acme", "project": "shop", "name": "web" }), Refused),
        ("Runs.ListRuns", shop.clone(), Refused),
        ("Runs.WatchRuns", shop, Refused),
        ("Runs.StartRun", json!({ "org": "acme", "project": "shop", "repository": "web", "ref": "main" }), Refused),
        ("Runs.GetRun", run.clone(), Nothing),
        ("Runs.WatchRun", run.clone(), Nothing),
        ("Runs.ApproveRun", with("step", "sure"), Nothing),
        ("Runs.CancelRun", run.clone(), Nothing),
        ("Runs.ListArtifacts", run.clone(), Nothing),
        ("Runs.GetArtifact", with("name", "step/file"), Nothing),
        ("Runs.GetStepLog", with("step", "sure"), Nothing),
        ("Runs.FollowStepLog", with("step", "sure"), Nothing),
        ("Repositories.DeleteRepository", json!({ "org": "acme", "project": "shop", "repository": "web" }), Refused),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_nobody_and_strangers_and_lets_its_administrator_through() {
    let place = Place::new().await;
    let (eve, ada) = (place.world.user(), place.world.user());
    place.world.identity.grant(&format!("user:{ada}"), Role::Admin, place.project.scope()).await;
    place.world.identity.settle(&place.host).await;
    let (stranger, administrator) = (place.world.token(eve, "eve"), place.world.token(ada, "ada"));
    let callers = Callers { channel: gateway(&place.world, &place.host), stranger: &stranger, administrator: &administrator };
    let wrong = faults(&callers, OF_REST, &table()).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_watched_approved_followed_started_and_cancelled_over_grpc() {
    let place = Place::new().await;
    let channel = gateway(&place.world, &place.host);
    let (org, project) = ("acme".to_owned(), "shop".to_owned());
    let mut repositories = RepositoriesClient::new(channel.clone());
    let ask = api::CreateRepositoryRequest { org: org.clone(), project: project.clone(), name: "web".into() };
    let made = repositories.create_repository(by(&place.token(), ask.clone())).await.unwrap().into_inner();
    assert!(made.clone_url.ends_with("/git/acme/shop/web.git"), "{}", made.clone_url);
    assert_eq!(repositories.create_repository(by(&place.token(), ask)).await.unwrap_err().code(), Code::FailedPrecondition, "once");
    place.push(WAITS);
    let run = place.run_in(&["waiting"]).await["id"].as_str().unwrap().to_owned();

    let mut runs = RunsClient::new(channel);
    let ask = api::GetRunRequest { org: org.clone(), project: project.clone(), run: run.clone() };
    let mut watched = runs.watch_run(by(&place.token(), ask)).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().expect("as it is").state, "waiting");
    let log = api::GetStepLogRequest { org: org.clone(), project: project.clone(), run: run.clone(), step: "sure".into() };
    let mut followed = runs.follow_step_log(by(&place.token(), log.clone())).await.unwrap().into_inner();
    let ask = api::ApproveRunRequest { org: org.clone(), project: project.clone(), run: run.clone(), step: "sure".into() };
    runs.approve_run(by(&place.token(), ask)).await.unwrap();
    let over = async { while watched.message().await.unwrap().expect("again").state != "succeeded" {} };
    tokio::time::timeout(gantry_testkit::patience(WAIT), over).await.expect("that it is over is told");
    let end = async {
        let mut last = None;
        while let Some(event) = followed.message().await.unwrap() {
            last = Some(event);
        }
        last
    };
    let last = tokio::time::timeout(gantry_testkit::patience(WAIT), end).await.expect("it ends").expect("the end");
    assert_eq!((last.event.as_str(), last.data.as_str()), ("end", "succeeded"));
    let mut pieces = runs.get_step_log(by(&place.token(), log)).await.unwrap().into_inner();
    while let Some(piece) = pieces.message().await.unwrap() {
        assert!(piece.content_type.starts_with("text/plain"));
    }
    let none = api::GetArtifactRequest { org: org.clone(), project: project.clone(), run, name: "sure/none.txt".into() };
    assert_eq!(runs.get_artifact(by(&place.token(), none)).await.unwrap_err().code(), Code::NotFound);

    let ask = api::StartRunRequest { org: org.clone(), project: project.clone(), r#ref: "main".into(), repository: "web".into() };
    let second = runs.start_run(by(&place.token(), ask)).await.unwrap().into_inner();
    assert_eq!((second.number, second.trigger.as_str()), (2, "manual"));
    let cancelled = runs.cancel_run(by(&place.token(), api::CancelRunRequest { org, project, run: second.id })).await.unwrap().into_inner();
    assert_eq!(cancelled.state, "cancelled");
}
