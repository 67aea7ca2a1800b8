//! Reading a list of revoked certificates (RFC 5280 section 5): whose it is, until when it holds, and which serial numbers it names.
//! A list that does not say everything about its authority's certificates is refused, not half believed.

use std::collections::HashSet;

use thiserror::Error;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::domain::signed::signed_by;

/// A list may be this many bytes (about 250,000 certificates).
pub const LARGEST: usize = 10 * 1024 * 1024;
/// Of a list that says only what has changed (section 5.2.4).
const DELTA: &str = "2.5.29.27";
/// Clocks may differ so much.
const SKEW_SECONDS: i64 = 300;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum ListFault {
    #[error("this is no list of revoked certificates (RFC 5280, in DER or PEM)")]
    Unreadable,
    #[error("the list is another authority's: it must be issued by the authority itself")]
    OtherIssuer,
    #[error("the list's signature is not this authority's")]
    Signature,
    #[error("the list does not say until when it holds (nextUpdate)")]
    Endless,
    #[error("the list is from the future: check the clocks of both machines")]
    Future,
    #[error("the list covers only a part of the authority's certificates ({0}): give the whole one")]
    Partial(&'static str),
    #[error("the list has a critical extension that is not known here ({0})")]
    Critical(String),
}

/// What a list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Unix seconds.
    pub this_update: i64,
    pub next_update: i64,
    /// Serial numbers without leading zeros.
    pub serials: HashSet<Vec<u8>>,
}

impl RevocationList {
    pub fn names(&self, serial: &[u8]) -> bool {
        self.serials.contains(significant(serial))
    }
}

/// A serial number is a number: authorities differ in how many zeros they write before it.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|b| **b == 0).count();
    &serial[zeros..]
}

/// The list in DER, out of what somebody gave or a server answered: DER, or PEM.
///
/// # Errors
/// When it is neither.
pub fn der_of(bytes: &[u8]) -> Result<Vec<u8>, ListFault> {
    if bytes.first() == Some(&0x30) {
        return Ok(bytes.to_vec());
    }
    let mut all = x509_parser::pem::Pem::iter_from_buffer(bytes);
    match (all.next(), all.next()) {
        (Some(Ok(pem)), None) if pem.label == "X509 CRL" => Ok(pem.contents),
        _ => Err(ListFault::Unreadable),
    }
}

/// Reads the list `der` of the authority whose own certificate is `authority`, and checks that it is its word.
///
/// # Errors
/// See [`ListFault`]. One that has ended is no fault: when it was read says nothing about when it is used.
pub fn read(der: &[u8], authority: &[u8], now: i64) -> Result<RevocationList, ListFault> {
    let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| ListFault::Unreadable)?;
    let (_, authority) = X509Certificate::from_der(authority).map_err(|_| ListFault::OtherIssuer)?;
    if !rest.is_empty() {
        return Err(ListFault::Unreadable);
    }
    if list.issuer().as_raw() != authority.subject().as_raw() {
        return Err(ListFault::OtherIssuer);
    }
    if !signed_by(&list.signature_algorithm.algorithm, list.tbs_cert_list.as_ref(), &list.signature_value.data, &authority) {
        return Err(ListFault::Signature);
    }
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => {
                let partial = [
                    (point.only_contains_ca_certs, "authorities only"),
                    (point.only_contains_attribute_certs, "attribute certificates only"),
                    (point.only_some_reasons.is_some(), "some reasons only"),
                    (point.indirect_crl, "indirect"),
                ];
                if let Some((_, what)) = partial.into_iter().find(|(is, _)| *is) {
                    return Err(ListFault::Partial(what));
                }
            }
            _ if extension.oid.to_id_string() == DELTA => return Err(ListFault::Partial("changes only")),
            ParsedExtension::CRLNumber(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {}
            _ if extension.critical => return Err(ListFault::Critical(extension.oid.to_id_string())),
            _ => {}
        }
    }
    let this_update = list.last_update().timestamp();
    let next_update = list.next_update().ok_or(ListFault::Endless)?.timestamp();
    if this_update > now + SKEW_SECONDS {
        return Err(ListFault::Future);
    }
    let serials = list.iter_revoked_certificates().map(|it| significant(it.raw_serial()).to_vec()).collect();
    Ok(RevocationList { this_update, next_update, serials })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, DnType, IsCa,
        Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    };

    use super::*;

    const NOW: i64 = 1_800_000_000;

    struct Authority {
        der: Vec<u8>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Authority { der, issuer: Issuer::new(params, key) }
    }

    fn list(by: &Authority, serials: &[u8], point: Option<CrlIssuingDistributionPoint>) -> Vec<u8> {
        let at = |seconds: i64| time::OffsetDateTime::from_unix_timestamp(NOW + seconds).unwrap();
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[0, *serial]),
            revocation_time: at(-100),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at(-60),
            next_update: at(3_600),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: point,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&by.issuer).unwrap().der().to_vec()
    }

    #[test]
    fn a_list_of_the_authority_itself_is_read_with_its_serial_numbers() {
        let ours = authority("cards");
        let read = read(&list(&ours, &[5, 200], None), &ours.der, NOW).unwrap();
        assert_eq!((read.this_update, read.next_update, read.serials.len()), (NOW - 60, NOW + 3_600, 2));
        assert!(read.names(&[5]) && read.names(&[0, 200]) && read.names(&[200]) && !read.names(&[6]) && !read.names(&[5, 0]));
    }

    #[test]
    fn lists_that_are_not_the_whole_word_of_the_authority_are_refused() {
        let (ours, theirs, namesake) = (authority("cards"), authority("others"), authority("cards"));
        let fault = |der: &[u8]| read(der, &ours.der, NOW).unwrap_err();
        assert_eq!(fault(&list(&theirs, &[1], None)), ListFault::OtherIssuer);
        assert_eq!(fault(&list(&namesake, &[1], None)), ListFault::Signature);
        assert_eq!(read(&list(&ours, &[1], None), &ours.der, NOW - 3_600), Err(ListFault::Future));
        let point = |scope| Some(CrlIssuingDistributionPoint { distribution_point: CrlDistributionPoint { uris: vec!["http://crl.test/a".into()] }, scope });
        assert_eq!(fault(&list(&ours, &[1], point(Some(CrlScope::CaCertsOnly)))), ListFault::Partial("authorities only"));
        assert!(read(&list(&ours, &[1], point(Some(CrlScope::UserCertsOnly))), &ours.der, NOW).is_ok(), "people's certificates are all that matter");
        let mut longer = list(&ours, &[1], None);
        longer.push(0);
        for damaged in [&b""[..], b"0", b"\x30\x80", &longer, &ours.der] {
            assert_eq!(fault(damaged), ListFault::Unreadable);
        }
        let mut forged = list(&ours, &[1], None);
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(fault(&forged), ListFault::Signature);
    }

    #[test]
    fn lists_come_in_der_or_in_pem() {
        let ours = authority("cards");
        let der = list(&ours, &[1], None);
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
        let pem = format!("-----BEGIN X509 CRL-----\n{base64}\n-----END X509 CRL-----\n");
        assert_eq!(der_of(&der).unwrap(), der);
        assert_eq!(der_of(pem.as_bytes()).unwrap(), der);
        for other in [pem.repeat(2), pem.replace("X509 CRL", "CERTIFICATE"), "<html>".into(), String::new()] {
            assert_eq!(der_of(other.as_bytes()), Err(ListFault::Unreadable));
        }
    }
}
