//! The kinds of content the public conformance suite pushes, lists, reads, and deletes again: images, indexes, artifacts,
//! with and without subject, sparse, nested, empty, by tag, by digest, with tag parameters, in both algorithms.

use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::{OCI_INDEX, OCI_MANIFEST};
use gantry_testkit::clause;
use http::{Method, header};
use serde_json::{Value, json};

use crate::conformance::{Client, location, text};
use crate::image::{CONFIG, LAYER};
use crate::stage::code;

const REPO: &str = "acme/shop/conformance/one";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const EXAMPLE: &str = "application/vnd.example.oci.conformance.v1";

/// Content of one kind: blobs and manifests in the order of pushing, and what the manifests need.
struct Data {
    algorithm: Algorithm,
    blobs: Vec<Vec<u8>>,
    manifests: Vec<Value>,
}

impl Data {
    fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, blobs: Vec::new(), manifests: Vec::new() }
    }

    fn descriptor(&self, media_type: &str, bytes: &[u8]) -> Value {
        json!({ "mediaType": media_type, "digest": Digest::of(self.algorithm, bytes).as_str(), "size": bytes.len() })
    }

    fn blob(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let descriptor = self.descriptor(media_type, &bytes);
        if !self.blobs.contains(&bytes) {
            self.blobs.push(bytes);
        }
        descriptor
    }

    fn manifest(&mut self, value: Value) -> Value {
        let descriptor = self.descriptor(value["mediaType"].as_str().unwrap(), value.to_string().as_bytes());
        self.manifests.push(value);
        descriptor
    }

    fn image(&mut self, text: &str, more: Value) -> Value {
        let config = self
            .blob(CONFIG, json!({ "architecture": "amd64", "os": "linux", "created by": text, "rootfs": { "type": "layers", "diff_ids": [] } }).to_string());
        let layers: Vec<Value> = (0..2).map(|n| self.blob(LAYER, format!("layer {n} of {text}"))).collect();
        let mut image = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers });
        image.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.manifest(image)
    }

    fn artifact(&mut self, text: &str, more: Value) -> Value {
        let config = self.blob(EMPTY, "{}");
        let layer = self.blob(EXAMPLE, text);
        let mut artifact = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": EXAMPLE, "config": config, "layers": [layer],
            "annotations": { "org.opencontainers.conformance": text } });
        artifact.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.manifest(artifact)
    }

    fn index(&mut self, children: &[Value], more: Value) -> Value {
        let mut index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
        index.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.manifest(index)
    }
}

/// Pushes, lists, reads and deletes everything; `with_tags` also by tag parameters of the push by digest.
async fn walk(client: &Client, data: &Data, with_tags: bool) {
    for bytes in &data.blobs {
        let digest = Digest::of(data.algorithm, bytes);
        let pushed = client.send(Method::POST, &format!("/v2/{REPO}/blobs/uploads/?digest={digest}"), bytes.clone()).await;
        assert_eq!(pushed.status(), 201);
    }
    let mut digests = Vec::new();
    for (n, manifest) in data.manifests.iter().enumerate() {
        let (body, media_type) = (manifest.to_string(), manifest["mediaType"].as_str().unwrap());
        let digest = Digest::of(data.algorithm, body.as_bytes());
        let tag = format!("tag-{n}");
        let parameters = if with_tags { format!("?tag={tag}&tag={tag}-too") } else { String::new() };
        let mut ways = vec![format!("{digest}{parameters}")];
        if data.algorithm == Algorithm::Sha256 && !with_tags {
            ways.push(tag.clone());
        }
        for way in ways {
            let put = client.request(Method::PUT, &format!("/v2/{REPO}/manifests/{way}")).header(header::CONTENT_TYPE, media_type);
            let put = put.body(body.clone()).send().await.unwrap();
            assert_eq!(put.status(), 201, "{way}: {manifest}");
            assert_eq!(text(&put, "docker-content-digest"), digest.as_str());
            assert_eq!(text(&put, "oci-subject"), manifest["subject"]["digest"].as_str().unwrap_or_default());
            if with_tags {
                let tags: Vec<_> = put.headers().get_all("oci-tag").iter().map(|v| v.to_str().unwrap().to_owned()).collect();
                assert_eq!(tags, [tag.clone(), format!("{tag}-too")]);
            }
            let read = client.send(Method::GET, &location(&put), "").await;
            assert_eq!((read.status().as_u16(), text(&read, "content-type")), (200, media_type.to_owned()));
            assert_eq!(read.text().await.unwrap(), body);
        }
        digests.push((digest, tag));
    }
    let tagged = with_tags || data.algorithm == Algorithm::Sha256;
    for ((digest, tag), manifest) in digests.iter().zip(&data.manifests) {
        let references = if tagged { vec![digest.to_string(), tag.clone()] } else { vec![digest.to_string()] };
        for reference in references {
            let head = client.send(Method::HEAD, &format!("/v2/{REPO}/manifests/{reference}"), "").await;
            assert_eq!((head.status().as_u16(), text(&head, "docker-content-digest")), (200, digest.to_string()), "{reference}");
            assert_eq!(text(&head, "content-length"), manifest.to_string().len().to_string());
        }
    }
    if tagged {
        let list: Value = client.send(Method::GET, &format!("/v2/{REPO}/tags/list"), "").await.json().await.unwrap();
        let listed = list["tags"].as_array().unwrap();
        assert!(digests.iter().all(|(_, tag)| listed.contains(&json!(tag))), "{listed:?}");
        for (_, tag) in &digests {
            client.delete(&format!("/v2/{REPO}/manifests/{tag}")).await;
        }
    }
    for (digest, _) in digests.iter().rev() {
        client.delete(&format!("/v2/{REPO}/manifests/{digest}")).await;
    }
    for bytes in &data.blobs {
        client.delete(&format!("/v2/{REPO}/blobs/{}", Digest::of(data.algorithm, bytes))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_content_comes_and_goes() {
    clause("6.2.1.c");
    let client = Client::new().await;
    let empty: Value = client.send(Method::GET, &format!("/v2/{REPO}/referrers/{}", Digest::of(Algorithm::Sha256, b"x")), "").await.json().await.unwrap();
    assert_eq!(
        (empty["schemaVersion"].as_u64(), empty["mediaType"].as_str(), empty["manifests"].as_array().map(Vec::len)),
        (Some(2), Some(OCI_INDEX), Some(0))
    );

    for (algorithm, with_tags) in [(Algorithm::Sha256, false), (Algorithm::Sha256, true), (Algorithm::Sha512, false), (Algorithm::Sha512, true)] {
        let mut data = Data::new(algorithm);
        let one = data.image("one", json!({ "a field": "of nobody's specification" }));
        let mut arm = data.image("two", json!({ "annotations": { "large": "A".repeat(100_000) } }));
        arm["platform"] = json!({ "os": "linux", "architecture": "arm64" });
        let index = data.index(&[one.clone(), arm], json!({}));
        let other = data.index(std::slice::from_ref(&one), json!({ "artifactType": EXAMPLE }));
        data.index(&[index.clone(), other], json!({}));
        data.index(&[], json!({ "annotations": { "nothing": "here" } }));
        // A child that is nowhere: a sparse index.
        let absent = data.descriptor(OCI_MANIFEST, b"pushed by nobody");
        data.index(&[one, absent.clone()], json!({}));
        data.artifact("alone", json!({}));
        let plain = data.blob(EMPTY, "{}");
        data.manifest(json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": EXAMPLE, "config": plain, "layers": [plain] }));
        data.image("no layers", json!({ "layers": [] }));
        let mut inline = data.blob(LAYER, "in the descriptor");
        inline["data"] = "aW4gdGhlIGRlc2NyaXB0b3I=".into();
        data.image("data", json!({ "layers": [inline] }));
        let elsewhere: Vec<Value> = ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar"]
            .iter()
            .map(|media_type| {
                let mut descriptor = data.descriptor(media_type, media_type.as_bytes());
                descriptor["urls"] = json!(["https://store.example.com/x"]);
                descriptor
            })
            .collect();
        data.image("non-distributable", json!({ "layers": elsewhere }));
        data.artifact("about an index", json!({ "subject": index }));
        data.artifact("about nothing yet", json!({ "subject": absent }));
        walk(&client, &data, with_tags).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sparse_image_is_kept_and_its_layer_may_come_later_but_one_of_nothing_is_refused() {
    let client = Client::new().await;
    let mut data = Data::new(Algorithm::Sha256);
    data.image("sparse", json!({}));
    let late = data.blobs.pop().unwrap();
    let digest = Digest::of(Algorithm::Sha256, &late);
    let manifest = data.manifests[0].to_string();
    let put = || async {
        client.request(Method::PUT, &format!("/v2/{REPO}/manifests/v1")).header(header::CONTENT_TYPE, OCI_MANIFEST).body(manifest.clone()).send().await.unwrap()
    };
    assert_eq!(code(put().await).await, (400, "MANIFEST_BLOB_UNKNOWN".into()), "nothing of it is here");
    for bytes in &data.blobs {
        client.stage.upload(REPO, &client.token, bytes).await;
    }
    // The missing layer is another repository's: that must not make it readable here.
    client.stage.upload("acme/shop/conformance/two", &client.token, &late).await;
    let sparse = put().await;
    assert_eq!(sparse.status(), 201);
    assert!(text(&sparse, "warning").starts_with("299 - \"1 of the layers"), "{:?}", sparse.headers());
    let blob = format!("/v2/{REPO}/blobs/{digest}");
    assert_eq!(code(client.send(Method::GET, &blob, "").await).await, (404, "BLOB_UNKNOWN".into()));
    client.stage.upload(REPO, &client.token, &late).await;
    assert_eq!(client.send(Method::GET, &blob, "").await.bytes().await.unwrap(), late);
    assert_eq!(code(client.send(Method::DELETE, &blob, "").await).await, (405, "UNSUPPORTED".into()), "an image needs it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn referrers_are_filtered_and_paged_and_found_before_their_subject() {
    let client = Client::new().await;
    let mut data = Data::new(Algorithm::Sha256);
    let subject = data.image("subject", json!({}));
    let image = data.manifests.remove(0);
    for n in 0..5 {
        let kind = format!("{EXAMPLE}.{}", n % 2);
        data.artifact(&format!("artifact {n}"), json!({ "subject": subject, "artifactType": kind, "annotations": { "n": n.to_string() } }));
    }
    // The subject comes last.
    data.manifests.push(image);
    for bytes in &data.blobs {
        client.stage.upload(REPO, &client.token, bytes).await;
    }
    for (n, manifest) in data.manifests.iter().enumerate() {
        assert_eq!(client.stage.push(REPO, &format!("r{n}"), &client.token, manifest).await.status(), 201);
    }
    let base = format!("/v2/{REPO}/referrers/{}", subject["digest"].as_str().unwrap());
    let all: Value = client.send(Method::GET, &base, "").await.json().await.unwrap();
    let all = all["manifests"].as_array().unwrap().clone();
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|d| d["annotations"]["n"].is_string() && d["artifactType"].is_string() && d["size"].is_u64()));
    // Page by page, following `Link` only.
    let (mut next, mut seen) = (format!("{base}?n=2"), Vec::new());
    while !next.is_empty() {
        let page = client.send(Method::GET, &next, "").await;
        let link = text(&page, "link");
        next = link.strip_prefix('<').and_then(|l| l.split_once('>')).map(|(url, _)| url.to_owned()).unwrap_or_default();
        let page: Value = page.json().await.unwrap();
        assert!(page["manifests"].as_array().unwrap().len() <= 2);
        seen.extend(page["manifests"].as_array().unwrap().clone());
    }
    assert_eq!(seen, all);
    let filtered = client.send(Method::GET, &format!("{base}?artifactType={EXAMPLE}.1&n=1"), "").await;
    assert_eq!(text(&filtered, "oci-filters-applied"), "artifactType");
    assert!(text(&filtered, "link").contains("artifactType="));
    let none = client.send(Method::GET, &format!("{base}?artifactType=x/y"), "").await;
    assert_eq!(none.json::<Value>().await.unwrap()["manifests"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_malformed_gets_its_own_code() {
    let client = Client::new().await;
    client.stage.upload(REPO, &client.token, b"{}").await;
    let mut data = Data::new(Algorithm::Sha256);
    data.artifact("errors", json!({}));
    for bytes in &data.blobs {
        client.stage.upload(REPO, &client.token, bytes).await;
    }
    let body = data.manifests[0].to_string();
    assert_eq!(client.stage.push(REPO, "v1", &client.token, &data.manifests[0]).await.status(), 201);
    let put = |reference: &str, body: String| {
        client.request(Method::PUT, &format!("/v2/{REPO}/manifests/{reference}")).header(header::CONTENT_TYPE, OCI_MANIFEST).body(body).send()
    };
    let digest = Digest::of(Algorithm::Sha256, body.as_bytes());
    assert_eq!(code(put("sha256:baddigeststring", body.clone()).await.unwrap()).await, (400, "DIGEST_INVALID".into()));
    assert_eq!(code(put(digest.as_str(), format!("{body}  ")).await.unwrap()).await, (400, "DIGEST_INVALID".into()));
    let get = |path: String| client.send(Method::GET, path.leak(), "");
    for (reference, status, expected) in
        [("sha256:baddigeststring", 400, "DIGEST_INVALID"), ("missing", 404, "MANIFEST_UNKNOWN"), ("-odd", 400, "MANIFEST_INVALID")]
    {
        assert_eq!(code(get(format!("/v2/{REPO}/manifests/{reference}")).await).await, (status, expected.into()), "{reference}");
    }
    let absent = Digest::of(Algorithm::Sha512, b"absent");
    assert_eq!(code(get(format!("/v2/{REPO}/manifests/{absent}")).await).await, (404, "MANIFEST_UNKNOWN".into()));
    assert_eq!(code(get(format!("/v2/{REPO}/blobs/{absent}")).await).await, (404, "BLOB_UNKNOWN".into()));
    assert_eq!(code(get(format!("/v2/{REPO}/tags/list?n=x")).await).await, (400, "UNSUPPORTED".into()));
    let none: Value = get(format!("/v2/{REPO}/tags/list?n=0")).await.json().await.unwrap();
    assert_eq!(none["tags"], json!([]));
    assert_eq!(code(client.send(Method::POST, &format!("/v2/{REPO}/manifests/v1"), "").await).await, (405, "UNSUPPORTED".into()));
}
