//! Whether a certificate is that of a client (RFC 8705): by the name an authority vouched for, or by its key.

use gantry_contract::identity::ClientSettings;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// `tls_client_auth` (section 2.1): the certificate was checked by the TLS layer; here its name is compared.
pub fn name_fits(settings: &ClientSettings, der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    if let Some(wanted) = &settings.tls_client_auth_subject_dn {
        return same_name(wanted, &certificate.subject().to_string());
    }
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(dns) => settings.tls_client_auth_san_dns.as_ref().is_some_and(|wanted| wanted.eq_ignore_ascii_case(dns)),
        GeneralName::URI(uri) => settings.tls_client_auth_san_uri.as_deref() == Some(uri),
        _ => false,
    })
}

/// RFC 4514 writes names in reverse order; tools differ in order and spaces, so parts are compared as a set.
fn same_name(wanted: &str, got: &str) -> bool {
    let parts = |name: &str| {
        let mut parts: Vec<String> = split(name);
        parts.sort();
        parts
    };
    let (wanted, got) = (parts(wanted), parts(got));
    !wanted.is_empty() && wanted == got
}

/// At commas that are not escaped.
fn split(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for c in name.chars() {
        match c {
            ',' if !escaped => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(part);
    let tidy = |part: String| part.split_once('=').map(|(kind, value)| format!("{}={}", kind.trim().to_ascii_uppercase(), value.trim()));
    parts.into_iter().filter_map(tidy).collect()
}

/// Whether the certificate is in force at this time.
pub fn in_time(der: &[u8], now: i64) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, c)| (c.validity().not_before.timestamp()..=c.validity().not_after.timestamp()).contains(&now))
}

/// `self_signed_tls_client_auth` (section 2.2): the very certificate is in the client's key set, as `x5c`.
pub fn registered(jwks: &serde_json::Value, der: &[u8]) -> bool {
    use base64::Engine;
    let keys = jwks.get("keys").and_then(|k| k.as_array()).into_iter().flatten();
    let first = |key: &serde_json::Value| key.get("x5c").and_then(|c| c.get(0)).and_then(|c| c.as_str()).map(str::to_owned);
    keys.filter_map(first).any(|c| base64::engine::general_purpose::STANDARD.decode(c).is_ok_and(|c| c == der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_by_their_parts() {
        assert!(same_name("CN=shop,O=Acme\\, Inc,C=CN", "C=CN, O=Acme\\, Inc, CN=shop"));
        assert!(!same_name("CN=shop,O=Acme", "CN=shop"));
        assert!(!same_name("CN=shop", "CN=shop, O=Evil"));
        assert!(!same_name("", ""));
        assert!(!same_name("CN=shop", "CN=Shop"));
    }
}
