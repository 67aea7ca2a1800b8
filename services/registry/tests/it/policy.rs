//! Policies at pull and at deployment: findings, signatures of every form, provenance, licences; each refusal says why.

use std::time::Duration;

use gantry_kernel::{Role, UserId};
use gantry_registry::Config;
use gantry_registry::domain::manifest::OCI_INDEX;
use gantry_testkit::clause;
use http::Method;
use serde_json::{Value, json};

use crate::image::{Image, descriptor, layer};
use crate::signing::{Artifact, Notary, Signer, attach};
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";
const BASE: &str = "/api/v1/orgs/acme/projects/shop/registry";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

struct Scene {
    stage: Stage,
    ada: UserId,
    access: String,
    /// May push.
    full: String,
    /// May only pull.
    pull: String,
}

impl Scene {
    async fn new(config: Config) -> Self {
        let stage = Stage::with(config).await;
        let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
        let (access, full) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
        let pull = stage.token(&format!("user:{ada}"), &[("repository", REPO, &["pull"])]);
        Self { stage, ada, access, full, pull }
    }

    async fn put(&self, path: &str, body: Value) {
        let (status, answer) = self.stage.world.call(&self.stage.host, Method::PUT, &format!("{BASE}/{path}"), Some(&self.access), Some(&body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Status and message of a pull with a token.
    async fn pull_with(&self, reference: &str, token: &str) -> (u16, String) {
        let answer = self.stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{reference}"), token).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["errors"][0]["message"].as_str().unwrap_or_default().to_owned())
    }

    async fn pull(&self, reference: &str) -> (u16, String) {
        self.pull_with(reference, &self.pull).await
    }

    /// What the scheduler hears.
    async fn resolve(&self, reference: &str) -> Result<String, tonic::Status> {
        crate::manifests::resolve(&self.stage, "scheduler", &format!("{}/{REPO}:{reference}", self.stage.registry)).await.map(|r| r.digest)
    }

    async fn trust(&self, digest: &str) -> Value {
        let path = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}/signatures");
        let (status, trust) = self.stage.world.call(&self.stage.host, Method::GET, &path, Some(&self.access), None).await;
        assert_eq!(status, 200, "{trust}");
        trust
    }

    async fn simple(&self, signer: &Signer, digest: &str, manifest: &Value, tag_form: bool) {
        let (payload, signature) = signer.simple(digest);
        let artifact = Artifact {
            artifact_type: (!tag_form).then_some("application/vnd.dev.cosign.artifact.sig.v1+json"),
            layer_type: SIMPLE,
            content: &payload,
            annotations: json!({ "dev.cosignproject.cosign/signature": signature }),
            subject: (!tag_form).then(|| descriptor(MANIFEST, manifest.to_string().as_bytes())),
        };
        let tag = format!("{}.sig", digest.replace(':', "-"));
        attach(&self.stage, REPO, &self.full, tag_form.then_some(tag.as_str()), artifact).await;
    }

    async fn refer(&self, manifest: &Value, artifact_type: &str, layer_type: &str, content: &[u8]) {
        let subject = Some(descriptor(MANIFEST, manifest.to_string().as_bytes()));
        let artifact = Artifact { artifact_type: Some(artifact_type), layer_type, content, annotations: json!({}), subject };
        attach(&self.stage, REPO, &self.full, None, artifact).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_signed_images_are_pulled_and_deployed_when_a_policy_says_so() {
    clause("7.4.1.k");
    clause("7.4.2.b");
    let scene = Scene::new(Config::default()).await;
    let (release, stranger) = (Signer::new(), Signer::new());
    scene.put("keys/release", json!({ "pem": release.pem() })).await;
    scene.put("policies/signed", json!({ "signed_by": ["release"] })).await;
    for (n, tag_form) in [true, false].into_iter().enumerate() {
        let image = Image::simple(&format!("signed {n}"));
        let tag = format!("v{n}");
        let digest = image.push(&scene.stage, REPO, &tag, &scene.full).await;
        let (status, why) = scene.pull(&tag).await;
        assert_eq!(status, 403);
        assert!(why.contains("policy `signed`: no valid signature by release"), "{why}");
        let refused = scene.resolve(&tag).await.unwrap_err();
        assert!(refused.message().contains("no valid signature by release"), "{refused:?}");
        // Who may push may sign, so may also read.
        assert_eq!(scene.pull_with(&tag, &scene.full).await.0, 200);
        // Nobody's key, and the right key on another image, do not count.
        scene.simple(&stranger, &digest, &image.manifest, tag_form).await;
        assert_eq!(scene.pull(&tag).await.0, 403);
        let other = format!("sha256:{}", "a".repeat(64));
        let (payload, signature) = release.simple(&other);
        let artifact = Artifact {
            artifact_type: Some("application/vnd.dev.cosign.artifact.sig.v1+json"),
            layer_type: SIMPLE,
            content: &payload,
            annotations: json!({ "dev.cosignproject.cosign/signature": signature }),
            subject: Some(descriptor(MANIFEST, image.manifest.to_string().as_bytes())),
        };
        attach(&scene.stage, REPO, &scene.full, None, artifact).await;
        assert_eq!(scene.pull(&tag).await.0, 403);
        scene.simple(&release, &digest, &image.manifest, tag_form).await;
        assert_eq!(scene.pull(&tag).await, (200, String::new()));
        assert_eq!(scene.resolve(&tag).await.unwrap(), digest);
        let trust = scene.trust(&digest).await;
        assert!(trust["signatures"].as_array().unwrap().iter().any(|s| s["valid"] == true && s["key"] == "release"), "{trust}");
        assert!(trust["signatures"].as_array().unwrap().iter().any(|s| s["fault"].as_str().unwrap_or_default().contains("another image")), "{trust}");
        // The signature itself stays readable: clients must be able to check it themselves.
        if tag_form {
            assert_eq!(scene.pull(&format!("{}.sig", digest.replace(':', "-"))).await.0, 200);
        }
    }
    // A key that a policy needs cannot go; without policy everything is handed out again.
    let (status, problem) = scene.stage.world.call(&scene.stage.host, Method::DELETE, &format!("{BASE}/keys/release"), Some(&scene.access), None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("registry.key_in_use")));
    Image::simple("unsigned").push(&scene.stage, REPO, "plain", &scene.full).await;
    assert_eq!(scene.pull("plain").await.0, 403);
    let (status, _) = scene.stage.world.call(&scene.stage.host, Method::DELETE, &format!("{BASE}/policies/signed"), Some(&scene.access), None).await;
    assert_eq!(status, 200);
    assert_eq!(scene.pull("plain").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_from_when_its_owner_could_push_opens_nothing_that_a_policy_closes() {
    let scene = Scene::new(Config::default()).await;
    scene.put("keys/release", json!({ "pem": Signer::new().pem() })).await;
    scene.put("policies/signed", json!({ "signed_by": ["release"] })).await;
    Image::simple("unsigned").push(&scene.stage, REPO, "v1", &scene.full).await;
    let (world, shop) = (&scene.stage.world, scene.stage.shop.scope());
    let subject = format!("user:{}", world.user());
    let editor = world.identity.grant(&subject, Role::Editor, shop).await;
    world.identity.settle(&scene.stage.host).await;
    let held = scene.stage.token(&subject, &[("repository", REPO, &["pull", "push"])]);
    assert_eq!(scene.pull_with("v1", &held).await.0, 200, "who may push may sign");
    world.identity.grant(&subject, Role::Viewer, shop).await;
    world.identity.revoke(editor, &subject, Role::Editor, shop).await;
    world.identity.settle(&scene.stage.host).await;
    assert_eq!(scene.pull_with("v1", &held).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_looks_like_something_else_is_bound_all_the_same() {
    let scene = Scene::new(Config::default()).await;
    scene.put("keys/release", json!({ "pem": Signer::new().pem() })).await;
    scene.put("policies/signed", json!({ "signed_by": ["release"] })).await;
    let image = Image::simple("in disguise");
    image.upload(&scene.stage, REPO, &scene.full).await;
    scene.stage.upload(REPO, &scene.full, b"a note").await;
    let mut about = image.manifest.clone();
    about["subject"] = descriptor(MANIFEST, b"nothing that is here");
    about["artifactType"] = "application/vnd.acme.note".into();
    let mut beside = image.manifest.clone();
    beside["layers"].as_array_mut().unwrap().push(descriptor("application/vnd.acme.note", b"a note"));
    let mut vague = image.manifest.clone();
    vague["config"]["mediaType"] = "application/octet-stream".into();
    for (tag, manifest) in [("about", about), ("beside", beside), ("vague", vague)] {
        assert_eq!(scene.stage.push(REPO, tag, &scene.full, &manifest).await.status(), 201);
        assert_eq!(scene.pull(tag).await.0, 403, "{tag}: a runtime would start it");
        assert!(scene.resolve(tag).await.unwrap_err().message().contains("no valid signature"), "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_read_was_not_scanned_unless_the_project_accepts_that() {
    let scene = Scene::new(Config::default()).await;
    scene.put("policies/scanned", json!({ "must_be_scanned": true })).await;
    let mut broken = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut broken, b"no archive").unwrap();
    Image::of(vec![layer(&[("a", b"whole")]), broken.finish().unwrap()], "amd64").push(&scene.stage, REPO, "broken", &scene.full).await;
    let why = || async { scene.pull("broken").await.1.contains("could not be scanned") };
    scene.stage.world.until("it is scanned and refused", Duration::from_secs(60), why).await;
    assert!(scene.resolve("broken").await.unwrap_err().message().contains("GANTRY-UNREAD"));
    scene.put("allowances/GANTRY-UNREAD", json!({ "reason": "nothing runs from it" })).await;
    assert_eq!(scene.pull("broken").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_indexes_is_as_good_as_the_images_in_it_and_licences_are_told() {
    let scene = Scene::new(Config::default()).await;
    scene.put("policies/scanned", json!({ "must_be_scanned": true })).await;
    let package = br#"{"name":"left","version":"1.0.0","license":"AGPL-3.0-only"}"#;
    let image = Image::of(vec![layer(&[("app/node_modules/left/package.json", package)])], "amd64");
    image.push(&scene.stage, REPO, "one", &scene.full).await;
    let inner = crate::cached::index(&[(&image, "amd64")]);
    assert_eq!(scene.stage.push(REPO, "inner", &scene.full, &inner).await.status(), 201);
    let outer = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_INDEX, inner.to_string().as_bytes())] });
    assert_eq!(scene.stage.push(REPO, "outer", &scene.full, &outer).await.status(), 201);
    scene.stage.world.until("it is scanned", Duration::from_secs(60), || async { scene.pull("outer").await.0 == 200 }).await;
    assert!(scene.resolve("outer").await.is_ok());
    scene.put("policies/free", json!({ "denied_licences": ["AGPL-*"] })).await;
    for tag in ["one", "inner", "outer"] {
        let (status, why) = scene.pull(tag).await;
        assert!(status == 403 && why.contains("package left has the licence AGPL-3.0-only"), "{tag}: {status} {why}");
        assert!(scene.resolve(tag).await.unwrap_err().message().contains("AGPL-3.0-only"), "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_index_vouches_for_its_images() {
    let scene = Scene::new(Config::default()).await;
    let release = Signer::new();
    scene.put("keys/release", json!({ "pem": release.pem() })).await;
    scene.put("policies/signed", json!({ "signed_by": ["*"] })).await;
    let child = Image::simple("child");
    let digest = child.push(&scene.stage, REPO, "child", &scene.full).await;
    let mut entry = descriptor(MANIFEST, child.manifest.to_string().as_bytes());
    entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry] });
    assert_eq!(scene.stage.push(REPO, "multi", &scene.full, &index).await.status(), 201);
    assert_eq!((scene.pull("multi").await.0, scene.pull(&digest).await.0), (403, 403));
    let parent = gantry_registry::domain::digest::Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, index.to_string().as_bytes());
    scene.simple(&release, parent.as_str(), &index, true).await;
    assert_eq!((scene.pull("multi").await.0, scene.pull(&digest).await.0), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notation_signatures_count_by_their_chain_and_subject() {
    let scene = Scene::new(Config::default()).await;
    let (notary, stranger) = (Notary::new("build"), Notary::new("build"));
    scene.put("keys/notary", json!({ "pem": notary.root, "subject": ["O=acme", "CN=build"] })).await;
    scene.put("policies/signed", json!({ "signed_by": ["notary"] })).await;
    let artifact = "application/vnd.cncf.notary.signature";
    for (n, (layer_type, sign)) in [
        ("application/jose+json", (|n: &Notary, d: &str| n.jws(d, None)) as fn(&Notary, &str) -> Vec<u8>),
        ("application/cose", |n: &Notary, d: &str| n.cose(d)),
    ]
    .into_iter()
    .enumerate()
    {
        let image = Image::simple(&format!("notation {n}"));
        let tag = format!("n{n}");
        let digest = image.push(&scene.stage, REPO, &tag, &scene.full).await;
        scene.refer(&image.manifest, artifact, layer_type, &sign(&stranger, &digest)).await;
        scene.refer(&image.manifest, artifact, layer_type, &sign(&notary, &format!("sha256:{}", "b".repeat(64)))).await;
        assert_eq!(scene.pull(&tag).await.0, 403, "{layer_type}");
        scene.refer(&image.manifest, artifact, layer_type, &sign(&notary, &digest)).await;
        let trust = scene.trust(&digest).await;
        assert_eq!(scene.pull(&tag).await.0, 200, "{layer_type} {trust}");
        let good = trust["signatures"].as_array().unwrap().iter().find(|s| s["valid"] == true).unwrap().clone();
        assert!(good["signer"].as_str().unwrap().contains("CN=build"), "{good}");
    }
    // An expired one, and one by somebody else below the same root, are told apart.
    let image = Image::simple("expired");
    let digest = image.push(&scene.stage, REPO, "expired", &scene.full).await;
    scene.refer(&image.manifest, artifact, "application/jose+json", &notary.jws(&digest, Some("2026-01-02T00:00:00Z"))).await;
    assert!(scene.trust(&digest).await["signatures"][0]["fault"].as_str().unwrap().contains("expired"));
    scene.put("keys/notary", json!({ "pem": notary.root, "subject": ["CN=release"] })).await;
    assert_eq!(scene.pull("n0").await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provenance_is_shown_checked_and_required() {
    let scene = Scene::new(Config::default()).await;
    let (builder, stranger) = (Signer::new(), Signer::new());
    scene.put("keys/ci", json!({ "pem": builder.pem() })).await;
    let image = Image::simple("built");
    let digest = image.push(&scene.stage, REPO, "v1", &scene.full).await;
    let predicate = json!({
        "buildDefinition": { "resolvedDependencies": [{ "uri": "git+https://git/acme/web@main" }] }, "runDetails": { "builder": { "id": "https://gantry/ci/acme" } },
    });
    let envelope = |signer: &Signer| signer.envelope(&digest, "https://slsa.dev/provenance/v1", &predicate).to_string().into_bytes();
    scene.put("policies/built", json!({ "provenance_level": 2 })).await;
    assert!(scene.pull("v1").await.1.contains("no provenance is attached"));
    scene.refer(&image.manifest, "application/vnd.in-toto+json", "application/vnd.dsse.envelope.v1+json", &envelope(&stranger)).await;
    assert!(scene.pull("v1").await.1.contains("worth level 1"));
    // As a Sigstore bundle, as newer clients attach it.
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": { "publicKey": { "hint": "" } },
        "dsseEnvelope": builder.envelope(&digest, "https://slsa.dev/provenance/v1", &predicate),
    });
    let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
    scene.refer(&image.manifest, kind, kind, bundle.to_string().as_bytes()).await;
    assert_eq!(scene.pull("v1").await.0, 200);
    scene.put("policies/built", json!({ "provenance_level": 3, "builders": ["https://other/*"] })).await;
    assert!(scene.pull("v1").await.1.contains("worth level 2"));
    scene.put("policies/built", json!({ "provenance_level": 3, "builders": ["https://gantry/ci/*"] })).await;
    assert_eq!(scene.pull("v1").await.0, 200);
    let trust = scene.trust(&digest).await;
    assert_eq!(trust["provenance_level"], 3);
    let shown = trust["signatures"].as_array().unwrap().iter().find(|s| s["valid"] == true).unwrap().clone();
    assert_eq!((&shown["builder"], &shown["materials"][0]), (&json!("https://gantry/ci/acme"), &json!("git+https://git/acme/web@main")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_attestation_of_another_project_says_is_not_shown() {
    let scene = Scene::new(Config::default()).await;
    let image = Image::simple("attested");
    let digest = image.push(&scene.stage, REPO, "v1", &scene.full).await;
    let eve = scene.stage.user("eve", Some((Role::Admin, scene.stage.open.scope()))).await;
    let kind = "application/vnd.dsse.envelope.v1+json";
    let theirs = Signer::new().envelope(&digest, "https://acme.example/secret", &json!({})).to_string().into_bytes();
    scene.stage.upload("acme/open/secret", &scene.stage.full(eve, "acme/open/secret"), &theirs).await;
    let (config, own) = (b"{}".to_vec(), b"own".to_vec());
    for blob in [&config, &own] {
        scene.stage.upload(REPO, &scene.full, blob).await;
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.in-toto+json", "subject": descriptor(MANIFEST, image.manifest.to_string().as_bytes()),
        "config": descriptor("application/vnd.oci.empty.v1+json", &config), "layers": [descriptor("text/plain", &own), descriptor(kind, &theirs)],
    });
    assert_eq!(scene.stage.push(REPO, "about", &scene.full, &manifest).await.status(), 201);
    let trust = scene.trust(&digest).await;
    assert!(trust["signatures"][0]["fault"].as_str().unwrap().contains("not here"), "{trust}");
    assert!(!trust.to_string().contains("acme.example"), "{trust}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_block_a_pull_until_they_are_accepted_or_repaired() {
    clause("7.4.2.a");
    let folder = tempfile::tempdir().unwrap();
    let advisory = json!({
        "id": "DSA-9", "aliases": ["CVE-2026-9"], "severity": [{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }],
        "affected": [{ "package": { "ecosystem": "Debian:12", "name": "bash" }, "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "6" }] }] }],
    });
    std::fs::write(folder.path().join("one.json"), advisory.to_string()).unwrap();
    let scene = Scene::new(Config { advisories: folder.path().to_owned(), advisories_interval_seconds: 1, ..Config::default() }).await;
    scene.put("policies/clean", json!({ "block_severity": "high", "must_be_scanned": true })).await;
    let status = b"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n";
    let release = b"ID=debian\nVERSION_ID=\"12\"\n";
    let image = Image::of(vec![layer(&[("etc/os-release", release), ("var/lib/dpkg/status", status)])], "amd64");
    image.push(&scene.stage, REPO, "v1", &scene.full).await;
    let why = |text: &'static str| {
        let scene = &scene;
        async move { scene.pull("v1").await.1.contains(text) }
    };
    scene.stage.world.until("the finding blocks", Duration::from_secs(30), || why("DSA-9 in bash")).await;
    assert!(scene.resolve("v1").await.unwrap_err().message().contains("DSA-9"));
    let pushed = scene.stage.token(&format!("user:{}", scene.ada), &[("repository", REPO, &["pull"])]);
    assert_eq!(scene.pull_with("v1", &pushed).await.0, 403, "an administrator who only pulls is bound, too");
    scene.put("allowances/CVE-2026-9", json!({ "reason": "no shell is reachable", "until": "2100-01-01T00:00:00Z" })).await;
    assert_eq!(scene.pull("v1").await.0, 200);
    assert!(scene.resolve("v1").await.is_ok());
}
