//! Public keys and certificates in PEM, and whether a signature is theirs. Cryptography is aws-lc's.

use aws_lc_rs::signature::{self as alg, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

/// Largest PEM text that is looked at.
pub const MAX_PEM: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// A public key, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub kind: Kind,
    /// As aws-lc wants it: the point, the PKCS#1 key, the 32 bytes.
    bytes: Vec<u8>,
}

/// What a trusted key's PEM holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    Key(PublicKey),
    /// DER.
    Certificate(Vec<u8>),
}

/// Which hash, and how the signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA as ASN.1, RSA as PKCS#1 v1.5, Ed25519; SHA-256 (cosign, DSSE, certificates).
    Usual,
    Sha384,
    Sha512,
    /// JWS and COSE: ECDSA as two numbers, RSA as PSS, with the hash of the curve's or key's size.
    Fixed(u16),
}

/// # Errors
/// Why it is neither a public key nor a certificate that can be used.
pub fn parse(pem: &str) -> Result<Material, &'static str> {
    let (label, der) = decode(pem).ok_or("must be PEM: -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----")?;
    match label.as_str() {
        "PUBLIC KEY" => {
            let (_, spki) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| "the public key is damaged")?;
            PublicKey::of(&spki).map(Material::Key).ok_or("must be an ECDSA key (P-256, P-384, P-521), an RSA key or an Ed25519 key")
        }
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| "the certificate is damaged")?;
            PublicKey::of(certificate.public_key()).ok_or("the certificate's key is of a kind that is not supported")?;
            Ok(Material::Certificate(der))
        }
        label if label.contains("PRIVATE") => Err("is a private key; give the public key (cosign.pub) and keep the private one secret"),
        _ => Err("must be a PUBLIC KEY or a CERTIFICATE"),
    }
}

/// Label and content of the first PEM block.
fn decode(pem: &str) -> Option<(String, Vec<u8>)> {
    if pem.len() > MAX_PEM {
        return None;
    }
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    Some((label.to_owned(), STANDARD.decode(body).ok()?))
}

impl PublicKey {
    pub fn of(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let curve = || spki.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|o| o.to_id_string());
        let kind = match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.10045.2.1" => match curve()?.as_str() {
                "1.2.840.10045.3.1.7" => Kind::P256,
                "1.3.132.0.34" => Kind::P384,
                "1.3.132.0.35" => Kind::P521,
                _ => return None,
            },
            "1.2.840.113549.1.1.1" => Kind::Rsa,
            "1.3.101.112" => Kind::Ed25519,
            _ => return None,
        };
        Some(Self { kind, bytes: spki.subject_public_key.data.to_vec() })
    }

    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        X509Certificate::from_der(der).ok().and_then(|(_, c)| Self::of(c.public_key()))
    }

    /// Whether `signature` over `message` is this key's.
    pub fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        let tries: Vec<&'static dyn VerificationAlgorithm> = match (self.kind, scheme) {
            (Kind::P256, Scheme::Usual) => vec![&alg::ECDSA_P256_SHA256_ASN1],
            (Kind::P256, Scheme::Sha384) => vec![&alg::ECDSA_P256_SHA384_ASN1],
            // Signers differ in whether the hash follows the curve.
            (Kind::P384, Scheme::Usual) => vec![&alg::ECDSA_P384_SHA384_ASN1, &alg::ECDSA_P384_SHA256_ASN1],
            (Kind::P384, Scheme::Sha384) => vec![&alg::ECDSA_P384_SHA384_ASN1],
            (Kind::P521, Scheme::Usual) => vec![&alg::ECDSA_P521_SHA512_ASN1, &alg::ECDSA_P521_SHA256_ASN1],
            (Kind::P521, Scheme::Sha512) => vec![&alg::ECDSA_P521_SHA512_ASN1],
            (Kind::Rsa, Scheme::Usual) => vec![&alg::RSA_PKCS1_2048_8192_SHA256],
            (Kind::Rsa, Scheme::Sha384) => vec![&alg::RSA_PKCS1_2048_8192_SHA384],
            (Kind::Rsa, Scheme::Sha512) => vec![&alg::RSA_PKCS1_2048_8192_SHA512],
            (Kind::Ed25519, Scheme::Usual) => vec![&alg::ED25519],
            (Kind::P256, Scheme::Fixed(256)) => vec![&alg::ECDSA_P256_SHA256_FIXED],
            (Kind::P384, Scheme::Fixed(384)) => vec![&alg::ECDSA_P384_SHA384_FIXED],
            (Kind::P521, Scheme::Fixed(512)) => vec![&alg::ECDSA_P521_SHA512_FIXED],
            (Kind::Rsa, Scheme::Fixed(256)) => vec![&alg::RSA_PSS_2048_8192_SHA256],
            (Kind::Rsa, Scheme::Fixed(384)) => vec![&alg::RSA_PSS_2048_8192_SHA384],
            (Kind::Rsa, Scheme::Fixed(512)) => vec![&alg::RSA_PSS_2048_8192_SHA512],
            _ => vec![],
        };
        tries.into_iter().any(|algorithm| UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok())
    }
}

/// Whether `child` was signed by `parent` (both DER): name chains and signature verifies.
pub fn issued(parent: &[u8], child: &[u8]) -> bool {
    let (Ok((_, parent)), Ok((_, child))) = (X509Certificate::from_der(parent), X509Certificate::from_der(child)) else { return false };
    if parent.subject().as_raw() != child.issuer().as_raw() {
        return false;
    }
    let scheme = match child.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.4.3.2" | "1.2.840.113549.1.1.11" | "1.3.101.112" => Scheme::Usual,
        "1.2.840.10045.4.3.3" | "1.2.840.113549.1.1.12" => Scheme::Sha384,
        "1.2.840.10045.4.3.4" | "1.2.840.113549.1.1.13" => Scheme::Sha512,
        _ => return false,
    };
    let Some(key) = PublicKey::of(parent.public_key()) else { return false };
    key.verifies(scheme, child.tbs_certificate.as_ref(), &child.signature_value.data)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_key_is_said() {
        assert!(parse("nonsense").is_err());
        assert!(parse("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----").unwrap_err().contains("private"));
        assert!(parse("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").unwrap_err().contains("damaged"));
        assert!(parse("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----").unwrap_err().contains("damaged"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), label in "(PUBLIC KEY|CERTIFICATE)") {
            let _ = parse(&format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", STANDARD.encode(&bytes)));
            let _ = (PublicKey::of_certificate(&bytes), issued(&bytes, &bytes));
        }
    }
}
