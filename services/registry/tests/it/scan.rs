//! What a push sets off: the inventory, the match with advisories, the report.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::Config;
use gantry_testkit::clause;
use http::Method;
use serde_json::{Value, json};

use crate::image::{Image, layer};
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";
const STATUS: &[u8] = b"Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.9-1\n\n\
    Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b2\n";
const RELEASE: &[u8] = b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n";

fn advisory(id: &str, fixed: &str) -> Value {
    json!({
        "id": id, "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-0001"], "summary": "a hole",
        "severity": [{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }],
        "affected": [{ "package": { "ecosystem": "Debian:12", "name": "openssl" }, "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_image_is_scanned_and_again_when_advisories_change() {
    clause("7.4.2.c");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.json"), advisory("DSA-1", "3.0.11-1~deb12u1").to_string()).unwrap();
    let stage = Stage::with(Config { advisories: folder.path().to_owned(), advisories_interval_seconds: 1, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let base = layer(&[("etc/os-release", RELEASE), ("var/lib/dpkg/status", STATUS)]);
    let image = Image::of(vec![base.clone(), layer(&[("srv/app", b"app")])], "amd64");
    let digest = image.push(&stage, REPO, "v1", &stage.full(user, REPO)).await;

    let access = stage.world.token(user, "ada");
    let at = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}");
    let report = || async { stage.world.call(&stage.host, Method::GET, &format!("{at}/scan"), Some(&access), None).await.1 };
    stage.world.until("the finding is reported", Duration::from_secs(30), || async { report().await["summary"]["critical"] == 1 }).await;
    let found = report().await;
    assert_eq!(found["system"], "Debian GNU/Linux 12 (bookworm)");
    assert_eq!(found["summary"]["packages"], 2);
    let finding = &found["findings"][0];
    assert_eq!((&finding["id"], &finding["package"], &finding["fixed_version"]), (&json!("DSA-1"), &json!("libssl3"), &json!("3.0.11-1~deb12u1")));
    assert_eq!(finding["layer"], image.manifest["layers"][0]["digest"]);
    assert_eq!(found["notes"], json!([]));

    let (status, bom) = stage.world.call(&stage.host, Method::GET, &format!("{at}/sbom"), Some(&access), None).await;
    assert_eq!((status, &bom["bomFormat"], bom["components"].as_array().unwrap().len()), (200, &json!("CycloneDX"), 2));
    // The event, and with it the list, follows the report in a moment.
    let listed = || async {
        let (_, list) = stage.world.call(&stage.host, Method::GET, "/api/v1/orgs/acme/projects/shop/images", Some(&access), None).await;
        list["items"][0]["scan"]["critical"].clone()
    };
    stage.world.until("the list shows it", Duration::from_secs(10), || async { listed().await == 1 }).await;

    std::fs::write(folder.path().join("two.json"), advisory("DSA-2", "3.0.12-1").to_string()).unwrap();
    stage.world.until("the new advisory is matched", Duration::from_secs(30), || async { listed().await == 2 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_layer_is_reported_not_hidden() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    let mut image = Image::of(vec![layer(&[("var/lib/dpkg/status", STATUS)])], "amd64");
    let mut broken = layer(&[("noise", &[7; 50_000])]);
    broken.truncate(broken.len() - 20);
    image.manifest["layers"].as_array_mut().unwrap().push(crate::image::descriptor(crate::image::LAYER, &broken));
    image.layers.push(broken);
    let digest = image.push(&stage, REPO, "v1", &token).await;
    let access = stage.world.token(user, "ada");
    let path = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}/scan");
    let report = || async { stage.world.call(&stage.host, Method::GET, &path, Some(&access), None).await };
    stage.world.until("the report is there", Duration::from_secs(30), || async { report().await.0 == 200 }).await;
    let (_, found) = report().await;
    assert_eq!(found["summary"]["packages"], 2);
    assert_eq!(found["notes"].as_array().unwrap().len(), 1, "{found}");
}
