//! Tags that come back, damage that is found and never served, and collection that takes nothing anybody needs.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::app::care::held;
use gantry_registry::domain::digest::Digest;
use gantry_testkit::clause;
use http::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::image::{Image, layer};
use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";
const API: &str = "/api/v1/orgs/acme/projects/shop/images/web";

async fn begun() -> (Stage, String, String) {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let rest = stage.world.token(user, "ada");
    (stage, token, rest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tags_history_says_who_did_what_and_a_deleted_tag_comes_back_while_its_content_lives() {
    clause("7.4.1.g");
    let (stage, token, rest) = begun().await;
    let (one, two) = (Image::simple("history one"), Image::simple("history two"));
    let first = one.push(&stage, REPO, "v1", &token).await;
    let second = two.push(&stage, REPO, "v1", &token).await;
    let restore = |body: Value, token: &str| stage.request(Method::POST, &format!("{API}/tags/v1/restore"), token).json(&body).send();
    assert_eq!(restore(json!({}), &rest).await.unwrap().status(), 409, "the tag is in use");
    assert_eq!(stage.request(Method::DELETE, &format!("{API}/tags/v1"), &rest).send().await.unwrap().status(), 204);
    let back: Value = restore(json!({}), &rest).await.unwrap().json().await.unwrap();
    assert_eq!(back["digest"], json!(second));
    // The one before, and after the image itself was deleted.
    assert_eq!(stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{first}"), &token).send().await.unwrap().status(), 202);
    let blob = format!("/v2/{REPO}/blobs/{}", one.manifest["layers"][0]["digest"].as_str().unwrap());
    let back = restore(json!({ "digest": first }), &rest).await.unwrap();
    assert_eq!(back.status(), 200, "{}", back.text().await.unwrap());
    assert_eq!(stage.request(Method::GET, &blob, &token).send().await.unwrap().bytes().await.unwrap(), one.layers[0]);
    let head = stage.request(Method::HEAD, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap();
    assert_eq!(head.headers()["docker-content-digest"].to_str().unwrap(), first);

    let history: Value = stage.request(Method::GET, &format!("{API}/history?tag=v1"), &rest).send().await.unwrap().json().await.unwrap();
    let told: Vec<(&str, &str)> = history["items"].as_array().unwrap().iter().map(|c| (c["action"].as_str().unwrap(), c["digest"].as_str().unwrap())).collect();
    let (first, second) = (first.as_str(), second.as_str());
    assert_eq!(told, [("moved", first), ("moved", second), ("deleted", second), ("moved", second), ("moved", first)]);
    assert!(history["items"][0]["by"].as_str().unwrap().starts_with("user:"));
    let page: Value = stage.request(Method::GET, &format!("{API}/history?limit=2"), &rest).send().await.unwrap().json().await.unwrap();
    let next = page["next"].as_str().unwrap();
    let page: Value = stage.request(Method::GET, &format!("{API}/history?limit=2&cursor={next}"), &rest).send().await.unwrap().json().await.unwrap();
    assert_eq!(page["items"][0]["action"], "deleted");

    // Not by a viewer, not what never was there, not what is gone.
    let vic = stage.user("vic", Some((Role::Viewer, stage.shop.scope()))).await;
    assert_eq!(restore(json!({}), &stage.world.token(vic, "vic")).await.unwrap().status(), 403);
    assert_eq!(restore(json!({ "digest": format!("sha256:{}", "0".repeat(64)) }), &rest).await.unwrap().status(), 404);
    assert_eq!(restore(json!({ "digest": "x" }), &rest).await.unwrap().status(), 400);
    assert_eq!(stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{second}"), &token).send().await.unwrap().status(), 202);
    // The clock has to move on by at least its own step.
    tokio::time::sleep(Duration::from_millis(5)).await;
    // Transfers of replicas that were killed: long ago, and just now.
    let insert = "insert into fetches (repository, digest, holder, until) values ($1, $2, $3, now() - $4 * interval '1 hour')";
    for hours in [1.0, 48.0] {
        let holder = stage.host.env.uuid();
        sqlx::query(insert).bind(REPO).bind(format!("sha256:{hours}")).bind(holder).bind(hours).execute(&stage.host.db().pool).await.unwrap();
    }
    let freed = stage.collector(0).collect(Duration::ZERO, false, "user:test").await.unwrap().unwrap();
    assert!(freed.blobs >= 3 && freed.bytes > 0, "{freed:?}");
    let left: Vec<String> = sqlx::query_scalar("select digest from fetches").fetch_all(&stage.host.db().pool).await.unwrap();
    assert_eq!(left, ["sha256:1"]);
    let gone = restore(json!({ "digest": second }), &rest).await.unwrap();
    assert_eq!(gone.status(), 409);
    assert_eq!(gone.json::<Value>().await.unwrap()["code"], "registry.content_gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_comes_back_after_any_number_of_moves() {
    let (stage, token, rest) = begun().await;
    let first = Image::simple("long ago").push(&stage, REPO, "v1", &token).await;
    Image::simple("now").push(&stage, REPO, "v1", &token).await;
    let moved = "insert into tag_history (position, repository, tag, what, digest, by_whom, at)
        select 1000000 + n, $1, 'v1', 'moved', 'sha256:' || n, 'user:x', now() from generate_series(1, 1500) n";
    sqlx::query(moved).bind(REPO).execute(&stage.host.db().pool).await.unwrap();
    let back = stage.request(Method::POST, &format!("{API}/tags/v1/restore"), &rest).json(&json!({ "digest": first })).send().await.unwrap();
    assert_eq!(back.status(), 200, "{}", back.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_tag_that_comes_back_nor_a_scan_opens_content_of_others() {
    let (stage, token, rest) = begun().await;
    let status = b"Package: secret-tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n";
    let secret = layer(&[("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n"), ("var/lib/dpkg/status", status)]);
    let owner = stage.user("eve", Some((Role::Admin, gantry_kernel::Scope::Org(stage.org.id)))).await;
    let hidden = stage.upload("acme/open/secret", &stage.full(owner, "acme/open/secret"), &secret).await;

    // Its digest is no secret: a manifest may name it, as what its repository does not have.
    let image = Image::of(vec![layer(&[("own", b"mine")]), secret], "amd64");
    for own in [&image.config, &image.layers[0]] {
        stage.upload(REPO, &token, own).await;
    }
    let pushed = stage.push(REPO, "v1", &token, &image.manifest).await;
    assert_eq!(pushed.status(), 201);
    let path = format!("/v2/{REPO}/blobs/{hidden}");
    let read = || async { stage.request(Method::GET, &path, &token).send().await.unwrap().status().as_u16() };
    assert_eq!(read().await, 404);
    for gone in ["v1".to_owned(), image.digest()] {
        assert_eq!(stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{gone}"), &token).send().await.unwrap().status(), 202);
        let back = stage.request(Method::POST, &format!("{API}/tags/v1/restore"), &rest).json(&json!({})).send().await.unwrap();
        assert_eq!(back.status(), 200, "{}", back.text().await.unwrap());
        assert_eq!(read().await, 404, "after {gone} came back");
    }

    let path = format!("{API}/{}/scan", image.digest());
    let report = || async { stage.world.call(&stage.host, Method::GET, &path, Some(&rest), None).await };
    stage.world.until("it is scanned", Duration::from_secs(60), || async { report().await.0 == 200 }).await;
    let report = report().await.1;
    assert!(report["notes"][0].as_str().unwrap().contains("not in this registry"), "{report}");
    assert!(!report.to_string().contains("secret-tool") && report["summary"]["packages"] == 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_never_served_and_the_images_it_hurts_are_named() {
    clause("7.4.1.g");
    let (stage, token, rest) = begun().await;
    let noise: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = Image::of(vec![layer(&[("noise", &noise)])], "amd64");
    let digest = image.push(&stage, REPO, "v1", &token).await;
    let layer = Digest::parse(image.manifest["layers"][0]["digest"].as_str().unwrap()).unwrap();
    let flip = |digest: &str, at: usize| {
        let hex = digest.split_once(':').unwrap().1;
        let path = stage.world.home.path().join("registry/blobs/sha256").join(&hex[..2]).join(hex);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    };
    flip(layer.as_str(), image.layers[0].len() - 10);
    let blob = format!("/v2/{REPO}/blobs/{layer}");
    // Broken off before the damaged block: while the body is read, or before anything of the answer was on its way.
    let read = match stage.request(Method::GET, &blob, &token).send().await {
        Ok(answer) => answer.bytes().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(read.is_err(), "the connection breaks off before the damaged block");
    let admin = stage.world.operator(&stage.host).await;
    let damage = || async { stage.request(Method::GET, "/api/v1/registry/damage", &admin).send().await.unwrap().json::<Value>().await.unwrap() };
    stage.world.until("the damage is noted", Duration::from_secs(10), || async { damage().await["items"].as_array().is_some_and(|i| !i.is_empty()) }).await;
    let found = damage().await;
    assert_eq!(found["items"][0]["digest"], json!(layer.as_str()));
    assert_eq!((&found["items"][0]["image"], &found["items"][0]["tags"]), (&json!(digest), &json!(["v1"])));
    // From now on it is as if it were not there, so that a client pushes it again; that mends it.
    assert_eq!(code(stage.request(Method::GET, &blob, &token).send().await.unwrap()).await, (404, "BLOB_UNKNOWN".into()));
    stage.upload(REPO, &token, &image.layers[0]).await;
    assert_eq!(stage.request(Method::GET, &blob, &token).send().await.unwrap().bytes().await.unwrap(), image.layers[0]);
    assert_eq!(damage().await["items"], json!([]));

    // Nobody reads the config and the manifest; the check finds them.
    // They are small, so they live in the database.
    for digest in [image.manifest["config"]["digest"].as_str().unwrap(), &digest] {
        let flip = "update small_content set bytes = set_byte(bytes, 5, get_byte(bytes, 5) # 16) where digest = $1";
        assert_eq!(sqlx::query(flip).bind(digest).execute(&stage.host.db().pool).await.unwrap().rows_affected(), 1);
    }
    let begun = stage.request(Method::POST, "/api/v1/registry/checks", &admin).send().await.unwrap();
    assert_eq!(begun.status(), 202);
    stage.world.until("both are found", Duration::from_secs(20), || async { damage().await["items"].as_array().is_some_and(|i| i.len() == 2) }).await;
    assert_eq!(stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap().status(), 404);
    assert_eq!(image.push(&stage, REPO, "v1", &token).await, digest);
    assert_eq!(stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap().status(), 200);
    for (method, path) in [(Method::GET, "damage"), (Method::POST, "checks"), (Method::GET, "collections")] {
        assert_eq!(stage.request(method, &format!("/api/v1/registry/{path}"), &rest).send().await.unwrap().status(), 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_collects_first_dry_then_in_earnest() {
    let (stage, token, rest) = begun().await;
    let orphan = stage.upload(REPO, &token, b"nobody needs this").await;
    let collect = |body: Value, token: &str| stage.request(Method::POST, "/api/v1/registry/collections", token).json(&body).send();
    assert_eq!(collect(json!({}), &rest).await.unwrap().status(), 403);
    let admin = stage.world.operator(&stage.host).await;
    let short = collect(json!({ "older_than_seconds": 5 }), &admin).await.unwrap();
    assert_eq!(short.status(), 400, "a push under way could lose its layers");
    assert_eq!(collect(json!({ "older": 5 }), &admin).await.unwrap().status(), 400);
    let dry: Value = collect(json!({ "dry_run": true }), &admin).await.unwrap().json().await.unwrap();
    assert_eq!((dry["blobs"].as_u64(), dry["dry_run"].as_bool()), (Some(0), Some(true)));
    // The clock has to move on by at least its own step.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let app = stage.collector(0);
    let would = app.collect(Duration::ZERO, true, "user:test").await.unwrap().unwrap();
    // The link of the upload still holds it; its age ends that.
    assert_eq!(would.blobs, 1);
    assert!(app.blobs.size(&orphan).await.unwrap().is_some(), "a dry run removes nothing");
    let freed = app.collect(Duration::ZERO, false, "user:test").await.unwrap().unwrap();
    assert_eq!((freed.blobs, freed.bytes), (1, 17));
    let told: Value = stage.request(Method::GET, "/api/v1/registry/collections", &admin).send().await.unwrap().json().await.unwrap();
    assert_eq!((told["items"][0]["bytes"].as_u64(), told["items"][0]["by"].as_str()), (Some(17), Some("user:test")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_was_kept_for_a_link_goes_when_the_link_is_old() {
    let (stage, token, _) = begun().await;
    let db = &stage.host.db().pool;
    let orphan = stage.upload(REPO, &token, b"mounted a moment later than it came").await;
    let app = stage.collector(3600);
    let age = |table: &str, column: &str, minutes: i32| {
        let sql = format!("update {table} set {column} = now() - {minutes} * interval '1 minute' where digest = $1");
        let orphan = orphan.to_string();
        async move { sqlx::query(sqlx::AssertSqlSafe(sql)).bind(orphan).execute(db).await.unwrap().rows_affected() }
    };
    let collect = || async { app.collect(Duration::from_secs(3600), false, "user:test").await.unwrap().unwrap() };
    // Needed longer ago than it was mounted: the round between looks at it in vain.
    assert_eq!((age("blobs", "touched_at", 61).await, age("blob_links", "at", 59).await), (1, 1));
    assert_eq!(collect().await.blobs, 0);
    assert!(app.blobs.size(&orphan).await.unwrap().is_some());
    assert_eq!(age("blob_links", "at", 62).await, 1);
    let freed = collect().await;
    assert_eq!((freed.links, freed.blobs), (1, 1));
    assert_eq!(app.blobs.size(&orphan).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_manifest_that_cannot_be_kept_no_file_stays() {
    let (stage, token, _) = begun().await;
    let mut image = Image::simple("its manifest is a file");
    image.upload(&stage, REPO, &token).await;
    image.manifest["annotations"] = json!({ "large": "x".repeat(40_000) });
    let db = stage.host.db();
    let change = async |what: &str| {
        let sql = format!("alter table {}.blobs {what}", db.schema);
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&db.admin).await.unwrap();
    };
    change("add constraint refused check (size_bytes < 40000) not valid").await;
    assert_eq!(stage.push(REPO, "v1", &token, &image.manifest).await.status(), 500);
    let entries = std::fs::read_dir(stage.world.home.path().join("registry/uploads")).unwrap();
    let files: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).filter(|name| name.to_string_lossy().ends_with(".whole")).collect();
    assert!(files.is_empty(), "{files:?}");
    change("drop constraint refused").await;
    assert_eq!(stage.push(REPO, "v1", &token, &image.manifest).await.status(), 201);
}

#[derive(Clone, Debug)]
enum Step {
    /// Image number, repository, tag.
    Push(usize, usize, usize),
    Mount(usize, usize),
    Untag(usize, usize),
    Delete(usize, usize),
    Upload(usize),
    Collect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..4, 0usize..2, 0usize..2).prop_map(|(i, r, t)| Step::Push(i, r, t)),
        2 => (0usize..4, 0usize..2).prop_map(|(i, r)| Step::Mount(i, r)),
        1 => (0usize..2, 0usize..2).prop_map(|(r, t)| Step::Untag(r, t)),
        3 => (0usize..4, 0usize..2).prop_map(|(i, r)| Step::Delete(i, r)),
        1 => (0usize..4).prop_map(Step::Upload),
        3 => Just(Step::Collect),
    ];
    proptest::collection::vec(step, 10..40)
}

/// Four images, of which each shares a layer with the next; two repositories; collection without any grace between the steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_pushed_mounted_tagged_deleted_and_collected_no_image_ever_lacks_content() {
    let (stage, _, _) = begun().await;
    let user = stage.user("bob", Some((Role::Admin, stage.shop.scope()))).await;
    let repositories = ["acme/shop/a", "acme/shop/b"];
    let all: &[&str] = &["pull", "push", "delete"];
    let token = stage.token(&format!("user:{user}"), &repositories.map(|r| ("repository", r, all)));
    let layers: Vec<Vec<u8>> = (0..5).map(|n| layer(&[("n", format!("interleaved {n}").as_bytes())])).collect();
    let images: Vec<Image> = (0..4).map(|n| Image::of(vec![layers[n].clone(), layers[n + 1].clone()], "amd64")).collect();
    let app = stage.collector(0);
    let mut runner = TestRunner::deterministic();
    for round in 0..8 {
        let plan = steps().new_tree(&mut runner).unwrap().current();
        let mut kept: std::collections::BTreeSet<(usize, usize)> = std::collections::BTreeSet::new();
        for step in &plan {
            let send = |method: Method, path: String| stage.request(method, path.leak(), &token).send();
            match *step {
                Step::Push(i, r, t) => {
                    images[i].push(&stage, repositories[r], &format!("t{t}"), &token).await;
                    kept.insert((i, r));
                }
                Step::Mount(i, r) => {
                    let digest = images[i].manifest["layers"][0]["digest"].as_str().unwrap();
                    let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from={}", repositories[r], repositories[1 - r]);
                    assert!(matches!(send(Method::POST, path).await.unwrap().status().as_u16(), 201 | 202));
                }
                Step::Untag(r, t) => {
                    send(Method::DELETE, format!("/v2/{}/manifests/t{t}", repositories[r])).await.unwrap();
                }
                Step::Delete(i, r) => {
                    let deleted = send(Method::DELETE, format!("/v2/{}/manifests/{}", repositories[r], images[i].digest())).await.unwrap();
                    assert_eq!(deleted.status() == 202, kept.remove(&(i, r)), "{round}: {plan:?}");
                }
                Step::Upload(i) => {
                    stage.upload(repositories[0], &token, &images[i].layers[0]).await;
                }
                Step::Collect => {
                    // By more than a step of the clock, as below.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    app.collect(Duration::ZERO, false, "user:test").await.unwrap().expect("nobody else collects");
                }
            }
        }
        app.collect(Duration::ZERO, false, "user:test").await.unwrap();
        for (i, r) in &kept {
            let read = stage.request(Method::GET, &format!("/v2/{}/manifests/{}", repositories[*r], images[*i].digest()), &token).send().await.unwrap();
            assert_eq!(read.status(), 200, "{round}: {plan:?}");
            for (bytes, descriptor) in images[*i].layers.iter().zip(images[*i].manifest["layers"].as_array().unwrap()) {
                let path = format!("/v2/{}/blobs/{}", repositories[*r], descriptor["digest"].as_str().unwrap());
                assert_eq!(stage.request(Method::GET, &path, &token).send().await.unwrap().bytes().await.unwrap(), bytes, "{round}: {plan:?}");
            }
        }
        // Nothing is left of what nobody has any more.
        for (i, r) in kept {
            stage.request(Method::DELETE, &format!("/v2/{}/manifests/{}", repositories[r], images[i].digest()), &token).send().await.unwrap();
        }
        // By more than a step of the clock.
        tokio::time::sleep(Duration::from_millis(2)).await;
        app.collect(Duration::ZERO, false, "user:test").await.unwrap().unwrap();
        for layer in &layers {
            let digest = Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, layer);
            assert_eq!(app.blobs.size(&digest).await.unwrap(), None, "{round}: {plan:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_under_a_lock_is_left_alone_once_the_lock_is_lost() {
    let stage = Stage::new().await;
    let db = stage.host.db();
    let mut tx = db.pool.begin().await.unwrap();
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(held(&mut tx, async { Ok(7) }).await.unwrap(), 7);
    sqlx::query("select pg_terminate_backend($1)").bind(backend).execute(&db.admin).await.unwrap();
    let endless = held(&mut tx, std::future::pending::<std::io::Result<()>>());
    assert!(tokio::time::timeout(Duration::from_secs(30), endless).await.expect("it is noticed").is_err());
}
