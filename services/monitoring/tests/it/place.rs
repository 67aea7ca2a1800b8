//! What the tests share: an application in a space, its scheduler's log, and callers.

use std::time::Duration;

use gantry_auth::SpaceRef;
use gantry_contract::logs::{LogBatch, LogLine};
use gantry_contract::scheduler::AppEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, Db, Log, Settings};
use gantry_host::{Host, Platform};
use gantry_kernel::{AppId, InstanceId, Name, OffsetDateTime, Role, Scope, UserId, Uuid};
use gantry_monitoring::{Config, Monitoring};
use gantry_testkit::World;
use reqwest::Method;
use serde_json::Value;

pub const LONG: Duration = Duration::from_secs(20);

pub struct Place {
    pub world: World,
    pub host: Host,
    pub space: SpaceRef,
    pub app: AppId,
    pub root: String,
    pub admin: String,
    pub admin_id: UserId,
    /// May read the space and nothing else.
    pub reader: String,
    /// Administrator of another organisation.
    pub stranger: String,
    scheduler: Log,
}

impl Place {
    pub async fn open(change: impl FnOnce(&mut Platform)) -> Self {
        let world = World::with(change).await;
        let host = world.start::<Monitoring>(Config { alert_seconds: 1, ..Config::default() }).await;
        let org = world.identity.org("acme").await;
        let project = world.identity.project(&org, "shop", false).await;
        let space = world.identity.space(&project, "test").await;
        let other = world.identity.org("globex").await;
        let [root, admin, reader, stranger] = [world.user(), world.user(), world.user(), world.user()];
        let subject = |user: UserId| format!("user:{user}");
        world.identity.grant(&subject(root), Role::Admin, Scope::Platform).await;
        world.identity.grant(&subject(admin), Role::Admin, org.scope()).await;
        world.identity.grant(&subject(reader), Role::Viewer, space.scope()).await;
        world.identity.grant(&subject(stranger), Role::Admin, other.scope()).await;
        world.identity.settle(&host).await;
        let scheduler = scheduler_log(&world).await;
        let app = AppId(Uuid::now_v7());
        let tokens = [root, admin, reader, stranger].map(|user| world.token(user, "somebody"));
        let [root, admin_token, reader, stranger] = tokens;
        let place = Self { world, host, space, app, root, admin: admin_token, admin_id: admin, reader, stranger, scheduler };
        let project = &place.space.project;
        let created = AppEvent::Created {
            app,
            org: project.org.id,
            project: project.id,
            space: place.space.id,
            name: name("web"),
            org_name: project.org.name.clone(),
            project_name: project.name.clone(),
            space_name: place.space.name.clone(),
        };
        place.happened(app, created).await;
        place.world.until("the application is known", LONG, || async { place.get(&place.path("logs"), &place.reader).await.0 == 200 }).await;
        place
    }

    /// Something the organisation's administrator did at the scheduler.
    pub async fn happened<E: EventData>(&self, id: impl std::fmt::Display, event: E) {
        let meta = Meta { actor: format!("user:{}", self.admin_id), tenant: Some(self.space.project.org.id), from: Some("10.1.2.3".into()), ..Meta::default() };
        self.scheduler.append(Append::one(StreamId::of::<E>(id), None, vec![event.encode()], meta)).await.expect("the event is appended");
    }

    pub fn path(&self, what: &str) -> String {
        format!("/api/v1/orgs/acme/projects/shop/spaces/test/apps/web/{what}")
    }

    pub async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.world.call(&self.host, Method::GET, path, Some(token), None).await
    }

    /// `body` to a path of the space.
    pub async fn put_at(&self, what: &str, token: &str, body: &Value) -> (u16, Value) {
        self.world.call(&self.host, Method::PUT, &self.of_space(what), Some(token), Some(body)).await
    }

    pub async fn delete_at(&self, what: &str, token: &str) -> (u16, Value) {
        self.world.call(&self.host, Method::DELETE, &self.of_space(what), Some(token), None).await
    }

    pub fn of_space(&self, what: &str) -> String {
        format!("/api/v1/orgs/acme/projects/shop/spaces/test/{what}")
    }

    pub async fn open_stream(&self, path: &str, token: &str, last: Option<&str>) -> reqwest::Response {
        let url = format!("{}{path}", self.host.url_of("monitoring").expect("it listens"));
        let mut request = self.world.http.get(url).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.expect("the stream opens")
    }

    pub fn batch(&self, instance: Uuid, offset: u64, lines: &[(OffsetDateTime, &str)]) -> LogBatch {
        let line = |(at, text): &(OffsetDateTime, &str)| LogLine { at: *at, stream: "stdout".into(), text: (*text).into() };
        LogBatch {
            org: "acme".into(),
            project: "shop".into(),
            space: "test".into(),
            app: "web".into(),
            app_id: self.app,
            workload: "web".into(),
            instance: InstanceId(instance),
            node: "n1".into(),
            offset,
            attempt: 0,
            lines: lines.iter().map(line).collect(),
        }
    }

    pub async fn print(&self, batch: &LogBatch) {
        self.put(gantry_bus::streams::LOGS, "acme.shop.test.web", serde_json::to_vec(batch).expect("JSON")).await;
    }

    pub async fn put(&self, stream: &str, tail: &str, payload: Vec<u8>) {
        self.host.bus.sample_stream(stream).await.expect("the stream is there");
        gantry_bus::publish(&self.host.bus, stream, tail, Uuid::now_v7(), payload).await.expect("it is stored");
    }
}

/// A log of origin `scheduler`, relayed to the bus.
async fn scheduler_log(world: &World) -> Log {
    let (running, platform) = (&world.running, &world.running.platform);
    let settings = Settings { url: platform.database_url.expose().to_owned(), schema: platform.schema("scheduler"), max_connections: 2 };
    let db = Db::open(&settings, &[]).await.expect("the schema is made");
    let log = Log::open(db, "scheduler", running.env.clone(), &running.cancel, &running.tracker).await.expect("the log opens");
    let bus = gantry_bus::Bus::connect(platform.nats_url.expose(), &platform.prefix, "test scheduler").await.expect("NATS answers");
    gantry_bus::start_relay(bus, log.clone(), running.cancel.clone(), &running.tracker);
    log
}

pub fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// Reads a stream until `enough` says so; the `(id, data)` of each event.
pub async fn events_until(response: &mut reqwest::Response, enough: impl Fn(&[(String, Value)]) -> bool) -> Vec<(String, Value)> {
    let (mut text, mut events) = (String::new(), Vec::new());
    let all = async {
        while !enough(&events) {
            let Some(chunk) = response.chunk().await.expect("the stream is readable") else { break };
            text.push_str(&String::from_utf8_lossy(&chunk));
            while let Some((event, rest)) = text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned());
                if let Some(data) = field("data:") {
                    events.push((field("id:").unwrap_or_default(), serde_json::from_str(&data).expect("JSON")));
                }
                text = rest.to_owned();
            }
        }
    };
    tokio::time::timeout(gantry_testkit::patience(LONG), all).await.expect("the events come in time");
    events
}
