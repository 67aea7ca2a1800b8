//! The listener: TLS, HTTP/1.1 and HTTP/2, the caller's certificate in each request, graceful drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use gantry_auth::Peer;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// Connections at once per listener; more wait in the kernel's queue.
const CONNECTIONS: usize = 8_192;

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct Listening {
    pub address: SocketAddr,
}

/// Listens on `address` (port 0: any) and serves until `cancel`; open requests are then finished.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve<S>(address: SocketAddr, tls: Arc<ServerConfig>, app: S, cancel: CancellationToken, tasks: &TaskTracker) -> anyhow::Result<Listening>
where
    S: Service<Request<Body>, Response = Response, Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: give it a moment.
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let _ = socket.set_nodelay(true);
            let (acceptor, app, cancel) = (acceptor.clone(), app.clone(), cancel.clone());
            connections.spawn(async move {
                let _permit = permit;
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await else { return };
                let peer = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| service_of(c));
                let app = TowerToHyperService::new(app.map_request(move |request: Request<Incoming>| {
                    let mut request = request.map(Body::new);
                    request.extensions_mut().insert(ConnectInfo(from));
                    if let Some(peer) = &peer {
                        request.extensions_mut().insert(peer.clone());
                    }
                    request
                }));
                let mut builder = Builder::new(TokioExecutor::new());
                builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
                builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30))).max_concurrent_streams(1_024).adaptive_window(true);
                let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), app);
                tokio::pin!(connection);
                tokio::select! {
                    // A client that goes away in the middle is its own business.
                    _ = connection.as_mut() => {}
                    () = cancel.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = tokio::time::timeout(Duration::from_secs(10), connection).await;
                    }
                }
            });
        }
    });
    Ok(Listening { address: bound })
}

/// The service in a certificate's `spiffe://gantry/<name>`.
fn service_of(certificate: &[u8]) -> Option<Peer> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://gantry/").map(|n| Peer(n.to_owned())),
        _ => None,
    })
}
