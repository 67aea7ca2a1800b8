//! `Applications`: deploy, look, delete and watch, with the rights of the subject that the calling service names.

use std::pin::Pin;

use futures::Stream;
use gantry_auth::SpaceRef;
use gantry_contract::proto::scheduler as proto;
use gantry_contract::proto::scheduler::applications_server::Applications;
use gantry_es::Meta;
use gantry_es_pg::Expect;
use gantry_kernel::{Kind, Name, Problem};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::app::Scheduler;
use crate::app::change::{self, Change};
use crate::app::deploy::{self, Deploy};
use crate::app::documents::Source;
use crate::app::view::{self, EndpointBody, Seeing};
use crate::domain::app::Command;

const CALLERS: &[&str] = &["cicd", "catalog"];

pub struct ApplicationsApi(pub Scheduler);

impl ApplicationsApi {
    fn space(&self, at: &proto::AppRef) -> Result<SpaceRef, Problem> {
        self.0.host.auth.space(&at.org, &at.project, &at.space)
    }
}

fn reference(at: Option<proto::AppRef>) -> Result<proto::AppRef, Problem> {
    at.ok_or_else(|| Problem::invalid("app", "is needed"))
}

async fn look(s: &Scheduler, space: &SpaceRef, app: &str) -> Result<proto::App, Problem> {
    let row = change::find(s, space, app).await?;
    let seeing = view::see(s, row, &view::reports(s)).await?;
    Ok(to_proto(s, &seeing))
}

fn to_proto(s: &Scheduler, seeing: &Seeing) -> proto::App {
    let body = seeing.body(s);
    let instances = seeing.instances().into_iter().map(|i| proto::Instance {
        instance_id: i.id.to_string(),
        workload: i.workload,
        revision: i.revision,
        node: i.node,
        state: i.state,
        address: i.address,
        restarts: i.restarts,
        reason: i.reason,
    });
    let endpoint =
        |e: EndpointBody| proto::Endpoint { service: e.service, host: e.host, port: e.port.into(), protocol: e.protocol.as_str().into(), url: e.url };
    proto::App {
        app_id: body.id.to_string(),
        r#ref: Some(proto::AppRef { org: body.org.clone(), project: body.project.clone(), space: body.space.clone(), app: body.name.clone() }),
        revision: body.revision,
        state: body.state.clone(),
        reason: body.reason.clone(),
        instances: instances.collect(),
        endpoints: body.endpoints.into_iter().map(endpoint).collect(),
        inside: seeing.inside(s).into_iter().map(endpoint).collect(),
    }
}

#[tonic::async_trait]
impl Applications for ApplicationsApi {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<proto::App, Status>> + Send>>;

    async fn deploy(&self, request: Request<proto::DeployRequest>) -> Result<Response<proto::DeployResponse>, Status> {
        let peer = gantry_auth::peer(&request, CALLERS)?;
        let request = request.into_inner();
        let at = reference(request.app)?;
        let name = Name::parse(&at.app).map_err(|e| Problem::invalid("app.app", e.to_string()))?;
        let command_id = (!request.idempotency_key.is_empty()).then(|| format!("{peer}:{}", request.idempotency_key));
        let deploy = Deploy {
            space: self.space(&at)?,
            name,
            source: Source {
                format: request.format,
                document: request.document,
                values: request.values.into_iter().collect(),
                files: request.files.into_iter().collect(),
                images: request.images.into_iter().collect(),
                ..Source::default()
            },
            allow_unsupported: request.allow_unsupported,
            reason: request.reason,
            queue: request.queue,
            dry_run: false,
            meta: Meta { actor: request.subject.clone(), command_id, ..Meta::default() },
            subject: request.subject,
            expect: Expect::Any,
        };
        let deployed = deploy::deploy(&self.0, deploy).await?;
        Ok(Response::new(proto::DeployResponse { app_id: deployed.app_id.to_string(), revision: deployed.revision }))
    }

    async fn get(&self, request: Request<proto::AppRef>) -> Result<Response<proto::App>, Status> {
        gantry_auth::peer(&request, CALLERS)?;
        let at = request.into_inner();
        Ok(Response::new(look(&self.0, &self.space(&at)?, &at.app).await?))
    }

    async fn delete(&self, request: Request<proto::AppRef>) -> Result<Response<proto::DeleteResponse>, Status> {
        let peer = gantry_auth::peer(&request, CALLERS)?;
        let at = request.into_inner();
        let subject = format!("service:{peer}");
        let meta = Meta { actor: subject.clone(), ..Meta::default() };
        let change = Change { space: self.space(&at)?, app: at.app, command: Command::Delete, subject, meta, expect: Expect::Any };
        match change::change(&self.0, change).await {
            Ok(_) => Ok(Response::new(proto::DeleteResponse {})),
            // Deleting twice is deleting once.
            Err(problem) if problem.kind == Kind::NotFound => Ok(Response::new(proto::DeleteResponse {})),
            Err(problem) => Err(problem.into()),
        }
    }

    async fn watch(&self, request: Request<proto::AppRef>) -> Result<Response<Self::WatchStream>, Status> {
        gantry_auth::peer(&request, CALLERS)?;
        let at = request.into_inner();
        let space = self.space(&at)?;
        let mut moved = self.0.moved.subscribe();
        let first = look(&self.0, &space, &at.app).await?;
        let (sender, receiver) = mpsc::channel(8);
        let s = self.0.clone();
        self.0.host.tracker.spawn(async move {
            let mut last = first.clone();
            if sender.send(Ok(first)).await.is_err() {
                return;
            }
            loop {
                tokio::select! {
                    () = s.host.cancel.cancelled() => return,
                    () = sender.closed() => return,
                    changed = moved.changed() => if changed.is_err() { return },
                }
                let next = match look(&s, &space, &at.app).await {
                    Ok(app) if app == last => continue,
                    Ok(app) => app,
                    Err(problem) if problem.kind == Kind::NotFound => {
                        let gone = proto::App { state: "deleted".into(), reason: "it has been deleted".into(), instances: Vec::new(), ..last };
                        let _ = sender.send(Ok(gone)).await;
                        return;
                    }
                    Err(problem) => {
                        let _ = sender.send(Err(problem.into())).await;
                        return;
                    }
                };
                last = next.clone();
                if sender.send(Ok(next)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
