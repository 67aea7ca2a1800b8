//! Accepts connections: TLS, HTTP/1.1 or HTTP/2, bounded in number, header size and patience, drained at the end.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::Door;
use crate::adapters::certificates::ClientCertificate;

/// Bounds of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Connections open at once; more wait in the system's queue.
    pub connections: usize,
    /// All headers of one request, in bytes.
    pub header_bytes: usize,
    /// For a TLS handshake, and for the headers of a request.
    pub headers: Duration,
    /// How long open requests may go on after the end was asked for.
    pub drain: Duration,
}

/// Serves until `cancel`, then lets open requests finish. `tls` offers `h2` and `http/1.1`.
///
/// # Errors
/// Never while a connection can still be accepted; a failed accept is logged and tried again.
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    door: Arc<Door>,
    patience: Patience,
    cancel: CancellationToken,
    tracker: TaskTracker,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(patience.connections));
    let graceful = GracefulShutdown::new();
    let builder = builder(patience);
    loop {
        let slot = tokio::select! {
            () = cancel.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: nothing to do but to let some connections end.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, door, builder, watcher) = (tls.clone(), Arc::clone(&door), builder.clone(), graceful.watcher());
        tracker.spawn(async move {
            let _slot = slot;
            // Small answers must not wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            let stream = match tokio::time::timeout(patience.headers, tls.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%client, %error, "no TLS connection came about"),
                Err(_) => return tracing::debug!(%client, "a TLS handshake took too long"),
            };
            let address = canonical(client.ip());
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(ClientCertificate::of);
            let service = service_fn(move |request: Request<Incoming>| {
                let door = Arc::clone(&door);
                let mut request = request.map(Body::new);
                if let Some(certificate) = &shown {
                    request.extensions_mut().insert(certificate.clone());
                }
                async move { Ok::<Response, std::convert::Infallible>(door.answer(address, request).await) }
            });
            let connection = pin!(watcher.watch(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned()));
            if let Err(error) = connection.await {
                tracing::debug!(%client, %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(patience.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still open when the door closed");
    }
    Ok(())
}

fn builder(patience: Patience) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        // hyper wants room for more than one read; it answers 431 when headers do not fit.
        .max_buf_size(patience.header_bytes.max(8_192))
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(patience.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// An IPv4 address that came through an IPv6 socket is the IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
