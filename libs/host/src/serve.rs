//! The listener: TLS, HTTP/1.1 and HTTP/2, the caller's certificate in each request, graceful drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use gantry_auth::{Peer, PeerSerial};
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::{Service, ServiceExt};

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// Connections at once per listener; more wait in the kernel's queue.
const CONNECTIONS: usize = 8_192;

/// Bytes of one request, and of all of a connection's together, that a caller sends before we took in what came before. A window that
/// adapts begins with 64 KiB for all: a service whose calls share a connection waits for room within each larger one.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How long connections that were idle at shutdown still take requests: one may be on its way. Answers say that the connection
/// ends with them, so clients that keep theirs open come back on another, to another replica.
const LINGER: Duration = Duration::from_millis(250);
/// How long requests under way may take at shutdown.
const FINISH: Duration = Duration::from_secs(10);

/// Listeners that are shut together: nobody new is let in, and requests under way are answered.
#[derive(Clone, Default)]
pub struct Entrance {
    closing: CancellationToken,
    /// What has no answer's head yet, and connections that may still bring something.
    inside: TaskTracker,
}

impl Entrance {
    /// From then on nobody new is let in.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Connections that are idle then bring nothing any more.
    pub async fn last_call(&self) {
        self.closing.cancelled().await;
        tokio::time::sleep(LINGER).await;
    }

    /// Somebody is inside until this is dropped: a connection that may still bring something, or a request without an answer.
    pub fn enter(&self) -> TaskTrackerToken {
        self.inside.token()
    }

    async fn close(&self) {
        self.closing.cancel();
        self.inside.close();
        if tokio::time::timeout(LINGER + FINISH, self.inside.wait()).await.is_err() {
            tracing::warn!(requests = self.inside.len(), "some requests were not answered in time");
        }
    }
}

/// The listeners of a process and what shuts them, in this order: nobody new is let in, requests under way are answered while
/// everything they need still runs, and only then does the rest of the process end.
#[derive(Clone)]
pub struct Doors {
    /// Of services that listen for the public themselves; what comes in there asks the others.
    pub public: Entrance,
    own: Entrance,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Doors {
    pub(crate) fn new(cancel: CancellationToken, tasks: TaskTracker) -> Self {
        Self { public: Entrance::default(), own: Entrance::default(), cancel, tasks }
    }

    /// Lets nobody new in and waits until whoever is inside has been answered, the public first. Streams go on: they end with
    /// the process.
    pub(crate) async fn close(&self) {
        self.public.close().await;
        self.own.close().await;
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct Listening {
    pub address: SocketAddr,
}

/// Listens on `address` (port 0: any) and serves until the doors close; open requests are then finished.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve<S>(address: SocketAddr, tls: Arc<ServerConfig>, app: S, doors: &Doors) -> anyhow::Result<Listening>
where
    S: Service<Request<Body>, Response = Response, Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    let doors = doors.clone();
    doors.tasks.clone().spawn(async move {
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = doors.own.closing() => return,
                () = doors.cancel.cancelled() => return,
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
            let (acceptor, app, doors) = (acceptor.clone(), app.clone(), doors.clone());
            doors.tasks.clone().spawn(async move {
                let _permit = permit;
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await else { return };
                connection(stream, from, app, &doors).await;
            });
        }
    });
    Ok(Listening { address: bound })
}

/// Serves one connection until it ends by itself or the doors close.
async fn connection<S>(stream: TlsStream<TcpStream>, from: SocketAddr, app: S, doors: &Doors)
where
    S: Service<Request<Body>, Response = Response, Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let open = doors.own.enter();
    let peer = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| service_of(c));
    let entrance = doors.own.clone();
    let app = tower::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(from));
        if let Some((peer, serial)) = &peer {
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(serial.clone());
        }
        let one_by_one = request.version() <= Version::HTTP_11;
        let (under_way, answer, entrance) = (entrance.enter(), app.clone().oneshot(request), entrance.clone());
        async move {
            let answer = answer.await;
            drop(under_way);
            answer.map(|mut response| {
                if one_by_one && entrance.is_closing() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            })
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(1_024)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(connection);
    tokio::select! {
        // A client that goes away in the middle is its own business.
        _ = connection.as_mut() => return,
        () = doors.own.last_call() => {}
        () = doors.cancel.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(open);
    let ended = async {
        doors.cancel.cancelled().await;
        tokio::time::sleep(FINISH).await;
    };
    tokio::select! {
        _ = connection => {}
        () = ended => {}
    }
}

/// The service in a certificate's `spiffe://gantry/<name>`, and the certificate's serial.
pub(crate) fn service_of(certificate: &[u8]) -> Option<(Peer, PeerSerial)> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let name = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://gantry/").map(str::to_owned),
        _ => None,
    })?;
    let serial = certificate.raw_serial().iter().map(|b| format!("{b:02x}")).collect();
    Some((Peer(name), PeerSerial(serial)))
}
