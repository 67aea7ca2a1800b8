//! Finding images by name, label, digest, package and finding, in what the caller may see.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::Config;
use http::Method;
use serde_json::{Value, json};

use crate::image::{CONFIG, Image, descriptor, layer};
use crate::stage::Stage;

const RELEASE: &[u8] = b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n";

fn debian(source: &str, package: &str, version: &str) -> Vec<u8> {
    let status = format!("Package: {package}\nStatus: install ok installed\nArchitecture: amd64\nSource: {source}\nVersion: {version}\n");
    layer(&[("etc/os-release", RELEASE), ("var/lib/dpkg/status", status.as_bytes())])
}

/// With labels in its config and annotations in its manifest.
fn labelled(mut image: Image, labels: Value, annotations: Value) -> Image {
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["config"] = json!({ "Labels": labels });
    image.config = config.to_string().into_bytes();
    image.manifest["config"] = descriptor(CONFIG, &image.config);
    image.manifest["annotations"] = annotations;
    image
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_found_by_what_is_in_them_and_only_where_one_may_look() {
    let folder = tempfile::tempdir().unwrap();
    let advisory = json!({
        "id": "DSA-1", "aliases": ["CVE-2026-0001"],
        "affected": [{ "package": { "ecosystem": "Debian:12", "name": "openssl" }, "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "3.0.11-1" }] }] }],
    });
    std::fs::write(folder.path().join("one.json"), advisory.to_string()).unwrap();
    let stage = Stage::with(Config { advisories: folder.path().to_owned(), advisories_interval_seconds: 1, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    stage.world.identity.grant(&format!("user:{user}"), Role::Editor, stage.open.scope()).await;
    stage.world.identity.settle(&stage.host).await;
    let access = stage.world.token(user, "ada");
    let push = |image: Image, repository: &'static str| {
        let stage = &stage;
        async move { image.push(stage, repository, "v1.0", &stage.full(user, repository)).await }
    };
    let old = push(labelled(Image::of(vec![debian("openssl", "libssl3", "3.0.9-1")], "amd64"), json!({ "team": "web" }), json!({})), "acme/shop/web").await;
    let new = push(labelled(Image::of(vec![debian("openssl", "libssl3", "3.0.12-1")], "arm64"), json!({}), json!({ "team": "data" })), "acme/open/site").await;
    let search = |query: String, access: String| {
        let stage = &stage;
        async move { stage.world.call(&stage.host, Method::GET, &format!("/api/v1/images?{query}"), Some(&access), None).await }
    };
    let digests = |query: &str| {
        let found = search(query.to_owned(), access.clone());
        async move {
            let (status, page) = found.await;
            assert_eq!(status, 200, "{page}");
            page["items"].as_array().unwrap().iter().map(|i| i["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
    };
    stage.world.until("both were scanned", Duration::from_secs(30), || async { digests("package=openssl").await.len() == 2 }).await;
    stage.world.until("the advisory was matched", Duration::from_secs(30), || async { digests("finding=CVE-2026-0001").await.len() == 1 }).await;
    let (web, site) = (vec![old.clone()], vec![new.clone()]);
    for (query, expected) in [
        ("package=LIBSSL3@3.0.9-1", &web),
        ("package=libssl3@3.0.12-1&label=team", &site),
        ("finding=dsa-1", &web),
        ("label=team%3Dweb", &web),
        ("label=team%3Ddata", &site),
        ("q=shop/web", &web),
        ("q=site:v1", &site),
        ("q=localhost:7443/acme/open/site", &site),
        ("package=openssl&platform=linux/arm64", &site),
        ("package=openssl&q=web", &web),
        ("kind=image&q=site", &site),
    ] {
        assert_eq!(digests(query).await, *expected, "{query}");
    }
    for query in ["package=libssl", "finding=CVE-2026-9", "label=team%3Dother", "q=site:v2", "q=zzz", "kind=index", "package=openssl&label=nobody"] {
        assert!(digests(query).await.is_empty(), "{query}");
    }
    assert_eq!(digests(&format!("digest={}", &old[..14])).await, web);
    assert_eq!(digests(&format!("q={old}")).await, web);
    assert_eq!(digests("").await, [new.clone(), old.clone()], "the newest first");
    let (_, page) = search("package=openssl".into(), access.clone()).await;
    let item = page["items"].as_array().unwrap().iter().find(|i| i["digest"] == old.as_str()).unwrap();
    assert_eq!(item["matches"], json!([{ "what": "package", "name": "openssl", "detail": "3.0.9-1" }]));
    assert_eq!((&item["repository"], &item["tags"], &item["scan"]["packages"]), (&json!("web"), &json!(["v1.0"]), &json!(1)));
    for bad in ["q=a%20b", "digest=sha256:1", "kind=x", "package=", "cursor=x", "limit=0", "other=1"] {
        assert_eq!(search(bad.into(), access.clone()).await.0, 400, "{bad}");
    }

    // A stranger sees what is public, whatever is asked.
    let eve = stage.world.token(stage.user("eve", None).await, "eve");
    for query in ["package=openssl", "platform=linux", "", "label=team"] {
        let (_, page) = search(query.into(), eve.clone()).await;
        let found: Vec<_> = page["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
        assert_eq!(found, ["acme/open/site"], "{query}");
    }
    for query in ["finding=DSA-1".to_owned(), format!("digest={old}"), "q=shop".to_owned()] {
        assert_eq!(search(query.clone(), eve.clone()).await.1["items"], json!([]), "{query}");
    }

    // What is gone is not found any more.
    let path = format!("/v2/acme/shop/web/manifests/{old}");
    let delete = stage.request(Method::DELETE, &path, &stage.full(user, "acme/shop/web")).send().await.unwrap();
    assert_eq!(delete.status(), 202);
    stage.world.until("it is gone", Duration::from_secs(10), || async { digests("package=openssl").await == site }).await;
    let left: i64 = sqlx::query_scalar("select count(*) from image_terms t where not exists (select from catalogue c where c.image = t.image)")
        .fetch_one(&stage.host.db().pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_looked_for_by_a_part_of_their_name() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(user, "ada"), stage.full(user, "acme/shop/web"));
    for tag in ["v1.0", "v1.1", "release-1.1", "v2"] {
        Image::simple("tags").push(&stage, "acme/shop/web", tag, &token).await;
    }
    let tags = |query: &'static str| {
        let (stage, access) = (&stage, &access);
        async move {
            let path = format!("/api/v1/orgs/acme/projects/shop/images/web/tags?{query}");
            let (_, page) = stage.world.call(&stage.host, Method::GET, &path, Some(access), None).await;
            let names: Vec<String> = page["items"].as_array().unwrap().iter().map(|t| t["tag"].as_str().unwrap().to_owned()).collect();
            (names, page["next"].clone())
        }
    };
    assert_eq!(tags("q=1.1").await.0, ["release-1.1", "v1.1"]);
    assert_eq!(tags("q=1.1&limit=1").await, (vec!["release-1.1".to_owned()], json!("release-1.1")));
    assert_eq!(tags("q=1.1&limit=1&cursor=release-1.1").await, (vec!["v1.1".to_owned()], Value::Null));
    assert_eq!(tags("q=%25").await.0, Vec::<String>::new());
    assert_eq!(tags("").await.0.len(), 4);
}
