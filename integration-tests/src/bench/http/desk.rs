//! A service as small as can be on the real host, in a process of its own: it greets whoever may know the platform, and reads
//! single rows of its projection. It goes by identity's name, since the gateway asks no others; one of these is in its process, as in the
//! default installation, where everything runs in one.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use gantry_auth::Caller;
use gantry_es::{Meta, NewEvent, Recorded, StreamId};
use gantry_es_pg::{Append, Loader, Projection};
use gantry_gateway::{Gateway, GatewayConfig};
use gantry_host::config::Nothing;
use gantry_host::{ApiResult, Host, Json, Parts, Platform, Running, Service, load, telemetry};
use gantry_kernel::{Env, Problem, UserId};
use gantry_servers::server::free_port;
use gantry_testkit::Signer;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::{Deserialize, Serialize};

use super::process::Process;
use crate::bench::ground::{Ground, runtime};

pub const SERVICE: &str = "identity";
pub const GREETING: &str = "/api/v1/me";
/// Rows of the projection, by the numbers from 1.
pub const ROWS: usize = 1_000;

pub fn row_path(number: usize) -> String {
    format!("/api/v1/users/{number}")
}

/// What the child says once it serves.
#[derive(Serialize, Deserialize)]
struct Said {
    address: SocketAddr,
    door: SocketAddr,
    token: String,
}

/// The running child.
pub struct Desk {
    process: Process,
    pub address: SocketAddr,
    /// Of the gateway in its process.
    pub door: SocketAddr,
    pub token: String,
}

impl Desk {
    pub fn start(ground: &Ground) -> Result<Self> {
        let log = ground.folder().join("desk.log");
        let mut process = Process::start(&std::env::current_exe()?, &["--desk"], &ground.platform(), &log, &[])?;
        let mut line = String::new();
        BufReader::new(process.stdout().context("its output is ours")?).read_line(&mut line)?;
        if line.is_empty() {
            bail!("the bench's service did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        let Said { address, door, token } = serde_json::from_str(&line)?;
        Ok(Self { process, address, door, token })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The child itself: serves until its input ends.
///
/// # Errors
/// When it cannot start.
pub fn serve() -> Result<()> {
    let mut loaded = load(None)?;
    let platform: Platform = loaded.section("platform");
    let url = platform.public_url.clone();
    runtime()?.block_on(async {
        telemetry::init(&platform)?;
        let running = Running::new(platform, Env::system())?;
        let host = gantry_host::start::<Front>(Nothing {}, &running).await?;
        let signer = Signer::new();
        host.auth.verifier.keys().set(&signer.set);
        let address = host.url_of(SERVICE)?.trim_start_matches("https://").parse()?;
        let door = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        // One client on one address is all there is here.
        gantry_host::start::<Gateway>(GatewayConfig { listen: door, requests_per_second: 0, ..GatewayConfig::default() }, &running).await?;
        let token = signer.user(&running.env, &url, UserId(running.env.uuid()), "ada");
        println!("{}", serde_json::to_string(&Said { address, door, token })?);
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        running.stop().await;
        Ok(())
    })
}

struct Front;

struct Notes;

#[async_trait]
impl Projection for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }
    fn ddl(&self) -> &'static str {
        "create table notes (id bigint primary key, text text not null)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["notes"]
    }
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> Result<()> {
        tx.execute_unprepared(&format!("insert into notes values ({}, 'a note of a usual length')", event.position)).await?;
        Ok(())
    }
}

#[async_trait]
impl Service for Front {
    const NAME: &'static str = SERVICE;
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, host: Host) -> Result<Parts> {
        host.project(Arc::new(Notes)).await?;
        if host.log().head() == 0 {
            let event = NewEvent { kind: "note.written".into(), kind_version: 1, data: serde_json::json!({}).into() };
            let events = vec![event; ROWS];
            let written = host.log().append(Append::one(StreamId::new("note", "1"), None, events, Meta::system())).await?;
            host.settled(written.position).await;
        }
        let pool = host.db().pool.clone();
        let notes = Loader::new(move |ids: Vec<i64>| {
            let pool = pool.clone();
            async move { sqlx::query_as("select id, text from notes where id = any($1)").bind(ids).fetch_all(&pool).await }
        });
        let routes = Router::new().route(GREETING, get(greeting)).with_state(host);
        Ok(Parts { router: routes.route("/api/v1/users/{id}", get(row).with_state(notes)), ..Parts::default() })
    }
}

#[derive(Serialize)]
struct Greeting {
    subject: String,
    username: Option<String>,
    organisations: Vec<gantry_auth::OrgRef>,
}

async fn greeting(State(host): State<Host>, caller: Caller) -> ApiResult<Json<Greeting>> {
    let organisations = host.auth.read(|rights| rights.visible_orgs(&caller.subject));
    Ok(Json(Greeting { subject: caller.subject, username: caller.username, organisations }))
}

#[derive(Serialize)]
struct Note {
    text: String,
}

async fn row(State(notes): State<Loader<i64, String>>, _: Caller, gantry_host::Path(id): gantry_host::Path<i64>) -> ApiResult<Json<Note>> {
    let text = notes.get(id).await.map_err(Problem::internal)?;
    Ok(Json(Note { text: text.ok_or_else(|| Problem::not_found("note", id))? }))
}
