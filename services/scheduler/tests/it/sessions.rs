//! Sessions into instances, with a node that answers as an agent does.

use futures::{SinkExt, StreamExt};
use gantry_auth::AccessClaims;
use gantry_kernel::Role;
use gantry_scheduler::Config;
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::agent::Agent;
use crate::neighbours::Limits;
use crate::place::{LONG, Place, config, web};

/// An application of one instance, which runs on the node `n1`.
pub async fn placed(config: Config) -> (Place, Agent) {
    let place = Place::with(config, Limits::default()).await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    (place, agent)
}

pub type Socket = tokio_tungstenite::WebSocketStream<reqwest::Upgraded>;

async fn socket(place: &Place, tail: &str, token: &str) -> Result<Socket, (u16, serde_json::Value)> {
    socket_of(place, "web", "web-web-0", tail, token).await
}

/// What is refused, or the socket.
pub async fn socket_of(place: &Place, app: &str, instance: &str, tail: &str, token: &str) -> Result<Socket, (u16, serde_json::Value)> {
    let url = format!("{}{}/{app}/instances/{instance}/{tail}", place.host.url_of("scheduler").unwrap(), place.apps());
    let request = place.world.http.get(url).version(reqwest::Version::HTTP_11).bearer_auth(token);
    let request = request.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-version", "13");
    let answer = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap();
    if answer.status() != 101 {
        return Err((answer.status().as_u16(), answer.json().await.unwrap_or_default()));
    }
    let upgraded = answer.upgrade().await.unwrap();
    Ok(Socket::from_raw_socket(upgraded, tokio_tungstenite::tungstenite::protocol::Role::Client, None).await)
}

pub async fn next(socket: &mut Socket) -> Vec<u8> {
    loop {
        match tokio::time::timeout(gantry_testkit::patience(LONG), socket.next()).await.expect("it goes on") {
            Some(Ok(Message::Binary(bytes))) => return bytes.to_vec(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reaches_the_node_and_its_end_the_caller() {
    let (place, agent) = placed(config()).await;
    let mut session = socket(&place, "exec?command=[%22sh%22]&stdin=true&tty=true", &place.token).await.unwrap();
    session.send(Message::Binary(b"\x00hello".to_vec().into())).await.unwrap();
    assert_eq!(next(&mut session).await, b"\x01hello");
    session.send(Message::Binary(vec![255, 0].into())).await.unwrap();
    assert_eq!(next(&mut session).await, b"\x03{\"exit_code\":5}");
    let opened = agent.opened();
    assert_eq!((opened[0].kind.as_str(), &opened[0].command, opened[0].tty, opened[0].stdin), ("exec", &vec!["sh".to_owned()], true, true));

    // Short ones are plain HTTP.
    let at = format!("{}/web/instances/web-web-0", place.apps());
    let (status, list) = place.get(&format!("{at}/processes")).await;
    assert_eq!((status, &list["items"][0]["command"]), (200, &json!("init")), "{list}");
    assert_eq!(place.post(&format!("{at}/processes/1/signal"), json!({"signal": "TERM"})).await.0, 204);
    let (status, problem) = place.post(&format!("{at}/processes/2/signal"), json!({"signal": "TERM"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.session_failed")), "{problem}");
    let (status, problem) = place.get(&format!("{at}/exec?command=ls")).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("command")), "{problem}");
    assert_eq!(place.get(&format!("{at}/exec?command=[%22ls%22]")).await.0, 400, "no WebSocket");
    assert_eq!(place.get(&format!("{}/web/instances/web-web-9/processes", place.apps())).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_sessions_and_an_idle_one_is_ended() {
    let (place, _agent) = placed(Config { sessions_per_user: 1, session_idle_seconds: 1, ..config() }).await;
    let mut first = socket(&place, "exec?command=[%22sh%22]&stdin=true", &place.token).await.unwrap();
    let (status, problem) = socket(&place, "attach", &place.token).await.unwrap_err();
    assert_eq!((status, &problem["code"]), (429, &json!("scheduler.too_many_sessions")));
    let end = next(&mut first).await;
    assert!(String::from_utf8_lossy(&end).contains("nothing went over it"), "{end:?}");
    drop(first);
    place.world.until("there is room again", LONG, || async { socket(&place, "attach", &place.token).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_sign_in_it_was_opened_with() {
    let (place, _agent) = placed(config()).await;
    let now = place.host.env.now().unix_timestamp();
    let token = |session: Option<String>, acting: Option<serde_json::Value>, seconds: i64| {
        place.world.sign(&AccessClaims {
            iss: place.world.running.platform.public_url.clone(),
            sub: place.subject.clone(),
            aud: place.world.running.platform.public_url.clone(),
            exp: now + seconds,
            iat: now,
            jti: place.host.uuid().to_string(),
            client_id: "test".into(),
            scope: "openid".into(),
            preferred_username: Some("ada".into()),
            sid: session,
            amr: vec!["pwd".into()],
            act: acting,
            cnf: None,
        })
    };
    let shell = "exec?command=[%22sh%22]&stdin=true&tty=true";
    let mut ending = socket(&place, shell, &token(Some(format!("until:{}", now + 1)), None, 600)).await.unwrap();
    // Rights that somebody else has lent are so until their token ends.
    let mut lent = socket(&place, shell, &token(None, Some(json!({"sub": "user:staff"})), 2)).await.unwrap();
    let mut staying = socket(&place, shell, &token(Some("another".into()), None, 600)).await.unwrap();
    for ended in [&mut ending, &mut lent] {
        let end = next(ended).await;
        assert!(String::from_utf8_lossy(&end).contains("the sign-in with which it was opened has ended"), "{end:?}");
    }
    staying.send(Message::Binary(b"\x00hello".to_vec().into())).await.unwrap();
    assert_eq!(next(&mut staying).await, b"\x01hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_is_one_of_its_own_and_a_node_that_is_away_is_named() {
    let (place, agent) = placed(config()).await;
    let viewer = place.world.user();
    place.world.identity.grant(&format!("user:{viewer}"), Role::Viewer, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let (status, problem) = socket(&place, "exec?command=[%22sh%22]", &place.world.token(viewer, "vic")).await.unwrap_err();
    assert!(status == 403 && problem["detail"].as_str().unwrap().contains("apps.exec"), "{problem}");
    agent.die();
    let at = format!("{}/web/instances/web-web-0/processes", place.apps());
    let away = async || place.world.call(&place.host, Method::GET, &at, Some(&place.token), None).await;
    place
        .world
        .until("the node is missed", LONG, async || matches!(away().await.1["code"].as_str(), Some("scheduler.node_away" | "scheduler.instance_not_running")))
        .await;
}
