//! Notation signatures (notaryproject specifications, signature-envelope-jws.md and -cose.md): the envelope, the certificate
//! chain in it, and whether that chain leads to a certificate the project trusts.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::Fault;
use super::key::{PublicKey, Scheme, issued};

pub const ARTIFACT: &str = "application/vnd.cncf.notary.signature";
pub const JWS: &str = "application/jose+json";
pub const COSE: &str = "application/cose";
pub const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";
/// Longest chain that is followed.
const MOST_CERTIFICATES: usize = 10;

/// A certificate the project trusts: name, DER, and what the signer's subject must contain.
pub type Trusted = (String, Vec<u8>, Vec<String>);

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Name of the trusted certificate.
    pub key: String,
    /// Subject of the signer's certificate.
    pub subject: String,
}

/// An envelope with its parts checked for form, not yet for trust.
pub struct Parts {
    /// What the signature is over.
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
    /// Hash size in bits: 256, 384 or 512.
    pub hash: u16,
    /// DER, the signer's first.
    pub chain: Vec<Vec<u8>>,
    pub payload: Vec<u8>,
    pub signed_at: Option<OffsetDateTime>,
    pub expires: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
struct Jws {
    payload: String,
    protected: String,
    header: Header,
    signature: String,
}

#[derive(Deserialize)]
struct Header {
    x5c: Vec<String>,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    #[serde(default)]
    cty: String,
    #[serde(default)]
    crit: Vec<String>,
    #[serde(rename = "io.cncf.notary.signingScheme", default)]
    scheme: String,
    #[serde(rename = "io.cncf.notary.signingTime", default)]
    signed_at: Option<String>,
    #[serde(rename = "io.cncf.notary.expiry", default)]
    expiry: Option<String>,
}

/// Takes a JWS envelope apart.
///
/// # Errors
/// Not of that form, or with critical parts this program does not know.
pub fn jws(bytes: &[u8]) -> Result<Parts, Fault> {
    let jws: Jws = serde_json::from_slice(bytes).map_err(Fault::form)?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(Fault::form);
    let protected: Protected = serde_json::from_slice(&decode(&jws.protected)?).map_err(Fault::form)?;
    for name in &protected.crit {
        if !matches!(name.as_str(), "io.cncf.notary.signingScheme" | "io.cncf.notary.expiry" | "io.cncf.notary.authenticSigningTime") {
            return Err(Fault::Unknown(name.chars().take(100).collect()));
        }
    }
    check_kind(&protected.cty, &protected.scheme)?;
    let hash = match protected.alg.as_str() {
        "ES256" | "PS256" => 256,
        "ES384" | "PS384" => 384,
        "ES512" | "PS512" => 512,
        other => return Err(Fault::Unknown(other.chars().take(40).collect())),
    };
    let time = |text: Option<String>| text.map(|t| OffsetDateTime::parse(&t, &Rfc3339).map_err(Fault::form)).transpose();
    let chain = jws.header.x5c.iter().take(MOST_CERTIFICATES).map(|c| STANDARD.decode(c).map_err(Fault::form)).collect::<Result<_, _>>()?;
    Ok(Parts {
        message: format!("{}.{}", jws.protected, jws.payload).into_bytes(),
        signature: decode(&jws.signature)?,
        hash,
        chain,
        payload: decode(&jws.payload)?,
        signed_at: time(protected.signed_at)?,
        expires: time(protected.expiry)?,
    })
}

pub(super) fn check_kind(content: &str, scheme: &str) -> Result<(), Fault> {
    if content != PAYLOAD {
        return Err(Fault::Unknown(content.chars().take(100).collect()));
    }
    // Without a time stamp authority the signing time is the signer's word; the chain is checked for now instead.
    if scheme == "notary.x509" { Ok(()) } else { Err(Fault::Unknown(scheme.chars().take(100).collect())) }
}

/// Whether the signature is good, about `digest`, and by somebody trusted.
///
/// # Errors
/// Which of these it is not.
pub fn verify(parts: &Parts, digest: &str, trusted: &[Trusted], now: OffsetDateTime) -> Result<Signed, Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        target_artifact: Target,
    }
    #[derive(Deserialize)]
    struct Target {
        digest: String,
    }
    let payload: Payload = serde_json::from_slice(&parts.payload).map_err(Fault::form)?;
    if payload.target_artifact.digest != digest {
        return Err(Fault::OtherImage(payload.target_artifact.digest.chars().take(100).collect()));
    }
    let leaf = parts.chain.first().ok_or_else(|| Fault::form("no certificate"))?;
    let key = PublicKey::of_certificate(leaf).ok_or_else(|| Fault::form("the signer's certificate cannot be used"))?;
    if !key.verifies(Scheme::Fixed(parts.hash), &parts.message, &parts.signature) {
        return Err(Fault::Untrusted);
    }
    if parts.expires.is_some_and(|e| e <= now) {
        return Err(Fault::Expired);
    }
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(Fault::form)?;
    if !valid_at(leaf, now) {
        return Err(Fault::Expired);
    }
    if !is_for_content(&certificate) {
        return Err(Fault::Purpose);
    }
    for (name, anchor, wanted) in trusted {
        if wanted.iter().all(|w| has(certificate.subject(), w)) && leads_to(&parts.chain, anchor, now) {
            return Ok(Signed { key: name.clone(), subject: certificate.subject().to_string() });
        }
    }
    Err(Fault::Untrusted)
}

/// Whether the certificate may sign content (signature-specification.md, "Certificate Requirements"): an authority that the project trusts has mostly
/// issued others, for servers and mails, and their holders sign no images. One that says nothing may.
fn is_for_content(certificate: &X509Certificate<'_>) -> bool {
    let signs = certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.digital_signature()));
    let purposes = certificate.extended_key_usage().is_ok_and(|usage| {
        usage.is_none_or(|usage| {
            let usage = usage.value;
            usage.code_signing && !(usage.any || usage.server_auth || usage.email_protection || usage.time_stamping)
        })
    });
    signs && purposes
}

/// Whether one of the subject's attributes is `wanted`, such as `O=acme`. Not by the subject's text, where a comma in a name looks like the beginning
/// of another attribute.
fn has(subject: &X509Name<'_>, wanted: &str) -> bool {
    let Some((kind, value)) = wanted.split_once('=') else { return false };
    let squeeze = |text: &str| text.replace(' ', "");
    subject.iter_attributes().any(|attribute| {
        let is_kind = oid2abbrev(attribute.attr_type(), oid_registry()).is_ok_and(|name| name == kind.trim());
        is_kind && attribute.as_str().is_ok_and(|found| squeeze(found) == squeeze(value))
    })
}

/// Follows the chain upwards until a certificate that is the anchor, or that the anchor issued.
fn leads_to(chain: &[Vec<u8>], anchor: &[u8], now: OffsetDateTime) -> bool {
    for (i, certificate) in chain.iter().enumerate() {
        if !valid_at(certificate, now) || (i > 0 && !is_authority(certificate)) {
            return false;
        }
        if certificate == anchor {
            return true;
        }
        if is_authority(anchor) && valid_at(anchor, now) && issued(anchor, certificate) {
            return true;
        }
        match chain.get(i + 1) {
            Some(next) if issued(next, certificate) => {}
            _ => return false,
        }
    }
    false
}

fn valid_at(der: &[u8], now: OffsetDateTime) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let validity = certificate.validity();
    (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now.unix_timestamp())
}

fn is_authority(der: &[u8]) -> bool {
    let signs = |c: &X509Certificate<'_>| c.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    X509Certificate::from_der(der).is_ok_and(|(_, c)| c.is_ca() && signs(&c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn named(organization: &str, common: &str) -> Vec<u8> {
        certificate(|params| {
            params.distinguished_name.push(DnType::OrganizationName, organization);
            params.distinguished_name.push(DnType::CommonName, common);
        })
    }

    #[test]
    fn subjects_are_compared_by_whole_attributes() {
        let is = |der: &[u8], wanted: &str| has(X509Certificate::from_der(der).unwrap().1.subject(), wanted);
        let acme = named("acme", "build");
        assert!(is(&acme, "O=acme") && is(&acme, "CN=build") && is(&acme, "O= acme"));
        assert!(!is(&acme, "O=build") && !is(&acme, "acme") && !is(&acme, "OU=acme"));
        assert!(!is(&named("acme-evil", "build"), "O=acme"));
        // Who may choose a name may choose one with commas.
        for common in ["x, O=acme", "x + O=acme", "O=acme"] {
            assert!(!is(&named("evil", common), "O=acme"), "{common}");
        }
    }

    #[test]
    fn a_certificate_for_servers_or_mails_signs_no_content() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, EmailProtection, ServerAuth, TimeStamping};
        let with = |purposes: &[ExtendedKeyUsagePurpose], usages: &[KeyUsagePurpose]| {
            let der = certificate(|params| (params.extended_key_usages, params.key_usages) = (purposes.to_vec(), usages.to_vec()));
            is_for_content(&X509Certificate::from_der(&der).unwrap().1)
        };
        assert!(with(&[], &[]) && with(&[CodeSigning], &[KeyUsagePurpose::DigitalSignature]) && with(&[CodeSigning, ClientAuth], &[]));
        for other in [ServerAuth, EmailProtection, TimeStamping, Any] {
            assert!(!with(&[other.clone()], &[]) && !with(&[CodeSigning, other.clone()], &[]), "{other:?}");
        }
        assert!(!with(&[ClientAuth], &[]) && !with(&[CodeSigning], &[KeyUsagePurpose::KeyEncipherment]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = jws(&bytes);
            let parts = Parts { message: bytes.clone(), signature: bytes.clone(), hash: 256, chain: vec![bytes.clone()], payload: bytes, signed_at: None, expires: None };
            let _ = verify(&parts, "sha256:x", &[], OffsetDateTime::UNIX_EPOCH);
        }
    }
}
