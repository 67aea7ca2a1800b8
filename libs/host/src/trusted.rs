//! The authorities whose certificates a service takes, of those that call it and of those it calls. Another bundle can take the place of
//! the one before while it runs: it counts for new connections, and those that stand go on.

use std::fmt;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use crate::tls::roots;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// More than this are no authorities of one installation.
const MOST: usize = 32;

pub struct Trusted(ArcSwap<Bundle>);

struct Bundle {
    pem: String,
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Trusted {
    /// `ca_pem`: one certificate or several.
    ///
    /// # Errors
    /// A damaged certificate, or none.
    pub fn new(ca_pem: &str) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(Bundle::of(ca_pem)?))))
    }

    /// As it is now.
    pub fn pem(&self) -> String {
        self.0.load().pem.clone()
    }

    /// # Errors
    /// A damaged certificate, or none: those before are trusted still.
    pub fn replace(&self, ca_pem: &str) -> anyhow::Result<()> {
        self.0.store(Arc::new(Bundle::of(ca_pem)?));
        Ok(())
    }
}

impl Bundle {
    fn of(ca_pem: &str) -> anyhow::Result<Self> {
        let roots = Arc::new(roots(ca_pem)?);
        Ok(Self {
            pem: ca_pem.to_owned(),
            servers: WebPkiServerVerifier::builder(roots.clone()).build().context("ca.pem")?,
            clients: WebPkiClientVerifier::builder(roots).build().context("ca.pem")?,
        })
    }
}

/// What is to be trusted by who trusts `present` and is `told` (both PEM) that others count now: those, and of the present ones each until
/// its own end, since not everybody has a certificate of the new authority yet.
///
/// # Errors
/// When `told` holds no certificate that has not ended, or a damaged one.
pub fn joined(present: &str, told: &str, now: OffsetDateTime) -> anyhow::Result<String> {
    let mut all: Vec<(CertificateDer<'static>, &str)> = Vec::new();
    for block in blocks(told) {
        let (der, until) = authority(block).context("an authority's certificate")?;
        if until >= now.unix_timestamp() && !all.iter().any(|(known, _)| *known == der) {
            all.push((der, block));
        }
    }
    anyhow::ensure!(!all.is_empty(), "there is no authority's certificate in it that counts");
    for block in blocks(present) {
        // One that cannot be read was never trusted.
        let Ok((der, until)) = authority(block) else { continue };
        if until >= now.unix_timestamp() && !all.iter().any(|(known, _)| *known == der) {
            all.push((der, block));
        }
    }
    anyhow::ensure!(all.len() <= MOST, "{} authorities are too many", all.len());
    Ok(all.into_iter().map(|(_, block)| format!("{block}\n")).collect())
}

/// The certificates in a text, each as it is written there.
fn blocks(pem: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), pem);
    while let Some(from) = rest.find(BEGIN) {
        let Some(length) = rest[from..].find(END) else { break };
        let (block, after) = rest[from..].split_at(length + END.len());
        found.push(block);
        rest = after;
    }
    found
}

/// A certificate, and until when it counts, in seconds since 1970.
fn authority(block: &str) -> anyhow::Result<(CertificateDer<'static>, i64)> {
    let der = CertificateDer::from_pem_slice(block.as_bytes())?;
    let until = {
        let (_, parsed) = parse_x509_certificate(&der).map_err(|error| anyhow::anyhow!("{error}"))?;
        parsed.validity().not_after.timestamp()
    };
    Ok((der, until))
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trusted")
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.load().servers.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().servers.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().servers.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().servers.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Trusted {
    /// None: a caller shows what it has, and which authorities count may change while it asks.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        self.0.load().clients.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().clients.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;

    fn authorities() -> (tempfile::TempDir, [Pki; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let made = ["old", "new"].map(|name| Pki::open(&dir.path().join(name)).unwrap());
        (dir, made)
    }

    #[test]
    fn a_new_authority_counts_beside_the_old_one_until_that_ends() {
        let (_dir, [old, new]) = authorities();
        let now = gantry_kernel::Env::system().now();
        let both = joined(&old.ca_pem, &new.ca_pem, now).unwrap();
        let written = |pem: &str| blocks(pem).into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(written(&both), [written(&new.ca_pem), written(&old.ca_pem)].concat(), "the new one first: it signs");
        // Told again, in whatever order, nobody is there twice.
        assert_eq!(written(&joined(&both, &format!("{}{}", old.ca_pem, new.ca_pem), now).unwrap()).len(), 2);
        let [late, last] = [9, 11].map(|years| now + time::Duration::days(365 * years));
        assert_eq!(written(&joined(&both, &new.ca_pem, late).unwrap()).len(), 2);
        assert!(joined(&both, &new.ca_pem, last).is_err(), "what has ended is no authority, also when it is told");
    }

    #[test]
    fn what_is_told_is_taken_whole_or_not_at_all() {
        let (_dir, [old, new]) = authorities();
        let now = gantry_kernel::Env::system().now();
        let damaged = format!("{BEGIN}\nAAAA\n{END}\n");
        let half = format!("{}{damaged}", new.ca_pem);
        for told in ["", "no certificate", BEGIN, damaged.as_str(), half.as_str()] {
            assert!(joined(&old.ca_pem, told, now).is_err(), "{told}");
        }
    }

    #[test]
    fn whoever_is_trusted_later_is_taken_from_then_on_and_damaged_bundles_change_nothing() {
        let (_dir, [old, new]) = authorities();
        let env = gantry_kernel::Env::system();
        let trusted = Trusted::new(&old.ca_pem).unwrap();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(env.now().unix_timestamp()).unwrap()));
        let name = ServerName::try_from("echo.gantry.internal").unwrap();
        let takes = |pki: &Pki| {
            let chain = pki.leaf("echo", &[]).unwrap().der().unwrap().0;
            let server = trusted.verify_server_cert(&chain[0], &[], &name, &[], at).is_ok();
            assert_eq!(trusted.verify_client_cert(&chain[0], &[], at).is_ok(), server);
            server
        };
        assert!(takes(&old) && !takes(&new));
        for damaged in ["", "x"] {
            assert!(trusted.replace(damaged).is_err());
        }
        assert!(takes(&old) && !takes(&new));
        trusted.replace(&joined(&old.ca_pem, &new.ca_pem, env.now()).unwrap()).unwrap();
        assert!(takes(&old) && takes(&new));
    }
}
