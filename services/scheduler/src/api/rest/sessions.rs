//! `.../apps/{app}/instances/{instance}/exec` and its kind: WebSockets into instances, and their processes.

use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_contract::proto::scheduler::OpenSession;
use gantry_host::{ApiResult, Json, Page, Path, Query};
use gantry_kernel::{Kind, Problem};
use http::request::Parts;
use serde::{Deserialize, Serialize};

use super::apps::readable;
use crate::api::line::{self, Line, PIECE, Streams, away};
use crate::app::Scheduler;
use crate::app::migration::{self, MigratedBody};
use crate::app::sessions::{self, At, PERMISSION};
use crate::domain::session::{END, End, OUTPUT};

/// Lists of processes are short; whatever is longer is wrong.
const MOST_OUTPUT: usize = 4 << 20;
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct InstancePath {
    pub org: String,
    pub project: String,
    pub space: String,
    pub app: String,
    /// Its id or its name.
    pub instance: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExecQuery {
    /// The command and its arguments as a JSON list: `["sh","-c","ls"]`.
    command: String,
    /// On a terminal: then there is no standard error apart.
    #[serde(default)]
    tty: bool,
    /// Input is taken from channel 0.
    #[serde(default)]
    stdin: bool,
    /// A further container of the instance; its main one if not given.
    #[serde(default)]
    container: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AttachQuery {
    #[serde(default)]
    stdin: bool,
    /// A further container of the instance; its main one if not given.
    #[serde(default)]
    container: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ForwardQuery {
    port: u16,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FileQuery {
    /// Absolute, inside of the container.
    path: String,
    /// A further container of the instance; its main one if not given.
    #[serde(default)]
    container: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ContainerQuery {
    /// A further container of the instance; its main one if not given.
    #[serde(default)]
    container: String,
}

/// A process of an instance.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessBody {
    /// As the container numbers it.
    pid: u32,
    parent: u32,
    user: u32,
    /// One letter, as in proc(5): R, S, D, Z, T.
    state: String,
    threads: u32,
    /// Processor time used so far.
    cpu_millis: u64,
    memory_bytes: u64,
    running_seconds: u64,
    command: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalBody {
    /// TERM, KILL, HUP, INT, QUIT, USR1, USR2, STOP, CONT, WINCH.
    signal: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrateBody {
    /// The node where it is to go on; the one where it is for a new pod there.
    node: String,
}

/// How the caller takes part: over a WebSocket to come, or the streams of the RPC that this call is.
enum Way {
    Socket(WebSocketUpgrade),
    Rpc(Line),
}

fn at(s: &Scheduler, caller: &Caller, path: InstancePath) -> ApiResult<At> {
    let space = readable(s, caller, &path.org, &path.project, &path.space)?;
    s.host.auth.permit(caller, PERMISSION, space.scope())?;
    Ok(At { space, app: path.app, instance: path.instance })
}

/// What every session begins with: who asks, for which instance, and may they.
pub struct Door {
    s: Scheduler,
    caller: Caller,
    at: At,
    way: Result<Way, WebSocketUpgradeRejection>,
}

impl FromRequestParts<Scheduler> for Door {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, s: &Scheduler) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, s).await?;
        let Path(path) = Path::<InstancePath>::from_request_parts(parts, s).await?;
        let at = at(s, &caller, path)?;
        let streams = parts.extensions.get::<Streams>().and_then(Streams::take);
        let way = match streams {
            Some(line) => Ok(Way::Rpc(line)),
            None => WebSocketUpgrade::from_request_parts(parts, s).await.map(Way::Socket),
        };
        Ok(Self { s: s.clone(), caller, at, way })
    }
}

impl Door {
    /// Opened before the protocol is changed, so that what is refused is refused in plain HTTP.
    async fn begin(self, action: &'static str, what: String, ask: OpenSession) -> ApiResult<Response> {
        let Self { s, caller, at, way } = self;
        let way = way.map_err(|error| Problem::invalid("upgrade", format!("this is a WebSocket: {error}")))?;
        let session = sessions::open(&s, &caller, at, action, what, ask).await?;
        Ok(match way {
            Way::Socket(upgrade) => {
                upgrade.max_message_size(PIECE).protocols(["v5.channel.k8s.io"]).on_upgrade(move |socket| line::carry(s, session, Line::of(socket)))
            }
            Way::Rpc(line) => {
                s.host.tracker.clone().spawn(line::carry(s, session, line));
                StatusCode::OK.into_response()
            }
        })
    }
}

/// Runs a command in an instance. Channels: 0 input, 1 output, 2 standard error, 3 the end, 4 size of the terminal, 255 a channel to close.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/exec", tag = "instances", params(InstancePath, ExecQuery),
    responses((status = 101, description = "A WebSocket; each message begins with the number of its channel")))]
pub async fn exec(door: Door, Query(query): Query<ExecQuery>) -> ApiResult<Response> {
    let list = |_| Problem::invalid("command", "must be a JSON list of texts, such as [\"sh\",\"-c\",\"ls\"]");
    let command: Vec<String> = serde_json::from_str(&query.command).map_err(list)?;
    if command.first().is_none_or(String::is_empty) {
        return Err(Problem::invalid("command", "must not be empty"));
    }
    let what = of(&query.container, format!("`{}`", command.join(" ")));
    let ask = OpenSession { kind: "exec".into(), command, tty: query.tty, stdin: query.stdin, container: query.container, ..OpenSession::default() };
    door.begin("instance.exec", what, ask).await
}

/// The streams of the instance's own first process. Its terminal and its input are those of its document (`tty`, `stdin_open`).
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/attach", tag = "instances", params(InstancePath, AttachQuery),
    responses((status = 101, description = "A WebSocket, as with `exec`")))]
pub async fn attach(door: Door, Query(query): Query<AttachQuery>) -> ApiResult<Response> {
    let what = of(&query.container, "attached".into());
    let ask = OpenSession { kind: "attach".into(), stdin: query.stdin, container: query.container, ..OpenSession::default() };
    door.begin("instance.attach", what, ask).await
}

/// One TCP connection to a port, from inside of the instance: also to what listens on its loopback only.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/forward", tag = "instances", params(InstancePath, ForwardQuery),
    responses((status = 101, description = "A WebSocket: channel 0 to the port, 1 from it, 3 the end")))]
pub async fn forward(door: Door, Query(query): Query<ForwardQuery>) -> ApiResult<Response> {
    let ask = OpenSession { kind: "forward".into(), port: query.port.into(), stdin: true, ..OpenSession::default() };
    door.begin("instance.port-forward", format!("port {}", query.port), ask).await
}

/// A file or folder of an instance as a tar archive. Needs no program in the image, but `tar` on Kubernetes clusters.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/download", tag = "instances", params(InstancePath, FileQuery),
    responses((status = 101, description = "A WebSocket: the archive on channel 1, 3 the end")))]
pub async fn download(door: Door, Query(query): Query<FileQuery>) -> ApiResult<Response> {
    let path = absolute(query.path)?;
    let what = of(&query.container, format!("read {path}"));
    let ask = OpenSession { kind: "download".into(), path, container: query.container, ..OpenSession::default() };
    door.begin("instance.files-read", what, ask).await
}

/// Unpacks a tar archive below a folder of an instance. Needs no program in the image, but `tar` and `sh` on Kubernetes clusters.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/upload", tag = "instances", params(InstancePath, FileQuery),
    responses((status = 101, description = "A WebSocket: the archive on channel 0, then [255, 0]; 3 the end")))]
pub async fn upload(door: Door, Query(query): Query<FileQuery>) -> ApiResult<Response> {
    let path = absolute(query.path)?;
    let what = of(&query.container, format!("wrote below {path}"));
    let ask = OpenSession { kind: "upload".into(), path, stdin: true, container: query.container, ..OpenSession::default() };
    door.begin("instance.files-written", what, ask).await
}

/// For the record: what was done, and in which container if it is not the main one.
fn of(container: &str, what: String) -> String {
    if container.is_empty() { what } else { format!("{what} in container {container}") }
}

fn absolute(path: String) -> ApiResult<String> {
    if path.starts_with('/') && !path.contains('\0') { Ok(path) } else { Err(Problem::invalid("path", "must be absolute, as the container sees it")) }
}

/// The processes of an instance, as the node sees them, or on Kubernetes clusters its own `sh`: the image needs no `ps`.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/processes", tag = "instances", params(InstancePath, ContainerQuery),
    responses((status = 200, body = Page<ProcessBody>)))]
pub async fn processes(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(path): Path<InstancePath>,
    Query(query): Query<ContainerQuery>,
) -> ApiResult<Json<Page<ProcessBody>>> {
    let at = at(&s, &caller, path)?;
    let what = of(&query.container, "processes".into());
    let ask = OpenSession { kind: "processes".into(), container: query.container, ..OpenSession::default() };
    let text = answer(&s, &caller, at, "instance.processes-read", what, ask).await?;
    let all: Vec<ProcessBody> = serde_json::from_slice(&text).map_err(Problem::internal)?;
    Ok(Json(Page::all(all)))
}

/// Moves an instance to another node as it is: frozen, carried over with its memory and what it has written, and gone on there. It stands
/// still for that long. If it cannot go on there, it runs on where it was.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/migrate", tag = "instances",
    params(InstancePath), request_body = MigrateBody, responses((status = 200, body = MigratedBody)))]
pub async fn migrate(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(path): Path<InstancePath>,
    Json(body): Json<MigrateBody>,
) -> ApiResult<Json<MigratedBody>> {
    let space = readable(&s, &caller, &path.org, &path.project, &path.space)?;
    let at = At { space, app: path.app, instance: path.instance };
    Ok(Json(migration::migrate(&s, &caller, at, &body.node).await?))
}

/// Sends a signal to a process of an instance.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances/{instance}/processes/{pid}/signal", tag = "instances",
    params(InstancePath, ("pid" = u32, Path), ContainerQuery), request_body = SignalBody, responses((status = 204)))]
pub async fn signal(
    State(s): State<Scheduler>,
    caller: Caller,
    Path((org, project, space, app, instance, pid)): Path<(String, String, String, String, String, u32)>,
    Query(query): Query<ContainerQuery>,
    Json(body): Json<SignalBody>,
) -> ApiResult<StatusCode> {
    let at = at(&s, &caller, InstancePath { org, project, space, app, instance })?;
    let what = of(&query.container, format!("signal {} to process {pid}", body.signal));
    let ask = OpenSession { kind: "signal".into(), pid, signal: body.signal, container: query.container, ..OpenSession::default() };
    answer(&s, &caller, at, "instance.signal", what, ask).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All that comes out of a short session.
async fn answer(s: &Scheduler, caller: &Caller, at: At, action: &'static str, what: String, ask: OpenSession) -> ApiResult<Vec<u8>> {
    let mut session = sessions::open(s, caller, at, action, what, ask).await?;
    let mut said = Vec::new();
    let all = async {
        while let Ok(Some(frame)) = session.link.from_agent.message().await {
            match frame.data.split_first() {
                Some((&END, _)) => return End::parse(&frame.data),
                Some((&OUTPUT, bytes)) if said.len() + bytes.len() <= MOST_OUTPUT => said.extend_from_slice(bytes),
                _ => {}
            }
        }
        None
    };
    let end = tokio::time::timeout(ANSWER, all).await.ok().flatten().unwrap_or_else(away);
    sessions::close(s, session, &end).await;
    match end {
        End::Exited(0) => Ok(said),
        End::Exited(_) | End::Left => Err(Problem::new(Kind::Unavailable, "scheduler.node_away", "the node broke off")),
        End::Failed(why) => Err(Problem::conflict("scheduler.session_failed", why)),
    }
}
