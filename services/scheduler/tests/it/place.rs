//! One installation per test: the scheduler, its neighbours, a space and a user with rights in it.

use std::time::Duration;

use gantry_auth::SpaceRef;
use gantry_contract::proto::scheduler::applications_client::ApplicationsClient;
use gantry_host::{Host, Leaf};
use gantry_kernel::Role;
use gantry_scheduler::{Config, Scheduler};
use gantry_testkit::{World, rpc};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::neighbours::{Billing, Identity, Limits, Registry};

pub const LONG: Duration = Duration::from_secs(30);

pub struct Place {
    pub world: World,
    pub host: Host,
    pub space: SpaceRef,
    /// Of an editor of the project.
    pub token: String,
    pub subject: String,
    /// Owner of the files of an installation that was stopped and started again.
    _before: Option<World>,
}

pub fn config() -> Config {
    // The least that an operator may set. A machine that stands still for less than four seconds loses no node by it.
    let mut config = Config { node_timeout_seconds: 6, usage_interval_seconds: 1, ..Config::default() };
    // Tests say themselves when instances are to move to nodes that come.
    config.placement.rebalance_moves = 0;
    config.kubernetes.drain_seconds = 1;
    config
}

impl Place {
    pub async fn new() -> Self {
        Self::with(config(), Limits::default()).await
    }

    pub async fn with(config: Config, limits: Limits) -> Self {
        Self::on(World::new().await, config, limits).await
    }

    pub async fn on(world: World, config: Config, limits: Limits) -> Self {
        world.start::<Billing>(limits).await;
        world.start::<Registry>(Default::default()).await;
        world.start::<Identity>(Default::default()).await;
        let host = world.start::<Scheduler>(config).await;
        let org = world.identity.org("acme").await;
        let project = world.identity.project(&org, "shop", false).await;
        let space = world.identity.space(&project, "test").await;
        let user = world.user();
        let subject = format!("user:{user}");
        world.identity.grant(&subject, Role::Editor, project.scope()).await;
        world.identity.settle(&host).await;
        let token = world.token(user, "ada");
        Self { world, host, space, token, subject, _before: None }
    }

    /// The process ends and another one starts, with the same database and files.
    pub async fn restarted(self, config: Config) -> Self {
        self.world.running.stop().await;
        let platform = self.world.running.platform.clone();
        let world = World::with(move |p| *p = platform).await;
        world.start::<Billing>(Limits::default()).await;
        world.start::<Registry>(Default::default()).await;
        world.start::<Identity>(Default::default()).await;
        let host = world.start::<Scheduler>(config).await;
        world.identity.settle(&host).await;
        let token = world.token_of(&self.subject);
        Self { world, host, token, space: self.space, subject: self.subject, _before: Some(self.world) }
    }

    pub fn apps(&self) -> String {
        let (org, project) = (&self.space.project.org.name, &self.space.project.name);
        format!("/api/v1/orgs/{org}/projects/{project}/spaces/{}/apps", self.space.name)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.world.call(&self.host, Method::GET, path, Some(&self.token), None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.world.call(&self.host, Method::POST, path, Some(&self.token), Some(&body)).await
    }

    pub async fn deploy(&self, name: &str, document: &str) -> (u16, Value) {
        self.post(&self.apps(), json!({"name": name, "document": document, "reason": "test"})).await
    }

    pub async fn app(&self, name: &str) -> Value {
        self.get(&format!("{}/{name}", self.apps())).await.1
    }

    pub async fn instances(&self, name: &str) -> Vec<Value> {
        let (_, list) = self.get(&format!("{}/{name}/instances", self.apps())).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the application is in `state` with `revision`.
    pub async fn reaches(&self, name: &str, state: &str, revision: u64) {
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let app = self.app(name).await;
            if app["state"] == state && app["revision"] == revision {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "not {state} at revision {revision}: {app:#}\n{:#?}", self.instances(name).await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// A token of an administrator of the platform.
    pub async fn operator(&self) -> String {
        self.world.operator(&self.host).await
    }

    /// Waits until instances can be placed on the node: attaching alone does not make it known.
    pub async fn has_node(&self, name: &str) {
        let token = self.operator().await;
        let ready = async || {
            let (_, nodes) = self.world.call(&self.host, Method::GET, "/api/v1/nodes", Some(&token), None).await;
            nodes["items"].as_array().is_some_and(|all| all.iter().any(|n| n["name"] == name && n["state"] == "ready"))
        };
        self.world.until("the node is known", LONG, ready).await;
    }

    /// A gRPC channel with the certificate of another service.
    pub fn channel(&self, peer: &str) -> Channel {
        rpc::channel(&self.world, &self.host, peer)
    }

    /// The same with this certificate.
    pub fn channel_of(&self, leaf: &Leaf) -> Channel {
        rpc::channel_of(&self.world, &self.host, leaf)
    }

    pub fn applications(&self, peer: &str) -> ApplicationsClient<Channel> {
        ApplicationsClient::new(self.channel(peer))
    }
}

/// A compose file with one balanced service.
pub fn web(image: &str, replicas: u32) -> String {
    format!(
        "services:\n  web:\n    image: acme/shop/web:{image}\n    environment: {{SECRET: hunter2}}\n    ports: ['20080:8080']\n    deploy:\n      replicas: {replicas}\n      resources: {{limits: {{cpus: '0.1', memory: 64M}}}}\n      update_config: {{parallelism: 1, monitor: 10s}}\n"
    )
}

/// The same, which is released as `release` says (a map of YAML).
pub fn released(image: &str, replicas: u32, release: &str) -> String {
    format!("{}x-gantry:\n  release: {release}\n", web(image, replicas))
}
