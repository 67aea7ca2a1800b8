//! What an image is made of, and how much of it only it has.

use std::time::Duration;

use gantry_kernel::Role;
use http::Method;
use serde_json::Value;

use crate::image::{Image, layer};
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_say_how_many_images_have_them() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let base = layer(&[("etc/base", b"base")]);
    let one = Image::of(vec![base.clone(), layer(&[("srv/one", b"one")])], "amd64");
    let two = Image::of(vec![base, layer(&[("srv/two", b"two, and longer")])], "amd64");
    let digest = one.push(&stage, REPO, "one", &token).await;
    two.push(&stage, REPO, "two", &token).await;
    let access = stage.world.token(user, "ada");
    let at = |digest: &str| format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}/layers");
    let read = || async { stage.world.call(&stage.host, Method::GET, &at(&digest), Some(&access), None).await };
    let images = |parts: &Value| -> Vec<u64> { parts["layers"].as_array().into_iter().flatten().filter_map(|l| l["images"].as_u64()).collect() };
    stage.world.until("both images are counted", Duration::from_secs(10), || async { images(&read().await.1) == [2, 1] }).await;
    let (status, parts) = read().await;
    assert_eq!(status, 200, "{parts}");
    assert_eq!(parts["layers"][0]["digest"], one.manifest["layers"][0]["digest"]);
    assert_eq!(parts["shared_bytes"], one.manifest["layers"][0]["size"]);
    assert_eq!(parts["own_bytes"], one.manifest["layers"][1]["size"]);

    let eve = stage.user("eve", None).await;
    let stranger = stage.world.token(eve, "eve");
    assert_eq!(stage.world.call(&stage.host, Method::GET, &at(&digest), Some(&stranger), None).await.0, 404);
    assert_eq!(stage.world.call(&stage.host, Method::GET, &at("sha256:1"), Some(&access), None).await.0, 400);
}
