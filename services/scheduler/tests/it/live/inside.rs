//! Into instances.

use reqwest::Method;
use serde_json::{Value, json};

use super::cluster::Live;
use super::documents::WEB;
use crate::sessions::{Socket, next, socket_of};

/// Commands, ports and logs of an instance. An image without a shell skips what needs one, by name.
pub async fn inside(live: &Live) {
    use futures::SinkExt;
    use tokio_tungstenite::tungstenite::Message;
    live.deploy("web", &WEB.replace("replicas: 2", "replicas: 1")).await;
    live.reaches("web", "running", 1).await;
    let place = &live.place;
    let open = async |tail: &str| socket_of(place, "web", "web-web-0", tail, &live.token).await.unwrap_or_else(|e| panic!("{tail}: {e:?}"));
    let ends = async |socket: &mut Socket| {
        let mut said = String::new();
        loop {
            let frame = next(socket).await;
            match frame.split_first() {
                Some((3, end)) => return (said, serde_json::from_slice::<Value>(end).expect("JSON")),
                Some((_, bytes)) => said.push_str(&String::from_utf8_lossy(bytes)),
                None => {}
            }
        }
    };
    let mut port = open("forward?port=8080").await;
    port.send(Message::Binary(b"\x00GET / HTTP/1.1\r\nHost: live\r\nConnection: close\r\n\r\n".to_vec().into())).await.expect("sent");
    let (answer, _) = ends(&mut port).await;
    assert!(answer.starts_with("HTTP/1."), "{answer}");
    // `echo`, and an exit code that is no other's.
    let mut shell = open("exec?command=[%22sh%22,%22-c%22,%22cat%3B%20exit%207%22]&stdin=true").await;
    for bytes in [b"\x00hello".to_vec(), vec![255, 0]] {
        // Where there is no shell it may be over before this is sent; how it ended counts.
        let _ = shell.send(Message::Binary(bytes.into())).await;
    }
    let (said, end) = ends(&mut shell).await;
    // Runtimes say in their own ways that a program is not there: as trouble, or as 126 to 128 or 255.
    if !said.contains("hello") && (end["error"].is_string() || end["exit_code"].as_u64().is_some_and(|code| code >= 125)) {
        println!("SKIPPED commands, processes and logs: the image has no shell ({end})");
    } else {
        if live.found.minor < 30 && end["error"].is_string() {
            println!("SKIPPED the end of input: Kubernetes 1.{} cannot be told", live.found.minor);
        } else {
            assert_eq!((said.as_str(), &end), ("hello", &json!({ "exit_code": 7 })));
        }
        let (status, list) = live.call(Method::GET, &format!("{}/web/instances/web-web-0/processes", place.apps()), None).await;
        assert!(status == 200 && !list["items"].as_array().expect("a list").is_empty(), "{list}");
        let messages = async || place.host.bus.sample_stream("logs").await.expect("the stream").info().await.expect("its state").state.messages;
        let before = messages().await;
        let says = "\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: says}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: says, image: IMAGE, imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo a line']}]}}}\n";
        live.deploy("web", &format!("{}{says}", WEB.replace("replicas: 2", "replicas: 1"))).await;
        live.until("the line is on the log stream", async || messages().await > before).await;
    }
    live.leaves_nothing(&["web"]).await;
}
