//! Manifests, tags, referrers.

use gantry_kernel::Role;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::{OCI_INDEX, OCI_MANIFEST};
use http::{Method, header};
use serde_json::{Value, json};

use crate::image::{Image, descriptor, layer};
use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";

async fn begun() -> (Stage, String) {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    (stage, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_reads_back_byte_for_byte_by_tag_and_digest_at_once() {
    let (stage, token) = begun().await;
    let image = Image::simple("one");
    let digest = image.push(&stage, REPO, "v1", &token).await;
    for reference in ["v1", &digest] {
        let path = format!("/v2/{REPO}/manifests/{reference}");
        let head = stage.request(Method::HEAD, &path, &token).send().await.unwrap();
        assert_eq!((head.status().as_u16(), head.headers()["docker-content-digest"].to_str().unwrap()), (200, digest.as_str()));
        let got = stage.request(Method::GET, &path, &token).send().await.unwrap();
        assert_eq!(got.headers()["content-type"].to_str().unwrap(), OCI_MANIFEST);
        assert_eq!(got.text().await.unwrap(), image.manifest.to_string());
    }
    for (reference, expected) in [("v2", "MANIFEST_UNKNOWN"), (&*format!("sha256:{}", "0".repeat(64)), "MANIFEST_UNKNOWN")] {
        let missing = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{reference}"), &token).send().await.unwrap();
        assert_eq!(code(missing).await, (404, expected.into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_about_missing_or_other_content_is_refused() {
    let (stage, token) = begun().await;
    let image = Image::simple("missing");
    let refused = stage.push(REPO, "v1", &token, &image.manifest).await;
    assert_eq!(code(refused).await, (400, "MANIFEST_BLOB_UNKNOWN".into()));
    image.upload(&stage, REPO, &token).await;
    let mut lying = image.manifest.clone();
    lying["layers"][0]["size"] = json!(1);
    assert_eq!(code(stage.push(REPO, "v1", &token, &lying).await).await, (400, "SIZE_INVALID".into()));
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(code(stage.push(REPO, &other, &token, &image.manifest).await).await, (400, "DIGEST_INVALID".into()));
    let path = format!("/v2/{REPO}/manifests/v1");
    for (media_type, body) in [(OCI_INDEX, image.manifest.to_string()), (OCI_MANIFEST, "{".into()), (OCI_MANIFEST, "[".repeat(100_000))] {
        let response = stage.request(Method::PUT, &path, &token).header(header::CONTENT_TYPE, media_type).body(body).send().await.unwrap();
        assert_eq!(code(response).await, (400, "MANIFEST_INVALID".into()));
    }
    let large = stage.request(Method::PUT, &path, &token).header(header::CONTENT_TYPE, OCI_MANIFEST).body(vec![b' '; 5 << 20]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    assert_eq!(stage.request(Method::GET, &path, &token).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_of_4_mib_is_taken() {
    let (stage, token) = begun().await;
    let mut image = Image::simple("large");
    image.upload(&stage, REPO, &token).await;
    image.manifest["annotations"] = json!({ "fill": "" });
    let room = 4 * 1024 * 1024 - image.manifest.to_string().len();
    image.manifest["annotations"]["fill"] = "x".repeat(room).into();
    // The event carries the annotations, too: what does not fit there must not stop the push.
    let response = stage.push(REPO, "large", &token, &image.manifest).await;
    assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
    let got = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/large"), &token).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap().len(), 4 * 1024 * 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_concurrent_pushes_of_one_tag_each_is_kept_and_one_holds_the_tag() {
    let (stage, token) = begun().await;
    let images: Vec<Image> = (0..8).map(|n| Image::simple(&format!("concurrent {n}"))).collect();
    let digests = futures::future::join_all(images.iter().map(|i| i.push(&stage, REPO, "latest", &token))).await;
    let tagged = stage.request(Method::HEAD, &format!("/v2/{REPO}/manifests/latest"), &token).send().await.unwrap();
    let holder = tagged.headers()["docker-content-digest"].to_str().unwrap().to_owned();
    assert!(digests.contains(&holder));
    for digest in digests {
        let kept = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{digest}"), &token).send().await.unwrap();
        assert_eq!(kept.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_paged_in_order_and_gone_when_deleted() {
    let (stage, token) = begun().await;
    let image = Image::simple("tags");
    let digest = image.push(&stage, REPO, "b", &token).await;
    let more = stage.push(REPO, &format!("{digest}?tag=a&tag=C&tag=c"), &token, &image.manifest).await;
    assert_eq!(more.status(), 201);
    assert_eq!(more.headers().get_all("oci-tag").iter().count(), 3);
    let list = |query: &'static str| {
        let request = stage.request(Method::GET, &format!("/v2/{REPO}/tags/list{query}"), &token);
        async move {
            let response = request.send().await.unwrap();
            let link = response.headers().get("link").map(|l| l.to_str().unwrap().to_owned());
            let body: Value = response.json().await.unwrap();
            (body["tags"].clone(), link)
        }
    };
    assert_eq!(list("").await, (json!(["C", "a", "b", "c"]), None));
    let (page, link) = list("?n=3").await;
    assert_eq!((page, link.as_deref()), (json!(["C", "a", "b"]), Some("</v2/acme/shop/web/tags/list?n=3&last=b>; rel=\"next\"")));
    assert_eq!(list("?n=3&last=b").await, (json!(["c"]), None));
    assert_eq!(list("?n=0").await.0, json!([]));
    assert_eq!(code(stage.request(Method::GET, &format!("/v2/{REPO}/tags/list?n=x"), &token).send().await.unwrap()).await.0, 400);

    let delete = |reference: &str| stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{reference}"), &token).send();
    assert_eq!(delete("b").await.unwrap().status(), 202);
    assert_eq!(list("").await.0, json!(["C", "a", "c"]));
    assert_eq!(code(delete("b").await.unwrap()).await, (404, "MANIFEST_UNKNOWN".into()));
    let layer = image.manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = format!("/v2/{REPO}/blobs/{layer}");
    assert_eq!(code(stage.request(Method::DELETE, &blob, &token).send().await.unwrap()).await, (405, "UNSUPPORTED".into()), "still needed");
    assert_eq!(delete(&digest).await.unwrap().status(), 202);
    assert_eq!(list("").await.0, json!([]));
    assert_eq!(stage.request(Method::DELETE, &blob, &token).send().await.unwrap().status(), 202);
    assert_eq!(stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{digest}"), &token).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn referrers_are_found_by_subject_also_one_that_comes_later() {
    let (stage, token) = begun().await;
    let image = Image::simple("subject");
    let subject = json!({ "mediaType": OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.to_string().len() });
    let empty = b"{}";
    stage.upload(REPO, &token, empty).await;
    for kind in ["application/x.signature", "application/x.sbom"] {
        let about = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": descriptor("application/vnd.oci.empty.v1+json", empty),
            "layers": [descriptor("application/vnd.oci.empty.v1+json", empty)], "subject": subject, "annotations": { "kind": kind },
        });
        let digest = Digest::of(Algorithm::Sha256, about.to_string().as_bytes());
        let response = stage.push(REPO, digest.as_str(), &token, &about).await;
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["oci-subject"].to_str().unwrap(), image.digest());
    }
    image.push(&stage, REPO, "v1", &token).await;
    let path = format!("/v2/{REPO}/referrers/{}", image.digest());
    let all = stage.request(Method::GET, &path, &token).send().await.unwrap();
    assert_eq!(all.headers()["content-type"].to_str().unwrap(), OCI_INDEX);
    assert!(all.headers().get("oci-filters-applied").is_none());
    assert_eq!(all.json::<Value>().await.unwrap()["manifests"].as_array().unwrap().len(), 2);
    let some = stage.request(Method::GET, &format!("{path}?artifactType=application%2Fx.sbom"), &token).send().await.unwrap();
    assert_eq!(some.headers()["oci-filters-applied"].to_str().unwrap(), "artifactType");
    let some: Value = some.json().await.unwrap();
    assert_eq!((some["manifests"].as_array().unwrap().len(), &some["manifests"][0]["annotations"]["kind"]), (1, &json!("application/x.sbom")));
    let none = stage.request(Method::GET, &format!("/v2/{REPO}/referrers/sha256:{}", "0".repeat(64)), &token).send().await.unwrap();
    assert_eq!((none.status().as_u16(), none.json::<Value>().await.unwrap()["manifests"].clone()), (200, json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_shows_its_platforms_to_people_and_to_the_scheduler() {
    let (stage, token) = begun().await;
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let image = Image::of(vec![layer(&[("arch", architecture.as_bytes())])], architecture);
        let digest = image.push(&stage, REPO, &format!("v1-{architecture}"), &token).await;
        entries.push(json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": image.manifest.to_string().len() }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
    assert_eq!(stage.push(REPO, "v1", &token, &index).await.status(), 201);

    let user = stage.user("vic", Some((Role::Viewer, stage.shop.scope()))).await;
    let access = stage.world.token(user, "vic");
    let (status, list) = stage.world.call(&stage.host, Method::GET, "/api/v1/orgs/acme/projects/shop/images", Some(&access), None).await;
    assert_eq!(status, 200, "{list}");
    let line = &list["items"][0];
    assert_eq!((&line["repository"], &line["platforms"], line["tags"].as_array().unwrap().len()), (&json!("web"), &json!(["linux/amd64", "linux/arm64"]), 3));
    assert!(line["pushed_by"].as_str().unwrap().starts_with("user:"));
    let (_, tags) = stage.world.call(&stage.host, Method::GET, "/api/v1/orgs/acme/projects/shop/images/web/tags?limit=2", Some(&access), None).await;
    assert_eq!((&tags["items"][1]["tag"], &tags["next"]), (&json!("v1-amd64"), &json!("v1-amd64")));
    assert_eq!(tags["items"][1]["platforms"], json!(["linux/amd64"]));

    let as_scheduler = resolve(&stage, "scheduler", &format!("{}/{REPO}:v1", stage.registry)).await.unwrap();
    assert_eq!(as_scheduler.digest, Digest::of(Algorithm::Sha256, index.to_string().as_bytes()).to_string());
    assert_eq!(as_scheduler.platforms.len(), 2);
    let refused = resolve(&stage, "cicd", &format!("{REPO}:v1")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    for (reference, expected) in
        [("acme/shop/web:v9", tonic::Code::NotFound), ("docker.io/acme/shop/web:v1", tonic::Code::NotFound), ("web", tonic::Code::InvalidArgument)]
    {
        assert_eq!(resolve(&stage, "scheduler", reference).await.unwrap_err().code(), expected, "{reference}");
    }
}

pub async fn resolve(stage: &Stage, caller: &str, reference: &str) -> Result<gantry_contract::proto::registry::ResolveResponse, tonic::Status> {
    use gantry_contract::proto::registry::{ResolveRequest, images_client::ImagesClient};
    let mut client = ImagesClient::new(gantry_testkit::rpc::channel(&stage.world, &stage.host, caller));
    client.resolve(ResolveRequest { reference: reference.into() }).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusual_artifacts_are_kept() {
    let (stage, token) = begun().await;
    let chart = stage.upload(REPO, &token, b"a chart").await;
    let config = stage.upload(REPO, &token, b"{}").await;
    let foreign = json!({ "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": format!("sha256:{}", "1".repeat(64)), "size": 5, "urls": ["https://elsewhere"] });
    let artifact = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": { "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config.as_str(), "size": 2 },
        "layers": [{ "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": chart.as_str(), "size": 7 }, foreign],
    });
    assert_eq!(stage.push(REPO, "chart", &token, &artifact).await.status(), 201);
    let sparse = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{ "mediaType": OCI_MANIFEST, "digest": format!("sha256:{}", "2".repeat(64)), "size": 9 }] });
    assert_eq!(stage.push(REPO, "sparse", &token, &sparse).await.status(), 201);
    let nothing = stage.upload(REPO, &token, b"").await;
    let path = format!("/v2/{REPO}/blobs/{nothing}");
    let read = stage.request(Method::GET, &path, &token).send().await.unwrap();
    assert_eq!((read.status().as_u16(), read.bytes().await.unwrap().len()), (200, 0));
}
