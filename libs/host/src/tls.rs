//! rustls configurations: servers that ask for a service's certificate, clients that show one.

use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::pki::{Leaf, Pki};
use crate::shown::Shown;
use crate::trusted::Trusted;

pub(crate) fn roots(ca_pem: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.context("ca.pem")?)?;
    }
    Ok(roots)
}

/// For callers with a certificate of whom is `trusted` then, who are shown whatever is `shown` then.
pub(crate) fn shown_server_config(trusted: Arc<Trusted>, shown: Arc<Shown>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder().with_client_cert_verifier(trusted).with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// For callers of any kind, who are shown whatever is `shown` then.
pub fn door_config(shown: Arc<Shown>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Trusts the installation's authorities only, those that are `trusted` then, and shows whatever is `shown` then.
pub fn shown_client_config(trusted: Arc<Trusted>, shown: Arc<Shown>) -> ClientConfig {
    ClientConfig::builder().dangerous().with_custom_certificate_verifier(trusted).with_client_cert_resolver(shown)
}

/// `mutual`: only callers with a certificate of the same authority are let in.
///
/// # Errors
/// When certificate or key are damaged.
pub fn server_config(pki: &Pki, leaf: &Leaf, mutual: bool) -> anyhow::Result<Arc<ServerConfig>> {
    let (chain, key) = leaf.der()?;
    let builder = ServerConfig::builder();
    let builder = if mutual {
        builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots(&pki.ca_pem)?)).build()?)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Trusts the installation's authority only, and shows `leaf`.
///
/// # Errors
/// When certificate or key are damaged.
pub fn client_config(pki: &Pki, leaf: &Leaf) -> anyhow::Result<ClientConfig> {
    let (chain, key) = leaf.der()?;
    Ok(ClientConfig::builder().with_root_certificates(roots(&pki.ca_pem)?).with_client_auth_cert(chain, key)?)
}
