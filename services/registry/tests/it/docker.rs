//! What the docker command does on the wire (its client library and `distribution`'s), request by request, over TLS and through the token
//! dance: ping, challenge, token, existence checks, mounts across repositories, chunked upload, manifest, list, and the pull of all that.

use gantry_kernel::Role;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use gantry_testkit::clause;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::image::{descriptor, layer};
use crate::stage::Stage;

/// The order in which docker asks for manifests.
const ACCEPT: [&str; 5] = ["application/vnd.docker.distribution.manifest.v1+prettyjws", DOCKER_MANIFEST, DOCKER_LIST, OCI_INDEX, OCI_MANIFEST];
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

struct Docker {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Docker {
    fn new(stage: &Stage) -> Self {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(stage.world.home.path().join("ca/ca.pem")).unwrap()).unwrap();
        let agent = "docker/24.0.7 go/go1.20.10 git-commit/311b9ff kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/24.0.7 \\(linux\\))";
        let http = reqwest::Client::builder().tls_certs_only([ca]).user_agent(agent).build().unwrap();
        Self { http, base: format!("https://{}", stage.registry), token: None }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("https://") { path.to_owned() } else { format!("{}{path}", self.base) };
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `docker login` and what every command does first: ping, read the challenge, fetch a token for these scopes.
    async fn sign_in(&mut self, user: Option<&str>, scopes: &[String]) -> StatusCode {
        self.token = None;
        let ping = self.request(Method::GET, "/v2/").send().await.unwrap();
        assert_eq!((ping.status().as_u16(), ping.headers()["docker-distribution-api-version"].to_str().unwrap()), (401, "registry/2.0"));
        let challenge = ping.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
        let part = |name: &str| challenge.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut query: Vec<(&str, String)> =
            vec![("account", user.unwrap_or_default().into()), ("client_id", "docker".into()), ("offline_token", "true".into())];
        query.push(("service", part("service")));
        query.extend(scopes.iter().map(|s| ("scope", s.clone())));
        let mut request = self.http.get(part("realm")).query(&query);
        if let Some(user) = user {
            request = request.basic_auth(user, Some("secret"));
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        if status.is_success() {
            let body: Value = answer.json().await.unwrap();
            self.token = Some(body["token"].as_str().or(body["access_token"].as_str()).unwrap().to_owned());
            assert!(body["expires_in"].as_u64().unwrap() >= 60);
        }
        status
    }

    async fn has(&self, repository: &str, digest: &str) -> bool {
        let answer = self.request(Method::HEAD, &format!("/v2/{repository}/blobs/{digest}")).send().await.unwrap();
        answer.status() == StatusCode::OK
    }

    /// POST, PATCH of the whole stream without a length, PUT with the digest.
    async fn upload(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = Digest::of(Algorithm::Sha256, bytes).to_string();
        let begun = self.request(Method::POST, &format!("/v2/{repository}/blobs/uploads/")).header(header::CONTENT_LENGTH, 0).send().await.unwrap();
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        assert!(begun.headers().contains_key("docker-upload-uuid"));
        let location = begun.headers()[header::LOCATION].to_str().unwrap().to_owned();
        let pieces: Vec<_> = bytes.chunks(7).map(|c| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(c))).collect();
        let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        let sent = self.request(Method::PATCH, &location).body(stream).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::ACCEPTED);
        assert_eq!(sent.headers()[header::RANGE].to_str().unwrap(), format!("0-{}", bytes.len() - 1));
        let location = sent.headers()[header::LOCATION].to_str().unwrap().to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let done = self
            .request(Method::PUT, &format!("{location}{separator}digest={}", digest.replace(':', "%3A")))
            .header(header::CONTENT_LENGTH, 0)
            .send()
            .await
            .unwrap();
        assert_eq!(done.status(), StatusCode::CREATED);
        assert_eq!(done.headers()["docker-content-digest"].to_str().unwrap(), digest);
        digest
    }

    async fn put(&self, repository: &str, reference: &str, manifest: &Value) -> String {
        let kind = manifest["mediaType"].as_str().unwrap().to_owned();
        let path = format!("/v2/{repository}/manifests/{reference}");
        let done = self.request(Method::PUT, &path).header(header::CONTENT_TYPE, kind).body(manifest.to_string()).send().await.unwrap();
        assert_eq!(done.status(), StatusCode::CREATED, "{}", done.text().await.unwrap());
        done.headers()["docker-content-digest"].to_str().unwrap().to_owned()
    }
}

fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_pushes_mounts_makes_a_list_and_pulls() {
    clause("6.2.1.c");
    let stage = Stage::new().await;
    stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    stage.user("eve", None).await;
    let mut docker = Docker::new(&stage);
    let (web, copy) = ("acme/shop/web", "acme/shop/copy");
    // docker login: no scope at all; a wrong user is refused by the token service.
    assert_eq!(docker.sign_in(Some("ada"), &[]).await, StatusCode::OK);
    assert_eq!(docker.request(Method::GET, "/v2/").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(docker.sign_in(Some("nobody"), &[]).await, StatusCode::UNAUTHORIZED);

    // docker push
    docker.sign_in(Some("ada"), &[scope(web, "pull,push")]).await;
    let content = layer(&[("hello", b"docker")]);
    let digest = Digest::of(Algorithm::Sha256, &content).to_string();
    assert!(!docker.has(web, &digest).await);
    docker.upload(web, &content).await;
    assert!(docker.has(web, &digest).await);
    let mut images = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config =
            json!({ "architecture": architecture, "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [] }, "container_config": {} })
                .to_string();
        docker.upload(web, config.as_bytes()).await;
        let manifest = json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": descriptor(CONFIG, config.as_bytes()), "layers": [descriptor(LAYER, &content)] });
        let tag = format!("v1-{architecture}");
        assert_eq!(docker.put(web, &tag, &manifest).await, Digest::of(Algorithm::Sha256, manifest.to_string().as_bytes()).to_string());
        images.push((manifest, architecture));
    }
    // docker manifest push
    let entries: Vec<Value> = images
        .iter()
        .map(|(manifest, architecture)| {
            let mut entry = descriptor(DOCKER_MANIFEST, manifest.to_string().as_bytes());
            entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
            entry
        })
        .collect();
    let list = json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries });
    let list_digest = docker.put(web, "v1", &list).await;

    // docker tag; docker push: layers are mounted from where they are known to be, with one token for both repositories.
    docker.sign_in(Some("ada"), &[scope(copy, "pull,push"), scope(web, "pull")]).await;
    let mount = docker.request(Method::POST, &format!("/v2/{copy}/blobs/uploads/?mount={}&from={web}", digest.replace(':', "%3A"))).send().await.unwrap();
    assert_eq!(mount.status(), StatusCode::CREATED);
    assert!(docker.has(copy, &digest).await);
    let unknown = format!("sha256%3A{}", "0".repeat(64));
    let fallback = docker.request(Method::POST, &format!("/v2/{copy}/blobs/uploads/?mount={unknown}&from={web}")).send().await.unwrap();
    assert_eq!(fallback.status(), StatusCode::ACCEPTED, "what cannot be mounted is uploaded");

    // docker pull: HEAD of the tag, GET by digest, the platform's manifest, config and layers.
    docker.sign_in(Some("ada"), &[scope(web, "pull")]).await;
    let asked = |method: Method, reference: &str| {
        let mut request = docker.request(method, &format!("/v2/{web}/manifests/{reference}"));
        for kind in ACCEPT {
            request = request.header(header::ACCEPT, kind);
        }
        request.send()
    };
    let head = asked(Method::HEAD, "v1").await.unwrap();
    assert_eq!(
        (head.headers()["docker-content-digest"].to_str().unwrap(), head.headers()[header::CONTENT_TYPE].to_str().unwrap()),
        (list_digest.as_str(), DOCKER_LIST)
    );
    assert_eq!(head.headers()[header::CONTENT_LENGTH].to_str().unwrap(), list.to_string().len().to_string());
    let got: Value = asked(Method::GET, &list_digest).await.unwrap().json().await.unwrap();
    let one = got["manifests"].as_array().unwrap().iter().find(|m| m["platform"]["architecture"] == "arm64").unwrap();
    let manifest: Value = asked(Method::GET, one["digest"].as_str().unwrap()).await.unwrap().json().await.unwrap();
    assert_eq!(manifest, images[1].0);
    for part in [&manifest["config"], &manifest["layers"][0]] {
        let path = format!("/v2/{web}/blobs/{}", part["digest"].as_str().unwrap());
        let bytes = docker.request(Method::GET, &path).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(Digest::of(Algorithm::Sha256, &bytes).to_string(), part["digest"].as_str().unwrap());
        // A pull that broke off goes on in the middle.
        let rest = docker.request(Method::GET, &path).header(header::RANGE, "bytes=5-").send().await.unwrap();
        assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(rest.bytes().await.unwrap(), bytes.slice(5..));
    }
    // An older docker that knows no lists still hears what it is, not something else under the same name.
    let old = docker.request(Method::GET, &format!("/v2/{web}/manifests/v1")).header(header::ACCEPT, DOCKER_MANIFEST).send().await.unwrap();
    assert!(matches!(old.status().as_u16(), 200 | 404));
    if old.status() == StatusCode::OK {
        assert_eq!(old.headers()[header::CONTENT_TYPE].to_str().unwrap(), DOCKER_LIST);
    }
    // Somebody without rights gets a token, as the token specification has it, and nothing for it.
    assert_eq!(docker.sign_in(Some("eve"), &[scope(web, "pull")]).await, StatusCode::OK);
    let refused = docker.request(Method::HEAD, &format!("/v2/{web}/manifests/v1")).send().await.unwrap();
    assert!(matches!(refused.status().as_u16(), 401 | 403 | 404));
}

impl Docker {
    /// As ORAS and Helm push a blob: is it there, else one POST and one PUT of the whole.
    async fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = Digest::of(Algorithm::Sha256, bytes).to_string();
        if self.has(repository, &digest).await {
            return digest;
        }
        let begun = self.request(Method::POST, &format!("/v2/{repository}/blobs/uploads/")).send().await.unwrap();
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let location = begun.headers()[header::LOCATION].to_str().unwrap().to_owned();
        let request = self.request(Method::PUT, &location).query(&[("digest", &digest)]).header(header::CONTENT_TYPE, "application/octet-stream");
        let done = request.body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(done.status(), StatusCode::CREATED);
        digest
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oras_pushes_attaches_discovers_and_pulls_and_helm_keeps_charts() {
    clause("6.2.1.c");
    let stage = Stage::new().await;
    stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let mut client = Docker::new(&stage);
    let repository = "acme/shop/models/small";
    client.sign_in(Some("ada"), &[scope(repository, "pull,push")]).await;

    // oras push: the empty config, files with titles, an artifact type.
    let (file, empty) = (b"weights".to_vec(), b"{}".to_vec());
    for bytes in [&file, &empty] {
        client.put_blob(repository, bytes).await;
        client.put_blob(repository, bytes).await;
    }
    let mut titled = descriptor("application/octet-stream", &file);
    titled["annotations"] = json!({ "org.opencontainers.image.title": "model.bin" });
    let model = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.acme.model", "layers": [titled],
        "config": descriptor("application/vnd.oci.empty.v1+json", &empty), "annotations": { "org.opencontainers.image.created": "2026-01-01T00:00:00Z" },
    });
    let digest = client.put(repository, "v1", &model).await;
    // oras attach: a manifest about it, by digest; the registry says that it keeps the list itself.
    for (kind, text) in [("application/vnd.acme.card", "a card"), ("application/vnd.acme.licence", "a licence")] {
        client.put_blob(repository, text.as_bytes()).await;
        let about = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": descriptor("application/vnd.oci.empty.v1+json", &empty),
            "layers": [descriptor("text/plain", text.as_bytes())], "subject": descriptor(OCI_MANIFEST, model.to_string().as_bytes()),
        });
        let at = Digest::of(Algorithm::Sha256, about.to_string().as_bytes());
        let path = format!("/v2/{repository}/manifests/{at}");
        let done = client.request(Method::PUT, &path).header(header::CONTENT_TYPE, OCI_MANIFEST).body(about.to_string()).send().await.unwrap();
        assert_eq!((done.status(), done.headers()["oci-subject"].to_str().unwrap()), (StatusCode::CREATED, digest.as_str()));
    }
    // oras discover
    let discover = |query: &str| client.request(Method::GET, &format!("/v2/{repository}/referrers/{digest}{query}")).send();
    let all = discover("").await.unwrap();
    assert_eq!(all.headers()[header::CONTENT_TYPE].to_str().unwrap(), OCI_INDEX);
    assert_eq!(all.json::<Value>().await.unwrap()["manifests"].as_array().unwrap().len(), 2);
    let one = discover("?artifactType=application%2Fvnd.acme.card").await.unwrap();
    assert_eq!(one.headers()["oci-filters-applied"].to_str().unwrap(), "artifactType");
    let one: Value = one.json().await.unwrap();
    assert_eq!((one["manifests"].as_array().unwrap().len(), &one["manifests"][0]["artifactType"]), (1, &json!("application/vnd.acme.card")));
    // oras pull
    let head = client.request(Method::HEAD, &format!("/v2/{repository}/manifests/v1")).header(header::ACCEPT, OCI_MANIFEST).send().await.unwrap();
    assert_eq!(head.headers()["docker-content-digest"].to_str().unwrap(), digest);
    let got: Value = client.request(Method::GET, &format!("/v2/{repository}/manifests/{digest}")).send().await.unwrap().json().await.unwrap();
    let blob = client.request(Method::GET, &format!("/v2/{repository}/blobs/{}", got["layers"][0]["digest"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(blob.bytes().await.unwrap(), file);

    // helm push and pull: `+` of a version becomes `_` in the tag; the newest version is chosen from the list of tags.
    let charts = "acme/shop/charts/web";
    client.sign_in(Some("ada"), &[scope(charts, "pull,push")]).await;
    let (config, chart) = (json!({ "name": "web", "version": "1.2.0+build.1", "apiVersion": "v2" }).to_string(), layer(&[("web/Chart.yaml", b"name: web")]));
    for bytes in [config.as_bytes(), &chart] {
        client.put_blob(charts, bytes).await;
    }
    let manifest = json!({
        "schemaVersion": 2, "config": descriptor("application/vnd.cncf.helm.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &chart)],
        "annotations": { "org.opencontainers.image.title": "web", "org.opencontainers.image.version": "1.2.0+build.1" },
    });
    let path = format!("/v2/{charts}/manifests/1.2.0_build.1");
    let done = client.request(Method::PUT, &path).header(header::CONTENT_TYPE, OCI_MANIFEST).body(manifest.to_string()).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::CREATED);
    let tags: Value = client.request(Method::GET, &format!("/v2/{charts}/tags/list")).send().await.unwrap().json().await.unwrap();
    assert_eq!(tags["tags"], json!(["1.2.0_build.1"]));
    let got = client.request(Method::GET, &path).header(header::ACCEPT, format!("{OCI_MANIFEST}, {OCI_INDEX}, */*")).send().await.unwrap();
    assert_eq!(got.headers()[header::CONTENT_TYPE].to_str().unwrap(), OCI_MANIFEST);
    assert_eq!(got.text().await.unwrap(), manifest.to_string());
}
