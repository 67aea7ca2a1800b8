//! What stays and what goes: collection of unneeded content.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::Config;
use gantry_registry::app::App;
use gantry_registry::app::care::Freed;
use gantry_registry::domain::digest::Digest;
use http::Method;

use crate::image::Image;
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";

async fn round(app: &App) -> anyhow::Result<Option<Freed>> {
    app.collect(Duration::from_secs(app.config.gc_grace_seconds), false, "user:test").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_content_that_nobody_needs_is_collected_and_only_after_the_grace_period() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let (kept, gone) = (Image::simple("kept"), Image::simple("gone"));
    let kept_digest = kept.push(&stage, REPO, "kept", &token).await;
    let gone_digest = gone.push(&stage, REPO, "gone", &token).await;
    let orphan = stage.upload(REPO, &token, b"never referred to").await;

    let now = stage.collector(0);
    let blob = |image: &Image| Digest::parse(image.manifest["layers"][0]["digest"].as_str().unwrap()).unwrap();
    let deleted = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{gone_digest}"), &token).send().await.unwrap();
    assert_eq!(deleted.status(), 202);

    let patient = round(&stage.collector(3600)).await.unwrap().expect("nobody else collects");
    assert_eq!(patient.blobs, 0);
    let everything = [blob(&kept), blob(&gone), orphan.clone(), Digest::parse(&gone_digest).unwrap()];
    for digest in &everything {
        assert!(now.blobs.size(digest).await.unwrap().is_some(), "{digest}");
    }

    // The clock has to move on by at least its own step.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let freed = round(&now).await.unwrap().expect("nobody else collects");
    assert_eq!(freed.blobs, 4, "layer, config and manifest of the deleted image, and the orphan");
    assert!(now.blobs.size(&blob(&gone)).await.unwrap().is_none());
    assert!(now.blobs.size(&orphan).await.unwrap().is_none());
    let read = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{kept_digest}"), &token).send().await.unwrap();
    assert_eq!(read.status(), 200);
    let read = stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{}", blob(&kept)), &token).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), kept.layers[0]);
    gone.push(&stage, REPO, "again", &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_during_collection_never_lose_content() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    // Short, but longer than a push takes on this machine as it is now.
    let began = std::time::Instant::now();
    Image::simple("first of all").push(&stage, REPO, "first", &token).await;
    let app = stage.collector((began.elapsed() * 20).as_secs().clamp(2, 60));
    let cancel = stage.host.cancel.child_token();
    let collecting = tokio::spawn({
        let cancel = cancel.clone();
        async move {
            while !cancel.is_cancelled() {
                round(&app).await.unwrap();
            }
        }
    });
    // The same few images come and go: each push meets the last one's remains.
    for round in 0..12 {
        let image = Image::simple(&format!("flow {}", round % 3));
        let digest = image.push(&stage, REPO, "now", &token).await;
        for blob in [&image.manifest["layers"][0]["digest"], &image.manifest["config"]["digest"]] {
            let read = stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{}", blob.as_str().unwrap()), &token).send().await.unwrap();
            assert_eq!(read.status(), 200);
        }
        let deleted = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{digest}"), &token).send().await.unwrap();
        assert_eq!(deleted.status(), 202);
        // So that collections find what was deleted at every age up to the grace period.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cancel.cancel();
    collecting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_repository_keeps_is_metered() {
    use futures::StreamExt;
    use gantry_contract::usage::UsageSample;
    let stage = Stage::with(Config { usage_interval_seconds: 1, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let image = Image::simple("metered");
    image.push(&stage, REPO, "v1", &stage.full(user, REPO)).await;
    // The same layer under a second manifest is kept, and billed, once.
    let mut twin = Image::simple("metered");
    twin.manifest["annotations"] = serde_json::json!({ "twin": "yes" });
    twin.push(&stage, REPO, "v2", &stage.full(user, REPO)).await;
    let bytes = image.layers[0].len() + image.config.len() + image.manifest.to_string().len() + twin.manifest.to_string().len();
    let expected = bytes as f64 / (1u64 << 30) as f64;

    let stream = stage.host.bus.sample_stream(gantry_bus::streams::USAGE).await.unwrap();
    let consumer = stream.create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig::default()).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let found = tokio::time::timeout(Duration::from_secs(90), async {
        loop {
            let sample: UsageSample = serde_json::from_slice(&messages.next().await.unwrap().unwrap().payload).unwrap();
            assert_eq!((sample.org, sample.project, sample.holder.as_str()), (stage.org.id, stage.shop.id, "repository:acme/shop/web"));
            if (sample.amount - expected).abs() < 1e-12 {
                return;
            }
        }
    });
    found.await.expect("a sample of exactly what is kept");
}
