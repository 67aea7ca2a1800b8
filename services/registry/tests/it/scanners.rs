//! Scanners outside. The adapter is a small server of the test's own that speaks Harbor's pluggable scanner API and stands in for Trivy's and
//! Clair's; it pulls the image with the key it is given, as they do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_es_pg::rebuild;
use gantry_kernel::Role;
use gantry_registry::Config;
use gantry_registry::flows::projections::Settings;
use gantry_testkit::clause;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::image::{Image, layer};
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";
const BASE: &str = "/api/v1/orgs/acme/projects/shop";
const REPORT: &str = "application/vnd.security.vulnerability.report; version=1.1";
const SBOM: &str = "application/vnd.security.sbom.report+json; version=1.0";

/// What it saw, and how it behaves.
#[derive(Clone, Default)]
struct Adapter {
    asked: Arc<Mutex<Vec<Value>>>,
    /// How often each report is not ready yet.
    delays: Arc<Mutex<u32>>,
    broken: Arc<Mutex<bool>>,
    url: String,
}

impl Adapter {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let it = Self { url: format!("http://{}/adapter", listener.local_addr().unwrap()), ..Self::default() };
        let app = axum::Router::new()
            .route("/adapter/api/v1/metadata", get(metadata))
            .route("/adapter/api/v1/scan", post(scan))
            .route("/adapter/api/v1/scan/{id}/report", get(report))
            .with_state(it.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        it
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

fn knows(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|v| v == "Bearer open sesame")
}

async fn metadata(headers: HeaderMap) -> Response {
    if !knows(&headers) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": { "message": "who are you?" } }))).into_response();
    }
    let images = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
    Json(json!({
        "scanner": { "name": "Stand-in", "vendor": "the test", "version": "1.2.3" },
        "capabilities": [
            { "type": "vulnerability", "consumes_mime_types": images, "produces_mime_types": ["application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0", REPORT] },
            { "type": "sbom", "consumes_mime_types": images, "produces_mime_types": [SBOM], "additional_attributes": { "sbom_media_types": ["application/spdx+json"] } },
        ],
    }))
    .into_response()
}

async fn scan(State(adapter): State<Adapter>, headers: HeaderMap, body: String) -> Response {
    assert!(knows(&headers));
    assert_eq!(headers["content-type"], "application/vnd.scanner.adapter.scan.request+json; version=1.0");
    let mut asked = adapter.asked.lock().unwrap();
    asked.push(serde_json::from_str(&body).unwrap());
    (StatusCode::ACCEPTED, Json(json!({ "id": format!("scan {}", asked.len() - 1) }))).into_response()
}

async fn report(State(adapter): State<Adapter>, Path(id): Path<String>, Query(query): Query<Vec<(String, String)>>, headers: HeaderMap) -> Response {
    if *adapter.broken.lock().unwrap() {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": { "message": "out of memory" } }))).into_response();
    }
    let number: usize = id.strip_prefix("scan ").unwrap().parse().unwrap();
    let kind = adapter.asked()[number]["enabled_capabilities"][0]["type"].as_str().unwrap().to_owned();
    {
        let mut delays = adapter.delays.lock().unwrap();
        if *delays > 0 {
            *delays -= 1;
            return (StatusCode::FOUND, [("refresh-after", "1"), ("location", "elsewhere")]).into_response();
        }
    }
    if kind == "sbom" {
        assert_eq!((query[0].1.as_str(), headers["accept"].to_str().unwrap()), ("application/spdx+json", SBOM));
        return Json(json!({ "media_type": "application/spdx+json", "sbom": { "spdxVersion": "SPDX-2.3", "name": "by the stand-in" } })).into_response();
    }
    assert_eq!(headers["accept"], REPORT);
    let found = json!([
        { "id": "CVE-2026-0001", "package": "libssl3", "version": "3.0.9-1", "severity": "Critical", "fix_version": "3.0.11-1" },
        { "id": "CVE-2026-0777", "package": "bash", "version": "5.2", "severity": "High", "description": "only they know it", "preferred_cvss": { "score_v3": 7.5 } },
    ]);
    Json(json!({ "scanner": { "name": "Stand-in" }, "vulnerabilities": found })).into_response()
}

fn debian() -> Image {
    let status = b"Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.9-1\n";
    Image::of(
        vec![layer(&[("etc/os-release", b"PRETTY_NAME=\"Debian 12\"\nID=debian\nVERSION_ID=\"12\"\n".as_slice()), ("var/lib/dpkg/status", status)])],
        "amd64",
    )
}

struct Scene {
    stage: Stage,
    access: String,
    token: String,
    adapter: Adapter,
    _advisories: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let advisory = json!({
            "id": "DSA-1", "aliases": ["CVE-2026-0001"],
            "affected": [{ "package": { "ecosystem": "Debian:12", "name": "openssl" }, "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "3.0.11-1" }] }] }],
        });
        std::fs::write(folder.path().join("one.json"), advisory.to_string()).unwrap();
        let config = Config { advisories: folder.path().to_owned(), advisories_interval_seconds: 1, private_targets: true, ..Config::default() };
        let stage = Stage::with(config).await;
        let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
        let (access, token) = (stage.world.token(user, "ada"), stage.full(user, REPO));
        Self { stage, access, token, adapter: Adapter::start().await, _advisories: folder }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.stage.world.call(&self.stage.host, method, &format!("{BASE}/{path}"), Some(&self.access), body.as_ref()).await
    }

    async fn set(&self, more: Value) -> (u16, Value) {
        let mut body = json!({ "url": self.adapter.url, "auth": "bearer", "allow_private": true, "password": "open sesame" });
        more.as_object().unwrap().iter().for_each(|(k, v)| drop(body.as_object_mut().unwrap().insert(k.clone(), v.clone())));
        self.call(Method::PUT, "registry/scanners/stand-in", Some(body)).await
    }

    async fn report(&self, digest: &str) -> Value {
        self.call(Method::GET, &format!("images/web/{digest}/scan"), None).await.1
    }

    async fn state(&self, digest: &str) -> Value {
        self.call(Method::GET, &format!("images/web/{digest}/scanners"), None).await.1["items"][0].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_outside_is_asked_waited_for_and_its_findings_are_merged() {
    clause("6.4.2.1.g");
    let scene = Scene::new().await;
    *scene.adapter.delays.lock().unwrap() = 2;
    assert_eq!(scene.set(json!({ "sbom": true })).await.0, 200);
    let (_, trial) = scene.call(Method::POST, "registry/scanners/stand-in/test", None).await;
    assert_eq!((&trial["ok"], &trial["identity"]["version"], &trial["sbom"]), (&json!(true), &json!("1.2.3"), &json!("application/spdx+json")), "{trial}");
    let digest = debian().push(&scene.stage, REPO, "v1", &scene.token).await;
    let merged = || async { scene.report(&digest).await["findings"].as_array().is_some_and(|f| f.len() == 2 && f.iter().all(|f| f["scanners"].is_array())) };
    scene.stage.world.until("both reports are one", Duration::from_secs(60), merged).await;
    let report = scene.report(&digest).await;
    let by = |id: &str| report["findings"].as_array().unwrap().iter().find(|f| f["id"] == id).unwrap().clone();
    assert_eq!(by("DSA-1")["scanners"], json!(["gantry", "stand-in"]));
    assert_eq!((&by("CVE-2026-0777")["scanners"], &by("CVE-2026-0777")["score"]), (&json!(["stand-in"]), &json!(7.5)));
    assert_eq!(report["summary"]["high"], 1);
    let state = scene.state(&digest).await;
    assert_eq!((&state["state"], &state["identity"]["name"], &state["has_sbom"]), (&json!("done"), &json!("Stand-in"), &json!(true)));
    assert_eq!(scene.adapter.asked().len(), 2, "one report and one bill of materials: looking again asks for nothing anew");
    let (_, bom) = scene.call(Method::GET, &format!("images/web/{digest}/sbom?scanner=stand-in"), None).await;
    assert_eq!(bom["name"], "by the stand-in");
    assert_eq!(scene.call(Method::GET, &format!("images/web/{digest}/sbom?scanner=nobody"), None).await.0, 404);

    // What was found outside is found by search, too: the index follows the report.
    let found = || async {
        let asked = scene.stage.world.call(&scene.stage.host, Method::GET, "/api/v1/images?finding=cve-2026-0777", Some(&scene.access), None);
        asked.await.1["items"][0]["digest"] == digest.as_str()
    };
    scene.stage.world.until("the finding is searched by", Duration::from_secs(30), found).await;

    // The key it was given opens this repository for reading, and nothing else.
    let asked = scene.adapter.asked()[0].clone();
    assert_eq!((&asked["artifact"]["repository"], &asked["artifact"]["digest"]), (&json!(REPO), &json!(digest)));
    assert_eq!(asked["registry"]["url"], format!("https://{}", scene.stage.registry));
    let key = asked["registry"]["authorization"].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    let with = |method: Method, path: String| scene.stage.request(method, &path, &key).send();
    assert_eq!(with(Method::GET, format!("/v2/{REPO}/manifests/{digest}")).await.unwrap().status(), 200);
    let layer = debian().manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(with(Method::GET, format!("/v2/{REPO}/blobs/{layer}")).await.unwrap().status(), 200);
    for (method, path) in [
        (Method::POST, format!("/v2/{REPO}/blobs/uploads/")),
        (Method::DELETE, format!("/v2/{REPO}/manifests/{digest}")),
        (Method::GET, "/v2/acme/shop/other/manifests/v1".to_owned()),
        (Method::GET, "/v2/_catalog".to_owned()),
    ] {
        let status = with(method, path.clone()).await.unwrap().status().as_u16();
        assert!(matches!(status, 401 | 403), "{path}: {status}");
    }
    let mut forged = key.clone();
    forged.replace_range(key.len() - 2.., "AA");
    for bad in [forged, key.replace("gantry-scan.", ""), "gantry-scan.x.y".into()] {
        let status = scene.stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{digest}"), &bad).send().await.unwrap().status();
        assert_eq!(status, 401, "{bad}");
    }
    // What somebody had sealed as a secret of the project is no key, nor is one that would hold for longer than keys do.
    let (keyring, project) = (scene.stage.host.keyring(), scene.stage.shop.id.0);
    let soon = scene.stage.host.env.now().unix_timestamp() + 600;
    for (whom, until, status) in [("scan-pass", soon, 200_u16), ("project", soon, 401), ("scan-pass", soon + 24 * 3600, 401)] {
        let pass = json!({ "repository": REPO, "scanner": "stand-in", "until": until }).to_string();
        let sealed = keyring.seal(&format!("{whom}:{project}"), &pass).await.unwrap().0;
        let made = format!("gantry-scan.{}.{}", project.simple(), URL_SAFE_NO_PAD.encode(sealed));
        let answer = scene.stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{digest}"), &made).send().await.unwrap();
        assert_eq!(answer.status(), status, "{whom} {until}");
    }
    // One that is taken away and comes back under its name brings nothing of the one before along.
    assert_eq!(scene.call(Method::DELETE, "registry/scanners/stand-in", None).await.0, 200);
    assert_eq!(scene.state(&digest).await, Value::Null);
    *scene.adapter.broken.lock().unwrap() = true;
    assert_eq!(scene.set(json!({})).await.0, 200);
    assert_eq!(scene.call(Method::POST, &format!("images/web/{digest}/scan"), None).await.0, 202);
    let alone = || async { scene.report(&digest).await["findings"].as_array().is_some_and(|f| f.len() == 1 && f[0].get("scanners").is_none()) };
    scene.stage.world.until("only the own scanner's findings are there", Duration::from_secs(60), alone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_that_fails_is_told_of_and_can_be_asked_again() {
    let scene = Scene::new().await;
    *scene.adapter.broken.lock().unwrap() = true;
    assert_eq!(scene.set(json!({ "repositories": "web" })).await.0, 200);
    let digest = debian().push(&scene.stage, REPO, "v1", &scene.token).await;
    scene.stage.world.until("the fault is told", Duration::from_secs(60), || async { scene.state(&digest).await["error"].is_string() }).await;
    let error = scene.state(&digest).await["error"].as_str().unwrap().to_owned();
    assert!(error.contains("500") && error.contains("out of memory"), "{error}");
    assert_eq!(scene.report(&digest).await["findings"][0]["id"], "DSA-1", "the own report does not wait");
    *scene.adapter.broken.lock().unwrap() = false;
    let (status, asked) = scene.call(Method::POST, &format!("images/web/{digest}/scan"), None).await;
    assert_eq!((status, &asked["scanners"]), (202, &json!(1)));
    scene.stage.world.until("it went well", Duration::from_secs(60), || async { scene.state(&digest).await["state"] == "done" }).await;
    scene
        .stage
        .world
        .until("it is in the report", Duration::from_secs(30), || async { scene.report(&digest).await["findings"].as_array().unwrap().len() == 2 })
        .await;

    // Without it, its findings go with the next scan.
    assert_eq!(scene.call(Method::DELETE, "registry/scanners/stand-in", None).await.0, 200);
    assert_eq!(scene.call(Method::POST, &format!("images/web/{digest}/scan"), None).await.1["scanners"], 0);
    scene
        .stage
        .world
        .until("they are gone", Duration::from_secs(30), || async { scene.report(&digest).await["findings"].as_array().unwrap().len() == 1 })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_scanner_of_a_name_said_goes_with_the_change_and_only_if_it_is_made() {
    use gantry_registry::store::scanner_reports::{ask, of};
    let scene = Scene::new().await;
    let (pool, env) = (&scene.stage.host.db().pool, &scene.stage.host.env);
    let digest = debian().push(&scene.stage, REPO, "v1", &scene.token).await;
    // Its own scan asks nobody, for there is nobody yet.
    let scanned = || async { scene.report(&digest).await["findings"].as_array().is_some_and(|f| f.len() == 1) };
    scene.stage.world.until("it is scanned", Duration::from_secs(60), scanned).await;
    let known = async || of(pool, REPO, &digest).await.unwrap().len();
    // As the platform's scanner of that name was asked.
    ask(pool, (REPO, &digest), "stand-in", env.now()).await.unwrap();
    assert_eq!(scene.set(json!({ "url": "ftp://x" })).await.0, 400);
    assert_eq!(known().await, 1, "nothing has changed");
    assert_eq!(scene.set(json!({})).await.0, 200);
    assert_eq!(known().await, 0);
    ask(pool, (REPO, &digest), "stand-in", env.now()).await.unwrap();
    assert_eq!(scene.set(json!({ "rescan_hours": 48 })).await.0, 200);
    assert_eq!(known().await, 1, "it is the same scanner");
    // Built anew from the events, which are all older than the question.
    rebuild(scene.stage.host.log(), &Settings).await.unwrap();
    assert_eq!(known().await, 1);
    assert_eq!(scene.call(Method::DELETE, "registry/scanners/stand-in", None).await.0, 200);
    assert_eq!(known().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_scanner_may_be_is_checked() {
    let scene = Scene::new().await;
    for (more, why) in [
        (json!({ "url": "ftp://x" }), "no http"),
        (json!({ "url": "http://user:pass@x" }), "a password in the address"),
        (json!({ "auth": "basic" }), "no user"),
        (json!({ "password": null }), "no secret"),
        (json!({ "rescan_hours": 0 }), "too often"),
        (json!({ "repositories": "{" }), "no pattern"),
    ] {
        assert_eq!(scene.set(more).await.0, 400, "{why}");
    }
    assert_eq!(scene.set(json!({})).await.0, 200);
    // Another address must not get the secret of this one.
    let moved = json!({ "url": "http://127.0.0.1:9", "auth": "bearer", "allow_private": true });
    assert_eq!(scene.call(Method::PUT, "registry/scanners/stand-in", Some(moved)).await.0, 400);
    assert_eq!(scene.set(json!({ "password": "wrong" })).await.0, 200);
    let (_, trial) = scene.call(Method::POST, "registry/scanners/stand-in/test", None).await;
    assert!(trial["error"].as_str().unwrap().contains("who are you?"), "{trial}");
    let (_, listed) = scene.call(Method::GET, "registry/scanners", None).await;
    assert_eq!((&listed["items"][0]["scanner"]["name"], &listed["items"][0]["has_secret"]), (&json!("stand-in"), &json!(true)));
    assert!(!listed.to_string().contains("wrong"), "secrets are never shown");
    // A public address is needed where nobody allowed another.
    let inside = json!({ "url": "https://127.0.0.1:9", "allow_private": false, "password": "x", "auth": "bearer" });
    assert_eq!(scene.call(Method::PUT, "registry/scanners/inside", Some(inside)).await.0, 200);
    let (_, trial) = scene.call(Method::POST, "registry/scanners/inside/test", None).await;
    assert!(trial["error"].as_str().unwrap().contains("private address"), "{trial}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_question_that_was_taken_back_is_not_the_next_scanners() {
    use gantry_registry::store::scanner_reports::{Question, ask, done, failed, findings, forget, of};
    let stage = Stage::new().await;
    let (pool, now) = (&stage.host.db().pool, stage.host.env.now());
    let (at, names) = ((REPO, "sha256:1"), ["trivy".to_owned()]);
    ask(pool, at, "trivy", now).await.unwrap();
    let asked = async || of(pool, at.0, at.1).await.unwrap().remove(0);
    let question = |asked_at| Question { repository: at.0, digest: at.1, scanner: "trivy", asked_at };
    let before = question(asked().await.asked_at);
    // Removed, and added anew under its name, while the first one was at it.
    forget(pool, at.0, at.1, Some("trivy")).await.unwrap();
    ask(pool, at, "trivy", now + Duration::from_secs(1)).await.unwrap();
    let old = (&json!({ "name": "before" }), &json!(["old"]), None);
    assert!(!done(pool, before, old, now).await.unwrap());
    failed(pool, before, "out of memory", true).await.unwrap();
    let standing = asked().await;
    assert_eq!((standing.state.as_str(), standing.error, standing.identity), ("waiting", None, None));
    assert!(findings(pool, at.0, at.1, &names).await.unwrap().is_empty());
    assert!(done(pool, question(standing.asked_at), (&json!({}), &json!(["new"]), None), now).await.unwrap());
    assert_eq!(findings(pool, at.0, at.1, &names).await.unwrap(), [("trivy".to_owned(), json!(["new"]))]);
}
