//! A certificate's subject against a name that was registered as text (RFC 4514). Compared by its parts: a text put together of a certificate's
//! parts would let one part with a comma in it pass for two.

use x509_parser::prelude::X509Certificate;

/// The attribute's type as dotted digits, and its value.
type Part = (String, String);

/// The short names that tools write (RFC 4514 section 3, openssl, .NET), in capitals.
const KINDS: [(&str, &str); 22] = [
    ("CN", "2.5.4.3"),
    ("COMMONNAME", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("SURNAME", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("S", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("TITLE", "2.5.4.12"),
    ("T", "2.5.4.12"),
    ("GN", "2.5.4.42"),
    ("GIVENNAME", "2.5.4.42"),
    ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("EMAIL", "1.2.840.113549.1.9.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
];

/// Whether the certificate is of this name. RFC 4514 writes names in reverse order, and tools differ in order and spaces, so the parts are
/// compared as a set.
pub fn fits(wanted: &str, certificate: &X509Certificate<'_>) -> bool {
    let Some(mut wanted) = read(wanted) else { return false };
    let value = |part: &x509_parser::x509::AttributeTypeAndValue<'_>| match part.as_str() {
        Ok(text) => text.trim().to_owned(),
        // No text that could be registered.
        Err(_) => part.as_slice().iter().fold("#".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
    };
    let mut got: Vec<Part> = certificate.subject().iter_attributes().map(|part| (part.attr_type().to_id_string(), value(part))).collect();
    wanted.sort();
    got.sort();
    !wanted.is_empty() && wanted == got
}

/// `None`: it is no such name, or has a part of a kind that nobody knows.
pub fn read(name: &str) -> Option<Vec<Part>> {
    split(name).into_iter().map(|part| part.split_once('=').and_then(|(kind, value)| Some((kind_of(kind)?, unescaped(value.trim()))))).collect()
}

fn kind_of(written: &str) -> Option<String> {
    let kind = written.trim().to_ascii_uppercase();
    let digits = kind.strip_prefix("OID.").unwrap_or(&kind);
    if digits.contains('.') && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Some(digits.to_owned());
    }
    KINDS.iter().find(|(short, _)| *short == kind).map(|(_, id)| (*id).to_owned())
}

/// At commas that are not escaped, and at such plus signs that another part follows.
fn split(name: &str) -> Vec<&str> {
    let (mut parts, mut begun, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in name.char_indices() {
        let follows = || name[at + 1..].split([',', '+']).next().is_some_and(|next| next.contains('='));
        if !escaped && (letter == ',' || (letter == '+' && follows())) {
            parts.push(&name[begun..at]);
            begun = at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(&name[begun..]);
    parts
}

/// RFC 4514 section 2.4: a letter, or a byte as two hexadecimal digits, behind a backslash.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            plain.push(bytes[at]);
            at += 1;
            continue;
        }
        let digits = text.get(at + 1..at + 3).filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.extend(bytes.get(at + 1));
                at += 2;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use rcgen::DnType::{CommonName, CountryName, OrganizationName};
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::prelude::FromDer;

    use super::*;

    fn of(wanted: &str, parts: &[(DnType, &str)]) -> bool {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        fits(wanted, &X509Certificate::from_der(certificate.der()).unwrap().1)
    }

    #[test]
    fn names_are_compared_by_their_parts() {
        let shop = [(CountryName, "CN"), (OrganizationName, "Acme, Inc"), (CommonName, "shop")];
        for same in ["CN=shop,O=Acme\\, Inc,C=CN", "c=CN, o=Acme\\2C Inc , cn=shop", "2.5.4.3=shop+O=Acme\\, Inc,OID.2.5.4.6=CN"] {
            assert!(of(same, &shop), "{same}");
        }
        for other in ["CN=shop,O=Acme", "CN=shop,O=Acme, Inc,C=CN", "CN=Shop,O=Acme\\, Inc,C=CN", "CN=shop", "", "shop", "CN", "X=1,CN=shop"] {
            assert!(!of(other, &shop), "{other}");
        }
        assert!(!of("", &[]));
        assert!(!of("CN=shop", &[(CommonName, "shop"), (OrganizationName, "Evil")]));
    }

    #[test]
    fn a_part_with_a_comma_in_it_does_not_pass_for_two() {
        let forged = [(OrganizationName, "Acme, CN=shop")];
        assert!(!of("CN=shop,O=Acme", &forged));
        assert!(of("O=Acme\\, CN=shop", &forged));
        assert!(of("CN=c++", &[(CommonName, "c++")]), "a plus sign that nothing follows");
        assert!(!of("CN=a+O=b", &[(CommonName, "a+O=b")]));
        assert!(of("CN=\\C3\\A4 b\\\\", &[(CommonName, "ä b\\")]));
    }
}
