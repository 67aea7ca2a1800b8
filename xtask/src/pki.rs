//! The development CA and Prometheus' client certificate, made before anything starts that wants to read them. The services
//! draw their own certificates from the same CA (host::pki).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use gantry_kernel::Env;
use gantry_servers::Home;
use gantry_servers::server::write_private;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::Duration;

/// Makes what is missing. Harmless when repeated.
///
/// # Errors
/// When the disk refuses or an existing CA is not readable.
pub fn ensure(home: &Home) -> Result<()> {
    let (folder, certs) = (home.file("ca"), home.file("certs"));
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(&certs)?;
    let (cert, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    if !(cert.exists() && key.exists()) {
        make_ca(&cert, &key)?;
    }
    let name = "prometheus";
    let (client, client_key) = (certs.join("prometheus.pem"), certs.join("prometheus.key"));
    // Made anew when the CA was made anew.
    let newer = |a: &Path, b: &Path| Some(fs::metadata(a).ok()?.modified().ok()? >= fs::metadata(b).ok()?.modified().ok()?);
    if newer(&client, &cert) != Some(true) {
        let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(&cert)?, KeyPair::from_pem(&fs::read_to_string(&key)?)?)
            .context("the CA in .gantry/ca is not readable")?;
        let own = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(SanType::URI(format!("spiffe://gantry/{name}").try_into()?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = Env::system().now();
        (params.not_before, params.not_after) = (now - Duration::minutes(5), now + Duration::days(825));
        let signed = params.signed_by(&own, &issuer)?;
        write_private(&client_key, &own.serialize_pem())?;
        write_private(&client, &signed.pem())?;
    }
    Ok(())
}

fn make_ca(cert: &Path, key: &Path) -> Result<()> {
    let own = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Gantry development CA");
    params.distinguished_name.push(DnType::OrganizationName, "Gantry");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let now = Env::system().now();
    (params.not_before, params.not_after) = (now - Duration::minutes(5), now + Duration::days(3650));
    let signed = params.self_signed(&own)?;
    write_private(key, &own.serialize_pem())?;
    // Every client may read the certificate.
    fs::write(cert, signed.pem())?;
    Ok(())
}
