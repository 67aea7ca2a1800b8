//! Whether a certificate is that of a client (RFC 8705): by the name an authority vouched for, or by its key.

mod subject;

use gantry_contract::identity::ClientSettings;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// `tls_client_auth` (section 2.1): the certificate was checked by the TLS layer; here its name is compared.
pub fn name_fits(settings: &ClientSettings, der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    if let Some(wanted) = &settings.tls_client_auth_subject_dn {
        return subject::fits(wanted, &certificate);
    }
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(dns) => settings.tls_client_auth_san_dns.as_ref().is_some_and(|wanted| wanted.eq_ignore_ascii_case(dns)),
        GeneralName::URI(uri) => settings.tls_client_auth_san_uri.as_deref() == Some(uri),
        _ => false,
    })
}

/// Whether this is a subject's name by RFC 4514, of kinds that are known here.
pub fn is_name(text: &str) -> bool {
    subject::read(text).is_some()
}

/// Whether the certificate is in force at this time.
pub fn in_time(der: &[u8], now: i64) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, c)| (c.validity().not_before.timestamp()..=c.validity().not_after.timestamp()).contains(&now))
}

/// What a certificate says, as far as signing people in goes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Said {
    pub subject: String,
    pub issuer: String,
    /// Hex.
    pub serial: String,
    /// Of the whole certificate; lower-case hex.
    pub sha256: String,
    /// Whom an authority's word is about, of the alternative names: `email:` with an address, `upn:` with a user principal name. No
    /// common name: an authority may give the same one to many.
    #[serde(default)]
    pub names: Vec<String>,
    /// Unix seconds.
    pub not_before: i64,
    pub not_after: i64,
    /// An authority's own certificate.
    pub authority: bool,
    /// Not limited to other uses than proving who a client is (RFC 5280 section 4.2.1.12).
    pub for_clients: bool,
}

impl Said {
    pub fn serial_bytes(&self) -> Vec<u8> {
        let digit = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        self.serial.as_bytes().chunks(2).filter_map(digit).collect()
    }
}

/// The user principal name among the other names (Microsoft; smart cards have it).
const UPN: &str = "1.3.6.1.4.1.311.20.2.3";

/// The text of such a name: `[0] EXPLICIT UTF8String`, of less than 126 bytes.
fn principal(value: &[u8]) -> Option<&str> {
    let [0xa0, outer, 0x0c, inner, text @ ..] = value else { return None };
    let fits = usize::from(*inner) == text.len() && usize::from(*outer) == text.len() + 2 && *outer < 0x80;
    std::str::from_utf8(text).ok().filter(|text| fits && !text.is_empty())
}

/// `None`: it is no certificate.
pub fn said(der: &[u8]) -> Option<Said> {
    let (rest, it) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let san = it.subject_alternative_name().ok().flatten();
    let names = san.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::RFC822Name(email) if !email.is_empty() => Some(format!("email:{}", email.to_lowercase())),
        GeneralName::OtherName(kind, value) if kind.to_id_string() == UPN => principal(value).map(|upn| format!("upn:{}", upn.to_lowercase())),
        _ => None,
    });
    let names = names.collect();
    let uses = it.extended_key_usage().ok().flatten();
    Some(Said {
        subject: it.subject().to_string(),
        issuer: it.issuer().to_string(),
        serial: it.raw_serial().iter().map(|b| format!("{b:02x}")).collect(),
        sha256: <sha2::Sha256 as sha2::Digest>::digest(der).iter().map(|b| format!("{b:02x}")).collect(),
        names,
        not_before: it.validity().not_before.timestamp(),
        not_after: it.validity().not_after.timestamp(),
        authority: it.is_ca(),
        for_clients: uses.is_none_or(|u| u.value.client_auth || u.value.any),
    })
}

/// What an authority is found by: the hash of its own name, as it stands in its certificate. Empty if it is none.
pub fn subject_hash(pem: &str) -> Vec<u8> {
    let der = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).next().and_then(Result::ok).map(|p| p.contents).unwrap_or_default();
    X509Certificate::from_der(&der).map(|(_, it)| name_hash(it.subject().as_raw())).unwrap_or_default()
}

/// The same of the authority that a certificate says it is from.
pub fn issuer_hash(der: &[u8]) -> Vec<u8> {
    X509Certificate::from_der(der).map(|(_, it)| name_hash(it.issuer().as_raw())).unwrap_or_default()
}

fn name_hash(name: &[u8]) -> Vec<u8> {
    <sha2::Sha256 as sha2::Digest>::digest(name).to_vec()
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
    fn a_principal_name_is_read_whole_or_not_at_all() {
        assert_eq!(principal(b"\xa0\x09\x0c\x07ada@a.b"), Some("ada@a.b"));
        for bad in [&b""[..], b"\xa0\x02\x0c\x00", b"\xa0\x09\x0c\x07ada@a.bc", b"\xa0\x09\x0c\x08ada@a.b", b"\xa0\x09\x16\x07ada@a.b"] {
            assert_eq!(principal(bad), None, "{bad:?}");
        }
    }
}
