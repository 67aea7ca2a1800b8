//! What the public conformance suite of the distribution specification asks of a registry, walked in the same order: the
//! client only follows `Location`, as the suite does. Every way of pushing a blob, with both digest algorithms.

use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_testkit::clause;
use http::{Method, header};
use reqwest::Response;

use crate::stage::{Stage, code};
use gantry_kernel::Role;

const ONE: &str = "acme/shop/conformance/one";
const TWO: &str = "acme/shop/conformance/two";

pub struct Client {
    pub stage: Stage,
    pub token: String,
}

impl Client {
    pub async fn new() -> Self {
        let stage = Stage::new().await;
        let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
        let all: &[&str] = &["pull", "push", "delete"];
        let token = stage.token(&format!("user:{user}"), &[("repository", ONE, all), ("repository", TWO, all)]);
        Self { stage, token }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.stage.request(method, path, &self.token)
    }

    pub async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Response {
        self.request(method, path).body(body).send().await.unwrap()
    }

    async fn chunk(&self, method: Method, path: &str, all: &[u8], first: usize, end: usize) -> Response {
        let range = format!("{first}-{}", end - 1);
        self.request(method, path).header(header::CONTENT_RANGE, range).body(all[first..end].to_vec()).send().await.unwrap()
    }

    async fn start(&self, repository: &str) -> String {
        let begun = self.send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), "").await;
        assert_eq!(begun.status(), 202);
        location(&begun)
    }

    /// The blob can be read whole, its head says the same, and it is gone at once after its deletion.
    async fn is_there_then_gone(&self, repository: &str, digest: &Digest, bytes: &[u8]) {
        let path = format!("/v2/{repository}/blobs/{digest}");
        for method in [Method::HEAD, Method::GET] {
            let read = self.send(method.clone(), &path, "").await;
            assert_eq!(read.status(), 200, "{method} {path}");
            assert_eq!(text(&read, "docker-content-digest"), digest.as_str());
            assert_eq!(text(&read, "content-length"), bytes.len().to_string());
            if method == Method::GET {
                assert_eq!(read.bytes().await.unwrap(), bytes);
            }
        }
        self.delete(&path).await;
    }

    pub async fn delete(&self, path: &str) {
        assert_eq!(self.send(Method::DELETE, path, "").await.status(), 202, "{path}");
        assert_eq!(self.send(Method::HEAD, path, "").await.status(), 404, "{path}: at once");
    }
}

pub fn text(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
}

pub fn location(response: &Response) -> String {
    text(response, "location")
}

fn noise(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(2_654_435_761).rotate_left(u32::from(seed)) as u8).collect()
}

fn with(location: &str, digest: &Digest) -> String {
    format!("{location}?digest={digest}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_pushed_in_every_way_of_the_specification() {
    clause("6.2.1.c");
    let client = Client::new().await;
    for (seed, algorithm) in [(1, Algorithm::Sha256), (2, Algorithm::Sha512)] {
        let all = noise(seed, 3 * 1024 - 5);
        let digest = Digest::of(algorithm, &all);
        let uploads = format!("/v2/{ONE}/blobs/uploads/");
        assert_eq!(code(client.send(Method::GET, &format!("/v2/{ONE}/blobs/{digest}"), "").await).await, (404, "BLOB_UNKNOWN".into()));
        let created = |response: &Response| {
            assert_eq!((response.status().as_u16(), text(response, "docker-content-digest")), (201, digest.to_string()));
            assert_eq!(location(response), format!("/v2/{ONE}/blobs/{digest}"));
        };

        // In the POST alone.
        created(&client.send(Method::POST, &with(&uploads, &digest), all.clone()).await);
        client.is_there_then_gone(ONE, &digest, &all).await;
        // POST, then all in the PUT.
        let at = client.start(ONE).await;
        created(&client.send(Method::PUT, &with(&at, &digest), all.clone()).await);
        client.is_there_then_gone(ONE, &digest, &all).await;
        // Streamed: a PATCH without a range and without a length.
        let at = client.start(ONE).await;
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> = all.chunks(700).map(|c| Ok(c.to_vec())).collect();
        let streamed = client.send(Method::PATCH, &at, reqwest::Body::wrap_stream(futures::stream::iter(pieces))).await;
        assert_eq!((streamed.status().as_u16(), text(&streamed, "range")), (202, format!("0-{}", all.len() - 1)));
        created(&client.send(Method::PUT, &with(&location(&streamed), &digest), "").await);
        client.is_there_then_gone(ONE, &digest, &all).await;

        // In chunks; the last one in a PATCH or in the PUT; each time one out of order before.
        for last_in_put in [false, true] {
            let mut at = client.start(ONE).await;
            for first in (0..all.len()).step_by(1024) {
                let end = (first + 1024).min(all.len());
                let ahead = if end + 10 < all.len() { end } else { 0 };
                if ahead != first {
                    let wrong = client.chunk(Method::PATCH, &at, &all, ahead, ahead + 10).await;
                    assert_eq!(location(&wrong), at);
                    assert_eq!(text(&wrong, "range"), format!("0-{}", first.saturating_sub(1)));
                    assert_eq!(code(wrong).await, (416, "BLOB_UPLOAD_INVALID".into()));
                }
                let stands = client.send(Method::GET, &at, "").await;
                assert_eq!((stands.status().as_u16(), text(&stands, "range")), (204, format!("0-{}", first.saturating_sub(1))));
                at = location(&stands);
                if last_in_put && end == all.len() {
                    created(&client.chunk(Method::PUT, &with(&at, &digest), &all, first, end).await);
                } else {
                    let taken = client.chunk(Method::PATCH, &at, &all, first, end).await;
                    assert_eq!(taken.status(), 202);
                    at = location(&taken);
                }
            }
            if !last_in_put {
                created(&client.send(Method::PUT, &with(&at, &digest), "").await);
            }
            client.is_there_then_gone(ONE, &digest, &all).await;
        }

        // Cancelled.
        let at = client.start(ONE).await;
        assert_eq!(client.send(Method::DELETE, &at, "").await.status(), 204);
        assert_eq!(code(client.send(Method::GET, &at, "").await).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));

        // Nothing, and the smallest JSON.
        for bytes in [&b""[..], b"{}"] {
            let digest = Digest::of(algorithm, bytes);
            let at = client.start(ONE).await;
            assert_eq!(client.send(Method::PUT, &with(&at, &digest), bytes.to_vec()).await.status(), 201);
            client.is_there_then_gone(ONE, &digest, bytes).await;
        }

        // Other bytes than the digest says, in each way.
        let other = [&all[..], b"oh no"].concat();
        let refused = |response: Response| async move { assert_eq!(code(response).await, (400, "DIGEST_INVALID".into())) };
        refused(client.send(Method::POST, &with(&uploads, &digest), other.clone()).await).await;
        let at = client.start(ONE).await;
        refused(client.send(Method::PUT, &with(&at, &digest), other.clone()).await).await;
        let at = client.start(ONE).await;
        let at = location(&client.chunk(Method::PATCH, &at, &other, 0, other.len()).await);
        refused(client.send(Method::PUT, &with(&at, &digest), "").await).await;
        assert_eq!(client.send(Method::HEAD, &format!("/v2/{ONE}/blobs/{digest}"), "").await.status(), 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_mounted_with_and_without_its_source_and_ranges_are_exact() {
    let client = Client::new().await;
    for (seed, algorithm) in [(3, Algorithm::Sha256), (4, Algorithm::Sha512)] {
        let bytes = noise(seed, 2048);
        let digest = Digest::of(algorithm, &bytes);
        for from in [format!("&from={TWO}"), String::new()] {
            let mount = format!("/v2/{ONE}/blobs/uploads/?mount={digest}{from}");
            let missing = client.send(Method::POST, &mount, "").await;
            assert_eq!(missing.status(), 202, "nothing to mount: an upload begins");
            assert_eq!(client.send(Method::DELETE, &location(&missing), "").await.status(), 204);
            let at = client.start(TWO).await;
            assert_eq!(client.send(Method::PUT, &with(&at, &digest), bytes.clone()).await.status(), 201);
            let mounted = client.send(Method::POST, &mount, "").await;
            assert_eq!((mounted.status().as_u16(), text(&mounted, "docker-content-digest")), (201, digest.to_string()), "{mount}");
            assert_eq!(client.send(Method::GET, &location(&mounted), "").await.bytes().await.unwrap(), bytes);

            let path = format!("/v2/{ONE}/blobs/{digest}");
            for (range, part) in [("500-1499", 500..1500), ("500-", 500..2048), ("-500", 1548..2048), ("2000-5000", 2000..2048)] {
                let read = client.request(Method::GET, &path).header(header::RANGE, format!("bytes={range}")).send().await.unwrap();
                assert_eq!(read.status(), 206, "{range}");
                assert_eq!(text(&read, "content-range"), format!("bytes {}-{}/2048", part.start, part.end - 1));
                assert_eq!(text(&read, "content-length"), part.len().to_string());
                assert_eq!(read.bytes().await.unwrap(), bytes[part]);
            }
            for range in ["500-0", "5000-10000", "2048-"] {
                let read = client.request(Method::GET, &path).header(header::RANGE, format!("bytes={range}")).send().await.unwrap();
                assert_eq!(read.status(), 416, "{range}");
            }
            client.is_there_then_gone(ONE, &digest, &bytes).await;
            client.is_there_then_gone(TWO, &digest, &bytes).await;
        }
    }
}
