//! What kubelets do behind `exec`, `attach` and `portforward`, over WebSockets as API servers speak them: `v5.channel.k8s.io` from
//! 1.30 on, `v4.channel.k8s.io` always. Commands run on the machine of the test, and ports are its own. As on a real cluster a
//! command goes on when its caller has left.

use std::process::Stdio;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};

use super::ApiServer;
use super::serve::told;
use super::store::{Key, Store, status};

pub type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

/// Namespace, pod, and what of it.
pub fn asked(path: &str) -> Option<(String, String, String)> {
    match path.strip_prefix("/api/v1/namespaces/")?.split('/').collect::<Vec<_>>()[..] {
        [namespace, "pods", pod, verb @ ("exec" | "attach" | "portforward")] => Some((namespace.into(), pod.into(), verb.into())),
        _ => None,
    }
}

/// What is refused is refused in plain HTTP.
pub fn open(server: &ApiServer, (namespace, pod, verb): (String, String, String), query: &str, upgrade: Upgrade) -> Response {
    let pairs: Vec<(String, String)> =
        reqwest::Url::parse(&format!("http://x/?{query}")).map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
    let of = |key: &str| pairs.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    let is = |key: &str| of(key).first().is_some_and(|v| v == "true" || v == "1");
    let (object, minor) = {
        let store = server.lock();
        if let Some(refused) = refused(&store, &namespace, &pod, &verb) {
            return refused;
        }
        let key = Key { plural: "pods".into(), namespace: namespace.clone(), name: pod.clone() };
        match store.objects.get(&key) {
            Some(object) => (object.value.clone(), store.minor),
            None => return told(404, &status(404, &format!("pods \"{pod}\" not found"))),
        }
    };
    if object["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return told(400, &status(400, &format!("pod {pod} does not have a host assigned")));
    }
    let list = |field: &str| object["spec"][field].as_array().into_iter().flatten();
    let containers: Vec<String> = list("containers").chain(list("initContainers")).filter_map(|c| c["name"].as_str().map(str::to_owned)).collect();
    let container = of("container").pop().unwrap_or_default();
    if verb != "portforward" && !containers.contains(&container) {
        return told(400, &status(400, &format!("container {container} is not valid for pod {pod}")));
    }
    let Ok(upgrade) = upgrade else { return told(400, &status(400, "Upgrade request required")) };
    let known: &[&'static str] = if minor >= 30 && verb != "portforward" { &[V5, V4] } else { &[V4] };
    // The first of the client's that is known here (k8s.io/apimachinery/pkg/util/httpstream/wsstream).
    let upgrade = upgrade.protocols(known.iter().copied());
    let Some(chosen) = upgrade.selected_protocol().and_then(|p| p.to_str().ok()).map(str::to_owned) else {
        return told(403, &status(403, "unable to upgrade: requested protocol(s) are not supported"));
    };
    let server = server.clone();
    match verb.as_str() {
        "portforward" => {
            let port = of("ports").first().and_then(|p| p.parse::<u16>().ok());
            let Some(port) = port else { return told(400, &status(400, "at least one port must be specified")) };
            let own = server.lock().ports.get(&port).copied().unwrap_or(port);
            upgrade.on_upgrade(move |socket| forward(socket, pod, port, own))
        }
        "exec" => {
            let (command, stdin, tty) = (of("command"), is("stdin"), is("tty"));
            if command.is_empty() {
                return told(400, &status(400, "you must specify at least 1 command for the container"));
            }
            upgrade.on_upgrade(move |socket| run(server, socket, chosen == V5, command, stdin, tty))
        }
        _ => {
            let log = object["log"].as_str().unwrap_or_default().to_owned();
            upgrade.on_upgrade(move |socket| attach(socket, chosen == V5, log))
        }
    }
}

/// A WebSocket is a GET; since 1.35 the right to create is asked for, too (AuthorizePodWebsocketUpgradeCreatePermission).
fn refused(store: &Store, namespace: &str, pod: &str, verb: &str) -> Option<Response> {
    let needed: &[&str] = if store.minor >= 35 { &["get", "create"] } else { &["get"] };
    let missing = needed.iter().find(|right| store.denied.contains(&format!("{right} pods/{verb}")))?;
    let message =
        format!("pods \"{pod}\" is forbidden: User \"gantry\" cannot {missing} resource \"pods/{verb}\" in API group \"\" in the namespace \"{namespace}\"");
    Some(told(403, &status(403, &message)))
}

type To = SplitSink<WebSocket, Message>;

async fn say(to: &mut To, channel: u8, bytes: &[u8]) -> bool {
    let mut data = vec![channel];
    data.extend_from_slice(bytes);
    to.send(Message::Binary(data.into())).await.is_ok()
}

/// What the client has sent meanwhile is read: a connection that is closed over it is reset, and what was said last is lost.
async fn bye(mut to: To, mut from: SplitStream<WebSocket>) {
    let _ = to.close().await;
    let _ = tokio::time::timeout(Duration::from_secs(5), async { while let Some(Ok(_)) = from.next().await {} }).await;
}

async fn run(server: ApiServer, socket: WebSocket, ends: bool, command: Vec<String>, stdin: bool, tty: bool) {
    let (mut to, mut from) = socket.split();
    say(&mut to, 1, b"").await;
    let mut start = Command::new(&command[0]);
    start.args(&command[1..]).stdin(if stdin { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = start.spawn() else {
        let message = format!(
            "Internal error occurred: error executing command in container: failed to exec in container: failed to start exec \"x\": OCI runtime exec failed: exec failed: unable to start container process: exec: \"{}\": executable file not found in $PATH: unknown",
            command[0]
        );
        let status = json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "details": { "causes": [{ "message": message }] }, "code": 500 });
        say(&mut to, 3, status.to_string().as_bytes()).await;
        bye(to, from).await;
        return;
    };
    let mut input = child.stdin.take();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut a, mut b) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    while out.is_some() || err.is_some() {
        let (channel, count) = tokio::select! {
            message = from.next() => match hear(&server, message, &mut input, ends).await {
                true => continue,
                // It goes on by itself, without input.
                false => return,
            },
            count = read(&mut out, &mut a) => (1, count),
            count = read(&mut err, &mut b) => (2, count),
        };
        let bytes = if channel == 1 { &a[..count] } else { &b[..count] };
        if count > 0 && !say(&mut to, if tty { 1 } else { channel }, bytes).await {
            return;
        }
    }
    let code = child.wait().await.ok().and_then(|s| s.code()).unwrap_or(137);
    let status = match code {
        0 => json!({ "metadata": {}, "status": "Success" }),
        code => json!({
            "metadata": {}, "status": "Failure", "message": format!("command terminated with non-zero exit code: exit status {code}"), "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
    };
    say(&mut to, 3, status.to_string().as_bytes()).await;
    bye(to, from).await;
}

/// At its end the stream is taken away; without one nothing comes.
async fn read<R: AsyncRead + Unpin>(from: &mut Option<R>, piece: &mut [u8]) -> usize {
    let Some(stream) = from else { return std::future::pending().await };
    let count = stream.read(piece).await.unwrap_or(0);
    if count == 0 {
        *from = None;
    }
    count
}

/// One message of the client. False: it is gone.
async fn hear(server: &ApiServer, message: Option<Result<Message, axum::Error>>, input: &mut Option<ChildStdin>, ends: bool) -> bool {
    let data = match message {
        Some(Ok(Message::Binary(data))) => data,
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_))) => return true,
        Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
    };
    match data.split_first() {
        Some((0, bytes)) => {
            if let Some(pipe) = input
                && pipe.write_all(bytes).await.is_err()
            {
                *input = None;
            }
        }
        Some((255, [0])) if ends => *input = None,
        Some((4, size)) => {
            let size: Value = serde_json::from_slice(size).unwrap_or_default();
            server.lock().sizes.push((size["Width"].as_u64().unwrap_or(0), size["Height"].as_u64().unwrap_or(0)));
        }
        _ => {}
    }
    true
}

/// A container that says again what it is told, and has ended when its input has.
async fn attach(socket: WebSocket, ends: bool, log: String) {
    let (mut to, mut from) = socket.split();
    say(&mut to, 1, b"").await;
    say(&mut to, 1, log.as_bytes()).await;
    while let Some(Ok(message)) = from.next().await {
        let Message::Binary(data) = message else { continue };
        match data.split_first() {
            Some((0, bytes)) => {
                say(&mut to, 1, bytes).await;
            }
            Some((255, [0])) if ends => break,
            _ => {}
        }
    }
    say(&mut to, 3, br#"{"metadata":{},"status":"Success"}"#).await;
    bye(to, from).await;
}

async fn forward(socket: WebSocket, pod: String, port: u16, own: u16) {
    let (mut to, mut from) = socket.split();
    for channel in [0, 1] {
        say(&mut to, channel, &port.to_le_bytes()).await;
    }
    let stream = match tokio::net::TcpStream::connect(("127.0.0.1", own)).await {
        Ok(stream) => stream,
        Err(error) => {
            say(&mut to, 1, format!("error forwarding port {port} to pod {pod}, uid : failed to connect to localhost:{port}: {error}").as_bytes()).await;
            bye(to, from).await;
            return;
        }
    };
    let (mut reader, mut writer) = stream.into_split();
    let mut piece = vec![0; 16 << 10];
    loop {
        tokio::select! {
            message = from.next() => match message {
                Some(Ok(Message::Binary(data))) => match data.split_first() {
                    Some((0, bytes)) => if writer.write_all(bytes).await.is_err() { break },
                    // Another channel is nobody's.
                    _ => {}
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            count = reader.read(&mut piece) => match count.unwrap_or(0) {
                0 => break,
                count => if !say(&mut to, 0, &piece[..count]).await { break },
            },
        }
    }
    bye(to, from).await;
}
