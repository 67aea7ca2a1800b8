//! Rights over two services: identity, and a small one that decides by itself from what comes over the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::extract::State;
use axum::routing::{get, post};
use gantry_auth::Caller;
use gantry_host::config::Nothing;
use gantry_host::{ApiResult, Host, Parts, Path, Service};
use gantry_identity::Identity;
use gantry_identity::config::Config;
use gantry_kernel::{Role, Secret};
use gantry_testkit::World;
use http::StatusCode;
use reqwest::Method;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

/// Decides as the scheduler does, and does nothing else.
struct Shelf;

#[async_trait]
impl Service for Shelf {
    const NAME: &'static str = "scheduler";
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(_: Nothing, host: Host) -> anyhow::Result<Parts> {
        let router = axum::Router::new().route("/shelf/{org}/{project}", get(read)).route("/shelf/{org}/{project}", post(write)).with_state(host);
        Ok(Parts { router, ..Parts::default() })
    }
}

async fn read(State(host): State<Host>, caller: Caller, Path((org, project)): Path<(String, String)>) -> ApiResult<StatusCode> {
    host.auth.require(&caller, Role::Viewer, host.auth.project(&org, &project)?.scope())?;
    Ok(StatusCode::OK)
}

async fn write(State(host): State<Host>, caller: Caller, Path((org, project)): Path<(String, String)>) -> ApiResult<StatusCode> {
    host.auth.require(&caller, Role::Editor, host.auth.project(&org, &project)?.scope())?;
    Ok(StatusCode::CREATED)
}

/// A wire to NATS that can be cut.
async fn wire(to: String) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = cut.clone();
    tokio::spawn(async move {
        loop {
            let Ok((mut near, _)) = listener.accept().await else { return };
            let (to, is_cut) = (to.clone(), is_cut.clone());
            tokio::spawn(async move {
                if is_cut.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut far) = TcpStream::connect(to).await else { return };
                let watch = async {
                    while !is_cut.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = watch => {}
                }
            });
        }
    });
    (port, cut)
}

async fn call(world: &World, host: &Host, method: Method, token: &str) -> u16 {
    world.call(host, method, "/shelf/acme/shop", Some(token), None).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_right_holds_in_both_services_within_a_second() {
    gantry_testkit::clause("6.5.2.2.b");
    let world = World::new().await;
    let identity = world.start::<Identity>(Config::default()).await;
    let shelf = world.start::<Shelf>(Nothing::default()).await;
    let admin_name = std::fs::read_to_string(world.home.path().join("admin-password")).unwrap();
    let body = json!({ "username": "bob", "email": "bob@example.org", "password": "tr4ck-Pumice_olive" });
    let (_, bob) = world.call(&identity, Method::POST, "/api/v1/registrations", None, Some(&body)).await;
    let bob = bob["id"].as_str().unwrap().parse().unwrap();
    let basic = world.http.post(format!("{}/api/v1/tokens", identity.url_of("identity").unwrap()));
    let made: serde_json::Value = basic.basic_auth("admin", Some(admin_name.trim())).json(&json!({ "name": "t" })).send().await.unwrap().json().await.unwrap();
    assert!(made["secret"].is_string(), "{made}");
    // Tokens of the test's own key, which both services trust: the administrator is whoever is bound at the platform.
    let admin = world.token_of("service:test");
    let ada = world.user();
    let ada_token = world.token(ada, "ada");
    let body = json!({ "username": "ada", "email": "ada@example.org", "password": "tr4ck-Pumice_olive" });
    let (_, registered) = world.call(&identity, Method::POST, "/api/v1/registrations", None, Some(&body)).await;
    let ada_token_real = world.token(registered["id"].as_str().unwrap().parse().unwrap(), "ada");
    assert_ne!(ada_token, ada_token_real);
    let post = async |path: &str, body: serde_json::Value| {
        let (status, answer) = world.call(&identity, Method::POST, path, Some(&ada_token_real), Some(&body)).await;
        assert_eq!(status, 201, "{answer}");
        answer
    };
    post("/api/v1/orgs", json!({ "name": "acme" })).await;
    post("/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await;
    let bob_token = world.token(bob, "bob");
    let _ = admin;
    for _ in 0..3 {
        let made = post("/api/v1/bindings", json!({ "subject": format!("user:{bob}"), "role": "editor", "org": "acme", "project": "shop" })).await;
        let start = Instant::now();
        world
            .until("the right holds in the other service", Duration::from_secs(1), || async { call(&world, &shelf, Method::POST, &bob_token).await == 201 })
            .await;
        let given = start.elapsed();
        let path = format!("/api/v1/bindings/{}", made["id"].as_str().unwrap());
        assert_eq!(world.call(&identity, Method::DELETE, &path, Some(&ada_token_real), None).await.0, 204);
        let start = Instant::now();
        world.until("the right is gone there", Duration::from_secs(1), || async { call(&world, &shelf, Method::POST, &bob_token).await == 404 }).await;
        println!("given after {given:?}, gone after {:?}", start.elapsed());
    }
    // The same by a team, a custom role, and a suspended person.
    post("/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await;
    let put = async |path: &str| world.call(&identity, Method::PUT, path, Some(&ada_token_real), Some(&json!({}))).await.0;
    assert_eq!(put(&format!("/api/v1/orgs/acme/members/{bob}")).await, 204);
    assert_eq!(put(&format!("/api/v1/orgs/acme/teams/dev/members/user:{bob}")).await, 204);
    post("/api/v1/roles", json!({ "name": "deployer", "org": "acme", "permissions": ["apps.write"] })).await;
    post("/api/v1/bindings", json!({ "subject": "team:dev", "role": "deployer", "org": "acme", "project": "shop" })).await;
    world.until("the team's custom role holds there", Duration::from_secs(1), || async { call(&world, &shelf, Method::POST, &bob_token).await == 201 }).await;
    assert_eq!(world.call(&identity, Method::DELETE, &format!("/api/v1/orgs/acme/members/{bob}"), Some(&ada_token_real), None).await.0, 204);
    world.until("who left has nothing", Duration::from_secs(1), || async { call(&world, &shelf, Method::POST, &bob_token).await == 404 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_lost_the_bus_refuses_changes_and_goes_on_reading() {
    let servers = tokio::task::spawn_blocking(gantry_testkit::servers).await.unwrap();
    let url: url::Url = servers.nats_url.parse().unwrap();
    let (port, cut) = wire(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())).await;
    let mut through = url.clone();
    through.set_port(Some(port)).unwrap();
    let world = World::with(|platform| {
        platform.nats_url = Secret::new(through.as_str());
        platform.rights_stale_seconds = 8;
    })
    .await;
    let shelf = world.start::<Shelf>(Nothing::default()).await;
    let org = world.identity.org("acme").await;
    let project = world.identity.project(&org, "shop", false).await;
    let bob = world.user();
    world.identity.grant(&format!("user:{bob}"), Role::Editor, project.scope()).await;
    world.identity.settle(&shelf).await;
    let token = world.token(bob, "bob");
    // Longer than the limit: while the bus is there, nothing gets old.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(call(&world, &shelf, Method::POST, &token).await, 201);
    cut.store(true, Ordering::SeqCst);
    world.until("changes are refused", Duration::from_secs(20), || async { call(&world, &shelf, Method::POST, &token).await == 503 }).await;
    let (_, problem) = world.call(&shelf, Method::POST, "/shelf/acme/shop", Some(&token), None).await;
    assert_eq!(problem["code"], "rights.stale", "{problem}");
    assert_eq!(call(&world, &shelf, Method::GET, &token).await, 200, "reading works");
    cut.store(false, Ordering::SeqCst);
    world.until("changes work again", Duration::from_secs(20), || async { call(&world, &shelf, Method::POST, &token).await == 201 }).await;
}
