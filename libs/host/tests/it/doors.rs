//! Who gets in: services by certificate, people by token, and by what they may do.

use std::time::Duration;

use gantry_host::config::Nothing;
use gantry_host::{Leaf, Pki, Running, client_config};
use gantry_kernel::{Role, Scope};
use gantry_testkit::World;
use reqwest::Method;

use crate::echo::Echo;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_of_this_installation_no_connection_is_made() {
    gantry_testkit::clause("7.4.1.c");
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    let url = format!("{}/healthz", host.url_of("echo").unwrap());
    assert_eq!(world.http.get(&url).send().await.unwrap().text().await.unwrap(), "ok");
    let stranger = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    assert!(stranger.get(&url).send().await.is_err(), "no certificate at all");
    let other = World::new().await;
    assert!(other.http.get(&url).send().await.is_err(), "the certificate of another installation");
}

/// The certificate that a new connection is shown.
async fn shown(running: &Running, url: &str) -> Vec<u8> {
    let leaf = running.pki().leaf("gateway", &[]).unwrap();
    let tls = client_config(running.pki(), &leaf).unwrap();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).tls_info(true).build().unwrap();
    let answer = client.get(format!("{url}/healthz")).send().await.unwrap();
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>().expect("TLS");
    info.peer_certificate().expect("a certificate").to_vec()
}

fn first(leaf: &Leaf) -> Vec<u8> {
    leaf.der().unwrap().0[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_shown_without_a_restart() {
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    let url = host.url_of("echo").unwrap();
    assert_eq!(shown(&world.running, &url).await, first(&host.leaf));
    let (next, other) = (world.running.pki().leaf("echo", &[]).unwrap(), world.running.pki().leaf("echo", &[]).unwrap());
    host.show(&next).unwrap();
    assert_eq!(shown(&world.running, &url).await, first(&next));
    assert!(host.show(&Leaf { key_pem: other.key_pem, ..next.clone() }).is_err(), "the key of another");
    assert_eq!(shown(&world.running, &url).await, first(&next));
    // What it asks itself goes by the new one as well.
    let mut health = tonic_health::pb::health_client::HealthClient::new(host.channel("echo").unwrap());
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    assert_eq!(host.http.get(format!("{url}/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_in_its_folder_is_taken_up() {
    let put = |folder: &std::path::Path, leaf: &Leaf| {
        std::fs::write(folder.join("echo.key"), &leaf.key_pem).unwrap();
        std::fs::write(folder.join("echo.pem"), &leaf.chain_pem).unwrap();
    };
    let made = |folder: &std::path::Path| Pki::open(folder).unwrap().leaf("echo", &[]).unwrap();
    let mut both = None;
    let world = World::with(|platform| {
        let (before, after) = (made(&platform.ca_dir), made(&platform.ca_dir));
        put(&platform.ca_dir, &before);
        both = Some((before, after));
    })
    .await;
    let (before, after) = both.unwrap();
    let host = world.start::<Echo>(Nothing {}).await;
    let url = host.url_of("echo").unwrap();
    assert_eq!(shown(&world.running, &url).await, first(&before));
    put(&world.running.platform.ca_dir, &after);
    world.until("the new one is shown", Duration::from_secs(30), async || shown(&world.running, &url).await == first(&after)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_and_a_binding_lets_do_until_it_is_revoked() {
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    let user = world.user();
    let token = world.token(user, "ada");
    let subject = format!("user:{user}");
    assert_eq!(world.call(&host, Method::GET, "/api/v1/platform", None, None).await.0, 401);
    assert_eq!(world.call(&host, Method::GET, "/api/v1/platform", Some("not.a.token"), None).await.0, 401);
    let elsewhere = World::new().await.token(user, "ada");
    assert_eq!(world.call(&host, Method::GET, "/api/v1/platform", Some(&elsewhere), None).await.0, 401, "signed by somebody else");
    let (status, body) = world.call(&host, Method::GET, "/api/v1/platform", Some(&token), None).await;
    assert_eq!(status, 403);
    assert!(body["detail"].as_str().unwrap().contains("admin on the platform"), "{body}");
    let binding = world.identity.grant(&subject, Role::Admin, Scope::Platform).await;
    world.identity.settle(&host).await;
    assert_eq!(world.call(&host, Method::GET, "/api/v1/platform", Some(&token), None).await.0, 200);
    world.identity.revoke(binding, &subject, Role::Admin, Scope::Platform).await;
    world.identity.settle(&host).await;
    assert_eq!(world.call(&host, Method::GET, "/api/v1/platform", Some(&token), None).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_metrics_and_grpc_health_are_served_on_the_one_port() {
    let world = World::new().await;
    let host = world.start::<Echo>(Nothing {}).await;
    let (status, body) = world.call(&host, Method::GET, "/readyz", None, None).await;
    assert_eq!((status, &body["ready"]), (200, &serde_json::json!(true)), "{body}");
    let parts: Vec<_> = body["parts"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(["database", "projections", "bus"].iter().all(|p| parts.contains(p)), "{parts:?}");
    assert_eq!(world.call(&host, Method::GET, "/api/v1/platform", None, None).await.0, 401);
    let metrics = world.http.get(format!("{}/metrics", host.url_of("echo").unwrap())).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("http_server_request_duration_seconds_bucket"), "{metrics}");
    let mut health = tonic_health::pb::health_client::HealthClient::new(host.channel("echo").unwrap());
    let answer = health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
}
