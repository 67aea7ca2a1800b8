//! Asks a container how it is: HTTP, TCP, gRPC health, or a command inside.

use std::time::Duration;

use gantry_cri::Cri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::domain::health::Check;

/// One question; `Err` is what a person reads as the reason.
///
/// # Errors
/// A sentence, when the answer is not good or does not come in time.
pub async fn ask(cri: &Cri, container: &str, address: &str, check: &Check, timeout: Duration) -> Result<(), String> {
    let asked = async {
        match check {
            Check::Http { port, path } => http(address, *port, path).await,
            Check::Tcp { port } => connect(address, *port).await.map(drop),
            Check::Grpc { port } => grpc(address, *port).await,
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
async fn http(address: &str, port: u16, path: &str) -> Result<(), String> {
    let mut stream = connect(address, port).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: gantry-probe\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| format!("port {port}: {e}"))?;
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
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("GET {path} answered {code}")),
        None => Err(format!("port {port} does not speak HTTP")),
    }
}

/// The number in `HTTP/1.1 204 No Content`.
fn status_code(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..12)?).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

async fn grpc(address: &str, port: u16) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}:{port}")).map_err(|e| e.to_string())?;
    let channel = endpoint.connect().await.map_err(|e| format!("port {port}: {e}"))?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await.map_err(|s| s.message().to_owned())?;
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
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status_code(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status_code(b"HTTP/1.0 500 x"), Some(500));
        assert_eq!(status_code(b"SSH-2.0-OpenSSH_9"), None);
        assert_eq!(status_code(b"HT"), None);
    }
}
