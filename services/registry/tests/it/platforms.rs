//! Images by platform: found, exported, missing ones named, and claims compared with what is inside.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::OCI_MANIFEST;
use gantry_testkit::clause;
use http::Method;
use serde_json::{Value, json};

use crate::image::{Image, descriptor, index, layer};
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";
const BASE: &str = "/api/v1/orgs/acme/projects/shop";

/// The head of a program for an ELF machine.
pub fn program(machine: u8) -> Vec<u8> {
    let mut program = vec![0; 64];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    program[18] = machine;
    program
}

/// A layer of files that may be executed.
pub fn programs(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

const AMD64: u8 = 62;
const ARM64: u8 = 183;

async fn get(stage: &Stage, path: &str, access: &str) -> (u16, Value) {
    stage.world.call(&stage.host, Method::GET, path, Some(access), None).await
}

/// An index of an image for amd64 and one for arm64, as `v1`.
async fn two_platforms(stage: &Stage, token: &str) -> (Image, Image, String) {
    let amd = Image::of(vec![programs(&[("usr/bin/app", &program(AMD64))])], "amd64");
    let arm = Image::of(vec![programs(&[("usr/bin/app", &program(ARM64))])], "arm64");
    for image in [&amd, &arm] {
        image.push(stage, REPO, &image.digest(), token).await;
    }
    let both = index(&[(&amd, "linux", "amd64"), (&arm, "linux", "arm64")]);
    assert_eq!(stage.push(REPO, "v1", token, &both).await.status(), 201);
    (amd, arm, Digest::of(Algorithm::Sha256, both.to_string().as_bytes()).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_found_by_platform_and_what_a_tag_lacks_is_named() {
    clause("7.3.2.c");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(user, "ada"), stage.full(user, REPO));
    let (amd, arm, index) = two_platforms(&stage, &token).await;
    let digests = |query: &'static str| {
        let (stage, access) = (&stage, access.clone());
        async move {
            let (status, page) = get(stage, &format!("/api/v1/images?{query}"), &access).await;
            assert_eq!(status, 200, "{page}");
            page["items"].as_array().unwrap().iter().map(|i| i["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
    };
    stage.world.until("the images are listed", Duration::from_secs(10), || async { digests("platform=linux").await.len() == 3 }).await;
    assert_eq!(digests("platform=linux/arm64").await, [index.clone(), arm.digest()]);
    assert_eq!(digests("platform=linux/aarch64/v8&kind=image").await, [arm.digest()]);
    assert_eq!(digests("platform=x86_64&kind=image&q=web").await, [amd.digest()]);
    assert!(digests("platform=windows").await.is_empty() && digests("platform=linux/arm64&q=other").await.is_empty());
    assert_eq!(get(&stage, "/api/v1/images?platform=a%20b", &access).await.0, 400);

    let (_, page) = get(&stage, "/api/v1/images?platform=linux/arm64&limit=1", &access).await;
    assert_eq!((page["items"][0]["tags"][0].as_str(), page["items"][0]["kind"].as_str()), (Some("v1"), Some("index")));
    let (_, rest) = get(&stage, &format!("/api/v1/images?platform=linux/arm64&limit=1&cursor={}", page["next"].as_str().unwrap()), &access).await;
    assert_eq!((&rest["items"][0]["digest"], &rest["items"][0]["index_tags"], &rest["next"]), (&json!(arm.digest()), &json!(["v1"]), &Value::Null));

    // By the question, and by what the project wants.
    let (_, asked) = get(&stage, &format!("{BASE}/images/web/v1/platforms?wanted=linux/arm64,linux/arm/v7"), &access).await;
    assert_eq!((&asked["missing"], asked["images"].as_array().unwrap().len()), (&json!(["linux/arm/v7"]), 2));
    let wanted = json!({ "wanted": ["linux/amd64", "linux/s390x"] });
    assert_eq!(stage.world.call(&stage.host, Method::PUT, &format!("{BASE}/registry/platforms"), Some(&access), Some(&wanted)).await.0, 200);
    let (_, asked) = get(&stage, &format!("{BASE}/images/web/v1/platforms"), &access).await;
    assert_eq!((&asked["wanted"], &asked["missing"]), (&wanted["wanted"], &json!(["linux/s390x"])));
    let bad = json!({ "wanted": ["linux"] });
    assert_eq!(stage.world.call(&stage.host, Method::PUT, &format!("{BASE}/registry/platforms"), Some(&access), Some(&bad)).await.0, 400);

    // Somebody else's search does not show them.
    let eve = stage.user("eve", None).await;
    let (_, none) = get(&stage, "/api/v1/images?platform=linux", &stage.world.token(eve, "eve")).await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_image_claims_is_compared_with_what_it_starts() {
    clause("7.3.2.a");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(user, "ada"), stage.full(user, REPO));
    // Most programs are right, the one that is started by a script over a link is not.
    let tools: Vec<(String, Vec<u8>)> = (0..5).map(|n| (format!("usr/bin/tool{n}"), program(AMD64))).collect();
    let tools: Vec<(&str, &[u8])> = tools.iter().map(|(p, c)| (p.as_str(), c.as_slice())).collect();
    let mut image = Image::of(vec![programs(&tools), programs(&[("usr/bin/app", &program(ARM64)), ("start.sh", b"#!/usr/bin/app -x\n")])], "amd64");
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["config"] = json!({ "Entrypoint": ["/start.sh"] });
    image.config = config.to_string().into_bytes();
    image.manifest["config"] = descriptor(crate::image::CONFIG, &image.config);
    let digest = image.push(&stage, REPO, "v1", &token).await;
    let path = format!("{BASE}/images/web/{digest}/scan");
    stage.world.until("it is scanned", Duration::from_secs(30), || async { get(&stage, &path, &access).await.0 == 200 }).await;
    let (_, report) = get(&stage, &path, &access).await;
    let finding = &report["findings"][0];
    assert_eq!((&finding["id"], &finding["severity"]), (&json!("GANTRY-PLATFORM"), &json!("high")));
    assert_eq!(finding["summary"], "claims linux/amd64, contains arm64: its entry point /usr/bin/app is for that");
    assert_eq!(finding["layer"], image.manifest["layers"][1]["digest"]);
    assert_eq!((&report["platform"]["agrees"], &report["platform"]["entry"]["path"]), (&json!(false), &json!("usr/bin/app")));
    assert_eq!(report["summary"]["high"], 1);
    let (_, listed) = get(&stage, &format!("{BASE}/images/web/v1/platforms"), &access).await;
    assert_eq!(listed["images"][0]["check"]["agrees"], false);

    // A project that knows why accepts it like any finding.
    let allow = format!("{BASE}/registry/allowances/GANTRY-PLATFORM");
    assert_eq!(stage.world.call(&stage.host, Method::PUT, &allow, Some(&access), Some(&json!({ "reason": "runs under an emulator" }))).await.0, 200);
    assert_eq!(get(&stage, &path, &access).await.1["summary"]["high"], 0);

    // An index that calls an image something else than the image itself.
    let false_index = index(&[(&image, "linux", "arm64")]);
    assert_eq!(stage.push(REPO, "v2", &token, &false_index).await.status(), 201);
    let (_, listed) = get(&stage, &format!("{BASE}/images/web/v2/platforms"), &access).await;
    assert_eq!((&listed["images"][0]["platform"], &listed["images"][0]["config_says"]), (&json!("linux/arm64"), &json!("linux/amd64")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_platform_is_exported_in_forms_that_others_read() {
    clause("7.3.2.b");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(user, "ada"), stage.full(user, REPO));
    let (_, arm, _) = two_platforms(&stage, &token).await;
    let fetch = |query: &'static str| {
        let request = stage.request(Method::GET, &format!("{BASE}/images/web/v1/export?{query}"), &access);
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap())
        }
    };
    let folder = tempfile::tempdir().unwrap();
    for (query, transport) in [
        ("platform=linux/arm64", "oci-archive"),
        ("platform=linux/arm64&format=docker", "docker-archive"),
        ("platform=linux/arm64&format=docker", "oci-archive"),
    ] {
        let (status, bytes) = fetch(query).await;
        assert_eq!(status, 200);
        let file = folder.path().join("image.tar");
        std::fs::write(&file, &bytes).unwrap();
        let to = folder.path().join("out");
        let _ = std::fs::remove_dir_all(&to);
        let output = tokio::process::Command::new("skopeo")
            .args([
                "--insecure-policy",
                "--override-os",
                "linux",
                "--override-arch",
                "arm64",
                "copy",
                &format!("{transport}:{}", file.display()),
                &format!("dir:{}", to.display()),
            ])
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{transport}: {}", String::from_utf8_lossy(&output.stderr));
        let config = Digest::of(Algorithm::Sha256, &arm.config);
        assert_eq!(std::fs::read(to.join(config.hex())).unwrap(), arm.config, "{transport}");
        if transport == "oci-archive" {
            let manifest: Value = serde_json::from_slice(&std::fs::read(to.join("manifest.json")).unwrap()).unwrap();
            assert_eq!(manifest, arm.manifest);
        }
    }
    assert_eq!(fetch("platform=linux/arm64").await.1, fetch("platform=linux/arm64").await.1, "the same image is the same archive");
    for bad in ["", "platform=linux/s390x", "platform=linux/arm64&format=zip", "platform=x"] {
        assert_eq!(fetch(bad).await.0, 400, "{bad}");
    }
    // What no container runs goes as an OCI layout only.
    let chart = layer(&[("chart", b"x")]);
    let config = b"{\"a\":1}".to_vec();
    for bytes in [&chart, &config] {
        stage.upload(REPO, &token, bytes).await;
    }
    let helm = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor("application/vnd.cncf.helm.config.v1+json", &config),
        "layers": [descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &chart)],
    });
    assert_eq!(stage.push(REPO, "chart", &token, &helm).await.status(), 201);
    let of_chart = |format: &str| stage.request(Method::GET, &format!("{BASE}/images/web/chart/export?format={format}"), &access).send();
    assert_eq!(of_chart("oci").await.unwrap().status(), 200);
    assert_eq!(of_chart("docker").await.unwrap().status(), 400);
    let eve = stage.user("eve", None).await;
    let none = stage.request(Method::GET, &format!("{BASE}/images/web/v1/export?platform=linux/arm64"), &stage.world.token(eve, "eve")).send().await.unwrap();
    assert_eq!(none.status(), 404);
}
