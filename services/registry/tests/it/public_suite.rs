//! The public conformance suite (opencontainers/distribution-spec, `conformance/`), every option on, over each kind of store. It is a Go
//! program that no package brings, so these run by name only; docs/registry/conformance.md says how. What the suite asks is asked in every
//! test run by `conformance.rs` and `conformance_data.rs`.

use gantry_kernel::Role;
use gantry_registry::Config;

use crate::ground::{Bucket, Ground};
use crate::stage::Stage;

/// Every API and every kind of data that the suite knows (its `config.go`).
const ALL: &[&str] = &[
    "API_PING",
    "API_PULL",
    "API_PUSH",
    "API_BLOBS_ATOMIC",
    "API_BLOBS_DELETE",
    "API_BLOBS_DIGEST_HEADER",
    "API_BLOBS_MOUNT_ANONYMOUS",
    "API_BLOBS_UPLOAD_CANCEL",
    "API_MANIFESTS_ATOMIC",
    "API_MANIFESTS_DELETE",
    "API_MANIFESTS_DIGEST_HEADER",
    "API_MANIFESTS_TAG_PARAM",
    "API_TAGS_ATOMIC",
    "API_TAGS_DELETE",
    "API_TAGS_LIST",
    "API_REFERRER",
    "DATA_IMAGE",
    "DATA_INDEX",
    "DATA_INDEX_LIST",
    "DATA_SPARSE",
    "DATA_ARTIFACT",
    "DATA_SUBJECT",
    "DATA_SUBJECT_MISSING",
    "DATA_ARTIFACT_LIST",
    "DATA_SUBJECT_LIST",
    "DATA_DATA_FIELD",
    "DATA_NONDISTRIBUTABLE",
    "DATA_CUSTOM_FIELDS",
    "DATA_NO_LAYERS",
    "DATA_EMPTY_BLOB",
    "DATA_SHA512",
];

/// Runs the suite against a registry with `config`, with every option but `without`; its report stays in the folder
/// `target/conformance/<name>`.
async fn run(name: &str, config: Config, without: &[&str]) {
    #[allow(clippy::disallowed_methods, reason = "where the suite is, only the one who built it knows")]
    let program = std::env::var("GANTRY_OCI_CONFORMANCE").expect("GANTRY_OCI_CONFORMANCE names the built suite");
    let stage = Stage::with(config).await;
    stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let results = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/conformance").join(name);
    std::fs::create_dir_all(&results).unwrap();
    let mut suite = tokio::process::Command::new(program);
    suite
        .current_dir(&results)
        .env("OCI_REGISTRY", &stage.registry)
        .env("OCI_REPO1", "acme/shop/one")
        .env("OCI_REPO2", "acme/shop/two")
        .env("OCI_USERNAME", "ada")
        .env("OCI_PASSWORD", "secret")
        .env("OCI_VERSION", "dev")
        .env("OCI_RESULTS_DIR", &results)
        .env("SSL_CERT_FILE", stage.world.home.path().join("ca/ca.pem"));
    for option in ALL {
        suite.env(format!("OCI_{option}"), (!without.contains(option)).to_string());
    }
    let status = suite.status().await.unwrap();
    let report = std::fs::read_to_string(results.join("junit.xml")).unwrap();
    let count = |what: &str| -> u64 {
        let before = format!(" {what}=\"");
        let values = report.split(&before).skip(1).map(|rest| rest.split('"').next().unwrap().parse::<u64>().unwrap());
        values.max().unwrap_or_default()
    };
    println!(
        "{name}: {} tests, {} failed, {} errors, {} skipped, {} disabled",
        count("tests"),
        count("failures"),
        count("errors"),
        count("skipped"),
        count("disabled")
    );
    assert!(status.success(), "the suite ended with {status}; see {}", results.display());
    assert!(count("tests") > 700, "the suite asked too little");
    assert_eq!((count("failures"), count("errors")), (0, 0), "see {}", results.display());
    if without.is_empty() {
        assert_eq!((count("skipped"), count("disabled")), (0, 0), "see {}", results.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the public suite"]
async fn the_public_suite_passes_with_small_content_in_the_database() {
    run("database", Config::default(), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the public suite"]
async fn the_public_suite_passes_with_everything_in_files() {
    run("files", Config { inline_bytes: 0, ..Config::default() }, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the public suite"]
async fn the_public_suite_passes_with_a_bucket() {
    let bucket = Bucket::start().await.expect("moto is installed");
    let ground = Ground::Bucket(bucket);
    run("bucket", Config { inline_bytes: 0, ..ground.config() }, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the public suite"]
async fn the_public_suite_passes_with_clients_sent_to_a_bucket() {
    let bucket = Bucket::start().await.expect("moto is installed");
    let ground = Ground::Bucket(bucket);
    let mut config = Config { inline_bytes: 0, ..ground.config() };
    config.s3.redirect = true;
    // The bucket does not know the header, and the answer is the bucket's.
    run("redirected", config, &["API_BLOBS_DIGEST_HEADER"]).await;
}
