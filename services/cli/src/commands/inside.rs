//! Inside of instances: commands, terminals, ports, files, processes. Channels as `v5.channel.k8s.io` numbers them.

mod files;
mod ports;
mod terminal;

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

pub use files::copy;
pub use ports::forward;

use self::terminal::Raw;
use super::{Context, segment};
use crate::args::InstanceTarget;
use crate::client::Socket;
use crate::failure::Failure;

const INPUT: u8 = 0;
const OUTPUT: u8 = 1;
const ERRORS: u8 = 2;
const END: u8 = 3;
const SIZE: u8 = 4;
const CLOSE: u8 = 255;
/// Ctrl-P Ctrl-Q, as other programs have it.
const LEAVE: [u8; 2] = [16, 17];

const PROCESSES: &[crate::output::Column] = &[
    ("PID", "pid"),
    ("PARENT", "parent"),
    ("USER", "user"),
    ("STATE", "state"),
    ("CPU MS", "cpu_millis"),
    ("MEMORY", "memory_bytes"),
    ("SECONDS", "running_seconds"),
    ("COMMAND", "command"),
];

pub async fn exec(cx: &mut Context, app: &str, target: &InstanceTarget, command: &[String], stdin: bool, tty: bool) -> Result<()> {
    let at = instance(cx, app, target).await?;
    let mut query = vec![("command", serde_json::to_string(command)?), ("tty", tty.to_string()), ("stdin", stdin.to_string())];
    query.extend(container(target));
    let socket = cx.client.socket(&format!("{at}/exec"), &query).await?;
    talk(socket, stdin, tty, false).await
}

pub async fn attach(cx: &mut Context, app: &str, target: &InstanceTarget, stdin: bool) -> Result<()> {
    let at = instance(cx, app, target).await?;
    let mut query = vec![("stdin", stdin.to_string())];
    query.extend(container(target));
    let socket = cx.client.socket(&format!("{at}/attach"), &query).await?;
    talk(socket, stdin, stdin, true).await
}

pub async fn processes(cx: &mut Context, app: &str, target: &InstanceTarget) -> Result<()> {
    let at = instance(cx, app, target).await?;
    let query: Vec<_> = container(target).into_iter().collect();
    let items = cx.client.list(&format!("{at}/processes"), &query, 100_000).await?;
    cx.list(&items, PROCESSES)
}

pub async fn signal(cx: &mut Context, app: &str, target: &InstanceTarget, pid: u32, signal: &str) -> Result<()> {
    let at = instance(cx, app, target).await?;
    let query: Vec<_> = container(target).into_iter().collect();
    cx.client.post(&format!("{at}/processes/{pid}/signal"), &query, &json!({ "signal": signal })).await?;
    cx.note(&format!("{signal} was sent to process {pid}"));
    Ok(())
}

pub async fn migrate(cx: &mut Context, app: &str, instance: &str, node: &str) -> Result<()> {
    let at = format!("{app}/instances/{}/migrate", segment(instance));
    let moved = cx.client.post_long(&at, &[], &json!({ "node": node })).await?;
    let text = |field: &str| moved[field].as_str().unwrap_or_default().to_owned();
    cx.note(&format!("{} goes on at {} as {}; it stood still for {} ms", text("name"), text("node"), text("instance"), moved["stood_still_millis"]));
    Ok(())
}

/// The instance whose earlier start is asked for: its id, and which start.
pub async fn previous(cx: &mut Context, app: &str, instance: Option<String>) -> Result<(String, u64)> {
    let all = cx.client.list(&format!("{app}/instances"), &[], 10_000).await?;
    let restarts = |i: &Value| i["restarts"].as_u64().unwrap_or(0);
    let found = match &instance {
        Some(wanted) => all.iter().find(|i| i["id"] == wanted.as_str() || i["name"] == wanted.as_str()),
        None => all.iter().max_by_key(|i| restarts(i)),
    };
    match found {
        Some(found) if restarts(found) > 0 => Ok((found["id"].as_str().unwrap_or_default().to_owned(), restarts(found) - 1)),
        Some(_) => Err(Failure::Usage("no instance has been started again, so there is no start before; leave out --previous".into()).into()),
        None => Err(Failure::Usage("there is no such instance; `gantry app instances` lists them".into()).into()),
    }
}

/// Under which name the lines of one container are kept: those of a further one are `<workload>/<container>`'s.
pub async fn written_by(cx: &mut Context, app: &str, instance: Option<&str>, container: &str) -> Result<String> {
    let all = cx.client.list(&format!("{app}/instances"), &[], 10_000).await?;
    let meant = all.iter().filter(|i| instance.is_none_or(|wanted| i["id"] == wanted || i["name"] == wanted));
    let mut found: Vec<String> = meant.filter_map(|i| lines_of(i, container)).collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::Usage(format!("no instance has a container {container}; `gantry app instances -o json` lists them")).into()),
        several => Err(Failure::Usage(format!("which one? name an --instance of it; there are {}", several.join(", "))).into()),
    }
}

fn lines_of(instance: &Value, container: &str) -> Option<String> {
    let workload = instance["workload"].as_str()?;
    if container == "main" {
        return Some(workload.to_owned());
    }
    let there = instance["containers"].as_array()?.iter().any(|c| c == container);
    there.then(|| format!("{workload}/{container}"))
}

/// The container that is meant, if it is not the main one.
fn container(target: &InstanceTarget) -> Option<(&'static str, String)> {
    target.container.clone().map(|name| ("container", name))
}

/// Path of the instance that is meant.
async fn instance(cx: &mut Context, app: &str, target: &InstanceTarget) -> Result<String> {
    if let Some(named) = &target.instance {
        return Ok(format!("{app}/instances/{}", segment(named)));
    }
    let all = cx.client.list(&format!("{app}/instances"), &[], 10_000).await?;
    let of = |i: &&Value| target.workload.as_ref().is_none_or(|w| i["workload"] == w.as_str());
    let running = all.iter().filter(of).find(|i| matches!(i["state"].as_str(), Some("running" | "unhealthy" | "starting")));
    let id = running.and_then(|i| i["id"].as_str());
    let id = id.ok_or_else(|| Failure::Usage("nothing of it runs now; `gantry app why` tells the reason".into()))?;
    Ok(format!("{app}/instances/{id}"))
}

/// Until the other side ends it, with this program's own streams.
async fn talk(socket: Socket, stdin: bool, tty: bool, leaves: bool) -> Result<()> {
    let (mut to, mut from) = socket.split();
    let raw = (stdin && tty).then(Raw::new).flatten();
    if let Some((width, height)) = tty.then(terminal::size).flatten() {
        to.send(frame(SIZE, &serde_json::to_vec(&json!({"Width": width, "Height": height}))?)).await?;
    }
    let mut resized = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
    let up = async {
        let mut typed = if stdin { typed() } else { tokio::sync::mpsc::channel(1).1 };
        let mut open = stdin;
        let mut before = 0;
        loop {
            tokio::select! {
                read = typed.recv(), if open => match read {
                    None => {
                        open = false;
                        to.send(frame(CLOSE, &[INPUT])).await?;
                    }
                    Some(piece) => {
                        let bytes = piece.as_slice();
                        if leaves && raw.is_some() && (bytes.windows(2).any(|w| w == LEAVE) || (before == LEAVE[0] && bytes[0] == LEAVE[1])) {
                            return anyhow::Ok(());
                        }
                        before = bytes[bytes.len() - 1];
                        to.send(frame(INPUT, bytes)).await?;
                    }
                },
                _ = resized.recv(), if tty => if let Some((width, height)) = terminal::size() {
                    to.send(frame(SIZE, &serde_json::to_vec(&json!({"Width": width, "Height": height}))?)).await?;
                },
                else => std::future::pending().await,
            }
        }
    };
    let down = async {
        while let Some(message) = from.next().await {
            let Message::Binary(bytes) = message? else { continue };
            match bytes.split_first() {
                Some((&OUTPUT, rest)) => {
                    let mut out = std::io::stdout().lock();
                    out.write_all(rest)?;
                    out.flush()?;
                }
                Some((&ERRORS, rest)) => {
                    std::io::stderr().lock().write_all(rest)?;
                }
                Some((&END, rest)) => return Ok(Some(rest.to_vec())),
                _ => {}
            }
        }
        anyhow::Ok(None)
    };
    let ended = tokio::select! {
        ended = down => ended.context("the connection broke")?,
        left = up => {
            left.context("the connection broke")?;
            return Ok(());
        }
    };
    drop(raw);
    finish(ended.as_deref())
}

/// What is typed, until its end. The thread that waits for it ends with this program.
fn typed() -> tokio::sync::mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        let mut piece = vec![0; 16 << 10];
        while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut piece) {
            if sender.blocking_send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What the end says, as this program's own.
fn finish(end: Option<&[u8]>) -> Result<()> {
    let Some(end) = end else { bail!("the connection broke before it was said how it ended") };
    let value: Value = serde_json::from_slice(end)?;
    match (value["exit_code"].as_i64(), value["error"].as_str()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::Exited(u8::try_from(code & 0xFF).unwrap_or(1)).into()),
        (None, why) => bail!("{}", why.unwrap_or("the platform gives no reason")),
    }
}

fn frame(channel: u8, bytes: &[u8]) -> Message {
    let mut data = Vec::with_capacity(bytes.len() + 1);
    data.push(channel);
    data.extend_from_slice(bytes);
    Message::Binary(data.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_further_container_have_a_name_of_their_own() {
        let instance = json!({"workload": "web", "containers": ["log"]});
        assert_eq!(lines_of(&instance, "log").as_deref(), Some("web/log"));
        assert_eq!(lines_of(&instance, "main").as_deref(), Some("web"));
        assert_eq!(lines_of(&instance, "other"), None);
    }

    #[test]
    fn the_end_is_handed_on() {
        assert!(finish(Some(br#"{"exit_code":0}"#)).is_ok());
        let code = finish(Some(br#"{"exit_code":7}"#)).unwrap_err();
        assert!(matches!(code.downcast_ref(), Some(Failure::Exited(7))));
        assert_eq!(finish(Some(br#"{"error":"no such program"}"#)).unwrap_err().to_string(), "no such program");
        assert!(finish(None).is_err());
    }
}
