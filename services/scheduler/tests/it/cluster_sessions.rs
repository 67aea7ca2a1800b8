//! Sessions into pods of a Kubernetes cluster: as on nodes, over the API server's WebSockets. Commands of pods run on the machine
//! of the test.

use std::path::Path;
use std::process::Command;

use futures::SinkExt;
use gantry_testkit::kubernetes::ApiServer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::clusters::{import, placed, started};
use crate::place::{LONG, Place, web};
use crate::sessions::{Socket, next, socket_of};

/// One instance, `web-web-0`, on a cluster.
async fn running(minor: u32) -> (Place, ApiServer) {
    let (place, token, server) = started().await;
    server.lock().minor = minor;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let (status, answer) = place.deploy("web", &web("1", 1)).await;
    assert_eq!(status, 201, "{answer}");
    place.reaches("web", "running", 1).await;
    (place, server)
}

async fn socket(place: &Place, tail: &str) -> Result<Socket, (u16, Value)> {
    socket_of(place, "web", "web-web-0", tail, &place.token).await
}

async fn say(socket: &mut Socket, channel: u8, bytes: &[u8]) {
    let mut data = vec![channel];
    data.extend_from_slice(bytes);
    socket.send(Message::Binary(data.into())).await.unwrap();
}

/// Output, standard error, and the end.
async fn heard(socket: &mut Socket) -> (Vec<u8>, String, Value) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        let frame = next(socket).await;
        match frame.split_first() {
            Some((1, bytes)) => out.extend_from_slice(bytes),
            Some((2, bytes)) => err.extend_from_slice(bytes),
            Some((3, bytes)) => return (out, String::from_utf8(err).unwrap(), serde_json::from_slice(bytes).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

fn command(words: &[&str]) -> String {
    reqwest::Url::parse_with_params("http://x/", [("command", json!(words).to_string())]).unwrap().query().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_in_a_pod_as_it_does_on_a_node() {
    let (place, server) = running(36).await;
    let mut session = socket(&place, &format!("exec?{}&stdin=true", command(&["sh", "-c", "cat; echo bad >&2; exit 5"]))).await.unwrap();
    say(&mut session, 0, b"hello").await;
    say(&mut session, 255, &[0]).await;
    assert_eq!(heard(&mut session).await, (b"hello".to_vec(), "bad\n".into(), json!({ "exit_code": 5 })));
    let mut session = socket(&place, &format!("exec?{}", command(&["no-such-program"]))).await.unwrap();
    assert_eq!(heard(&mut session).await.2, json!({ "exit_code": 127 }), "as `env` says it");
    let mut session = socket(&place, "attach").await.unwrap();
    let hello = next(&mut session).await;
    assert!(String::from_utf8_lossy(&hello).contains("hello from web-web"), "{hello:?}");
    let refused = socket(&place, &format!("exec?{}&container=none", command(&["true"]))).await.unwrap_err();
    assert!(refused.0 == 409 && refused.1["detail"].as_str().unwrap().contains("container none is not valid"), "{refused:?}");
    let mut session = socket(&place, &format!("exec?{}&container=main", command(&["true"]))).await.unwrap();
    assert_eq!(heard(&mut session).await.2, json!({ "exit_code": 0 }));
    let refused = socket(&place, "attach?stdin=true").await.unwrap_err();
    assert!(refused.0 == 409 && refused.1["detail"].as_str().unwrap().contains("stdin_open"), "{refused:?}");
    // The right of the platform's account is missing.
    server.lock().denied.insert("create pods/exec".into());
    let (status, problem) = socket(&place, &format!("exec?{}", command(&["true"]))).await.unwrap_err();
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.session_failed")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("gantry cluster manifest"), "{problem}");
    server.lock().tokens.clear();
    let (status, problem) = socket(&place, &format!("exec?{}", command(&["true"]))).await.unwrap_err();
    assert_eq!((status, &problem["code"]), (503, &json!("scheduler.node_away")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_when_its_caller_has_left() {
    let (place, _server) = running(36).await;
    let there = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok()).any(|c| c == b"sleep\x00777.125\x00")
    };
    let session = socket(&place, &format!("exec?{}", command(&["sleep", "777.125"]))).await.unwrap();
    place.world.until("it runs", LONG, async || there()).await;
    drop(session);
    place.world.until("it is ended", LONG, async || !there()).await;
}

async fn copies(place: &Place, folder: &Path) {
    let (from, to) = (folder.join("from"), folder.join("to/there"));
    std::fs::create_dir_all(&from).unwrap();
    let content: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
    std::fs::write(from.join("data"), &content).unwrap();
    let mut session = socket(place, &format!("download?path={}", from.display())).await.unwrap();
    let (archive, _, end) = heard(&mut session).await;
    assert_eq!(end, json!({ "exit_code": 0 }));
    let mut session = socket(place, &format!("upload?path={}", to.display())).await.unwrap();
    for piece in archive.chunks(50_000) {
        say(&mut session, 0, piece).await;
    }
    say(&mut session, 255, &[0]).await;
    let (_, _, end) = heard(&mut session).await;
    assert_eq!(end, json!({ "exit_code": 0 }));
    assert_eq!(std::fs::read(to.join("from/data")).unwrap(), content);
    let mut session = socket(place, "download?path=/nowhere/at-all").await.unwrap();
    let (_, _, end) = heard(&mut session).await;
    assert!(end["error"].as_str().unwrap().contains("nowhere"), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_out_also_where_the_end_of_input_cannot_be_told() {
    for minor in [36, 28] {
        let (place, _server) = running(minor).await;
        let folder = tempfile::tempdir().unwrap();
        copies(&place, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_listed_and_get_signals() {
    let (place, _server) = running(36).await;
    let at = format!("{}/web/instances/web-web-0", place.apps());
    let (status, list) = place.get(&format!("{at}/processes")).await;
    assert_eq!(status, 200, "{list}");
    let own = list["items"].as_array().unwrap().iter().find(|p| p["pid"] == std::process::id()).expect("the test itself").clone();
    assert!(own["memory_bytes"].as_u64().unwrap() > 0 && own["threads"].as_u64().unwrap() > 1, "{own}");
    let mut sleeping = Command::new("sleep").arg("60").spawn().unwrap();
    let (status, answer) = place.post(&format!("{at}/processes/{}/signal", sleeping.id()), json!({ "signal": "TERM" })).await;
    assert_eq!(status, 204, "{answer}");
    assert!(!sleeping.wait().unwrap().success());
    for (pid, signal) in [(sleeping.id(), "BAD"), (u32::MAX >> 1, "TERM")] {
        let (status, problem) = place.post(&format!("{at}/processes/{pid}/signal"), json!({ "signal": signal })).await;
        assert_eq!((status, &problem["code"]), (409, &json!("scheduler.session_failed")), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_a_pod_is_reached() {
    let (place, server) = running(36).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.lock().ports.insert(8080, listener.local_addr().unwrap().port());
    let mut session = socket(&place, "forward?port=8080").await.unwrap();
    say(&mut session, 0, b"hello").await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut piece = [0; 5];
    stream.read_exact(&mut piece).await.unwrap();
    stream.write_all(&piece).await.unwrap();
    drop(stream);
    assert_eq!(heard(&mut session).await, (b"hello".to_vec(), String::new(), json!({ "exit_code": 0 })));
    drop(listener);
    let mut session = socket(&place, "forward?port=8080").await.unwrap();
    let (_, _, end) = heard(&mut session).await;
    assert!(end["error"].as_str().unwrap().contains("refused"), "{end}");
}
