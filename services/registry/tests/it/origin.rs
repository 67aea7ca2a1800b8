//! Which image another was built on: by what it says and by its layers, signed or not, moved or not.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_testkit::clause;
use http::Method;
use serde_json::{Value, json};

use crate::image::{CONFIG, Image, descriptor, index, layer};
use crate::signing::{Artifact, Signer, attach};
use crate::stage::Stage;

const ORIGIN: &str = "/api/v1/orgs/acme/projects/shop/images/web";

fn on(base: &Image, text: &str) -> Image {
    let mut layers = base.layers.clone();
    layers.push(layer(&[("own", text.as_bytes())]));
    Image::of(layers, "amd64")
}

async fn origin(stage: &Stage, access: &str, at: &str) -> Value {
    let (status, body) = stage.world.call(&stage.host, Method::GET, &format!("{ORIGIN}/{at}/origin"), Some(access), None).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_is_known_by_its_layers_its_signature_is_checked_and_a_move_asks_for_a_rebuild() {
    clause("7.4.2.c");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    stage.world.identity.grant(&format!("user:{user}"), Role::Admin, stage.open.scope()).await;
    stage.world.identity.settle(&stage.host).await;
    let access = stage.world.token(user, "ada");
    let (debian, web) = ("acme/open/debian", "acme/shop/web");
    let (of_base, of_web) = (stage.full(user, debian), stage.full(user, web));
    let lower = Image::of(vec![layer(&[("etc/issue", b"debian 12")])], "amd64");
    let base = on(&lower, "runtime");
    lower.push(&stage, debian, "12", &of_base).await;
    let base_digest = base.push(&stage, debian, "12-runtime", &of_base).await;
    let image = on(&base, "application");
    let digest = image.push(&stage, web, "v1", &of_web).await;

    // The highest stack counts, once it was scanned.
    let known = || async { origin(&stage, &access, "v1").await["images"][0]["base"]["digest"] == base_digest.as_str() };
    stage.world.until("the base is known", Duration::from_secs(30), known).await;
    let found = origin(&stage, &access, &digest).await["images"][0].clone();
    let shown = &found["base"];
    assert_eq!((&shown["name"], &shown["tags"], &shown["by"], &shown["layers"]), (&json!(debian), &json!(["12-runtime"]), &json!("layers"), &json!(2)));
    assert_eq!(
        (&shown["signed"], &found["rebuild_needed"], &found["claim"], &found["claim_holds"]),
        (&json!(false), &json!(false), &Value::Null, &Value::Null)
    );

    // Signed with a key that the image's project trusts.
    let signer = Signer::new();
    let trusted = "/api/v1/orgs/acme/projects/shop/registry/keys/base-team";
    assert_eq!(stage.world.call(&stage.host, Method::PUT, trusted, Some(&access), Some(&json!({ "pem": signer.pem() }))).await.0, 200);
    let (payload, signature) = signer.simple(&base_digest);
    let annotations = json!({ "dev.cosignproject.cosign/signature": signature });
    let artifact =
        Artifact { artifact_type: None, layer_type: "application/vnd.dev.cosign.simplesigning.v1+json", content: &payload, annotations, subject: None };
    attach(&stage, debian, &of_base, Some(&format!("{}.sig", base_digest.replace(':', "-"))), artifact).await;
    let signed = origin(&stage, &access, "v1").await["images"][0]["base"].clone();
    assert_eq!((&signed["signed"], &signed["signed_by"]), (&json!(true), &json!(["base-team"])));

    // What is built on the base is listed there.
    let path = format!("/api/v1/orgs/acme/projects/open/images/debian/{base_digest}/derived");
    let (_, derived) = stage.world.call(&stage.host, Method::GET, &path, Some(&access), None).await;
    assert_eq!((&derived["items"][0]["name"], &derived["items"][0]["tags"], &derived["items"][0]["layers"]), (&json!(web), &json!(["v1"]), &json!(3)));

    // Whose config only says that its layers are those of the base is not built on it.
    let mut liar = Image::of(["x", "y", "z"].map(|text| layer(&[("other", text.as_bytes())])).to_vec(), "amd64");
    liar.config.clone_from(&image.config);
    liar.manifest["config"] = descriptor(CONFIG, &liar.config);
    let lie = liar.push(&stage, web, "liar", &of_web).await;
    let report = format!("/api/v1/orgs/acme/projects/shop/images/web/{lie}/scan");
    let scanned = || async { stage.world.call(&stage.host, Method::GET, &report, Some(&access), None).await.0 == 200 };
    stage.world.until("it is scanned", Duration::from_secs(30), scanned).await;
    assert_eq!(origin(&stage, &access, "liar").await["images"][0]["base"], Value::Null);
    let (_, derived) = stage.world.call(&stage.host, Method::GET, &path, Some(&access), None).await;
    assert_eq!(derived["items"].as_array().unwrap().len(), 1, "{derived}");

    // The base's tag moves on.
    let patched = on(&lower, "runtime, patched").push(&stage, debian, "12-runtime", &of_base).await;
    let moved = origin(&stage, &access, "v1").await["images"][0].clone();
    assert_eq!((&moved["rebuild_needed"], &moved["base"]["tags"]), (&json!(true), &json!([])));
    assert_eq!(moved["reason"], format!("{debian}:12-runtime pointed at the base and points at {patched} now"));

    // Who may not see the base is not told of it: for a stranger to `shop`, nothing; and a private base is nobody's else.
    let vic = stage.user("vic", Some((Role::Viewer, stage.open.scope()))).await;
    let (status, _) = stage.world.call(&stage.host, Method::GET, &format!("{ORIGIN}/v1/origin"), Some(&stage.world.token(vic, "vic")), None).await;
    assert_eq!(status, 404);
    let (_, derived) = stage.world.call(&stage.host, Method::GET, &path, Some(&stage.world.token(vic, "vic")), None).await;
    assert_eq!(derived["items"], json!([]), "what is built on it elsewhere is not theirs to know");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_image_says_of_its_base_is_compared_with_its_layers() {
    clause("7.4.2.c");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, web, base) = (stage.world.token(user, "ada"), "acme/shop/web", "acme/shop/base");
    let (of_web, of_base) = (stage.full(user, web), stage.full(user, base));
    let (true_base, other) = (Image::simple("the base"), Image::simple("another"));
    true_base.push(&stage, base, &true_base.digest(), &of_base).await;
    let both = index(&[(&true_base, "linux", "amd64")]);
    assert_eq!(stage.push(base, "1", &of_base, &both).await.status(), 201);
    let other_digest = other.push(&stage, base, "other", &of_base).await;
    let claiming = |text: &str, name: &str, digest: &str| {
        let mut image = on(&true_base, text);
        image.manifest["annotations"] = json!({ "org.opencontainers.image.base.name": name, "org.opencontainers.image.base.digest": digest });
        image
    };
    // It names the index; its layers are those of the index's image.
    let index_digest = gantry_registry::domain::digest::Digest::of(gantry_registry::domain::digest::Algorithm::Sha256, both.to_string().as_bytes()).to_string();
    let honest = claiming("honest", &format!("{}/{base}:1", stage.registry), &index_digest);
    honest.push(&stage, web, "honest", &of_web).await;
    let found = origin(&stage, &access, "honest").await["images"][0].clone();
    assert_eq!((&found["claim_holds"], &found["base"]["by"], &found["base"]["digest"]), (&json!(true), &json!("both"), &json!(true_base.digest())));
    assert_eq!((&found["rebuild_needed"], &found["base"]["tags"]), (&json!(false), &json!(["1"])));

    let liar = claiming("liar", &format!("{}/{base}:other", stage.registry), &other_digest);
    liar.push(&stage, web, "liar", &of_web).await;
    let found = origin(&stage, &access, "liar").await["images"][0].clone();
    assert_eq!((&found["claim_holds"], &found["claim"]["digest"]), (&json!(false), &json!(other_digest)));

    // Of a base elsewhere nothing can be said; the claim is shown.
    let elsewhere = claiming("elsewhere", "docker.io/library/debian:12", &format!("sha256:{}", "a".repeat(64)));
    elsewhere.push(&stage, web, "elsewhere", &of_web).await;
    let found = origin(&stage, &access, "elsewhere").await["images"][0].clone();
    assert_eq!((&found["claim"]["name"], &found["claim_holds"]), (&json!("docker.io/library/debian:12"), &Value::Null));

    // A new index under the tag: the honest image is to be built again.
    let next = Image::simple("the next base");
    next.push(&stage, base, &next.digest(), &of_base).await;
    assert_eq!(stage.push(base, "1", &of_base, &index(&[(&next, "linux", "amd64")])).await.status(), 201);
    assert_eq!(origin(&stage, &access, "honest").await["images"][0]["rebuild_needed"], true);
    // Of an index, each of its images is shown; of an artifact, nothing.
    let all = index(&[(&honest, "linux", "amd64")]);
    assert_eq!(stage.push(web, "all", &of_web, &all).await.status(), 201);
    let found = origin(&stage, &access, "all").await;
    assert_eq!((&found["images"][0]["platform"], &found["images"][0]["claim_holds"]), (&json!("linux/amd64"), &json!(true)));
}
