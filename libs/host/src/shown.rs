//! The certificate that a service shows, where it answers and where it asks. Another one can take its place while it runs: it counts for
//! new connections, and those that stand go on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureScheme};

use crate::context::Host;
use crate::pki::Leaf;

/// How often it is looked whether somebody has put another certificate in its place (cert-manager, a node that joined anew).
const LOOK: Duration = Duration::from_secs(10);

pub struct Shown(ArcSwap<Both>);

struct Both {
    leaf: Leaf,
    key: Arc<CertifiedKey>,
}

impl Shown {
    /// # Errors
    /// A damaged certificate, or a key that is another's.
    pub fn new(leaf: Leaf) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(Both::of(leaf)?))))
    }

    /// As it is now.
    pub fn leaf(&self) -> Leaf {
        self.0.load().leaf.clone()
    }

    /// # Errors
    /// A damaged certificate, or a key that is another's: what was shown is shown still.
    pub fn replace(&self, leaf: Leaf) -> anyhow::Result<()> {
        self.0.store(Arc::new(Both::of(leaf)?));
        Ok(())
    }

    fn key(&self) -> Arc<CertifiedKey> {
        self.0.load().key.clone()
    }
}

impl Both {
    fn of(leaf: Leaf) -> anyhow::Result<Self> {
        let (chain, key) = leaf.der()?;
        anyhow::ensure!(!chain.is_empty(), "there is no certificate in it");
        let key = CertifiedKey::from_der(chain, key, ServerConfig::builder().crypto_provider()).context("certificate and key")?;
        Ok(Self { leaf, key: Arc::new(key) })
    }
}

/// Without the key.
impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(***)")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Shows what lies in the folder of certificates, whenever it is another one; where there is none, one of the built-in authority in the
/// place of the last, when it is time. Until shutdown.
pub(crate) async fn follow(host: Host) {
    let read = || match host.pki.kept(host.name)? {
        Some(kept) => Ok(Some(kept)),
        None => host.pki.renewed(host.name, &[], &host.shown.leaf(), host.env.now()),
    };
    follow_files(&host, &host.shown, read, |found| host.show(found)).await;
}

/// Hands to `show` whatever `read` gives, whenever it is another one than what is `shown`. Until shutdown.
pub async fn follow_files(
    host: &Host,
    shown: &Shown,
    read: impl Fn() -> anyhow::Result<Option<Leaf>> + Send + Sync,
    show: impl Fn(&Leaf) -> anyhow::Result<()> + Send + Sync,
) {
    let mut refused = String::new();
    loop {
        tokio::select! { () = host.cancel.cancelled() => return, () = tokio::time::sleep(LOOK) => {} }
        let fault = match look(shown, &read, &show) {
            Ok(true) => {
                tracing::info!(service = host.name, "another certificate is shown from now on");
                String::new()
            }
            Ok(false) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        // Once for each that is wrong. Files are replaced one after the other, so for a moment they may not fit.
        if !fault.is_empty() && fault != refused {
            tracing::warn!(service = host.name, error = fault, "the certificate in its files cannot be shown; the one before is shown still");
        }
        refused = fault;
    }
}

/// Whether it was another one.
fn look(shown: &Shown, read: impl Fn() -> anyhow::Result<Option<Leaf>>, show: impl Fn(&Leaf) -> anyhow::Result<()>) -> anyhow::Result<bool> {
    let (Some(found), shown) = (read()?, shown.leaf()) else { return Ok(false) };
    if found.chain_pem == shown.chain_pem && found.key_pem == shown.key_pem {
        return Ok(false);
    }
    show(&found)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;

    #[test]
    fn another_one_in_its_place_is_shown_and_the_same_or_none_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path()).unwrap();
        let (first, second) = (pki.leaf("echo", &[]).unwrap(), pki.leaf("echo", &[]).unwrap());
        let shown = Shown::new(first.clone()).unwrap();
        let at = |found: Option<Leaf>| look(&shown, || Ok(found.clone()), |leaf| shown.replace(leaf.clone()));
        assert!(!at(None).unwrap() && !at(Some(first.clone())).unwrap());
        assert!(at(Some(Leaf { key_pem: second.key_pem.clone(), ..first.clone() })).is_err());
        assert_eq!(shown.leaf().chain_pem, first.chain_pem);
        assert!(at(Some(second.clone())).unwrap());
        assert_eq!(shown.leaf().chain_pem, second.chain_pem);
    }

    #[test]
    fn what_does_not_fit_never_takes_the_place_of_what_does() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path()).unwrap();
        let leaf = || pki.leaf("echo", &[]).unwrap();
        let (first, second) = (leaf(), leaf());
        let shown = Shown::new(first.clone()).unwrap();
        for wrong in [
            Leaf { key_pem: second.key_pem.clone(), ..first.clone() },
            Leaf { chain_pem: "half".into(), ..first.clone() },
            Leaf { chain_pem: String::new(), ..first.clone() },
            Leaf { key_pem: String::new(), ..second.clone() },
        ] {
            assert!(shown.replace(wrong).is_err());
            assert_eq!(shown.leaf().chain_pem, first.chain_pem);
        }
        shown.replace(second.clone()).unwrap();
        assert_eq!(shown.key().end_entity_cert().unwrap().as_ref(), second.der().unwrap().0[0].as_ref());
        assert!(!format!("{shown:?}").contains("PRIVATE"));
    }
}
