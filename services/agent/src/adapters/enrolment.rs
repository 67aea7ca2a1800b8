//! How a machine becomes a node: a key that is made here and stays here, a certificate for a join token, and the next one before
//! that ends. Certificate and key lie where the host looks for the agent's: `<ca_dir>/agent.pem` and `agent.key`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gantry_host::{Host, Leaf, Pki, Shown, joined, shown_client_config};
use gantry_kernel::{Name, OffsetDateTime};
use rcgen::{CertificateParams, KeyPair};
use serde::Deserialize;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);
const CERTIFICATE: &str = "agent.pem";
const KEY: &str = "agent.key";
const AUTHORITIES: &str = "ca.pem";

/// What identity answers.
#[derive(Deserialize)]
struct Signed {
    pem: String,
    ca: String,
}

/// A node's certificate, as far as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub node: Name,
    pub from: OffsetDateTime,
    pub until: OffsetDateTime,
}

/// Of the first certificate in `pem`; `None`: it is no node's.
pub fn certificate(pem: &str) -> Option<Certificate> {
    use x509_parser::prelude::{GeneralName, parse_x509_pem};
    let (_, first) = parse_x509_pem(pem.as_bytes()).ok()?;
    let parsed = first.parse_x509().ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let node = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Name::parse(uri.strip_prefix("spiffe://gantry/node/")?).ok(),
        _ => None,
    })?;
    let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).ok();
    Some(Certificate { node, from: at(parsed.validity().not_before.timestamp())?, until: at(parsed.validity().not_after.timestamp())? })
}

/// Joins the platform at `url` as `node`, with a token that is good once. `ca`: PEM of who signed the platform's public certificate.
/// Gives the file that the certificate lies in.
///
/// # Errors
/// A name that is none, the platform's own machine, no connection, a refusal, or a folder that cannot be written.
pub async fn join(ca_dir: &Path, url: &str, node: &str, token: &str, ca: Option<&[u8]>) -> Result<std::path::PathBuf> {
    Name::parse(node).map_err(|e| anyhow::anyhow!("the node's name {e}"))?;
    ensure!(!ca_dir.join("ca.key").exists(), "{} holds the platform's own authority: the agent of this machine needs no token", ca_dir.display());
    let key = KeyPair::generate()?;
    let request = request(&key)?;
    let mut builder = reqwest::Client::builder().https_only(true).timeout(PATIENCE);
    if let Some(pem) = ca {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem).context("the authority's file is no certificate in PEM")?);
    }
    let url = format!("{}/api/v1/node-certificates", url.trim_end_matches('/'));
    let body = json!({ "token": token, "node": node, "request": request });
    let answer = builder.build()?.post(&url).json(&body).send().await.with_context(|| format!("{url} cannot be reached"))?;
    let signed = taken(answer).await?;
    keep(ca_dir, Some(&key.serialize_pem()), &signed)?;
    Ok(ca_dir.join(CERTIFICATE))
}

/// What a renewal gives.
pub struct Renewed {
    pub leaf: Leaf,
    /// To be trusted from now on (PEM).
    pub authorities: String,
}

/// The next certificate for the same key; the present one shows who asks. The authorities that come with it are kept with those before.
///
/// # Errors
/// No connection, or a refusal.
pub async fn renew(host: &Host, leaf: &Leaf) -> Result<Renewed> {
    let request = request(&KeyPair::from_pem(&leaf.key_pem).context("the node's key")?)?;
    let client =
        reqwest::Client::builder().tls_backend_preconfigured(shown_client_config(host.trusted.clone(), Shown::new(leaf.clone())?)).timeout(PATIENCE).build()?;
    let url = format!("{}/api/v1/node-certificates/renewals", host.url_of("identity")?);
    let signed = taken(client.post(&url).json(&json!({ "request": request })).send().await.context("identity cannot be reached")?).await?;
    let dir = &host.platform.ca_dir;
    let authorities = take_in_authorities(dir, &host.trusted.pem(), &signed.ca, host.env.now())?;
    keep(dir, None, &signed)?;
    Ok(Renewed { leaf: Pki::open(dir)?.leaf("agent", &[])?, authorities })
}

/// Trusts the authorities that lie on disk, beside those that are trusted already. What is damaged there changes nothing.
pub fn trust_kept(host: &Host) {
    let path = host.platform.ca_dir.join(AUTHORITIES);
    let kept = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
    let trusted = kept.and_then(|kept| joined(&host.trusted.pem(), &kept, host.env.now())).and_then(|all| host.trust(&all));
    if let Err(error) = trusted {
        tracing::error!(error = format!("{error:#}"), "the authorities beside the agent's certificate are not taken in; those before are trusted still");
    }
}

/// Writes down whom the platform trusts (`told`), beside whom was trusted before: what lies on disk, where an operator may have changed it,
/// or else what is `trusted` now. Gives all of them. What is told and is damaged changes nothing: the certificate is good all the same.
fn take_in_authorities(ca_dir: &Path, trusted: &str, told: &str, now: OffsetDateTime) -> Result<String> {
    let path = ca_dir.join(AUTHORITIES);
    let kept = std::fs::read_to_string(&path).ok();
    // A damaged file is written anew from what counts here.
    let present = kept.as_deref().filter(|kept| joined(trusted, kept, now).is_ok()).unwrap_or(trusted);
    let all = match joined(present, told, now) {
        Ok(all) => all,
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "the authorities that came with the node's certificate are not taken in; those before are trusted still"
            );
            return Ok(present.to_owned());
        }
    };
    if kept.as_deref() != Some(all.as_str()) {
        put(&path, &all, 0o644)?;
    }
    Ok(all)
}

/// PKCS#10 in PEM: only the key in it counts.
fn request(key: &KeyPair) -> Result<String> {
    Ok(CertificateParams::new(Vec::new())?.serialize_request(key)?.pem()?)
}

async fn taken(answer: reqwest::Response) -> Result<Signed> {
    let status = answer.status();
    if status.is_success() {
        return answer.json().await.context("the platform's answer is no certificate");
    }
    let problem: serde_json::Value = answer.json().await.unwrap_or_default();
    match problem["detail"].as_str() {
        Some(detail) => bail!("the platform refuses: {detail}"),
        None => bail!("the platform refuses with status {status}"),
    }
}

/// The certificate takes its place as the last: a crash leaves the old one, or all of the new.
fn keep(ca_dir: &Path, key: Option<&str>, signed: &Signed) -> Result<()> {
    std::fs::create_dir_all(ca_dir).with_context(|| format!("cannot make {}", ca_dir.display()))?;
    if let Some(key) = key {
        put(&ca_dir.join(KEY), key, 0o600)?;
        put(&ca_dir.join(AUTHORITIES), &signed.ca, 0o644)?;
    }
    put(&ca_dir.join(CERTIFICATE), &signed.pem, 0o644)
}

fn put(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        // One with other rights may lie there.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use gantry_host::{NodeCertificate, client_config};

    use super::*;

    #[test]
    fn a_signed_request_is_what_the_agent_starts_with() {
        let (platform, machine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pki = Pki::open(platform.path()).unwrap();
        let key = KeyPair::generate().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap();
        let sign = |key: &KeyPair, serial: u8| {
            let request = request(key).unwrap();
            pki.sign_node(&NodeCertificate { node: "n1", request: &request, serial: [serial; 16], now, life: time::Duration::hours(24) }).unwrap()
        };
        keep(machine.path(), Some(&key.serialize_pem()), &Signed { pem: sign(&key, 1), ca: pki.ca_pem.clone() }).unwrap();
        let leaf = Pki::open(machine.path()).unwrap().leaf("agent", &[]).unwrap();
        let found = certificate(&leaf.chain_pem).unwrap();
        assert_eq!((found.node.as_str(), found.until - now), ("n1", time::Duration::hours(24)));
        assert!(client_config(&pki, &leaf).is_ok(), "key and certificate belong together");
        assert!(!machine.path().join("ca.key").exists());
        // The next one is for the same key.
        let again = KeyPair::from_pem(&leaf.key_pem).unwrap();
        keep(machine.path(), None, &Signed { pem: sign(&again, 2), ca: pki.ca_pem.clone() }).unwrap();
        let next = Pki::open(machine.path()).unwrap().leaf("agent", &[]).unwrap();
        assert!(next.chain_pem != leaf.chain_pem && next.key_pem == leaf.key_pem && client_config(&pki, &next).is_ok());
        assert_eq!(certificate(&pki.leaf("agent", &[]).unwrap().chain_pem), None, "the platform's own is no node's");
    }

    #[test]
    fn an_authority_that_comes_with_a_renewal_is_trusted_beside_the_one_before() {
        let (root, machine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [old, new] = ["old", "new"].map(|name| Pki::open(&root.path().join(name)).unwrap().ca_pem);
        let now = gantry_kernel::Env::system().now();
        let written = || std::fs::read_to_string(machine.path().join("ca.pem")).unwrap();
        let count = |pem: &str| pem.matches("BEGIN CERTIFICATE").count();
        std::fs::write(machine.path().join("ca.pem"), &old).unwrap();
        assert_eq!(count(&take_in_authorities(machine.path(), &old, &old, now).unwrap()), 1, "the same as before");
        let both = take_in_authorities(machine.path(), &old, &new, now).unwrap();
        assert!(both.contains(new.trim()) && both.contains(old.trim()) && written() == both);
        // What an agent that starts anew reads.
        assert_eq!(Pki::open(machine.path()).unwrap().ca_pem, both);
        // Damaged on the way, and on the disk.
        assert_eq!(take_in_authorities(machine.path(), &both, "x", now).unwrap(), both);
        std::fs::write(machine.path().join("ca.pem"), "half").unwrap();
        assert_eq!(count(&take_in_authorities(machine.path(), &both, &new, now).unwrap()), 2);
        assert_eq!(count(&written()), 2);
    }

    #[tokio::test]
    async fn the_platforms_own_machine_does_not_join() {
        let machine = tempfile::tempdir().unwrap();
        Pki::open(machine.path()).unwrap();
        let refused = join(machine.path(), "https://127.0.0.1:1", "n1", "gnode_x", None).await.unwrap_err();
        assert!(refused.to_string().contains("needs no token"), "{refused}");
        assert!(join(&machine.path().join("other"), "https://127.0.0.1:1", "No Name", "x", None).await.is_err());
    }
}
