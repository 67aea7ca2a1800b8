//! What no honest client sends. Each is refused or noted with its reason, and the service goes on.

use std::io::Write;
use std::time::Duration;

use gantry_kernel::{Role, Scope};
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::{OCI_INDEX, OCI_MANIFEST};
use http::{Method, header};
use serde_json::{Value, json};

use crate::image::{CONFIG, Image, LAYER, descriptor, layer};
use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";

async fn begun() -> (Stage, String, String) {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, Scope::Org(stage.org.id)))).await;
    let (token, access) = (stage.full(user, REPO), stage.world.token(user, "ada"));
    (stage, token, access)
}

async fn begin(stage: &Stage, token: &str) -> String {
    let begun = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), token).send().await.unwrap();
    assert_eq!(begun.status(), 202);
    begun.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_out_of_uploads_and_digests() {
    let (stage, token, _) = begun().await;
    for id in ["..", "%2e%2e", "..%2f..%2fblobs", "%2fetc%2fpasswd", "a%00b", "00000000-0000-0000-0000-000000000000", "{}"] {
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let path = format!("/v2/{REPO}/blobs/uploads/{id}?digest=sha256:{}", "a".repeat(64));
            let answer = stage.request(method.clone(), &path, &token).body("x").send().await.unwrap();
            assert!(matches!(answer.status().as_u16(), 400 | 404 | 405), "{method} {id}: {}", answer.status());
        }
    }
    for digest in ["sha256:../../etc/passwd", "sha256:%2e%2e%2f", "../x", "sha256:AAAA", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:", ":", "sha512:abc"] {
        let path = format!("/v2/{REPO}/blobs/uploads/?digest={digest}");
        let answer = stage.request(Method::POST, &path, &token).body("x").send().await.unwrap();
        assert_eq!(code(answer).await, (400, "DIGEST_INVALID".into()), "{digest}");
        let path = format!("/v2/{REPO}/blobs/uploads/?mount={digest}&from=acme/shop/other");
        let answer = stage.request(Method::POST, &path, &token).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 202 | 400 | 401), "{digest}: {}", answer.status());
    }
    // Whatever was tried: nothing is outside of the folders that belong there.
    let folder = stage.world.home.path().join("registry");
    let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.iter().all(|n| ["advisories", "blobs", "uploads"].contains(&n.as_str())), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_ranges_and_digests_that_lie_are_refused_and_the_upload_goes_on() {
    let (stage, token, _) = begun().await;
    let at = begin(&stage, &token).await;
    let patch = |range: &'static str, body: &'static str| stage.request(Method::PATCH, &at, &token).header("content-range", range).body(body).send();
    for (range, body, expected) in [
        ("0-9", "abc", 400),
        ("0-1", "abc", 400),
        ("5-7", "abc", 416),
        ("2-0", "abc", 400),
        ("x-y", "abc", 400),
        ("0-18446744073709551615", "abc", 400),
        ("-1", "abc", 400),
    ] {
        let status = patch(range, body).await.unwrap().status().as_u16();
        assert!(status == expected || (status == 416 && expected == 400), "{range}: {status}");
    }
    assert_eq!(patch("0-2", "abc").await.unwrap().status(), 202, "what is right is taken after all that");
    assert_eq!(patch("0-2", "abc").await.unwrap().status(), 416, "the same once more is not");
    let wrong = format!("{at}{}digest={}", if at.contains('?') { "&" } else { "?" }, Digest::of(Algorithm::Sha256, b"other"));
    let refused = stage.request(Method::PUT, &wrong, &token).send().await.unwrap();
    assert_eq!(code(refused).await, (400, "DIGEST_INVALID".into()));
    // A body that is shorter than it says: the connection is closed, nothing has a name.
    let address = stage.host.url_of("registry").unwrap();
    let whole = Digest::of(Algorithm::Sha256, b"whole");
    let path = format!("{address}/v2/{REPO}/blobs/uploads/?digest={whole}");
    let stream = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"who")), Err(std::io::Error::other("gone"))]);
    let cut = stage.world.http.post(path).bearer_auth(&token).header(header::CONTENT_LENGTH, 5).body(reqwest::Body::wrap_stream(stream)).send().await;
    assert!(cut.is_err() || !cut.unwrap().status().is_success());
    let head = stage.request(Method::HEAD, &format!("/v2/{REPO}/blobs/{whole}"), &token).send().await.unwrap();
    assert_eq!(head.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_bombs_are_refused_at_every_door() {
    let (stage, token, access) = begun().await;
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let many = (0..200_000).map(|n| format!("{{\"mediaType\":\"x\",\"digest\":\"sha256:{n:064x}\",\"size\":1}}")).collect::<Vec<_>>().join(",");
    let bodies = [
        deep(100_000),
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\",\"x\":{}}}", deep(20_000)),
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[{}]}}", &many[..many.len().min(3 << 20)]),
        format!("{{\"schemaVersion\":2,\"manifests\":[{many}]}}"),
        "{\"schemaVersion\":2,\"schemaVersion\":2}".into(),
        "\u{feff}{}".into(),
        "null".into(),
        String::new(),
    ];
    for (n, body) in bodies.into_iter().enumerate() {
        let path = format!("/v2/{REPO}/manifests/bomb{n}");
        let answer = stage.request(Method::PUT, &path, &token).header(header::CONTENT_TYPE, OCI_MANIFEST).body(body).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 400 | 413), "{n}: {}", answer.status());
    }
    let settings = "/api/v1/orgs/acme/projects/shop/registry/retention";
    let answer = stage.request(Method::PUT, settings, &access).header(header::CONTENT_TYPE, "application/json").body(deep(100_000)).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    Image::simple("after the bombs").push(&stage, REPO, "v1", &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_that_are_bombs_or_lead_elsewhere_are_kept_and_told_of() {
    let (stage, token, access) = begun().await;
    // Unpacked a thousand times as large as sent; links, devices and paths that lead out; half an archive.
    let mut builder = tar::Builder::new(Vec::new());
    let mut entry = |kind: tar::EntryType, path: &str, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    entry(tar::EntryType::Regular, "../../../../etc/passwd", "", b"root::0:0");
    entry(tar::EntryType::Regular, "/var/lib/dpkg/status", "", b"Package: bash\nStatus: install ok installed\nVersion: 5.2\n");
    entry(tar::EntryType::Symlink, "bin/sh", "/../../../../bin/sh", b"");
    entry(tar::EntryType::Link, "bin/bash", "../../etc/shadow", b"");
    entry(tar::EntryType::Char, "dev/mem", "", b"");
    entry(tar::EntryType::Block, "dev/sda", "", b"");
    entry(tar::EntryType::Fifo, "run/pipe", "", b"");
    let odd = builder.into_inner().unwrap();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let bomb = layer(&[("zeros", &vec![0; 64 << 20])]);
    assert!(bomb.len() < 1 << 20);
    let packed = zstd::encode_all(vec![0_u8; 64 << 20].as_slice(), 1).unwrap();
    let mut half = gzip(&odd);
    half.truncate(half.len() / 2);
    let layers = [gzip(&odd), bomb, packed, half, b"no archive at all".to_vec()];
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/sh"] }, "rootfs": { "type": "layers", "diff_ids": [] } })
        .to_string()
        .into_bytes();
    let descriptors: Vec<Value> = layers.iter().map(|l| descriptor(LAYER, l)).collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(CONFIG, &config), "layers": descriptors });
    let image = Image { config, layers: layers.to_vec(), manifest };
    let digest = image.push(&stage, REPO, "odd", &token).await;
    let path = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}/scan");
    let report = || async { stage.world.call(&stage.host, Method::GET, &path, Some(&access), None).await };
    stage.world.until("it is scanned", Duration::from_secs(60), || async { report().await.0 == 200 }).await;
    let (_, report) = report().await;
    assert_eq!(report["summary"]["packages"], 1, "what is honest in it counts: {report}");
    assert!(report["notes"].as_array().unwrap().len() >= 2, "half an archive, and what is none: {report}");
    // The content itself comes back as it was.
    let back = stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{}", Digest::of(Algorithm::Sha256, &layers[0])), &token).send().await.unwrap();
    assert_eq!(back.bytes().await.unwrap(), layers[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_only_looks_like_the_right_one_opens_nothing() {
    let (stage, token, _) = begun().await;
    Image::simple("scopes").push(&stage, REPO, "v1", &token).await;
    let eve = stage.user("eve", None).await;
    let ada = stage.user("bea", Some((Role::Admin, stage.shop.scope()))).await;
    let who = |user: gantry_kernel::UserId| format!("user:{user}");
    let all: &[&str] = &["pull", "push", "delete", "*"];
    // Rights in the token that the person does not have; rights of the person that the token does not have.
    let tokens = [
        stage.token(&who(eve), &[("repository", REPO, all)]),
        stage.token(&who(ada), &[("registry", REPO, all)]),
        stage.token(&who(ada), &[("repository(plugin)", REPO, all)]),
        stage.token(&who(ada), &[("repositories", REPO, all), ("repositories", "acme/shop/*", all)]),
        stage.token(&who(ada), &[("repository", "acme/shop", all)]),
        stage.token(&who(ada), &[("repository", "acme/shop/*", all)]),
        stage.token(&who(ada), &[("repository", "acme/shop/web2", all), ("repository", "acme/shop/we", all)]),
        stage.token(&who(ada), &[("repository", "ACME/SHOP/WEB", all)]),
        stage.token(&who(ada), &[("repository", "acme/shop/web/../web", all)]),
        stage.token(&who(ada), &[("repository", REPO, &["Pull", "PUSH", "pull,push", ""])]),
        stage.token("", &[("repository", REPO, all)]),
    ];
    for (n, token) in tokens.iter().enumerate() {
        for (method, path) in [(Method::GET, "manifests/v1"), (Method::POST, "blobs/uploads/"), (Method::DELETE, "manifests/v1")] {
            let answer = stage.request(method.clone(), &format!("/v2/{REPO}/{path}"), token).send().await.unwrap();
            assert!(matches!(answer.status().as_u16(), 401 | 403), "{n} {method}: {}", answer.status());
        }
    }
    // A token with its parts exchanged, or for nobody's key, is none.
    let good = stage.full(ada, REPO);
    let parts: Vec<&str> = good.split('.').collect();
    let none = "eyJhbGciOiJub25lIn0";
    for bad in [format!("{none}.{}.", parts[1]), format!("{}.{}.{}", parts[0], parts[1], "AAAA"), format!("{}.{}", parts[0], parts[1]), good.to_uppercase()] {
        let answer = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &bad).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &good).send().await.unwrap().status(), 200);
}
