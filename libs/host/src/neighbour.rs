//! A service of this process, asked without a connection: on one machine everything runs in one process, and what one service asks of another
//! would go through TLS, the kernel and TLS again only to come back to where it was.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use gantry_auth::{Peer, PeerSerial};
use http::Request;
use tower::ServiceExt;

use crate::grpc::OnePort;

/// Where the service takes requests, and who asks. What surrounds its handlers (limits, tokens, audit, log lines, metrics) is the same as
/// for a request that came over a connection.
#[derive(Clone)]
pub struct Neighbour {
    port: Arc<OnePort>,
    /// What a connection would have told of the one who asks, by its certificate.
    caller: Option<(Peer, PeerSerial)>,
}

impl Neighbour {
    pub(crate) fn new(port: Arc<OnePort>, caller: Option<(Peer, PeerSerial)>) -> Self {
        Self { port, caller }
    }

    /// The answer to `request`, whose target is a path (and query) alone. Bodies of both are passed on as they come. Whoever stops waiting
    /// ends the work on it, as one who closes the connection does.
    pub async fn ask(&self, mut request: Request<Body>) -> Response {
        let told = request.extensions_mut();
        if let Some((peer, serial)) = &self.caller {
            told.insert(peer.clone());
            told.insert(serial.clone());
        }
        // No connection has port 0.
        told.insert(ConnectInfo(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        match OnePort::clone(&self.port).oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }
}
