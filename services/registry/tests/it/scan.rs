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
    clause("6.4.2.1.g");
    clause("7.4.2.a");
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
    clause("6.4.2.1.g");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn language_packages_are_found_matched_and_exported_in_every_form() {
    clause("7.4.2.a");
    let osv = |id: &str, ecosystem: &str, name: &str, kind: &str, fixed: &str| {
        json!({ "id": id, "affected": [{ "package": { "ecosystem": ecosystem, "name": name }, "ranges": [{ "type": kind, "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }],
            "severity": [{ "type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N" }] })
    };
    let folder = tempfile::tempdir().unwrap();
    let records = json!([
        osv("GHSA-npm", "npm", "lodash", "SEMVER", "4.17.21"),
        osv("GHSA-py", "PyPI", "Requests", "ECOSYSTEM", "2.31.0"),
        osv("RUSTSEC-1", "crates.io", "time", "SEMVER", "0.2.23"),
        osv("GHSA-mvn", "Maven", "org.apache.logging.log4j:log4j-core", "ECOSYSTEM", "2.15.0"),
    ]);
    std::fs::write(folder.path().join("osv.json"), records.to_string()).unwrap();
    let stage = Stage::with(Config { advisories: folder.path().to_owned(), advisories_interval_seconds: 1, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let lock = b"version = 3\n[[package]]\nname = \"time\"\nversion = \"0.1.40\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
    let base = layer(&[("app/node_modules/lodash/package.json", br#"{"name":"lodash","version":"4.17.20","license":"MIT"}"#.as_slice())]);
    let upper = layer(&[
        ("usr/lib/python3/site-packages/requests-2.28.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: requests\nVersion: 2.28.0\n".as_slice()),
        ("srv/Cargo.lock", lock),
        ("srv/package.json", br#"{"name":"not-installed","version":"1.0.0"}"#),
    ]);
    let image = Image::of(vec![base, upper], "amd64");
    let digest = image.push(&stage, REPO, "v1", &stage.full(user, REPO)).await;
    let access = stage.world.token(user, "ada");
    let at = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}");
    let report = || async { stage.world.call(&stage.host, Method::GET, &format!("{at}/scan"), Some(&access), None).await.1 };
    stage.world.until("the findings are reported", Duration::from_secs(30), || async { report().await["summary"]["critical"] == 3 }).await;
    let found = report().await;
    let lodash = found["findings"].as_array().unwrap().iter().find(|f| f["id"] == "GHSA-npm").unwrap().clone();
    assert_eq!((&lodash["layer"], &lodash["path"]), (&image.manifest["layers"][0]["digest"], &json!("app/node_modules/lodash/package.json")));
    assert_eq!((&lodash["score"], &lodash["fixed_version"]), (&json!(9.3), &json!("4.17.21")));

    let get = |query: &'static str| {
        let request = stage.request(Method::GET, &format!("{at}/{query}"), &access);
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
        }
    };
    let (_, kind, sarif) = get("scan?format=sarif").await;
    assert_eq!(kind, "application/sarif+json");
    assert_eq!(serde_json::from_str::<Value>(&sarif).unwrap()["runs"][0]["results"].as_array().unwrap().len(), 3);
    let (_, kind, page) = get("scan?format=html").await;
    assert!(kind.starts_with("text/html") && page.contains("RUSTSEC-1"));
    let (_, kind, spdx) = get("sbom?format=spdx").await;
    assert_eq!((kind.as_str(), &serde_json::from_str::<Value>(&spdx).unwrap()["spdxVersion"]), ("application/spdx+json", &json!("SPDX-2.3")));
    let (_, _, bom) = get("sbom?format=cyclonedx").await;
    assert_eq!(serde_json::from_str::<Value>(&bom).unwrap()["specVersion"], "1.6");
    assert_eq!(get("scan?format=pdf").await.0, 400);
    assert_eq!(get("sbom?format=pdf").await.0, 400);

    // What the project accepts says why and is not counted.
    let allow = "/api/v1/orgs/acme/projects/shop/registry/allowances/GHSA-npm";
    let body = json!({ "reason": "only used to build" });
    assert_eq!(stage.world.call(&stage.host, Method::PUT, allow, Some(&access), Some(&body)).await.0, 200);
    let found = report().await;
    assert_eq!(found["summary"]["critical"], 2);
    assert!(found["findings"].as_array().unwrap().iter().any(|f| f["accepted"] == "only used to build"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debians_tracker_is_read_from_a_mirror_and_what_was_read_stays_when_it_is_away() {
    let feed = json!({ "openssl": { "CVE-2026-7": { "description": "a hole", "releases": { "bookworm": { "status": "resolved", "fixed_version": "3.0.10-1", "urgency": "high" } } } } });
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    let up = std::sync::Arc::new(AtomicBool::new(true));
    let in_vain = std::sync::Arc::new(AtomicU32::new(0));
    let (state, counted) = (up.clone(), in_vain.clone());
    let mirror = axum::Router::new().route(
        "/tracker.json",
        axum::routing::get(move || {
            let (feed, up) = (feed.to_string(), state.load(Ordering::SeqCst));
            counted.fetch_add(u32::from(!up), Ordering::SeqCst);
            async move { if up { (http::StatusCode::OK, feed) } else { (http::StatusCode::OK, "<html>sign in</html>".to_owned()) } }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/tracker.json", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, mirror).await });
    let stage = Stage::with(Config { advisory_mirrors: vec![url], advisories_interval_seconds: 1, ..Config::default() }).await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let access = stage.world.token(user, "ada");
    let scan = |text: &'static str, tag: &'static str| {
        let (stage, access) = (&stage, access.clone());
        async move {
            let image = Image::of(vec![layer(&[("etc/os-release", RELEASE), ("var/lib/dpkg/status", STATUS), ("own", text.as_bytes())])], "amd64");
            let digest = image.push(stage, REPO, tag, &stage.full(user, REPO)).await;
            let path = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}/scan");
            let high = || async { stage.world.call(&stage.host, Method::GET, &path, Some(&access), None).await.1["summary"]["high"] == 1 };
            stage.world.until("the finding is reported", Duration::from_secs(30), high).await;
        }
    };
    scan("one", "v1").await;
    up.store(false, Ordering::SeqCst);
    // With the second look the first one is over, whatever became of it.
    stage.world.until("it is looked for in vain", Duration::from_secs(30), || async { in_vain.load(Ordering::SeqCst) >= 2 }).await;
    scan("two", "v2").await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_of_materials_is_attached_once_if_the_project_wants_it_and_a_foreign_machine_is_noted() {
    use gantry_registry::domain::scan::pkg::elf;
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(user, "ada"), stage.full(user, REPO));
    let settings = "/api/v1/orgs/acme/projects/shop/registry/scanning";
    let body = json!({ "attach_sbom": "spdx" });
    assert_eq!(stage.world.call(&stage.host, Method::PUT, settings, Some(&access), Some(&body)).await.0, 200);
    let mut program = vec![0; 64];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    program[18] = 183;
    assert_eq!(elf::machine(&program), Some("arm64"));
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(64);
    header.set_mode(0o755);
    header.set_cksum();
    builder.append_data(&mut header, "usr/bin/app", program.as_slice()).unwrap();
    let foreign = builder.into_inner().unwrap().finish().unwrap();
    let image = Image::of(vec![layer(&[("etc/os-release", RELEASE), ("var/lib/dpkg/status", STATUS)]), foreign], "amd64");
    let digest = image.push(&stage, REPO, "v1", &token).await;
    let referrers = || async {
        let path = format!("/v2/{REPO}/referrers/{digest}?artifactType=application/spdx%2Bjson");
        stage.request(Method::GET, &path, &token).send().await.unwrap().json::<Value>().await.unwrap()["manifests"].as_array().unwrap().clone()
    };
    stage.world.until("it is attached", Duration::from_secs(30), || async { referrers().await.len() == 1 }).await;
    let path = format!("/v2/{REPO}/manifests/{}", referrers().await[0]["digest"].as_str().unwrap());
    let attached: Value = stage.request(Method::GET, &path, &token).send().await.unwrap().json().await.unwrap();
    let path = format!("/v2/{REPO}/blobs/{}", attached["layers"][0]["digest"].as_str().unwrap());
    let bom: Value = stage.request(Method::GET, &path, &token).send().await.unwrap().json().await.unwrap();
    assert_eq!((&bom["spdxVersion"], bom["packages"].as_array().unwrap().len()), (&json!("SPDX-2.3"), 3));
    let path = format!("/api/v1/orgs/acme/projects/shop/images/web/{digest}/scan");
    let noted = || async {
        let report = stage.world.call(&stage.host, Method::GET, &path, Some(&access), None).await.1;
        report["findings"][0]["summary"].as_str().unwrap_or_default() == "claims linux/amd64, contains arm64: 1 of its 1 programs are for that"
    };
    stage.world.until("the mismatch is noted", Duration::from_secs(10), noted).await;
}
