//! The real client, over TLS, through the token dance.

use std::path::Path;

use gantry_kernel::{Role, Scope};
use gantry_testkit::clause;

use crate::image::{Image, layer};
use crate::stage::Stage;

async fn skopeo(stage: &Stage, arguments: &[&str]) -> Result<String, String> {
    let certificates = stage.ca_folder();
    let certificates = certificates.to_str().unwrap();
    let home = stage.world.home.path().to_owned();
    let arguments: Vec<String> = arguments.iter().map(|a| a.replace("{certs}", certificates)).collect();
    let output = tokio::process::Command::new("skopeo")
        .arg("--insecure-policy")
        .args(&arguments)
        .env("HOME", &home)
        .env("XDG_RUNTIME_DIR", &home)
        .env("REGISTRY_AUTH_FILE", home.join("no-auth.json"))
        .output()
        .await
        .expect("skopeo is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

async fn push(stage: &Stage, from: &Path, to: &str, credentials: &str) -> Result<String, String> {
    let (from, to) = (format!("oci:{}:latest", from.display()), format!("docker://{}/{to}", stage.registry));
    skopeo(stage, &["copy", "--dest-cert-dir", "{certs}", "--dest-creds", credentials, &from, &to]).await
}

async fn pull(stage: &Stage, from: &str, to: &Path, credentials: Option<&str>) -> Result<String, String> {
    let (from, to) = (format!("docker://{}/{from}", stage.registry), format!("oci:{}:latest", to.display()));
    let mut arguments = vec!["copy", "--src-cert-dir", "{certs}"];
    match credentials {
        Some(credentials) => arguments.extend(["--src-creds", credentials]),
        None => arguments.push("--src-no-creds"),
    }
    arguments.extend([from.as_str(), to.as_str()]);
    skopeo(stage, &arguments).await
}

/// Every platform of an image into an OCI layout.
pub async fn copy_all(stage: &Stage, from: &str, to: &Path, credentials: &str) -> Result<String, String> {
    let (from, to) = (format!("docker://{}/{from}", stage.registry), format!("oci:{}:latest", to.display()));
    skopeo(stage, &["copy", "--all", "--src-cert-dir", "{certs}", "--src-creds", credentials, &from, &to]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_pushed_by_skopeo_comes_back_the_same() {
    clause("6.2.1.c");
    let stage = Stage::new().await;
    stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    // Larger than any buffer on the way.
    let noise: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = Image::of(vec![layer(&[("noise", &noise)]), layer(&[("hello", b"world")])], "amd64");
    let folder = tempfile::tempdir().unwrap();
    image.write_layout(&folder.path().join("out"));
    push(&stage, &folder.path().join("out"), "acme/shop/web:v1", "ada:secret").await.unwrap();

    let back = folder.path().join("back");
    pull(&stage, "acme/shop/web:v1", &back, Some("ada:secret")).await.unwrap();
    for bytes in image.layers.iter().chain([&image.config, &image.manifest.to_string().into_bytes()]) {
        let digest = gantry_registry::domain::digest::Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, bytes);
        assert_eq!(std::fs::read(back.join("blobs/sha256").join(digest.hex())).unwrap(), *bytes);
    }
    let image_url = format!("docker://{}/acme/shop/web", stage.registry);
    let tags = skopeo(&stage, &["list-tags", "--cert-dir", "{certs}", "--creds", "ada:secret", &image_url]).await.unwrap();
    assert!(tags.contains("\"v1\""), "{tags}");
    let inspected = skopeo(&stage, &["inspect", "--cert-dir", "{certs}", "--creds", "ada:secret", &format!("{image_url}:v1")]).await.unwrap();
    assert!(inspected.contains(&image.digest()), "{inspected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_without_the_right_gets_nothing_and_a_public_project_is_for_all() {
    let stage = Stage::new().await;
    stage.user("ada", Some((Role::Editor, Scope::Org(stage.org.id)))).await;
    stage.user("vic", Some((Role::Viewer, stage.shop.scope()))).await;
    stage.user("eve", None).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    Image::simple("rights").write_layout(&out);
    for repository in ["acme/shop/web:v1", "acme/open/web:v1"] {
        push(&stage, &out, repository, "ada:secret").await.unwrap();
        assert!(push(&stage, &out, repository, "eve:secret").await.is_err());
    }
    assert!(push(&stage, &out, "acme/shop/web:v2", "vic:secret").await.is_err(), "a viewer may not push");
    let to = |n: &str| folder.path().join(n);
    pull(&stage, "acme/shop/web:v1", &to("1"), Some("vic:secret")).await.unwrap();
    pull(&stage, "acme/open/web:v1", &to("2"), None).await.unwrap();
    assert!(pull(&stage, "acme/shop/web:v1", &to("3"), None).await.is_err());
    assert!(pull(&stage, "acme/shop/web:v1", &to("4"), Some("eve:secret")).await.is_err());
    assert!(pull(&stage, "acme/shop/web:v1", &to("5"), Some("vic:wrong")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_schema_2_and_copies_between_repositories_work() {
    let stage = Stage::new().await;
    stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    Image::simple("schema 2").write_layout(&out);
    let (from, to) = (format!("oci:{}:latest", out.display()), format!("docker://{}/acme/shop/two:v1", stage.registry));
    skopeo(&stage, &["copy", "--format", "v2s2", "--dest-cert-dir", "{certs}", "--dest-creds", "ada:secret", &from, &to]).await.unwrap();
    let other = format!("docker://{}/acme/shop/deep/er/three:v1", stage.registry);
    let both = ["copy", "--src-cert-dir", "{certs}", "--dest-cert-dir", "{certs}", "--src-creds", "ada:secret", "--dest-creds", "ada:secret", &to, &other];
    skopeo(&stage, &both).await.unwrap();
    let raw = skopeo(&stage, &["inspect", "--raw", "--cert-dir", "{certs}", "--creds", "ada:secret", &other]).await.unwrap();
    assert!(raw.contains("application/vnd.docker.distribution.manifest.v2+json"), "{raw}");
}
