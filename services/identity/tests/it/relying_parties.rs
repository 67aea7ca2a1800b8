//! Foreign relying parties against this service behind a small door: the same programs that `make test` runs against the
//! whole suite (integration-tests/browser/relying-parties.test.mjs).

use std::path::PathBuf;
use std::process::Stdio;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use gantry_identity::Identity;
use gantry_identity::config::Config;
use gantry_testkit::World;
use http::{HeaderMap, Method, StatusCode, Uri};

/// What the gateway does for identity: TLS without a client's certificate outside, its own certificate inside.
async fn door(State((http, base)): State<(reqwest::Client, String)>, method: Method, uri: Uri, mut headers: HeaderMap, body: Bytes) -> Response {
    headers.remove(http::header::HOST);
    headers.remove(http::header::CONTENT_LENGTH);
    headers.insert("x-forwarded-for", http::HeaderValue::from_static("127.0.0.1"));
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let answer = http.request(method, format!("{base}{path}")).headers(headers).body(body).send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(n, _)| *n != http::header::TRANSFER_ENCODING && *n != http::header::CONTENT_LENGTH) {
        response = response.header(name, value);
    }
    let bytes = answer.bytes().await.unwrap_or_default();
    response.body(Body::from(bytes)).unwrap_or_else(|_| {
        let mut failed = Response::new(Body::empty());
        *failed.status_mut() = StatusCode::BAD_GATEWAY;
        failed
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_others_sign_people_in() {
    gantry_testkit::clause("6.5.2.1.b");
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../integration-tests/browser"));
    if !folder.join("node_modules/openid-client").exists() {
        println!("left out: `npm ci` in integration-tests/browser installs the programs; `make test` runs them against the whole suite");
        return;
    }
    let port = gantry_testkit::free_port();
    let url = format!("https://localhost:{port}");
    let world = World::with(|platform| platform.public_url = url.clone()).await;
    let host = world.start::<Identity>(Config::default()).await;
    let base = host.url_of("identity").unwrap();
    let set = world.http.get(format!("{base}/oauth2/jwks")).send().await.unwrap().json().await.unwrap();
    host.auth.verifier.keys().set(&set);
    let leaf = world.running.pki().leaf("gateway", &["localhost"]).unwrap();
    let tls = gantry_host::server_config(world.running.pki(), &leaf, false).unwrap();
    let app = axum::Router::new().fallback(door).with_state((world.http.clone(), base));
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    gantry_host::serve(address, tls, app.into_service(), &world.running.doors).await.unwrap();

    let ca = world.home.path().join("ca/ca.pem");
    let password = std::fs::read_to_string(world.home.path().join("admin-password")).unwrap();
    let done = tokio::process::Command::new("node")
        .args(["--test", "--test-reporter=spec", "relying-parties.test.mjs"])
        .current_dir(&folder)
        .env("NODE_EXTRA_CA_CERTS", &ca)
        .env("GANTRY_CA", &ca)
        .env("GANTRY_URL", &url)
        .env("GANTRY_ADMIN_USER", "admin")
        .env("GANTRY_ADMIN_PASSWORD", password.trim())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("openid-client"), "it ran: {said}");
}
