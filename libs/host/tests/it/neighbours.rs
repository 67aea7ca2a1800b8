//! Services of one process, which ask each other without a connection.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use gantry_host::config::Nothing;
use gantry_host::{Host, Neighbour};
use gantry_testkit::World;
use http::Request;

use crate::echo::Echo;

async fn get(neighbour: &Neighbour, path: &str, token: Option<&str>) -> (u16, String) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = neighbour.ask(request.body(Body::empty()).unwrap()).await;
    let status = answer.status().as_u16();
    (status, String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
}

fn neighbour(host: &Host) -> Neighbour {
    host.neighbour("echo").expect("it runs in this process")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_this_process_knows_who_asks_and_checks_what_it_checks_over_a_connection() {
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    assert_eq!(get(&neighbour(&host), "/api/v1/who", None).await, (200, "echo 0".to_owned()), "by its certificate, and without a connection");
    assert_eq!(get(&neighbour(&host), "/api/v1/platform", None).await.0, 401);
    assert_eq!(get(&neighbour(&host), "/api/v1/platform", Some("not.a.token")).await.0, 401);
    let (status, problem) = get(&neighbour(&host), "/api/v1/platform", Some(&world.token(world.user(), "ada"))).await;
    assert_eq!(status, 403, "{problem}");
    assert!(problem.contains("admin on the platform") && problem.contains("trace_id"), "{problem}");
    let (status, problem) = get(&neighbour(&host), "/api/v1/panic", None).await;
    assert!(status == 500 && !problem.contains("hunter2"), "{problem}");
    assert_eq!(get(&neighbour(&host), "/api/v1/nothing", None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_address_of_its_own_or_has_ended_is_no_neighbour() {
    let world = World::with(|platform| drop(platform.peers.insert("echo".to_owned(), "https://127.0.0.1:9".to_owned()))).await;
    let host = world.start::<Echo>(Nothing {}).await;
    assert!(host.neighbour("echo").is_none(), "the configuration says where it is");

    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    assert!(host.neighbour("front").is_none(), "nobody has started it");
    assert!(host.neighbour("echo").is_some());
    world.running.cancel.cancel();
    world.until("nobody holds what has ended", Duration::from_secs(30), async || host.neighbour("echo").is_none()).await;
}
