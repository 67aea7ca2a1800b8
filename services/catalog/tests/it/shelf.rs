//! What the tests share: a space, callers, and the catalogue beside its scheduler.

use std::time::Duration;

use gantry_catalog::{Catalog, Config};
use gantry_host::Host;
use gantry_kernel::{Role, Secret, UserId};
use gantry_testkit::World;
use reqwest::Method;
use serde_json::Value;

use crate::scheduler::FakeScheduler;

pub const LONG: Duration = Duration::from_secs(20);
pub const OSB_PASSWORD: &str = "a-long-enough-password";

pub struct Shelf {
    pub world: World,
    pub host: Host,
    pub scheduler: FakeScheduler,
    pub editor: String,
    pub editor_id: UserId,
    pub viewer: String,
    pub stranger: String,
}

pub fn config() -> Config {
    Config { osb_password: Secret::new(OSB_PASSWORD), ..Config::default() }
}

impl Shelf {
    pub async fn open() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: Config) -> Self {
        let world = World::new().await;
        let scheduler = FakeScheduler::start(&world.running).await;
        let host = world.start::<Catalog>(config).await;
        let org = world.identity.org("acme").await;
        let project = world.identity.project(&org, "shop", false).await;
        let space = world.identity.space(&project, "test").await;
        let other = world.identity.org("globex").await;
        let [editor, viewer, stranger] = [world.user(), world.user(), world.user()];
        world.identity.grant(&format!("user:{editor}"), Role::Editor, project.scope()).await;
        world.identity.grant(&format!("user:{viewer}"), Role::Viewer, space.scope()).await;
        world.identity.grant(&format!("user:{stranger}"), Role::Admin, other.scope()).await;
        world.identity.settle(&host).await;
        let [e, v, s] = [editor, viewer, stranger].map(|user| world.token(user, "somebody"));
        Self { world, host, scheduler, editor: e, editor_id: editor, viewer: v, stranger: s }
    }

    pub fn path(&self, tail: &str) -> String {
        format!("/api/v1/orgs/acme/projects/shop/spaces/test/instances{tail}")
    }

    pub async fn call(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        self.world.call(&self.host, method, path, Some(token), body.as_ref()).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, &self.editor, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, &self.editor, Some(body)).await
    }

    pub async fn until_state(&self, name: &str, state: &str) {
        let path = self.path(&format!("/{name}"));
        self.world.until(&format!("{name} is {state}"), LONG, || async { self.get(&path).await.1["state"] == state }).await;
    }
}
