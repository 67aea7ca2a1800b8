//! Asks a container how it is: HTTP, TCP, gRPC health, or a command inside.

use std::sync::OnceLock;
use std::time::Duration;

use gantry_cri::Cri;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::domain::health::{Check, Request};

/// One question; `Err` is what a person reads as the reason.
///
/// # Errors
/// A sentence, when the answer is not good or does not come in time.
pub async fn ask(cri: &Cri, container: &str, address: &str, check: &Check, timeout: Duration) -> Result<(), String> {
    let asked = async {
        match check {
            Check::Http(request) if request.https => https(address, request).await,
            Check::Http(request) => http(address, request).await,
            Check::Tcp { port } => connect(address, *port).await.map(drop),
            Check::Grpc { port, service } => grpc(address, *port, service).await,
            Check::Command(command) => command_inside(cri, container, command, timeout).await,
        }
    };
    // A command has its own deadline, in whole seconds, at the runtime.
    let limit = if matches!(check, Check::Command(_)) { timeout + Duration::from_secs(5) } else { timeout };
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(format!("no answer within {} ms", timeout.as_millis())))
}

async fn connect(address: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((address, port)).await.map_err(|e| format!("port {port}: {e}"))
}

/// Good is any status from 200 to 399, as everywhere else.
async fn http(address: &str, request: &Request) -> Result<(), String> {
    let (text, port) = (request.text(address)?, request.port);
    let mut stream = connect(address, port).await?;
    stream.write_all(text.as_bytes()).await.map_err(|e| format!("port {port}: {e}"))?;
    let mut head = [0; 64];
    let mut length = 0;
    while length < 12 {
        match stream.read(&mut head[length..]).await {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) => return Err(format!("port {port}: {error}")),
        }
    }
    match status_code(&head[..length]) {
        Some(code) => good(code, &request.path),
        None => Err(format!("port {port} does not speak HTTP")),
    }
}

fn good(code: u16, path: &str) -> Result<(), String> {
    if (200..400).contains(&code) { Ok(()) } else { Err(format!("GET {path} answered {code}")) }
}

/// The certificate is not verified, as the kubelet does not: an instance's is seldom for its address, and what is asked is whether it answers.
async fn https(address: &str, request: &Request) -> Result<(), String> {
    let url = request.url(address)?;
    let mut headers = HeaderMap::new();
    let host = (!request.host.is_empty()).then(|| ("host".to_owned(), request.host.clone()));
    for (name, value) in request.headers.iter().chain(&host) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("the value of {name} is no line"))?;
        headers.append(name, value);
    }
    let client = client(host.is_some())?;
    let answer = client.get(url).headers(headers).send().await.map_err(|e| format!("port {}: {}", request.port, whole(&e)))?;
    good(answer.status().as_u16(), &request.path)
}

/// One for all questions, without connections that are kept. With a host of its own over HTTP/1.1, where it is a header.
fn client(own_host: bool) -> Result<&'static reqwest::Client, String> {
    static CLIENTS: OnceLock<Result<[reqwest::Client; 2], String>> = OnceLock::new();
    let made = CLIENTS.get_or_init(|| {
        let plain = || {
            let builder = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().pool_max_idle_per_host(0);
            builder.redirect(reqwest::redirect::Policy::none()).user_agent("gantry-probe")
        };
        let (any, old) = (plain().build(), plain().http1_only().build());
        Ok([any.map_err(|e| whole(&e))?, old.map_err(|e| whole(&e))?])
    });
    made.as_ref().map(|clients| &clients[usize::from(own_host)]).map_err(String::clone)
}

/// An error with its reasons.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(reason) = next {
        text.push_str(&format!(": {reason}"));
        next = reason.source();
    }
    text
}

/// The number in `HTTP/1.1 204 No Content`.
fn status_code(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..12)?).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

async fn grpc(address: &str, port: u16, service: &str) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}:{port}")).map_err(|e| e.to_string())?;
    let channel = endpoint.connect().await.map_err(|e| format!("port {port}: {e}"))?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: service.to_owned() }).await.map_err(|s| s.message().to_owned())?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(format!("gRPC health: {}", other.as_str_name())),
    }
}

async fn command_inside(cri: &Cri, container: &str, command: &[String], timeout: Duration) -> Result<(), String> {
    let output = cri.exec_sync(container, command, timeout).await.map_err(|e| e.to_string())?;
    if output.exit_code == 0 {
        return Ok(());
    }
    let said = if output.stderr.is_empty() { output.stdout } else { output.stderr };
    let said: String = String::from_utf8_lossy(&said).trim().chars().take(200).collect();
    Err(format!("command ended with {}: {said}", output.exit_code))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status_code(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status_code(b"HTTP/1.0 500 x"), Some(500));
        assert_eq!(status_code(b"SSH-2.0-OpenSSH_9"), None);
        assert_eq!(status_code(b"HT"), None);
    }

    fn deaf() -> Cri {
        Cri::lazy("/nowhere")
    }

    #[tokio::test]
    async fn over_tls_no_certificate_is_verified_and_the_status_counts() {
        let made = rcgen::generate_simple_self_signed(vec!["elsewhere.test".to_owned()]).unwrap();
        let identity = tonic::transport::Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_reporter, health) = tonic_health::server::health_reporter();
        let tls = tonic::transport::ServerTlsConfig::new().identity(identity);
        let server = tonic::transport::Server::builder().tls_config(tls).unwrap().add_service(health);
        let serving = server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        let asks = async {
            let limit = Duration::from_secs(30);
            let check = Check::Http(Request { port, path: "/".into(), https: true, ..Request::default() });
            ask(&deaf(), "", "127.0.0.1", &check, limit).await.unwrap();
            // Without TLS there is nothing to be had there.
            let plain = Check::Http(Request { port, path: "/".into(), ..Request::default() });
            assert!(ask(&deaf(), "", "127.0.0.1", &plain, limit).await.is_err());
        };
        tokio::select! { ended = serving => panic!("{ended:?}"), () = asks => {} }
    }

    #[tokio::test]
    async fn of_a_grpc_server_a_single_service_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("shop.Cart", tonic_health::ServingStatus::NotServing).await;
        let serving = tonic::transport::Server::builder().add_service(health).serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        let asks = async {
            let asked = async |service: &str| {
                let check = Check::Grpc { port, service: service.to_owned() };
                ask(&deaf(), "", "127.0.0.1", &check, Duration::from_secs(30)).await
            };
            asked("").await.unwrap();
            assert!(asked("shop.Cart").await.unwrap_err().contains("NOT_SERVING"));
            assert!(asked("shop.Unknown").await.is_err());
        };
        tokio::select! { ended = serving => panic!("{ended:?}"), () = asks => {} }
    }
}
