//! Accepts connections: TLS, HTTP/1.1 or HTTP/2, bounded in number, header size and patience, drained at the end.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use gantry_host::Entrance;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
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

/// Serves until the entrance closes or `cancel`; open requests are then finished. `tls` offers `h2` and `http/1.1`.
///
/// # Errors
/// Never while a connection can still be accepted; a failed accept is logged and tried again.
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    door: Arc<Door>,
    patience: Patience,
    entrance: Entrance,
    cancel: CancellationToken,
    tracker: TaskTracker,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(patience.connections));
    let builder = builder(patience);
    loop {
        let slot = tokio::select! {
            () = entrance.closing() => return Ok(()),
            () = cancel.cancelled() => return Ok(()),
            slot = Arc::clone(&slots).acquire_owned() => slot.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = entrance.closing() => return Ok(()),
            () = cancel.cancelled() => return Ok(()),
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
        let (tls, door, builder, (entrance, cancel)) = (tls.clone(), Arc::clone(&door), builder.clone(), (entrance.clone(), cancel.clone()));
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
            let (open, requests) = (entrance.enter(), entrance.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (door, entrance, under_way) = (Arc::clone(&door), requests.clone(), requests.enter());
                let one_by_one = request.version() <= Version::HTTP_11;
                let mut request = request.map(Body::new);
                if let Some(certificate) = &shown {
                    request.extensions_mut().insert(certificate.clone());
                }
                async move {
                    let mut answer = door.answer(address, request).await;
                    drop(under_way);
                    // Clients that keep their connection open come back on another, to another door.
                    if one_by_one && entrance.is_closing() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<Response, std::convert::Infallible>(answer)
                }
            });
            let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
            let early = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = entrance.last_call() => None,
                () = cancel.cancelled() => None,
            };
            let ended = match early {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    drop(open);
                    let over = async {
                        cancel.cancelled().await;
                        tokio::time::sleep(patience.drain).await;
                    };
                    tokio::select! {
                        ended = connection => ended,
                        () = over => return tracing::warn!(%client, "a request was still open when the door closed"),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%client, %error, "a connection ended early");
            }
        });
    }
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
