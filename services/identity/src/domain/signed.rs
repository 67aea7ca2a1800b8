//! Whether an authority signed something: a certificate, or a list of revoked ones. The algorithms that authorities use today; no SHA-1.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519, Oid};

/// `oid` names the algorithm, `signature` is over `message`.
pub fn signed_by(oid: &Oid<'_>, message: &[u8], signature: &[u8], authority: &X509Certificate<'_>) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = if *oid == OID_SIG_ECDSA_WITH_SHA256 {
        &ECDSA_P256_SHA256_ASN1
    } else if *oid == OID_SIG_ECDSA_WITH_SHA384 {
        &ECDSA_P384_SHA384_ASN1
    } else if *oid == OID_SIG_ED25519 {
        &ED25519
    } else if *oid == OID_PKCS1_SHA256WITHRSA {
        &RSA_PKCS1_2048_8192_SHA256
    } else if *oid == OID_PKCS1_SHA384WITHRSA {
        &RSA_PKCS1_2048_8192_SHA384
    } else {
        return false;
    };
    let key = UnparsedPublicKey::new(algorithm, authority.public_key().subject_public_key.data.as_ref());
    key.verify(message, signature).is_ok()
}
