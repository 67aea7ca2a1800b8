//! Another registry of the test's own: Debian's docker-registry on a free port, with plain HTTP, and a user and password if
//! wanted. Ends with the test.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_servers::{Need, install, is_root};
use gantry_testkit::free_port;
use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

/// bcrypt of "secret", cost 5.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

pub struct Peer {
    folder: TempDir,
    child: Option<Child>,
    port: u16,
    pub password: bool,
    http: reqwest::Client,
}

impl Peer {
    /// `None` where there is none and this user may not install it: said on the standard error.
    pub fn start(password: bool) -> Option<Self> {
        if Need::DockerRegistry.find().is_err() && is_root() {
            install::ensure(&[Need::DockerRegistry], &mut |line| eprintln!("docker-registry: {line}")).expect("docker-registry can be installed");
        }
        if let Err(why) = Need::DockerRegistry.find() {
            eprintln!("SKIPPED: this test needs docker-registry ({why}); run: sudo apt-get install docker-registry");
            return None;
        }
        let port = free_port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let auth = if password { format!("auth:\n  htpasswd:\n    realm: peer\n    path: {}/users\n", folder.path().display()) } else { String::new() };
        std::fs::write(folder.path().join("users"), format!("ada:{HASH}\n")).expect("written");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n  relativeurls: true\n{auth}",
            folder.path().display()
        );
        let mut file = std::fs::File::create(folder.path().join("config.yml")).expect("a file");
        file.write_all(config.as_bytes()).expect("written");
        let mut peer = Self { folder, child: None, port, password, http: reqwest::Client::new() };
        peer.launch();
        Some(peer)
    }

    /// Starts it (again) on its port, with what it has.
    pub fn launch(&mut self) {
        let program = Need::DockerRegistry.find().expect("it is here").path;
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log file");
        let mut command = Command::new(program);
        command.arg("serve").arg(self.folder.path().join("config.yml"));
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("docker-registry starts"));
        let deadline = Instant::now() + Duration::from_secs(90);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "docker-registry does not listen: {}",
                std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url()) });
        let request = request.header("accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json");
        if self.password { request.basic_auth("ada", Some("secret")) } else { request }
    }

    pub async fn upload(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let begun = self.request(reqwest::Method::POST, &format!("/v2/{repository}/blobs/uploads/")).send().await.unwrap();
        assert_eq!(begun.status(), 202);
        let at = begun.headers()["location"].to_str().unwrap().to_owned();
        let joined = format!("{at}{}digest={digest}", if at.contains('?') { "&" } else { "?" });
        let done = self.request(reqwest::Method::PUT, &joined).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(done.status(), 201, "{}", done.text().await.unwrap());
        digest
    }

    pub async fn put(&self, repository: &str, reference: &str, manifest: &Value) -> String {
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let path = format!("/v2/{repository}/manifests/{reference}");
        let done = self.request(reqwest::Method::PUT, &path).header("content-type", media_type).body(manifest.to_string()).send().await.unwrap();
        assert_eq!(done.status(), 201, "{}", done.text().await.unwrap());
        Digest::of(Algorithm::Sha256, manifest.to_string().as_bytes()).to_string()
    }

    /// An image with its content.
    pub async fn push(&self, repository: &str, reference: &str, image: &crate::image::Image) -> String {
        for blob in image.layers.iter().chain([&image.config]) {
            self.upload(repository, blob).await;
        }
        self.put(repository, reference, &image.manifest).await
    }

    /// Status and digest of what a reference names.
    pub async fn head(&self, repository: &str, reference: &str) -> (u16, String) {
        let answer = self.request(reqwest::Method::HEAD, &format!("/v2/{repository}/manifests/{reference}")).send().await.unwrap();
        let digest = answer.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        (answer.status().as_u16(), digest)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What stands in front of a peer and counts, or misbehaves as registries do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// 429 to everything.
    Busy,
    /// Blobs come with a byte changed.
    Lying,
    /// Blobs break off after some bytes, unless the rest is asked for.
    Breaking,
}

#[derive(Clone)]
pub struct Front {
    pub url: String,
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Front {
    pub async fn before(peer: &Peer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Self { url: format!("http://{}", listener.local_addr().unwrap()), mood: Arc::new(Mutex::new(Mood::Well)), seen: Arc::default() };
        let (state, behind, http) = (front.clone(), peer.url(), reqwest::Client::new());
        let app = axum::Router::new().fallback(move |request: axum::extract::Request| forward(state.clone(), behind.clone(), http.clone(), request));
        tokio::spawn(async move { axum::serve(listener, app).await });
        front
    }

    pub fn feels(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many requests had this in `METHOD path`.
    pub fn seen(&self, part: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }
}

async fn forward(front: Front, behind: String, http: reqwest::Client, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().to_string();
    front.seen.lock().unwrap().push(format!("{} {path}", parts.method));
    let mood = *front.mood.lock().unwrap();
    if mood == Mood::Busy {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response();
    }
    let mut headers = parts.headers;
    let ranged = headers.contains_key("range");
    headers.remove("host");
    let body = axum::body::to_bytes(body, 1 << 30).await.unwrap();
    let sent = http.request(parts.method.clone(), format!("{behind}{path}")).headers(headers).body(body).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    let mut bytes = answer.bytes().await.unwrap().to_vec();
    let blob = parts.method == reqwest::Method::GET && path.contains("/blobs/");
    if blob && mood == Mood::Lying && !bytes.is_empty() {
        bytes[0] ^= 1;
    }
    let broken = blob && mood == Mood::Breaking && !ranged && bytes.len() > 10;
    let pieces = if broken {
        vec![Ok(bytes::Bytes::copy_from_slice(&bytes[..bytes.len() / 2])), Err(std::io::Error::other("cut"))]
    } else {
        vec![Ok(bytes::Bytes::from(bytes))]
    };
    // The head and the first piece are out before the connection breaks.
    let paced = futures::StreamExt::then(futures::stream::iter(pieces), |piece: Result<bytes::Bytes, std::io::Error>| async {
        if piece.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        piece
    });
    *response.body_mut() = axum::body::Body::from_stream(paced);
    response
}
