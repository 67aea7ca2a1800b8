//! `scheduler.v1.Applications`: each instance is an application of its space, named `svc-<name>`.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_contract::proto::scheduler::applications_client::ApplicationsClient;
use gantry_contract::proto::scheduler::{App, AppRef, DeployRequest, Endpoint};
use gantry_host::{Channel, Host};
use gantry_kernel::Problem;
use tonic::{Code, Request as Call, Status, Streaming};

use crate::domain::instance::Request;
use crate::domain::offering::{Address, Reached};

/// How long one call may take; watching has no end.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Scheduler(pub Host);

/// How far an application has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Underway,
    Running,
    Failed(String),
}

/// State after state of one application.
pub struct Watch(Streaming<App>);

impl Watch {
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Seen>, Status> {
        Ok(self.0.message().await?.map(|app| seen(&app)))
    }
}

fn seen(app: &App) -> Seen {
    match app.state.as_str() {
        "running" => Seen::Running,
        "failed" => Seen::Failed(if app.reason.is_empty() { "the application failed".into() } else { app.reason.clone() }),
        "stopped" | "deleting" | "deleted" => Seen::Failed(format!("the application is {}", app.state)),
        _ => Seen::Underway,
    }
}

fn reference(request: &Request) -> AppRef {
    AppRef {
        org: request.org_name.to_string(),
        project: request.project_name.to_string(),
        space: request.space_name.to_string(),
        app: format!("svc-{}", request.name),
    }
}

impl Scheduler {
    fn client(&self) -> Result<ApplicationsClient<Channel>, Status> {
        Ok(ApplicationsClient::new(self.0.channel("scheduler")?))
    }

    /// # Errors
    /// The scheduler's refusal.
    pub async fn deploy(&self, request: &Request, document: String, values: BTreeMap<String, String>) -> Result<(), Status> {
        let mut call = Call::new(DeployRequest {
            app: Some(reference(request)),
            format: "compose".into(),
            document,
            values: values.into_iter().collect(),
            reason: format!("service instance {} ({} {})", request.name, request.offering, request.plan),
            subject: request.subject.clone(),
            idempotency_key: format!("provision-{}", request.instance),
            ..DeployRequest::default()
        });
        call.set_timeout(DEADLINE);
        self.client()?.deploy(call).await?;
        Ok(())
    }

    /// # Errors
    /// The scheduler's refusal.
    pub async fn watch(&self, request: &Request) -> Result<Watch, Status> {
        Ok(Watch(ApplicationsClient::new(self.0.channel("scheduler")?.endless()).watch(reference(request)).await?.into_inner()))
    }

    /// Deleting what is not there is done.
    ///
    /// # Errors
    /// The scheduler's refusal.
    pub async fn delete(&self, request: &Request) -> Result<(), Status> {
        let mut call = Call::new(reference(request));
        call.set_timeout(DEADLINE);
        match self.client()?.delete(call).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// Where the service named `service` of an instance answers now.
    ///
    /// # Errors
    /// The scheduler's refusal, or that it answers nowhere.
    pub async fn reached(&self, request: &Request, service: &str) -> Result<Reached, Problem> {
        let mut call = Call::new(reference(request));
        call.set_timeout(DEADLINE);
        let app = self.client()?.get(call).await.map_err(Problem::from)?.into_inner();
        reached(&app, service).ok_or_else(|| Problem::unavailable("the instance's address"))
    }
}

fn reached(app: &App, service: &str) -> Option<Reached> {
    let of = |all: &[Endpoint]| {
        let named = all.iter().find(|e| e.service == service || e.service.starts_with(&format!("{service}-")));
        let found = named.or(all.first())?;
        Some(Address { host: found.host.clone(), port: u16::try_from(found.port).ok()? })
    };
    let outside = of(&app.endpoints);
    // A scheduler of the version before tells only that.
    let inside = of(&app.inside).or_else(|| outside.clone())?;
    Some(Reached { inside, outside })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_the_name_inside_and_others_the_address_outside() {
        let endpoint = |service: &str, host: &str, port| Endpoint { service: service.into(), host: host.into(), port, ..Endpoint::default() };
        let address = |host: &str, port| Address { host: host.into(), port };
        let mut app = App {
            endpoints: vec![endpoint("admin", "localhost", 20_001), endpoint("redis", "localhost", 20_017)],
            inside: vec![endpoint("admin", "admin.svc-cache", 80), endpoint("redis-6379", "redis.svc-cache", 6379)],
            ..App::default()
        };
        let outside = Some(address("localhost", 20_017));
        assert_eq!(reached(&app, "redis"), Some(Reached { inside: address("redis.svc-cache", 6379), outside: outside.clone() }));
        app.inside.clear();
        assert_eq!(reached(&app, "redis"), Some(Reached { inside: address("localhost", 20_017), outside }));
        app.endpoints.clear();
        assert_eq!(reached(&app, "redis"), None);
    }

    #[test]
    fn only_running_is_ready_and_what_ends_says_why() {
        let app = |state: &str, reason: &str| App { state: state.into(), reason: reason.into(), ..App::default() };
        assert_eq!(seen(&app("running", "")), Seen::Running);
        for state in ["pending", "releasing", "degraded", "new-state"] {
            assert_eq!(seen(&app(state, "")), Seen::Underway, "{state}");
        }
        assert_eq!(seen(&app("failed", "image not found")), Seen::Failed("image not found".into()));
        assert_eq!(seen(&app("deleted", "")), Seen::Failed("the application is deleted".into()));
    }
}
