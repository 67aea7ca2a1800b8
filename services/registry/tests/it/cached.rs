//! Pull-through caches, with Debian's docker-registry and a second Gantry registry as upstreams.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::app::App;
use gantry_registry::domain::manifest::{OCI_INDEX, OCI_MANIFEST};
use gantry_registry::{Config, flows};
use gantry_testkit::clause;
use http::Method;
use serde_json::{Value, json};

use crate::image::{CONFIG, Image, LAYER, descriptor, layer};
use crate::peer::{Front, Mood, Peer};
use crate::stage::{Stage, code};

const BASE: &str = "/api/v1/orgs/acme/projects/shop/registry";
const LONG: Duration = Duration::from_secs(30);

/// A project of which `hub/...` is a cache of `url`, an administrator, and a token for one repository of it.
struct Cached {
    stage: Stage,
    access: String,
    token: String,
}

const REPO: &str = "acme/shop/hub/web";

impl Cached {
    async fn of(url: &str, more: Value) -> Self {
        let stage = Stage::with(Config { private_targets: true, ..Config::default() }).await;
        let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
        let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
        let cached = Self { stage, access, token };
        cached.set(url, more).await;
        cached
    }

    async fn set(&self, url: &str, more: Value) {
        let mut body = json!({ "endpoint": { "url": url, "allow_private": true }, "prefix": "hub", "remote_prefix": "library", "fresh_seconds": 0 });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, answer) = self.stage.world.call(&self.stage.host, Method::PUT, &format!("{BASE}/upstreams/hub"), Some(&self.access), Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.stage.world.call(&self.stage.host, method, &format!("{BASE}/{path}"), Some(&self.access), body.as_ref()).await
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.stage.request(Method::GET, &format!("/v2/{REPO}/{path}"), &self.token).send().await.unwrap()
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    /// The digest that a tag has here.
    async fn digest(&self, tag: &str) -> String {
        let answer = self.get(&format!("manifests/{tag}")).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        answer.headers()["docker-content-digest"].to_str().unwrap().to_owned()
    }

    fn app(&self) -> App {
        self.stage.beside(Config::default())
    }

    /// Waits until everything of an image is here.
    async fn until_whole(&self, digests: &[String]) {
        let name = gantry_registry::domain::name::RepositoryName::parse(REPO).unwrap();
        let db = &self.stage.host.db().orm;
        let whole = || async {
            let here = gantry_registry::store::blobs::visible(db, &name, digests).await.unwrap();
            digests.iter().all(|d| here.contains(d))
        };
        self.stage.world.until("the rest of the image is fetched", LONG, whole).await;
    }
}

pub fn blobs_of(image: &Image) -> Vec<String> {
    let parts = image.manifest["layers"].as_array().unwrap().iter().chain([&image.manifest["config"]]);
    parts.map(|d| d["digest"].as_str().unwrap().to_owned()).collect()
}

pub fn index(images: &[(&Image, &str)]) -> Value {
    let entries = images.iter().map(|(image, architecture)| {
        let mut entry = descriptor(OCI_MANIFEST, image.manifest.to_string().as_bytes());
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    });
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries.collect::<Vec<_>>() })
}

/// Attaches something to an image, as signers do; its manifest.
pub async fn sign(stage: &Stage, repository: &str, token: &str, image: &Image) -> Value {
    let (layer, config) = (b"the signature".to_vec(), b"{}".to_vec());
    for blob in [&layer, &config] {
        stage.upload(repository, token, blob).await;
    }
    let subject = descriptor(OCI_MANIFEST, image.manifest.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/example.signature",
        "config": descriptor("application/vnd.oci.empty.v1+json", &config), "layers": [descriptor("text/plain", &layer)], "subject": subject });
    let digest = gantry_registry::domain::digest::Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, manifest.to_string().as_bytes());
    assert_eq!(stage.push(repository, digest.as_str(), token, &manifest).await.status(), 201);
    manifest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_fetched_once_and_goes_on_being_served_whatever_becomes_of_the_upstream() {
    clause("6.2.1.f");
    let Some(mut peer) = Peer::start(false) else { return };
    let front = Front::before(&peer).await;
    let cached = Cached::of(&front.url, json!({})).await;
    let one = Image::simple("cached one");
    let first = peer.push("library/web", "v1", &one).await;
    assert_eq!(cached.digest("v1").await, first);
    cached.until_whole(&blobs_of(&one)).await;
    for blob in blobs_of(&one) {
        assert_eq!(cached.status(&format!("blobs/{blob}")).await, 200);
        assert_eq!(front.seen(&format!("GET /v2/library/web/blobs/{blob}")), 1, "each blob was fetched once");
    }
    // The tag moves there, and here with the next look.
    let second = peer.push("library/web", "v1", &Image::simple("cached two")).await;
    assert_eq!(cached.digest("v1").await, second);
    // Gone, too many requests, away: what is here is served.
    let why = || async {
        let (_, listed) = cached.call(Method::GET, "upstreams/hub/contents", None).await;
        let items = listed["items"].as_array().unwrap().clone();
        items.iter().find(|i| i["reference"] == "v1").unwrap()["error"].as_str().unwrap_or_default().to_owned()
    };
    let gone = peer.request(Method::DELETE, &format!("/v2/library/web/manifests/{second}")).send().await.unwrap();
    assert_eq!(gone.status(), 202);
    assert_eq!(cached.digest("v1").await, second);
    assert!(why().await.contains("gone"), "{}", why().await);
    front.feels(Mood::Busy);
    assert_eq!(cached.digest("v1").await, second);
    assert!(why().await.contains("wait"), "{}", why().await);
    let refused = cached.get("manifests/never-seen").await;
    assert_eq!(refused.headers()["retry-after"], "7");
    assert_eq!(code(refused).await, (429, "TOOMANYREQUESTS".into()));
    front.feels(Mood::Well);
    cached.set(&front.url, json!({ "fresh_seconds": 1 })).await;
    assert_eq!(cached.digest("v1").await, second);
    assert_eq!(cached.status("manifests/v2").await, 404);
    peer.stop();
    assert_eq!(cached.digest("v1").await, second);
    assert_eq!(cached.digest(&first).await, first, "by digest, too");
    assert_eq!(cached.status("manifests/v3").await, 503);
    let (_, seen) = cached.call(Method::GET, "upstreams", None).await;
    assert!(seen["items"][0]["error"].is_string(), "{seen}");
    assert_eq!(seen["items"][0]["has_password"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_tag_is_served_without_asking() {
    let Some(peer) = Peer::start(false) else { return };
    let front = Front::before(&peer).await;
    let cached = Cached::of(&front.url, json!({ "fresh_seconds": 3600 })).await;
    let first = peer.push("library/web", "v1", &Image::simple("fresh one")).await;
    assert_eq!(cached.digest("v1").await, first);
    let asked = front.seen("manifests/v1");
    peer.push("library/web", "v1", &Image::simple("fresh two")).await;
    for _ in 0..3 {
        assert_eq!(cached.digest("v1").await, first);
    }
    assert_eq!(front.seen("manifests/v1"), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_index_is_kept_and_its_images_stay_when_the_upstream_goes() {
    clause("7.3.2.b");
    let Some(mut peer) = Peer::start(true) else { return };
    let more = json!({ "endpoint": { "url": peer.url(), "allow_private": true, "username": "ada" }, "password": "secret", "platforms": "all" });
    let cached = Cached::of(&peer.url(), more).await;
    let (amd, arm) = (Image::of(vec![layer(&[("x", b"amd")])], "amd64"), Image::of(vec![layer(&[("x", b"arm")])], "arm64"));
    for (image, tag) in [(&amd, "amd"), (&arm, "arm")] {
        peer.push("library/web", tag, image).await;
    }
    let both = index(&[(&amd, "amd64"), (&arm, "arm64")]);
    let digest = peer.put("library/web", "multi", &both).await;
    let answer = cached.get("manifests/multi").await;
    assert_eq!(answer.headers()["content-type"], OCI_INDEX);
    assert_eq!(answer.bytes().await.unwrap(), both.to_string().as_bytes(), "byte for byte");
    let all: Vec<String> = blobs_of(&amd).into_iter().chain(blobs_of(&arm)).collect();
    cached.until_whole(&all).await;
    peer.stop();
    assert_eq!(cached.digest("multi").await, digest);
    for image in [&amd, &arm] {
        assert_eq!(cached.status(&format!("manifests/{}", image.digest())).await, 200);
        for blob in blobs_of(image) {
            assert_eq!(cached.status(&format!("blobs/{blob}")).await, 200);
        }
    }
    let (_, settings) = cached.call(Method::GET, "settings", None).await;
    assert!(!settings.to_string().contains("secret"), "{settings}");
    let (_, trial) = cached.call(Method::POST, "upstreams/hub/test", None).await;
    assert_eq!((&trial["ok"], trial["error"].is_string()), (&json!(false), true), "{trial}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_content_is_never_kept_and_a_broken_transfer_goes_on() {
    let Some(peer) = Peer::start(false) else { return };
    let front = Front::before(&peer).await;
    let cached = Cached::of(&front.url, json!({})).await;
    let noise: Vec<u8> = (0..400_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = Image::of(vec![layer(&[("noise", &noise)])], "amd64");
    peer.push("library/web", "v1", &image).await;
    front.feels(Mood::Lying);
    assert_eq!(cached.status("manifests/v1").await, 503, "the config is not what the manifest says");
    // The layer's name is known from elsewhere; what comes is not it.
    let blob = blobs_of(&image)[0].clone();
    let answer = cached.get(&format!("blobs/{blob}")).await;
    assert!(answer.bytes().await.is_err(), "the connection breaks before the end");
    let file = cached.stage.host.platform.home.join("registry/blobs/sha256").join(&blob[7..9]).join(&blob[7..]);
    assert!(!file.exists());
    front.feels(Mood::Breaking);
    let answer = cached.get(&format!("blobs/{blob}")).await;
    assert_eq!(answer.bytes().await.unwrap(), image.layers[0]);
    cached.until_whole(&[blob]).await;
    assert!(file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_pull_one_blob_share_one_transfer() {
    let Some(peer) = Peer::start(false) else { return };
    let front = Front::before(&peer).await;
    let cached = Cached::of(&front.url, json!({})).await;
    let noise: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = Image::of(vec![layer(&[("noise", &noise)])], "amd64");
    peer.push("library/web", "v1", &image).await;
    let blob = blobs_of(&image)[0].clone();
    let (path, size) = (format!("blobs/{blob}"), image.layers[0].len());
    let pulls = futures::future::join_all((0..12).map(|_| async { cached.get(&path).await.bytes().await.unwrap() })).await;
    assert!(pulls.iter().all(|bytes| *bytes == image.layers[0]));
    assert_eq!(front.seen(&format!("GET /v2/library/web/blobs/{blob}")), 1);
    let head = cached.stage.request(Method::HEAD, &format!("/v2/{REPO}/{path}"), &cached.token).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], size.to_string().as_str());
    let tags = futures::future::join_all((0..12).map(|_| cached.digest("v1"))).await;
    assert!(tags.iter().all(|d| *d == image.digest()));
    assert_eq!(front.seen("GET /v2/library/web/manifests/v1"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_replicas_fetch_a_blob_once() {
    let Some(peer) = Peer::start(false) else { return };
    let front = Front::before(&peer).await;
    let cached = Cached::of(&front.url, json!({})).await;
    let (beside, other) = cached.stage.world.replica::<gantry_registry::Registry>(Config { private_targets: true, ..Config::default() }).await;
    cached.stage.world.identity.settle(&other).await;
    let noise: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = Image::of(vec![layer(&[("noise", &noise)])], "amd64");
    peer.push("library/web", "v1", &image).await;
    let blob = blobs_of(&image)[0].clone();
    let path = format!("blobs/{blob}");
    let there = || async {
        let url = format!("{}/v2/{REPO}/{path}", other.url_of("registry").unwrap());
        let answer = cached.stage.world.http.get(url).bearer_auth(&cached.token).send().await.unwrap();
        answer.bytes().await.unwrap()
    };
    let here = futures::future::join_all((0..4).map(|_| async { cached.get(&path).await.bytes().await.unwrap() }));
    let (here, there) = tokio::join!(here, futures::future::join_all((0..4).map(|_| there())));
    assert!(here.iter().chain(&there).all(|bytes| *bytes == image.layers[0]));
    assert_eq!(front.seen(&format!("GET /v2/library/web/blobs/{blob}")), 1);

    // A replica that was killed while it fetched holds nobody up for long.
    let killed = "insert into fetches (repository, digest, holder, until) values ($1, $2, $3, now() + interval '2 seconds')";
    let second = Image::of(vec![layer(&[("more", &noise[7..])])], "amd64");
    peer.push("library/web", "v2", &second).await;
    let blob = blobs_of(&second)[0].clone();
    let holder = uuid::Uuid::from_u128(1);
    sqlx::query(killed).bind(REPO).bind(&blob).bind(holder).execute(&other.db().pool).await.unwrap();
    // The manifest says how large it is, so that the answer can begin before the content is here.
    assert_eq!(cached.status("manifests/v2").await, 200);
    assert_eq!(cached.get(&format!("blobs/{blob}")).await.bytes().await.unwrap(), second.layers[0]);
    assert_eq!(front.seen(&format!("GET /v2/library/web/blobs/{blob}")), 1);
    beside.cancel.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_opens_no_content_of_the_rest_of_its_project() {
    let cached = Cached::of("http://127.0.0.1:1", json!({})).await;
    let bob = cached.stage.user("bob", Some((Role::Admin, cached.stage.shop.scope()))).await;
    let digest = cached.stage.upload("acme/shop/secret", &cached.stage.full(bob, "acme/shop/secret"), b"for few").await;
    // Robots may be for the cache alone.
    assert!(cached.status(&format!("blobs/{digest}")).await >= 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_quota_and_the_ban_on_pushes_hold_for_a_cache() {
    clause("7.4.2.d");
    let Some(peer) = Peer::start(false) else { return };
    let cached = Cached::of(&peer.url(), json!({})).await;
    let stage = &cached.stage;
    let image = Image::simple("quota of a cache");
    peer.push("library/web", "v1", &image).await;
    let eve = stage.user("eve", None).await;
    let read = |token: String| async move { stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap() };
    assert_eq!(code(read(stage.full(eve, REPO)).await).await, (403, "DENIED".into()));
    assert_eq!(read(stage.token("", &[])).await.status(), 401);
    // Nobody's question reaches the upstream by that.
    let (_, contents) = cached.call(Method::GET, "upstreams/hub/contents", None).await;
    assert_eq!(contents["items"], json!([]));
    let begun = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &cached.token).send().await.unwrap();
    assert_eq!(code(begun).await, (403, "DENIED".into()));
    assert_eq!(code(stage.push(REPO, "mine", &cached.token, &image.manifest).await).await, (403, "DENIED".into()));
    assert_eq!(cached.call(Method::PUT, "quota", Some(json!({ "bytes": 10 }))).await.0, 200);
    assert_eq!(code(read(cached.token.clone()).await).await, (403, "DENIED".into()));
    // That the rest of an image is wanted is noted before the image is here, or a crash in between would leave it without.
    let noted = "select count(*) from todos where name = 'cache-fill' and key = $1";
    let key = format!("{REPO}@{}", image.digest());
    assert_eq!(sqlx::query_scalar::<_, i64>(noted).bind(&key).fetch_one(&stage.host.db().pool).await.unwrap(), 1);
    assert_eq!(cached.call(Method::PUT, "quota", Some(json!({ "bytes": null }))).await.0, 200);
    assert_eq!(read(cached.token.clone()).await.status(), 200);
    let (_, used) = cached.call(Method::GET, "usage", None).await;
    assert!(used["unique_bytes"].as_u64().unwrap() > 100, "{used}");
    // Members see, administrators change, and only operators let a cache reach inside.
    let vic = stage.user("vic", Some((Role::Viewer, stage.shop.scope()))).await;
    let body = json!({ "endpoint": { "url": "https://hub.example" } });
    for (user, status) in [(vic, 403), (eve, 404)] {
        let token = stage.world.token(user, "x");
        assert_eq!(stage.world.call(&stage.host, Method::PUT, &format!("{BASE}/upstreams/x"), Some(&token), Some(&body)).await.0, status);
    }
    let moved = json!({ "endpoint": { "url": "https://127.0.0.1:9", "username": "x" }, "password": "y", "prefix": "p" });
    assert_eq!(cached.call(Method::PUT, "upstreams/p", Some(moved)).await.0, 200);
    let stolen = json!({ "endpoint": { "url": "https://evil.example", "username": "x" }, "prefix": "p" });
    let (status, answer) = cached.call(Method::PUT, "upstreams/p", Some(stolen)).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("password")), "{answer}");
    let (_, trial) = cached.call(Method::POST, "upstreams/p/test", None).await;
    assert!(trial["error"].as_str().unwrap().contains("private address"), "{trial}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_operator_lets_a_cache_reach_inside() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let root = stage.user("root", Some((Role::Admin, gantry_kernel::Scope::Platform))).await;
    let body = json!({ "endpoint": { "url": "http://127.0.0.1:5000", "allow_private": true }, "prefix": "hub" });
    let put = |token: String, body: Value| {
        let stage = &stage;
        async move { stage.world.call(&stage.host, Method::PUT, &format!("{BASE}/upstreams/hub"), Some(&token), Some(&body)).await }
    };
    let (ada, root) = (stage.world.token(ada, "ada"), stage.world.token(root, "root"));
    let (status, answer) = put(ada.clone(), body.clone()).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("endpoint.allow_private")), "{answer}");
    assert_eq!(put(root, body.clone()).await.0, 200);
    let mut slower = body;
    slower["fresh_seconds"] = 7.into();
    assert_eq!(put(ada, slower).await.0, 200, "what was allowed for this address stays allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_come_along_from_another_gantry_with_tokens_and_tls() {
    clause("7.4.1.g");
    let there = Stage::new().await;
    let bob = there.user("bob", Some((Role::Admin, there.shop.scope()))).await;
    let token = there.full(bob, "acme/shop/base");
    let image = Image::simple("signed there");
    let digest = image.push(&there, "acme/shop/base", "v1", &token).await;
    let signature = sign(&there, "acme/shop/base", &token, &image).await;
    let cosign = format!("{}.sig", digest.replace(':', "-"));
    let by_tag = Image::simple("a cosign signature").push(&there, "acme/shop/base", &cosign, &token).await;
    let ca = std::fs::read_to_string(there.world.home.path().join("ca/ca.pem")).unwrap();
    let endpoint = json!({ "url": format!("https://{}", there.registry), "allow_private": true, "username": "bob", "ca_pem": ca });
    let cached = Cached::of("https://unused.example", json!({ "endpoint": endpoint, "password": "secret", "remote_prefix": "acme/shop" })).await;
    let path = |rest: &str| format!("/v2/acme/shop/hub/base/{rest}");
    let ada = cached.stage.user("ann", Some((Role::Viewer, cached.stage.shop.scope()))).await;
    let mine = cached.stage.token(&format!("user:{ada}"), &[("repository", "acme/shop/hub/base", &["pull"])]);
    let get = |rest: String| cached.stage.request(Method::GET, &path(&rest), &mine).send();
    assert_eq!(get("manifests/v1".into()).await.unwrap().status(), 200);
    let listed: Value = get(format!("referrers/{digest}")).await.unwrap().json().await.unwrap();
    assert_eq!(listed["manifests"][0]["artifactType"], "application/example.signature", "{listed}");
    let name = gantry_registry::domain::name::RepositoryName::parse("acme/shop/hub/base").unwrap();
    let wanted = [blobs_of(&image), blobs_of(&json_image(&signature))].concat();
    let db = &cached.stage.host.db().orm;
    let whole = || async {
        let here = gantry_registry::store::blobs::visible(db, &name, &wanted).await.unwrap();
        wanted.iter().all(|d| here.contains(d))
    };
    cached.stage.world.until("everything is here", LONG, whole).await;
    let here = || async { get(format!("manifests/{cosign}")).await.unwrap().status() == 200 };
    cached.stage.world.until("cosign's tag came along", LONG, here).await;
    there.world.running.cancel.cancel();
    let tag = get(format!("manifests/{cosign}")).await.unwrap();
    assert_eq!(tag.headers()["docker-content-digest"], by_tag.as_str());
    let again: Value = get(format!("referrers/{digest}")).await.unwrap().json().await.unwrap();
    assert_eq!(again, listed);
}

fn json_image(manifest: &Value) -> Image {
    Image { config: vec![], layers: vec![], manifest: manifest.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_pulled_for_days_goes() {
    let Some(peer) = Peer::start(false) else { return };
    let cached = Cached::of(&peer.url(), json!({ "keep_days": 3 })).await;
    let old = peer.push("library/web", "old", &Image::simple("idle old")).await;
    peer.push("library/web", "used", &Image::simple("idle used")).await;
    for tag in ["old", "used"] {
        cached.digest(tag).await;
    }
    let app = cached.app();
    assert_eq!(flows::cache::round(&app).await.unwrap(), 0, "both are new");
    // Four days pass for one of the two.
    let db = &cached.stage.host.db().pool;
    let long_ago = "now() - interval '4 days'";
    let written = || async {
        let sql = "select (select count(*) from pulls where repository = $1), (select count(*) from manifests)";
        let counts: (i64, i64) = sqlx::query_as(sql).bind(REPO).fetch_one(db).await.unwrap();
        counts == (2, 2)
    };
    cached.stage.world.until("images and pulls are written down", LONG, written).await;
    // Once more where a pull is written down only now, which was under way until then.
    let gone = || async {
        let sql = format!("update pulls set last = {long_ago} where digest = $1");
        assert_eq!(sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&old).execute(db).await.unwrap().rows_affected(), 1);
        let sql = format!("update manifests set pushed_at = {long_ago}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(db).await.unwrap();
        flows::cache::round(&app).await.unwrap() == 1
    };
    cached.stage.world.until("the one that nobody pulled goes, alone", LONG, gone).await;
    let (_, listed) =
        cached.stage.world.call(&cached.stage.host, Method::GET, "/api/v1/orgs/acme/projects/shop/images/hub%2Fweb/tags", Some(&cached.access), None).await;
    assert!(listed.to_string().contains("used") && !listed.to_string().contains("\"old\""), "{listed}");
    assert_eq!(cached.digest("old").await, old, "and comes again when somebody pulls it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_copies_a_whole_index_out_of_a_cache() {
    let Some(peer) = Peer::start(false) else { return };
    let cached = Cached::of(&peer.url(), json!({})).await;
    let (amd, arm) = (Image::of(vec![layer(&[("y", b"amd")])], "amd64"), Image::of(vec![layer(&[("y", b"arm")])], "arm64"));
    for (image, tag) in [(&amd, "amd"), (&arm, "arm")] {
        peer.push("library/web", tag, image).await;
    }
    peer.put("library/web", "multi", &index(&[(&amd, "amd64"), (&arm, "arm64")])).await;
    let to = cached.stage.world.home.path().join("out");
    crate::skopeo::copy_all(&cached.stage, &format!("{REPO}:multi"), &to, "ada:secret").await.unwrap();
    for image in [&amd, &arm] {
        let bytes = std::fs::read(to.join("blobs/sha256").join(&image.digest()[7..])).unwrap();
        assert_eq!(bytes, image.manifest.to_string().into_bytes());
        assert_eq!(image.manifest["layers"][0]["mediaType"], LAYER);
        assert_eq!(image.manifest["config"]["mediaType"], CONFIG);
    }
}
