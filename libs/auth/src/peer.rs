//! Which service is at the other end of an mTLS connection.

use gantry_kernel::Problem;

/// The name in the client certificate's `spiffe://gantry/<name>`; put into each request's extensions by the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(pub String);

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
