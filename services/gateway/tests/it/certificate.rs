//! The certificate that the door shows.

use std::path::Path;
use std::time::Duration;

use gantry_gateway::GatewayConfig;
use gantry_host::Pki;

use crate::world::door;

/// Puts a certificate of an authority of its own there; gives the authority's.
fn put(folder: &Path, authority: &str) -> reqwest::Certificate {
    let pki = Pki::open(&folder.join(authority)).expect("an authority");
    let leaf = pki.leaf("door", &["localhost"]).expect("a certificate");
    std::fs::write(folder.join("tls.crt"), leaf.chain_pem).expect("written");
    std::fs::write(folder.join("tls.key"), leaf.key_pem).expect("written");
    reqwest::Certificate::from_pem(pki.ca_pem.as_bytes()).expect("the authority's certificate")
}

/// Over a connection of its own.
async fn trusted(url: &str, authority: &reqwest::Certificate) -> bool {
    let client = reqwest::Client::builder().tls_certs_only([authority.clone()]).timeout(Duration::from_secs(60)).build().expect("a client");
    client.get(url).send().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_half_written_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = put(folder.path(), "first");
    let config = GatewayConfig { certificate_file: folder.path().join("tls.crt"), key_file: folder.path().join("tls.key"), ..GatewayConfig::default() };
    let door = door(Vec::new(), config).await;
    assert!(trusted(&door.url, &first).await);

    std::fs::write(folder.path().join("tls.crt"), "half").expect("written");
    // It is looked for every ten seconds.
    let still = async {
        while trusted(&door.url, &first).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(12), still).await.expect_err("the one before is shown still");

    let second = put(folder.path(), "second");
    door.world.until("the new one is shown", Duration::from_secs(30), || trusted(&door.url, &second)).await;
    assert!(!trusted(&door.url, &first).await);
}
