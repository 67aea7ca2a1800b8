//! The disk fills up, and the process is killed at any moment.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::Config;
use gantry_registry::adapters::blob_fs::{BlobFs, Chunk};
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::OCI_MANIFEST;
use gantry_registry::domain::name::RepositoryName;
use http::{Method, header};

use crate::image::Image;
use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";

/// A small file system of its own; gone with the value.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(folder.path()).status();
        done.is_ok_and(|s| s.success()).then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_leaves_nothing_half_visible() {
    let Some(small) = Small::mount(8) else {
        println!("skipped: only root can mount a small file system");
        return;
    };
    let stage = Stage::with(Config { storage: small.0.path().join("registry"), ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let image = Image::simple("before the disk was full");
    let kept = image.push(&stage, REPO, "v1", &token).await;

    let large = vec![7u8; 12 << 20];
    let digest = Digest::of(Algorithm::Sha256, &large);
    let whole = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/?digest={digest}"), &token).body(large.clone()).send().await.unwrap();
    assert_eq!(code(whole).await, (507, "UNAVAILABLE".into()));
    let begun = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &token).send().await.unwrap();
    let at = begun.headers()["location"].to_str().unwrap().to_owned();
    let chunk = stage.request(Method::PATCH, &at, &token).body(large.clone()).send().await.unwrap();
    assert_eq!(code(chunk).await, (507, "UNAVAILABLE".into()));
    assert_eq!(code(stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{digest}"), &token).send().await.unwrap()).await, (404, "BLOB_UNKNOWN".into()));
    // Reading goes on, and once there is room, so does writing.
    assert_eq!(stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{kept}"), &token).send().await.unwrap().status(), 200);
    let layer = format!("/v2/{REPO}/blobs/{}", image.manifest["layers"][0]["digest"].as_str().unwrap());
    assert_eq!(stage.request(Method::GET, &layer, &token).send().await.unwrap().bytes().await.unwrap(), image.layers[0]);
    assert_eq!(stage.request(Method::DELETE, &at, &token).send().await.unwrap().status(), 204);
    Image::simple("after").push(&stage, REPO, "v2", &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_client_falls_silent_is_ended() {
    let stage = Stage::with(Config { patience_seconds: 4, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let begun = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), &token).send().await.unwrap();
    let at = begun.headers()["location"].to_str().unwrap().to_owned();
    // One byte, then nothing.
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    pieces.send(Ok(bytes::Bytes::from_static(b"x"))).await.unwrap();
    let body = futures::stream::unfold(body, |mut body| async move { body.recv().await.map(|piece| (piece, body)) });
    let slow = stage.request(Method::PATCH, &at, &token).body(reqwest::Body::wrap_stream(body)).send();
    let slow = tokio::time::timeout(Duration::from_secs(90), slow).await.expect("the registry does not wait for ever");
    if let Ok(answer) = slow {
        assert_eq!(code(answer).await, (408, "BLOB_UPLOAD_INVALID".into()));
    }
    drop(pieces);
    // What came stays, and the upload goes on from there.
    let status = stage.request(Method::GET, &at, &token).send().await.unwrap();
    assert_eq!((status.status().as_u16(), status.headers()["range"].to_str().unwrap()), (204, "0-0"));
    let digest = Digest::of(Algorithm::Sha256, b"xyz");
    let rest = stage.request(Method::PUT, &format!("{at}?digest={digest}"), &token).header(header::CONTENT_RANGE, "1-2").body("yz").send().await.unwrap();
    assert_eq!(rest.status(), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_whose_client_falls_silent_is_given_up() {
    let stage = Stage::with(Config { patience_seconds: 4, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    pieces.send(Ok(bytes::Bytes::from_static(b"{"))).await.unwrap();
    let body = futures::stream::unfold(body, |mut body| async move { body.recv().await.map(|piece| (piece, body)) });
    let path = format!("/v2/{REPO}/manifests/v1");
    let slow = stage.request(Method::PUT, &path, &token).header(header::CONTENT_TYPE, OCI_MANIFEST).body(reqwest::Body::wrap_stream(body)).send();
    let slow = tokio::time::timeout(Duration::from_secs(90), slow).await.expect("the registry does not wait for ever");
    if let Ok(answer) = slow {
        assert_eq!(code(answer).await, (408, "MANIFEST_INVALID".into()));
    }
    drop(pieces);
    Image::simple("after it").push(&stage, REPO, "v1", &token).await;
}

/// Not a test: the process that is killed. Pushes blobs without end and says each one that is published.
#[tokio::test]
#[ignore = "started by the test below"]
async fn pusher() {
    let Ok(folder) = std::env::var("REGISTRY_FAULT_FOLDER") else { return };
    let store = BlobFs::open(&folder).unwrap();
    let name = RepositoryName::parse(REPO).unwrap();
    for n in 0u32.. {
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(n + 7) >> 5) as u8).chain(std::process::id().to_le_bytes()).collect();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let id = uuid::Uuid::from_u128((u128::from(std::process::id()) << 32) + u128::from(n));
        println!("begun {id}");
        store.start_upload(id, &name, Algorithm::Sha256).await.unwrap();
        for piece in bytes.chunks(100_000) {
            let chunk = Chunk { start: None, length: None, max: 1 << 30, patience: Duration::from_secs(5) };
            let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(piece))]);
            store.append(id, &name, chunk, body).await.unwrap();
        }
        let staged = store.finish(id, &name, &digest, 0).await.unwrap();
        store.publish([&staged]).await.unwrap();
        println!("kept {digest}");
        store.end_upload(id).await.unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|e| e.unwrap().path()).flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

#[tokio::test]
async fn killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_wrong_has_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let (mut kept, mut begun) = (Vec::new(), Vec::new());
    for round in 0..25u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["faults::pusher", "--exact", "--ignored", "--nocapture"])
            .env("REGISTRY_FAULT_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, begins) = tokio::sync::oneshot::channel();
        let reader = std::thread::spawn(move || {
            let mut tell = Some(tell);
            let told = |line: &String| {
                if let Some(tell) = line.contains("begun ").then(|| tell.take()).flatten() {
                    let _ = tell.send(());
                }
            };
            output.lines().map_while(Result::ok).inspect(told).collect::<Vec<_>>()
        });
        tokio::time::timeout(Duration::from_secs(90), begins).await.expect("it begins in time").expect("it begins");
        // Each time at another step of a push.
        tokio::time::sleep(Duration::from_micros(40_000 + round * 1_733)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            // The harness writes its own words before the first line.
            if let Some((_, digest)) = line.rsplit_once("kept ") {
                kept.push(digest.to_owned());
            } else if let Some((_, id)) = line.rsplit_once("begun ") {
                begun.push(id.to_owned());
            }
        }
    }
    assert!(kept.len() > 5, "the pushers got somewhere: {}", kept.len());
    let store = BlobFs::open(folder.path()).unwrap();
    for digest in &kept {
        let bytes = store.read_small(&Digest::parse(digest).unwrap(), 1 << 20).await.unwrap().expect("acknowledged, so it is there");
        assert_eq!(Digest::of(Algorithm::Sha256, &bytes).as_str(), digest);
    }
    for file in files(&folder.path().join("blobs")) {
        let hex = file.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(Digest::of(Algorithm::Sha256, &std::fs::read(&file).unwrap()).hex(), hex, "under a digest is what the digest says");
    }
    // Uploads that were cut off can be asked about, and go on or are unknown; none is a half-made thing that fails otherwise.
    let name = RepositoryName::parse(REPO).unwrap();
    for id in begun {
        use gantry_registry::adapters::blob_fs::UploadError;
        match store.upload_offset(uuid::Uuid::parse_str(&id).unwrap(), &name).await {
            Ok(offset) => assert!(offset <= 300_004),
            Err(UploadError::Unknown) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
