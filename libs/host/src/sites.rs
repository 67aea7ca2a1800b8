//! Certificates of sites that applications serve: what is wrong with one that somebody brings, and one of the built-in authority for those
//! who bring none.

use anyhow::{Context, Result};
use gantry_kernel::OffsetDateTime;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use time::Duration;
use x509_parser::prelude::GeneralName;

use crate::pki::{Leaf, Pki};

impl Leaf {
    /// When it ends, if it is one for `host` (also `*.example.org`).
    ///
    /// # Errors
    /// A sentence about what is wrong with it: no certificate, no key, another's key, other names.
    pub fn serves(&self, host: &str) -> Result<OffsetDateTime, String> {
        let (chain, key) = self.der().map_err(|error| format!("its {error} is none in PEM"))?;
        let Some(first) = chain.first().cloned() else { return Err("there is no certificate in it".into()) };
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|_| "its key is none, or another certificate's".to_owned())?;
        let (_, own) = x509_parser::parse_x509_certificate(&first).map_err(|_| "its certificate is damaged".to_owned())?;
        let named = own.subject_alternative_name().ok().flatten();
        let mut names = named.iter().flat_map(|names| &names.value.general_names);
        if !names.any(|name| matches!(name, GeneralName::DNSName(name) if covers(name, host))) {
            return Err(format!("its certificate is not for `{host}`"));
        }
        OffsetDateTime::from_unix_timestamp(own.validity().not_after.timestamp()).map_err(|_| "its certificate has no end".to_owned())
    }
}

/// A star stands for one label.
fn covers(name: &str, host: &str) -> bool {
    let below = || host.split_once('.').filter(|(first, _)| *first != "*").map(|(_, domain)| domain);
    name.eq_ignore_ascii_case(host) || name.strip_prefix("*.").is_some_and(|domain| below().is_some_and(|below| below.eq_ignore_ascii_case(domain)))
}

impl Pki {
    /// A certificate for the site `host` alone, of the built-in authority.
    ///
    /// # Errors
    /// An authority whose key is elsewhere, or a host that is none.
    pub fn site(&self, host: &str, now: OffsetDateTime, life: Duration) -> Result<Leaf> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).with_context(|| format!("`{host}` is no host"))?;
        // A common name has at most 64 characters.
        params.distinguished_name.push(DnType::CommonName, "Gantry site");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Clocks of machines differ.
        params.not_before = now - Duration::hours(1);
        params.not_after = now + life;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer()?)?;
        Ok(Leaf { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_its_host_and_has_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let of = |host: &str| pki.site(host, now, Duration::days(90)).unwrap();
        let (shop, all) = (of("shop.example.org"), of("*.example.org"));
        assert_eq!(shop.serves("shop.example.org"), Ok(now + Duration::days(90)));
        assert!(all.serves("shop.example.org").is_ok() && all.serves("*.example.org").is_ok());
        for other in ["example.org", "a.shop.example.org", "*.org"] {
            assert!(all.serves(other).is_err_and(|why| why.contains("not for")), "{other}");
        }
        assert!(shop.serves("*.example.org").is_err());
        let mixed = Leaf { key_pem: all.key_pem.clone(), ..shop.clone() };
        assert!(mixed.serves("shop.example.org").is_err_and(|why| why.contains("another certificate's")));
        let no_key = Leaf { key_pem: "none".into(), ..shop.clone() };
        assert!(no_key.serves("shop.example.org").is_err_and(|why| why.contains("private key")));
        let nothing = Leaf { chain_pem: String::new(), ..shop };
        assert!(nothing.serves("shop.example.org").is_err_and(|why| why.contains("no certificate")));
    }
}
