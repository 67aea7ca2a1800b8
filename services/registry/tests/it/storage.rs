//! The same promises over both kinds of store, with two replicas of the registry on one database and one store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_host::{Host, Running};
use gantry_kernel::Role;
use gantry_registry::adapters::blob_fs::BlobFs;
use gantry_registry::adapters::blob_s3::BlobS3;
use gantry_registry::app::App;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::{Config, Registry};
use http::{Method, header};

use crate::ground::{Bucket, Ground, PART};
use crate::image::Image;
use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";

/// Two replicas, and somebody who may do everything in one repository.
struct Two {
    ground: Ground,
    stage: Stage,
    other: Host,
    beside: Running,
    token: String,
}

impl Drop for Two {
    fn drop(&mut self) {
        self.beside.cancel.cancel();
    }
}

impl Two {
    async fn on(ground: Ground) -> Self {
        let stage = Stage::with(ground.config()).await;
        let (beside, other) = stage.world.replica::<Registry>(ground.config()).await;
        let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
        stage.world.identity.settle(&other).await;
        let token = stage.full(user, REPO);
        Self { ground, stage, other, beside, token }
    }

    /// A request to the second replica.
    fn there(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.stage.world.http.request(method, format!("{}{path}", self.other.url_of("registry").unwrap())).bearer_auth(&self.token)
    }

    fn here(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.stage.request(method, path, &self.token)
    }

    async fn begin(&self) -> String {
        let begun = self.here(Method::POST, &format!("/v2/{REPO}/blobs/uploads/")).send().await.unwrap();
        assert_eq!(begun.status(), 202);
        begun.headers()["location"].to_str().unwrap().to_owned()
    }

    async fn pulled(&self, digest: &Digest) -> Bytes {
        let got = self.there(Method::GET, &format!("/v2/{REPO}/blobs/{digest}")).send().await.unwrap();
        assert_eq!(got.status(), 200);
        got.bytes().await.unwrap()
    }

    /// The registry's parts with a grace period of the test's choosing, on the second replica's host.
    async fn collector(&self, grace: u64) -> App {
        let config = Config { gc_grace_seconds: grace, ..self.ground.config() };
        let storage = config.storage(&self.other.platform.home);
        let host = self.other.clone();
        match &self.ground {
            Ground::Folder => App::new(host, Arc::new(config), BlobFs::open(storage).unwrap()),
            Ground::Bucket(_) => {
                let store = BlobS3::open(&config.s3, &storage, &host).await.unwrap();
                App::new(host, Arc::new(config), store)
            }
        }
    }
}

/// Nothing that packs well.
fn content(bytes: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

async fn a_push_in_pieces_goes_on_at_the_other_replica(ground: Ground) {
    let two = Two::on(ground).await;
    // More than two parts, cut where no part ends.
    let whole = content(2 * PART + 300_000, 7);
    let (first, rest) = whole.split_at(PART + 70_000);
    let (second, third) = rest.split_at(PART - 1_000);
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let at = two.begin().await;
        let sent = two.here(Method::PATCH, &at).body(first.to_vec()).send().await.unwrap();
        assert_eq!((sent.status().as_u16(), sent.headers()["range"].to_str().unwrap()), (202, &*format!("0-{}", first.len() - 1)));
        let gap = two.there(Method::PATCH, &at).header(header::CONTENT_RANGE, "7-8").body("xx").send().await.unwrap();
        assert_eq!(code(gap).await, (416, "BLOB_UPLOAD_INVALID".into()));
        let lied =
            two.there(Method::PATCH, &at).header(header::CONTENT_RANGE, format!("{}-{}", first.len(), first.len() + 9)).body("short").send().await.unwrap();
        assert_eq!(lied.status(), 400);
        let range = format!("{}-{}", first.len(), first.len() + second.len() - 1);
        let sent = two.there(Method::PATCH, &at).header(header::CONTENT_RANGE, range).body(second.to_vec()).send().await.unwrap();
        assert_eq!(sent.status(), 202, "{}", sent.text().await.unwrap());
        let digest = Digest::of(algorithm, &whole);
        let done = two.here(Method::PUT, &format!("{at}?digest={digest}")).body(third.to_vec()).send().await.unwrap();
        assert_eq!(done.status(), 201, "{}", done.text().await.unwrap());
        assert_eq!(two.pulled(&digest).await, whole);
        let part = two.there(Method::GET, &format!("/v2/{REPO}/blobs/{digest}")).header(header::RANGE, "bytes=5242000-5343999").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), whole[5_242_000..5_344_000]);
        assert_eq!(two.here(Method::GET, &at).send().await.unwrap().status(), 404, "the upload is over");
    }
    assert!(two.ground.uploads(&two.stage).await.is_empty(), "nothing is left of them");
}

async fn what_came_before_the_client_was_gone_is_kept(ground: Ground) {
    let two = Two::on(ground).await;
    let whole = content(PART + 200_000, 11);
    let at = two.begin().await;
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(body, |mut body| async move { body.recv().await.map(|piece| (piece, body)) });
    let sending = tokio::spawn(two.here(Method::PATCH, &at).body(reqwest::Body::wrap_stream(body)).send());
    let sent = PART + 100_000;
    for piece in whole[..sent].chunks(100_000) {
        pieces.send(Ok(Bytes::copy_from_slice(piece))).await.unwrap();
    }
    let standing = || async {
        let status = two.there(Method::GET, &at).send().await.unwrap();
        status.headers()["range"].to_str().unwrap().trim_start_matches("0-").parse::<usize>().unwrap()
    };
    // What can be seen of it: a file grows, and in a bucket a part begins when there are enough bytes for it.
    let world = &two.stage.world;
    let taken = match &two.ground {
        Ground::Folder => {
            world.until("all is taken", Duration::from_secs(20), || async { standing().await + 1 == sent }).await;
            sent
        }
        Ground::Bucket(_) => {
            world.until("a part is taken", Duration::from_secs(20), || async { !two.ground.uploads(&two.stage).await.is_empty() }).await;
            PART
        }
    };
    sending.abort();
    drop(pieces);
    world.until("what was taken is kept", Duration::from_secs(20), || async { standing().await + 1 >= taken }).await;
    assert!(standing().await < sent, "no more than was sent");
    // Whoever was writing may still be writing down the last of it.
    let digest = Digest::of(Algorithm::Sha256, &whole);
    two.stage
        .world
        .until("the rest is taken", Duration::from_secs(30), || async {
            let from = standing().await + 1;
            let range = format!("{from}-{}", whole.len() - 1);
            two.there(Method::PATCH, &at).header(header::CONTENT_RANGE, range).body(whole[from..].to_vec()).send().await.unwrap().status() == 202
        })
        .await;
    let done = two.there(Method::PUT, &format!("{at}?digest={digest}")).header(header::CONTENT_LENGTH, 0).send().await.unwrap();
    assert_eq!(done.status(), 201, "{}", done.text().await.unwrap());
    assert_eq!(two.pulled(&digest).await, whole);
}

async fn cancelled_and_wrong_uploads_leave_nothing(ground: Ground) {
    let two = Two::on(ground).await;
    let whole = content(PART + 200_000, 13);
    let wrong = Digest::of(Algorithm::Sha256, b"other");
    let cancelled = two.begin().await;
    assert_eq!(two.here(Method::PATCH, &cancelled).body(whole.clone()).send().await.unwrap().status(), 202);
    assert!(!two.ground.uploads(&two.stage).await.is_empty());
    assert_eq!(two.there(Method::DELETE, &cancelled).send().await.unwrap().status(), 204);
    assert_eq!(two.here(Method::GET, &cancelled).send().await.unwrap().status(), 404);
    for restarted in [false, true] {
        let at = two.begin().await;
        assert_eq!(two.here(Method::PATCH, &at).body(whole.clone()).send().await.unwrap().status(), 202);
        // The other replica has not seen the bytes go by, and reads them again.
        let put = format!("{at}?digest={wrong}");
        let request = if restarted { two.there(Method::PUT, &put) } else { two.here(Method::PUT, &put) };
        assert_eq!(code(request.header(header::CONTENT_LENGTH, 0).send().await.unwrap()).await, (400, "DIGEST_INVALID".into()));
    }
    let path = format!("/v2/{REPO}/blobs/uploads/?digest={wrong}");
    assert_eq!(code(two.here(Method::POST, &path).body(whole.clone()).send().await.unwrap()).await, (400, "DIGEST_INVALID".into()));
    // One that nobody goes on with.
    let left = two.begin().await;
    assert_eq!(two.here(Method::PATCH, &left).body(whole).send().await.unwrap().status(), 202);
    let collector = two.collector(3600).await;
    assert_eq!(collector.blobs.remove_stale_uploads(Duration::from_secs(3600)).await.unwrap(), 0);
    // Ages are told in seconds, and only time makes an upload older.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(collector.blobs.remove_stale_uploads(Duration::from_secs(1)).await.unwrap(), 1);
    assert!(two.ground.uploads(&two.stage).await.is_empty());
    assert!(!two.ground.has(&two.stage, &wrong).await);
}

async fn an_upload_that_comes_back_after_its_end_is_unknown(ground: Ground) {
    let two = Two::on(ground).await;
    // What is behind the last part waits in the database when it is little, else in the bucket. With little of it a part is sent first, and
    // moto answers one of an upload that has ended with 500, where S3 says that there is no such upload (404).
    let little = (!matches!(two.ground, Ground::Bucket(_))).then(|| (1_000, content(PART, 45)));
    for (more, next) in little.into_iter().chain([(200_000, b"x".to_vec())]) {
        let whole = content(PART + more, 43);
        let digest = Digest::of(Algorithm::Sha256, &whole);
        let at = two.begin().await;
        assert_eq!(two.here(Method::PATCH, &at).body(whole.clone()).send().await.unwrap().status(), 202);
        let id = uuid::Uuid::parse_str(at.rsplit('/').next().unwrap()).unwrap();
        let kept = two.ground.keep_upload(&two.stage, id).await;
        let put = format!("{at}?digest={digest}");
        assert_eq!(two.here(Method::PUT, &put).header(header::CONTENT_LENGTH, 0).send().await.unwrap().status(), 201);
        // As a power cut does, before which nothing waited for the disk: it is begun, and its bytes are elsewhere.
        two.ground.bring_back(&two.stage, id, kept).await;
        for (method, path, body) in [(Method::PATCH, &at, next), (Method::PUT, &put, Vec::new())] {
            let answer = two.there(method.clone(), path).header(header::CONTENT_LENGTH, body.len()).body(body).send().await.unwrap();
            assert_eq!(code(answer).await, (404, "BLOB_UPLOAD_UNKNOWN".into()), "{method} after {more} bytes behind the part");
        }
        assert_eq!(two.there(Method::DELETE, &at).send().await.unwrap().status(), 204);
        assert_eq!(two.here(Method::GET, &at).send().await.unwrap().status(), 404);
        assert_eq!(two.pulled(&digest).await, whole);
    }
}

async fn content_is_mounted_deleted_and_collected(ground: Ground) {
    let two = Two::on(ground).await;
    let other = "acme/shop/other";
    let user = two.stage.user("bob", Some((Role::Admin, two.stage.shop.scope()))).await;
    let both = two.stage.token(&format!("user:{user}"), &[("repository", other, &["pull", "push", "delete"]), ("repository", REPO, &["pull"])]);
    let whole = crate::image::layer(&[("noise", &content(200_000, 17))]);
    let digest = two.stage.upload(REPO, &two.token, &whole).await;
    let orphan = two.stage.upload(REPO, &two.token, &content(150_000, 19)).await;
    let small = two.stage.upload(REPO, &two.token, b"small").await;
    assert!(two.ground.has(&two.stage, &digest).await && !two.ground.has(&two.stage, &small).await, "small content is in the database");
    let mount = format!("/v2/{other}/blobs/uploads/?mount={digest}&from={REPO}");
    assert_eq!(two.stage.request(Method::POST, &mount, &both).send().await.unwrap().status(), 201);
    let image = Image::of(vec![whole.clone()], "amd64");
    assert_eq!(two.stage.upload(other, &both, &image.config).await.to_string(), image.manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(two.stage.push(other, "v1", &both, &image.manifest).await.status(), 201);
    let deleted = two.there(Method::DELETE, &format!("/v2/{REPO}/blobs/{digest}")).send().await.unwrap();
    assert_eq!(deleted.status(), 202);

    let collector = two.collector(0).await;
    // The clock has to move on by at least its own step.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let freed = collector.collect(Duration::ZERO, false, "user:test").await.unwrap().expect("nobody else collects");
    assert_eq!((freed.blobs, freed.bytes), (2, 150_005), "the orphans, large and small");
    assert!(two.ground.has(&two.stage, &digest).await && !two.ground.has(&two.stage, &orphan).await);
    let gone = two.there(Method::GET, &format!("/v2/{REPO}/blobs/{small}")).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    let got = two.stage.request(Method::GET, &format!("/v2/{other}/blobs/{digest}"), &both).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), whole);
    for bytes in [content(150_000, 19), b"small".to_vec()] {
        let again = two.stage.upload(REPO, &two.token, &bytes).await;
        assert_eq!(two.pulled(&again).await, bytes);
    }
}

async fn content_that_nothing_names_is_found_and_removed(ground: Ground) {
    let two = Two::on(ground).await;
    let whole = content(150_000, 41);
    let digest = two.stage.upload(REPO, &two.token, &whole).await;
    // As if the process had been killed after the store had it.
    for table in ["blob_links", "blobs"] {
        let sql = format!("delete from {table} where digest = $1");
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(digest.as_str()).execute(&two.stage.host.db().pool).await.unwrap();
    }
    let part = u8::from_str_radix(&digest.hex()[..2], 16).unwrap();
    let patient = two.collector(3600).await;
    assert_eq!(patient.take_in_strays(part).await.unwrap(), 0, "somebody may be about to name it");
    let collector = two.collector(0).await;
    assert_eq!(collector.take_in_strays(part.wrapping_add(1)).await.unwrap(), 0, "another part of the store");
    // A bucket tells times in seconds.
    let found = || async { collector.take_in_strays(part).await.unwrap() == 1 };
    two.stage.world.until("it is old enough", Duration::from_secs(20), found).await;
    assert!(two.ground.has(&two.stage, &digest).await);
    let freed = collector.collect(Duration::ZERO, false, "user:test").await.unwrap().expect("nobody else collects");
    assert_eq!((freed.blobs, freed.bytes), (1, 150_000));
    assert!(!two.ground.has(&two.stage, &digest).await);
    assert_eq!(two.stage.upload(REPO, &two.token, &whole).await, digest);
    assert_eq!(two.pulled(&digest).await, whole);
}

async fn damaged_content_is_found_and_never_served(ground: Ground) {
    let two = Two::on(ground).await;
    let whole = content(3 << 20, 23);
    let digest = two.stage.upload(REPO, &two.token, &whole).await;
    let mut spoilt = whole.clone();
    spoilt[2 << 20] ^= 4;
    two.ground.spoil(&two.stage, &digest, spoilt).await;
    let blob = format!("/v2/{REPO}/blobs/{digest}");
    let broken = two.there(Method::GET, &blob).send().await.unwrap();
    assert_eq!(broken.status(), 200);
    assert!(broken.bytes().await.is_err(), "the connection breaks before wrong bytes go out");
    two.stage
        .world
        .until("it is known as damaged", Duration::from_secs(10), || async { two.here(Method::HEAD, &blob).send().await.unwrap().status() == 404 })
        .await;
    // Pushing it again mends it.
    assert_eq!(two.stage.upload(REPO, &two.token, &whole).await, digest);
    assert_eq!(two.pulled(&digest).await, whole);
    let collector = two.collector(3600).await;
    assert!(collector.check(&digest, whole.len() as u64).await.unwrap());
    two.ground.spoil(&two.stage, &digest, vec![1, 2, 3]).await;
    assert!(!collector.check(&digest, whole.len() as u64).await.unwrap());
    // Nothing is left of it: a store may refuse to give any part.
    two.ground.spoil(&two.stage, &digest, Vec::new()).await;
    assert!(!collector.check(&digest, whole.len() as u64).await.unwrap());
    let (hurt, _) = collector.damage().await.unwrap();
    assert_eq!(hurt.len(), 1);
}

async fn pushes_at_one_replica_lose_nothing_to_collection_at_the_other(ground: Ground) {
    let two = Two::on(ground).await;
    // Short, but longer than a push takes on this machine as it is now.
    let began = std::time::Instant::now();
    Image::of(vec![crate::image::layer(&[("hello", b"first of all")])], "amd64").push(&two.stage, REPO, "first", &two.token).await;
    let grace = (began.elapsed() * 20).as_secs().clamp(2, 60);
    let app = two.collector(grace).await;
    let stop = two.stage.host.cancel.child_token();
    let collecting = tokio::spawn({
        let stop = stop.clone();
        async move {
            while !stop.is_cancelled() {
                app.collect(Duration::from_secs(grace), false, "user:test").await.unwrap();
            }
        }
    });
    for round in 0..9u32 {
        // The same few images come and go: each push meets the last one's remains.
        let image = Image::of(vec![crate::image::layer(&[("hello", &content(60_000, round % 3))])], "amd64");
        let digest = image.push(&two.stage, REPO, "now", &two.token).await;
        // What one replica has said is true at the other at once.
        let tag = two.there(Method::HEAD, &format!("/v2/{REPO}/manifests/now")).send().await.unwrap();
        assert_eq!((tag.status().as_u16(), tag.headers()["docker-content-digest"].to_str().unwrap()), (200, digest.as_str()));
        for blob in [&image.manifest["layers"][0]["digest"], &image.manifest["config"]["digest"]] {
            two.pulled(&Digest::parse(blob.as_str().unwrap()).unwrap()).await;
        }
        let deleted = two.there(Method::DELETE, &format!("/v2/{REPO}/manifests/{digest}")).send().await.unwrap();
        assert_eq!(deleted.status(), 202);
        let gone = two.here(Method::HEAD, &format!("/v2/{REPO}/manifests/now")).send().await.unwrap();
        assert_eq!(gone.status(), 404);
        // So that collections find what was deleted at every age up to the grace period.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    stop.cancel();
    collecting.await.unwrap();
}

async fn two_writers_of_one_upload_do_not_mix(ground: Ground) {
    let two = Two::on(ground).await;
    let at = two.begin().await;
    let whole = content(PART + 100_000, 29);
    let send = |request: reqwest::RequestBuilder| {
        let whole = whole.clone();
        async move { request.header(header::CONTENT_RANGE, format!("0-{}", whole.len() - 1)).body(whole).send().await.unwrap().status().as_u16() }
    };
    let (one, other) = tokio::join!(send(two.here(Method::PATCH, &at)), send(two.there(Method::PATCH, &at)));
    let mut both = [one, other];
    both.sort_unstable();
    assert!(both == [202, 416] || both == [202, 409], "one is taken, the other comes too late or finds it busy: {both:?}");
    let digest = Digest::of(Algorithm::Sha256, &whole);
    let done = two.here(Method::PUT, &format!("{at}?digest={digest}")).header(header::CONTENT_LENGTH, 0).send().await.unwrap();
    assert_eq!(done.status(), 201, "{}", done.text().await.unwrap());
    assert_eq!(two.pulled(&digest).await, whole);
}

macro_rules! over_both {
    ($($name:ident),+ $(,)?) => {
        mod folder {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Ground::Folder).await;
            })+
        }

        mod bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(bucket) = super::Bucket::start().await else { return };
                super::$name(super::Ground::Bucket(bucket)).await;
            })+
        }
    };
}

over_both!(
    a_push_in_pieces_goes_on_at_the_other_replica,
    what_came_before_the_client_was_gone_is_kept,
    cancelled_and_wrong_uploads_leave_nothing,
    an_upload_that_comes_back_after_its_end_is_unknown,
    content_is_mounted_deleted_and_collected,
    content_that_nothing_names_is_found_and_removed,
    damaged_content_is_found_and_never_served,
    pushes_at_one_replica_lose_nothing_to_collection_at_the_other,
    two_writers_of_one_upload_do_not_mix,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_sent_to_the_bucket_where_that_is_wanted() {
    let Some(bucket) = Bucket::start().await else { return };
    let ground = Ground::Bucket(bucket);
    let mut config = ground.config();
    config.s3.redirect = true;
    let stage = Stage::with(config).await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let whole = content(300_000, 31);
    let (large, small) = (stage.upload(REPO, &token, &whole).await, stage.upload(REPO, &token, b"small").await);
    let answer = stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{large}"), &token).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    let there = answer.headers()["location"].to_str().unwrap();
    assert!(there.contains("X-Amz-Expires=900") && there.contains("X-Amz-Signature="), "{there}");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(there).send().await.unwrap().bytes().await.unwrap(), whole);
    let answer = stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{small}"), &token).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "small");
    let head = stage.request(Method::HEAD, &format!("/v2/{REPO}/blobs/{large}"), &token).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "300000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_busy_or_full_is_said_so() {
    use axum::response::IntoResponse;
    use std::sync::atomic::{AtomicU16, Ordering};
    let status = Arc::new(AtomicU16::new(503));
    let said = status.clone();
    // A store that refuses everything.
    let app = axum::Router::new().fallback(move || {
        let code = said.load(Ordering::SeqCst);
        async move {
            let word = if code == 503 { "SlowDown" } else { "XMinioStorageFull" };
            (http::StatusCode::from_u16(code).unwrap(), format!("<Error><Code>{word}</Code></Error>")).into_response()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let s3 = gantry_registry::config::S3 {
        bucket: "images".into(),
        endpoint,
        access_key_id: "key".into(),
        secret_access_key: gantry_kernel::Secret::new("secret"),
        allow_http: true,
        patience_seconds: 1,
        ..gantry_registry::config::S3::default()
    };
    // It starts all the same.
    let stage = Stage::with(Config { s3, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let whole = content(300_000, 37);
    let path = format!("/v2/{REPO}/blobs/uploads/?digest={}", Digest::of(Algorithm::Sha256, &whole));
    let busy = stage.request(Method::POST, &path, &token).body(whole.clone()).send().await.unwrap();
    assert!(busy.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(code(busy).await, (503, "UNAVAILABLE".into()));
    status.store(507, Ordering::SeqCst);
    let full = stage.request(Method::POST, &path, &token).body(whole).send().await.unwrap();
    assert_eq!(code(full).await, (507, "UNAVAILABLE".into()));
}
