//! Which service is at the other end of an mTLS connection.

use gantry_kernel::Problem;

/// The name in the client certificate's `spiffe://gantry/<name>`; put into each request's extensions by the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(pub String);

/// The serial number of that certificate, in small hexadecimal digits; beside [`Peer`]. A node is given many certificates in its life, of
/// which some are taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSerial(pub String);

/// The calling service of a gRPC request, if it is one of `allowed`.
///
/// # Errors
/// Unauthenticated without a certificate, forbidden for another service.
pub fn peer<T>(request: &tonic::Request<T>, allowed: &[&str]) -> Result<String, Problem> {
    let Some(Peer(name)) = request.extensions().get::<Peer>() else {
        return Err(Problem::unauthenticated("services call each other with their certificates"));
    };
    if allowed.contains(&name.as_str()) { Ok(name.clone()) } else { Err(Problem::forbidden(format_args!("to be one of the services {}", allowed.join(", ")))) }
}

/// The header in which the gateway hands on the certificate that its client showed (RFC 9440).
pub const CLIENT_CERT: &str = "client-cert";

/// The certificate (DER) that the outside client showed to the gateway. Nobody but the gateway is believed.
pub fn client_certificate(headers: &http::HeaderMap, peer: Option<&Peer>) -> Option<Vec<u8>> {
    use base64::Engine;
    if peer.is_none_or(|Peer(name)| name != "gateway") {
        return None;
    }
    let value = headers.get(CLIENT_CERT)?.to_str().ok()?;
    let encoded = value.strip_prefix(':')?.strip_suffix(':')?;
    base64::engine::general_purpose::STANDARD.decode(encoded).ok()
}

/// The thumbprint by which a token is bound to a certificate (RFC 8705 section 3.1).
pub fn certificate_thumbprint(certificate: &[u8]) -> String {
    use sha2::Digest;
    crate::dpop::encode(&sha2::Sha256::digest(certificate))
}
