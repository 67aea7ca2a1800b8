//! When a credential ends, by what it says of itself. That is nobody's proof, but good to know before the server refuses it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use time::OffsetDateTime;
use x509_parser::pem::Pem;

use crate::access::Credential;

/// `None`: it does not say, or it is renewed without anybody.
pub fn expiry(credential: &Credential) -> Option<OffsetDateTime> {
    match credential {
        Credential::Token { token } => of_token(token),
        Credential::Certificate { certificate_pem, .. } => of_certificate(certificate_pem),
        Credential::Exec(_) | Credential::InCluster { .. } => None,
    }
}

/// Of a JSON Web Token (RFC 7519, 4.1.4).
fn of_token(token: &str) -> Option<OffsetDateTime> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    OffsetDateTime::from_unix_timestamp(claims["exp"].as_i64()?).ok()
}

/// Of the first one, which is the user's own; those of authorities follow it, and some files have the key before it.
fn of_certificate(pem: &str) -> Option<OffsetDateTime> {
    let own = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok).find(|block| block.label == "CERTIFICATE")?;
    let until = own.parse_x509().ok()?.validity().not_after.timestamp();
    OffsetDateTime::from_unix_timestamp(until).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn tokens_and_certificates_say_when_they_end() {
        let end = OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
        let token = format!("head.{}.signature", URL_SAFE_NO_PAD.encode(r#"{"exp":1900000000}"#));
        assert_eq!(expiry(&Credential::Token { token }), Some(end));
        assert_eq!(expiry(&Credential::Token { token: "opaque".into() }), None);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["somebody".to_owned()]).unwrap();
        params.not_after = end;
        let certificate = params.self_signed(&key).unwrap().pem();
        let both = format!("{}\n{certificate}", key.serialize_pem());
        for certificate_pem in [certificate, both] {
            assert_eq!(expiry(&Credential::Certificate { certificate_pem, key_pem: String::new() }), Some(end));
        }
        assert_eq!(expiry(&Credential::Certificate { certificate_pem: "none".into(), key_pem: String::new() }), None);
    }
}
