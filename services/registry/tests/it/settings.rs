//! What a project wants of its images: immutable tags, a quota that counts shared content once, and who may say so.

use std::time::Duration;

use gantry_kernel::{Role, Uuid};
use gantry_registry::store::bookings::{self, Asked, Booked};
use gantry_registry::store::unplaced::{self, Taken};
use gantry_registry::store::usage;
use gantry_testkit::clause;
use http::Method;
use serde_json::{Value, json};

use crate::image::{Image, layer};
use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";
const BASE: &str = "/api/v1/orgs/acme/projects/shop/registry";

async fn put(stage: &Stage, token: &str, path: &str, body: Value) -> (u16, Value) {
    stage.world.call(&stage.host, Method::PUT, &format!("{BASE}/{path}"), Some(token), Some(&body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_read_by_members_and_changed_by_administrators() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let vic = stage.user("vic", Some((Role::Viewer, stage.shop.scope()))).await;
    let eve = stage.user("eve", None).await;
    let (ada, vic, eve) = (stage.world.token(ada, "ada"), stage.world.token(vic, "vic"), stage.world.token(eve, "eve"));
    let get = |path: &'static str, token: Option<String>| {
        let stage = &stage;
        async move { stage.world.call(&stage.host, Method::GET, &format!("{BASE}/{path}"), token.as_deref(), None).await }
    };
    for path in ["settings", "usage"] {
        assert_eq!(get(path, None).await.0, 401);
        assert_eq!(get(path, Some(eve.clone())).await.0, 404);
        assert_eq!(get(path, Some(vic.clone())).await.0, 200);
    }
    let changes = [
        ("quota", json!({ "bytes": 5 })),
        ("immutability", json!({ "rules": [] })),
        ("retention", json!({ "rules": [] })),
        ("scanning", json!({})),
        ("keys/k", json!({ "pem": "x" })),
        ("policies/p", json!({ "must_be_scanned": true })),
        ("allowances/CVE-1", json!({ "reason": "r" })),
    ];
    for (path, body) in &changes {
        assert_eq!(put(&stage, &vic, path, body.clone()).await.0, 403, "{path}");
        assert_eq!(put(&stage, &eve, path, body.clone()).await.0, 404, "{path}");
    }
    for path in ["keys/k", "policies/p", "allowances/CVE-1"] {
        let delete = |token: String| {
            let stage = &stage;
            async move { stage.world.call(&stage.host, Method::DELETE, &format!("{BASE}/{path}"), Some(&token), None).await.0 }
        };
        assert_eq!(delete(vic.clone()).await, 403, "{path}");
        assert_eq!(delete(ada.clone()).await, 404, "{path}");
    }
    let (status, shown) = put(&stage, &ada, "policies/strict", json!({ "block_severity": "high", "at": ["pull"] })).await;
    assert_eq!((status, &shown["policies"][0]["name"]), (200, &json!("strict")));
    for (path, body, field) in [
        ("policies/strict", json!({ "block_severity": "severe" }), "block_severity"),
        ("policies/strict", json!({ "name": "other", "must_be_scanned": true }), "name"),
        ("policies/strict", json!({ "colour": 1 }), "body"),
        ("keys/k", json!({ "pem": "nonsense" }), "pem"),
        ("immutability", json!({ "rules": [{ "tags": "{" }] }), "rules[0].tags"),
    ] {
        let (status, problem) = put(&stage, &ada, path, body.clone()).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!(field)), "{body} {problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_immutable_tag_is_neither_moved_nor_deleted_and_the_refusal_says_why() {
    clause("7.4.2.f");
    clause("7.4.1.g");
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(ada, REPO);
    let access = stage.world.token(ada, "ada");
    assert_eq!(put(&stage, &access, "immutability", json!({ "rules": [{ "repositories": "web", "tags": "v*" }] })).await.0, 200);
    let first = Image::simple("first").push(&stage, REPO, "v1", &token).await;
    let second = Image::simple("second");
    second.upload(&stage, REPO, &token).await;
    let refused = stage.push(REPO, "v1", &token, &second.manifest).await;
    assert_eq!(refused.status(), 403);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "DENIED");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("`v1` is immutable"), "{body}");
    assert_eq!(body["errors"][0]["detail"]["reason"], "registry.tag_immutable");
    // The same again is no move; another tag and another repository are free.
    assert_eq!(stage.push(REPO, "v1", &token, &Image::simple("first").manifest).await.status(), 201);
    assert_eq!(stage.push(REPO, "latest", &token, &second.manifest).await.status(), 201);
    for reference in ["v1", &first] {
        let delete = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{reference}"), &token).send().await.unwrap();
        assert_eq!(code(delete).await, (403, "DENIED".into()), "{reference}");
    }
    let rest = "/api/v1/orgs/acme/projects/shop/images/web/tags/v1";
    let (status, problem) = stage.world.call(&stage.host, Method::DELETE, rest, Some(&access), None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("registry.tag_immutable")));
    // Two pushes of one new tag at once: one wins, the other is refused.
    let images = [Image::simple("left"), Image::simple("right")];
    for image in &images {
        image.upload(&stage, REPO, &token).await;
    }
    let (a, b) = tokio::join!(stage.push(REPO, "v2", &token, &images[0].manifest), stage.push(REPO, "v2", &token, &images[1].manifest));
    let mut seen = [a.status().as_u16(), b.status().as_u16()];
    seen.sort_unstable();
    assert_eq!(seen, [201, 403]);
    // Without the rule it can go.
    assert_eq!(put(&stage, &access, "immutability", json!({ "rules": [] })).await.0, 200);
    let delete = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap();
    assert_eq!(delete.status(), 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rule_that_another_replica_has_just_set_or_lifted_holds_for_a_push_here() {
    clause("7.4.2.f");
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (token, access) = (stage.full(ada, REPO), stage.world.token(ada, "ada"));
    let (beside, other) = stage.world.replica::<gantry_registry::Registry>(gantry_registry::Config::default()).await;
    stage.world.identity.settle(&other).await;
    let images = [Image::simple("before"), Image::simple("after")];
    for image in &images {
        image.upload(&stage, REPO, &token).await;
    }
    let rules = |rules: Value| {
        let (stage, other, access) = (&stage, &other, &access);
        async move { stage.world.call(other, Method::PUT, &format!("{BASE}/immutability"), Some(access), Some(&json!({ "rules": rules }))).await.0 }
    };
    for n in 0..3 {
        // What the project wants is in this replica's memory from here on.
        let [before, after] = &images;
        assert_eq!(stage.push(REPO, "v1", &token, &before.manifest).await.status(), 201, "{n}");
        assert_eq!(rules(json!([{ "repositories": "web", "tags": "v*" }])).await, 200);
        assert_eq!(code(stage.push(REPO, "v1", &token, &after.manifest).await).await, (403, "DENIED".into()), "{n}");
        let delete = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap();
        assert_eq!(code(delete).await, (403, "DENIED".into()), "{n}");
        assert_eq!(rules(json!([])).await, 200);
        assert_eq!(stage.push(REPO, "v1", &token, &after.manifest).await.status(), 201, "{n}");
    }
    beside.cancel.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_counts_shared_layers_once_never_blocks_a_delete_and_a_failed_push_costs_nothing() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let access = stage.world.token(ada, "ada");
    let token = stage.full(ada, REPO);
    let used = || async { stage.world.call(&stage.host, Method::GET, &format!("{BASE}/usage"), Some(&access), None).await.1 };
    // Noise does not compress: the layer has about 40 kB.
    let mut seed = 7_u32;
    let noise: Vec<u8> = (0..40_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let shared = layer(&[("noise", &noise)]);
    let image = |text: &str| Image::of(vec![shared.clone(), layer(&[("own", text.as_bytes())])], "amd64");
    let first = image("one").push(&stage, REPO, "v1", &token).await;
    let one = used().await;
    assert_eq!(one["unique_bytes"], one["image_bytes"]);
    let other = "acme/shop/other";
    image("two").push(&stage, other, "v1", &stage.full(ada, other)).await;
    let two = used().await;
    assert_eq!(two["images"], 2);
    let growth = two["unique_bytes"].as_i64().unwrap() - one["unique_bytes"].as_i64().unwrap();
    assert!(growth < 5_000, "the shared layer is counted once, in two repositories: {growth}");
    assert!(two["image_bytes"].as_i64().unwrap() > 80_000, "{two}");

    let limit = two["unique_bytes"].as_i64().unwrap() + 5_000;
    assert_eq!(put(&stage, &access, "quota", json!({ "bytes": limit })).await.0, 200);
    // A blob too large for what is left is refused before the rest is sent.
    let big = vec![b'x'; 6_000];
    let digest = gantry_registry::domain::digest::Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, &big);
    let path = format!("/v2/{REPO}/blobs/uploads/?digest={digest}");
    let refused = stage.request(Method::POST, &path, &token).body(big).send().await.unwrap();
    let (status, body) = (refused.status(), refused.json::<Value>().await.unwrap());
    assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (403, &json!("DENIED")));
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("Delete images"), "{body}");
    assert_eq!(body["errors"][0]["detail"]["reason"], "registry.quota_exceeded");
    // Nothing stays of one that came in pieces either.
    let other_noise: Vec<u8> = noise.iter().rev().copied().collect();
    let digest = gantry_registry::domain::digest::Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, &other_noise);
    let begun = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &token).send().await.unwrap();
    let at = begun.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(stage.request(Method::PATCH, &at, &token).body(other_noise).send().await.unwrap().status(), 202);
    let refused = stage.request(Method::PUT, &format!("{at}?digest={digest}"), &token).send().await.unwrap();
    assert_eq!(code(refused).await, (403, "DENIED".into()));
    assert_eq!(code(stage.request(Method::GET, &at, &token).send().await.unwrap()).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
    let id = at.rsplit('/').next().unwrap();
    assert!(!stage.world.home.path().join("registry/uploads").join(id).exists());
    // Many small ones: the manifest that would exceed it is refused, and costs nothing.
    let mut layers: Vec<Vec<u8>> = vec![shared.clone()];
    layers.extend((0..3).map(|n| layer(&[("part", &noise[n * 2_500..(n + 1) * 2_500])])));
    let parts = Image::of(layers, "amd64");
    parts.upload(&stage, REPO, &token).await;
    assert_eq!(code(stage.push(REPO, "v3", &token, &parts.manifest).await).await, (403, "DENIED".into()));
    assert_eq!(used().await["unique_bytes"], two["unique_bytes"]);
    // What is there can be pushed again and tagged; a small image still fits; deletes always work, also far above the quota.
    assert_eq!(stage.push(REPO, "again", &token, &image("one").manifest).await.status(), 201);
    assert_eq!(put(&stage, &access, "quota", json!({ "bytes": 1 })).await.0, 200);
    assert_eq!(code(stage.push(REPO, "v3", &token, &parts.manifest).await).await.0, 403);
    let delete = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{first}"), &token).send().await.unwrap();
    assert_eq!(delete.status(), 202);
    assert_eq!(used().await["images"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_pushes_at_once_only_one_gets_the_last_room() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let access = stage.world.token(ada, "ada");
    let other = "acme/shop/other";
    let (token, beside) = (stage.full(ada, REPO), stage.full(ada, other));
    let images = [Image::simple("one"), Image::simple("two")];
    images[0].upload(&stage, REPO, &token).await;
    images[1].upload(&stage, other, &beside).await;
    let size = |image: &Image| {
        let parts = image.manifest["layers"].as_array().unwrap().iter().chain([&image.manifest["config"]]);
        image.manifest.to_string().len() as u64 + parts.map(|d| d["size"].as_u64().unwrap()).sum::<u64>()
    };
    let limit = size(&images[0]).max(size(&images[1])) + 10;
    assert_eq!(put(&stage, &access, "quota", json!({ "bytes": limit })).await.0, 200);
    let (a, b) = tokio::join!(stage.push(REPO, "v1", &token, &images[0].manifest), stage.push(other, "v1", &beside, &images[1].manifest));
    let mut seen = [a.status().as_u16(), b.status().as_u16()];
    seen.sort_unstable();
    assert_eq!(seen, [201, 403]);
    assert!(usage::of(&stage.host.db().orm, stage.shop.id).await.unwrap().unique_bytes.unsigned_abs() <= limit);
    let booked: i64 = sqlx::query_scalar("select count(*) from quota_bookings").fetch_one(&stage.host.db().pool).await.unwrap();
    assert_eq!(booked, 0, "what is over has given its room back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_in_a_quota_stays_booked_until_its_push_is_over_and_no_longer_than_its_time() {
    let stage = Stage::new().await;
    let (pool, project, now) = (&stage.host.db().pool, stage.shop.id, stage.host.env.now());
    let ask = async |digest: &str, size: u64, id: u128, after: u64| {
        let (content, at) = ([(digest.to_owned(), size)], now + Duration::from_secs(after));
        let asked = Asked { project, content: &content, limit: 100 };
        bookings::book(pool, &asked, Uuid::from_u128(id), at, at + Duration::from_secs(60)).await.unwrap()
    };
    assert_eq!(ask("a", 60, 1, 0).await, Booked::Room);
    // No connection is held for it that could be lost.
    assert_eq!(ask("b", 60, 2, 0).await, Booked::Awaited);
    assert_eq!(ask("a", 60, 3, 0).await, Booked::Room, "the same content takes no more room");
    for over in [1, 3] {
        bookings::give_back(pool, Uuid::from_u128(over)).await.unwrap();
    }
    assert_eq!(ask("b", 60, 2, 0).await, Booked::Room);
    // One whose process was killed.
    assert_eq!(ask("c", 60, 4, 59).await, Booked::Awaited);
    assert_eq!(ask("c", 60, 4, 61).await, Booked::Room);
    bookings::forget_over(pool, now + Duration::from_secs(122)).await.unwrap();
    assert_eq!(ask("b", 60, 6, 61).await, Booked::Room, "collection has removed what nobody gave back");
    assert_eq!(ask("d", u64::MAX, 5, 61).await, Booked::Full { used: 0, more: i64::MAX.unsigned_abs() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_no_image_is_counted_once_and_for_the_grace_period_only() {
    let stage = Stage::new().await;
    let (pool, project, now) = (&stage.host.db().pool, stage.shop.id, stage.host.env.now());
    let ask = async |digest: &str, size_bytes: u64, after: u64| {
        let at = now + Duration::from_secs(after);
        let asked = unplaced::Asked { project, digest, size_bytes, limit: 100, most_unplaced: if digest == "manifest" { 110 } else { 100 } };
        unplaced::take(pool, &asked, at, at - Duration::from_secs(60)).await.unwrap()
    };
    assert_eq!((ask("a", 60, 0).await, ask("a", 60, 1).await), (Taken::Room, Taken::Room), "the same is no more");
    assert_eq!((ask("b", 60, 1).await, ask("b", 40, 1).await), (Taken::Littered { unplaced: 60 }, Taken::Room));
    assert_eq!(ask("c", 1, 1).await, Taken::Littered { unplaced: 100 });
    assert_eq!(ask("d", 101, 1).await, Taken::Full { used: 0 });
    assert_eq!(ask("manifest", 10, 1).await, Taken::Room, "it is what makes an image of the others");
    assert_eq!(ask("c", 100, 62).await, Taken::Room, "the others are collected by then");
    assert_eq!(ask("d", u64::MAX, 62).await, Taken::Full { used: 0 });
    unplaced::forget_old(pool, now + Duration::from_secs(63)).await.unwrap();
    assert_eq!(ask("d", 100, 62).await, Taken::Room);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_without_an_image_are_refused_where_too_much_of_them_lies_there() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
    assert_eq!(put(&stage, &access, "quota", json!({ "bytes": 20_000 })).await.0, 200);
    // Noise does not compress.
    let mut seed = 11_u32;
    let noise: Vec<u8> = (0..9_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let image = Image::of(vec![layer(&[("noise", &noise)])], "amd64");
    image.upload(&stage, REPO, &token).await;
    stage.upload(REPO, &token, &[1; 9_000]).await;
    let third = [2_u8; 9_000];
    let digest = gantry_registry::domain::digest::Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, &third);
    let path = format!("/v2/{REPO}/blobs/uploads/?digest={digest}");
    let push = async || stage.request(Method::POST, &path, &token).body(third.to_vec()).send().await.unwrap();
    let refused = push().await;
    let (status, body) = (refused.status(), refused.json::<Value>().await.unwrap());
    assert_eq!((status.as_u16(), &body["errors"][0]["detail"]["reason"]), (403, &json!("registry.quota_exceeded")));
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("belong to no image"), "{body}");
    // What lies there may come again, and what an image has lies there no more.
    stage.upload(REPO, &token, &[1; 9_000]).await;
    assert_eq!(stage.push(REPO, "v1", &token, &image.manifest).await.status(), 201);
    assert_eq!(push().await.status(), 201);

    // One that is larger than the quota ends while it comes.
    let begun = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &token).send().await.unwrap();
    let at = begun.headers()["location"].to_str().unwrap().to_owned();
    let refused = stage.request(Method::PATCH, &at, &token).body(vec![3_u8; 30_000]).send().await.unwrap();
    assert_eq!(code(refused).await, (403, "DENIED".into()));
    assert_eq!(code(stage.request(Method::GET, &at, &token).send().await.unwrap()).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_were_left_end_before_their_time_where_they_are_more_than_the_quota() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
    let mut uploads = Vec::new();
    for _ in 0..2 {
        let begun = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &token).send().await.unwrap();
        let at = begun.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(stage.request(Method::PATCH, &at, &token).body(vec![5_u8; 15_000]).send().await.unwrap().status(), 202);
        uploads.push(at);
    }
    let folder = stage.world.home.path().join("registry/uploads").join(uploads[0].rsplit('/').next().unwrap());
    std::fs::File::options().append(true).open(folder.join("data")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    // One each time: settings that were read a moment ago are remembered for that long.
    let end = async || stage.collector(3600).end_littering_uploads().await.unwrap();
    assert_eq!(end().await, 0, "there is no quota");
    assert_eq!(put(&stage, &access, "quota", json!({ "bytes": 20_000 })).await.0, 200);
    assert_eq!(end().await, 1);
    let status = async |at: &str| stage.request(Method::GET, at, &token).send().await.unwrap().status().as_u16();
    assert_eq!((status(&uploads[0]).await, status(&uploads[1]).await), (404, 204));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_count_always_equals_a_recount() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let db = &stage.host.db().orm;
    let layers: Vec<Vec<u8>> = (0..4).map(|n| layer(&[("part", format!("part {n}").as_bytes())])).collect();
    let steps = proptest::collection::vec((0_u8..3, 0_usize..2, 1_usize..16), 60);
    let steps = steps.new_tree(&mut TestRunner::default()).unwrap().current();
    for (what, repository, which) in steps {
        let repository = ["acme/shop/a", "acme/shop/b"][repository];
        let token = stage.full(ada, repository);
        // Every non-empty choice of layers is an image; the same layer may be in it twice.
        let chosen: Vec<Vec<u8>> = (0..4).filter(|bit| which >> bit & 1 == 1).flat_map(|bit| vec![layers[bit].clone(); 1 + bit % 2]).collect();
        let image = Image::of(chosen, "amd64");
        if what < 2 {
            image.push(&stage, repository, &format!("t{which}"), &token).await;
        } else {
            let path = format!("/v2/{repository}/manifests/{}", image.digest());
            let status = stage.request(Method::DELETE, &path, &token).send().await.unwrap().status().as_u16();
            assert!(matches!(status, 202 | 404), "{status}");
        }
        let (kept, counted) = (usage::of(db, stage.shop.id).await.unwrap(), usage::recount(db, stage.shop.id).await.unwrap());
        assert_eq!(kept, counted);
    }
}
