//! Certificates of nodes from the built-in authority: short, for a key that never leaves the node, and the list of those
//! that were revoked. An authority whose key is elsewhere (an operator's) cannot be asked here.

use anyhow::{Context, Result, ensure};
use gantry_kernel::OffsetDateTime;
use rcgen::{
    CertificateRevocationListParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use time::Duration;

use crate::pki::Pki;

/// What is wanted of a node's certificate.
pub struct NodeCertificate<'a> {
    pub node: &'a str,
    /// PKCS#10 in PEM; only its key counts, names in it are not looked at.
    pub request: &'a str,
    /// 16 random bytes.
    pub serial: [u8; 16],
    pub now: OffsetDateTime,
    pub life: Duration,
}

/// A revoked certificate by its serial.
pub struct Revoked {
    pub serial: Vec<u8>,
    pub at: OffsetDateTime,
}

impl Pki {
    pub(crate) fn issuer(&self) -> Result<Issuer<'static, KeyPair>> {
        let key = self.ca_key.as_deref().context("the authority's ca.key is not here: nodes get their certificates from the operator's authority")?;
        Issuer::from_ca_cert_pem(&self.ca_pem, KeyPair::from_pem(key).context("ca.key")?).context("ca.pem")
    }

    /// Signs a node's request: `spiffe://gantry/node/<name>`, for clients and servers.
    ///
    /// # Errors
    /// A request that is none or whose signature does not fit, or an authority without a key.
    pub fn sign_node(&self, wanted: &NodeCertificate<'_>) -> Result<String> {
        let mut request =
            CertificateSigningRequestParams::from_pem(wanted.request).context("the request is no PKCS#10 in PEM, or its signature does not fit")?;
        let params = &mut request.params;
        params.subject_alt_names = vec![
            SanType::DnsName(format!("{}.node.{}", wanted.node, crate::pki::SERVER_SUFFIX).try_into()?),
            SanType::URI(format!("spiffe://gantry/node/{}", wanted.node).try_into()?),
        ];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("node {}", wanted.node));
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.custom_extensions.clear();
        params.serial_number = Some(SerialNumber::from_slice(&wanted.serial));
        // Clocks of machines differ.
        params.not_before = wanted.now - Duration::minutes(5);
        params.not_after = wanted.now + wanted.life;
        Ok(request.signed_by(&self.issuer()?)?.pem())
    }

    /// The revocation list (RFC 5280 section 5) in PEM.
    ///
    /// # Errors
    /// An authority without a key.
    pub fn revocation_list(&self, revoked: &[Revoked], number: u64, now: OffsetDateTime) -> Result<String> {
        ensure!(revoked.len() < 100_000, "too many revoked certificates");
        let one = |r: &Revoked| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&r.serial),
            revocation_time: r.at,
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::hours(24),
            crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(one).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer()?)?.pem()?)
    }
}
