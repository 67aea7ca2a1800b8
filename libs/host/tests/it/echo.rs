//! A service with one aggregate-less endpoint of each kind.

use std::net::SocketAddr;

use async_trait::async_trait;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::{Extension, Router};
use gantry_auth::{Caller, Peer};
use gantry_es::{Meta, NewEvent, StreamId};
use gantry_es_pg::Append;
use gantry_host::config::Nothing;
use gantry_host::{ApiResult, Host, Json, Parts, Service};
use gantry_kernel::{Problem, Role, Scope};
use serde::{Deserialize, Serialize};

pub struct Echo;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    pub text: String,
    pub times: u8,
}

#[async_trait]
impl Service for Echo {
    const NAME: &'static str = "echo";
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, host: Host) -> anyhow::Result<Parts> {
        let router = Router::new()
            .route("/api/v1/notes", post(note))
            .route("/api/v1/platform", get(platform))
            .route("/api/v1/broken", get(broken))
            .route("/api/v1/panic", get(panics))
            .route("/api/v1/who", get(who))
            .with_state(host);
        Ok(Parts { router, ..Parts::default() })
    }
}

async fn note(axum::extract::State(host): axum::extract::State<Host>, caller: Caller, Json(body): Json<Note>) -> ApiResult<Json<serde_json::Value>> {
    let event = NewEvent { kind: "note.written".into(), kind_version: 1, data: serde_json::json!({ "text": body.text }).into() };
    let append = Append::one(StreamId::new("note", "all"), None, vec![event], Meta { command_id: None, ..caller.meta(None) });
    let appended = host.log().append(append).await.map_err(Problem::internal)?;
    Ok(Json(serde_json::json!({ "position": appended.position })))
}

async fn platform(axum::extract::State(host): axum::extract::State<Host>, caller: Caller) -> ApiResult<&'static str> {
    host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    Ok("you may")
}

/// Who asks, and from which port.
async fn who(Extension(Peer(name)): Extension<Peer>, ConnectInfo(from): ConnectInfo<SocketAddr>) -> String {
    format!("{name} {}", from.port())
}

async fn broken() -> ApiResult<()> {
    Err(Problem::internal(std::io::Error::other("the password is hunter2")))
}

async fn panics() -> ApiResult<()> {
    panic!("the password is hunter2")
}
