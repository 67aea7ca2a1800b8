//! What a stop in the middle leaves, the next start finds.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gantry_cicd::{Cicd, CicdConfig};
use gantry_contract::proto::scheduler::applications_server::{Applications, ApplicationsServer};
use gantry_contract::proto::scheduler::{App, AppRef, DeleteResponse, DeployRequest, DeployResponse};
use gantry_host::config::Nothing;
use gantry_host::{Host, Parts, Service};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::place::{Place, again, git, told};

const DEPLOY: &str =
    "stages:\n- name: ship\n  steps:\n  - {name: release, deploy: {file: compose.yaml, space: test, app: web, values: {COMMIT: '${GANTRY_COMMIT}'}}}\n";

/// Stands in for the scheduler: takes a deployment and says that it runs.
struct Stand;

static SEEN: Mutex<Vec<DeployRequest>> = Mutex::new(Vec::new());

#[async_trait]
impl Service for Stand {
    const NAME: &'static str = "scheduler";
    const DATABASE: bool = false;
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, _: Host) -> anyhow::Result<Parts> {
        Ok(Parts { grpc: Some(tonic::service::Routes::new(ApplicationsServer::new(Answers))), ..Parts::default() })
    }
}

struct Answers;

#[async_trait]
impl Applications for Answers {
    type WatchStream = ReceiverStream<Result<App, Status>>;

    async fn deploy(&self, request: Request<DeployRequest>) -> Result<Response<DeployResponse>, Status> {
        SEEN.lock().unwrap().push(request.into_inner());
        Ok(Response::new(DeployResponse { app_id: String::new(), revision: 7 }))
    }

    async fn watch(&self, _: Request<AppRef>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        for state in ["releasing", "running"] {
            sender.send(Ok(App { revision: 7, state: state.into(), ..App::default() })).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get(&self, _: Request<AppRef>) -> Result<Response<App>, Status> {
        Err(Status::unimplemented("not asked by cicd"))
    }

    async fn delete(&self, _: Request<AppRef>) -> Result<Response<DeleteResponse>, Status> {
        Err(Status::unimplemented("not asked by cicd"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_step_begins_anew_and_the_run_ends() {
    let mut place = Place::new().await;
    place.repository().await;
    let tree = place.push(DEPLOY);
    // Nobody is the scheduler yet: the step waits for it.
    let run = place.run_in(&["running"]).await;
    let log = place.world.home.path().join("cicd/runs").join(run["id"].as_str().unwrap()).join("release.log");
    place.world.until("the step waits", crate::place::WAIT, || async { std::fs::read_to_string(&log).is_ok_and(|t| t.contains("waiting")) }).await;
    place.world.running.stop().await;

    let second = again(&place.world.running.platform).await;
    second.start::<Stand>(Nothing::default()).await;
    place.host = second.start::<Cicd>(CicdConfig::default()).await;
    // The first one's files must stay.
    let first = std::mem::replace(&mut place.world, second);
    let run = place.run_in(&["succeeded", "failed"]).await;
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(run["state"], "succeeded", "{text}");
    assert!(text.contains("begins anew") && text.contains("revision 7 is accepted"), "{text}");
    let seen = SEEN.lock().unwrap().clone();
    let commit = told(git(&first, place.files.path(), None, &tree, &["rev-parse", "HEAD"]));
    assert_eq!(seen[0].values["COMMIT"], commit.trim());
    assert_eq!((seen[0].subject.clone(), seen[0].document.as_str()), (format!("user:{}", place.editor), "services: {}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_event_was_lost_is_found_at_the_next_start() {
    let place = Place::new().await;
    place.repository().await;
    let tree = place.tree("tree", &[(".gantry/pipeline.yaml", "stages:\n- name: ship\n  steps:\n  - {name: sure, approval: Ship it?}\n")]);
    // Past the service, straight into the bare repository: what a crash right after receive-pack leaves.
    let bare = place.world.home.path().join("git").join(place.project.id.to_string()).join("web.git");
    told(place.git(None, &tree, &["push", "-q", &bare.display().to_string(), "main"]));
    assert_eq!(place.get("/runs").await.1["items"], serde_json::json!([]));
    let second = Arc::new(again(&place.world.running.platform).await);
    second.start::<Cicd>(CicdConfig::default()).await;
    place.run_in(&["waiting"]).await;
}
