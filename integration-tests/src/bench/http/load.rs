//! Asks as fast as the answers come, with as little work of its own as can be: prepared bytes over kept connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gantry_host::{Leaf, Pki, SERVER_SUFFIX};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::desk::SERVICE;

/// The same requests, again and again.
#[derive(Clone)]
pub struct Http {
    /// `None`: without TLS.
    tls: Option<TlsConnector>,
    address: SocketAddr,
    requests: Arc<[Vec<u8>]>,
}

impl Http {
    /// Reads of `paths`, of which there is one at least.
    pub fn new(tls: Arc<ClientConfig>, address: SocketAddr, paths: &[String], token: &str) -> Self {
        let request = |path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\naccept: application/json\r\n\r\n");
        Self { tls: Some(TlsConnector::from(tls)), address, requests: paths.iter().map(|path| request(path).into_bytes()).collect() }
    }

    /// Reads at these hosts and paths, of which there is one at least, by anybody and without TLS.
    pub fn plain(address: SocketAddr, targets: &[(String, String)]) -> Self {
        let request = |(host, path): &(String, String)| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
        Self { tls: None, address, requests: targets.iter().map(request).collect() }
    }

    async fn connect(&self) -> Result<Connection> {
        let socket = TcpStream::connect(self.address).await.with_context(|| format!("nobody listens on {}", self.address))?;
        socket.set_nodelay(true)?;
        let stream: Box<dyn Wire> = match &self.tls {
            Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost")?, socket).await.context("TLS")?),
            None => Box::new(socket),
        };
        Ok(Connection { stream, seen: Vec::with_capacity(8 << 10) })
    }

    /// What the answer to the first of them says.
    pub async fn body(&self) -> Result<String> {
        let mut connection = self.connect().await?;
        let head = connection.ask(&self.requests[0]).await?;
        Ok(String::from_utf8(connection.seen[head..].to_vec())?)
    }

    /// How many answers came on `connections` together, each of which begins elsewhere in the row of requests. The connections
    /// are made before the time begins.
    pub async fn run(&self, connections: usize, how_long: Duration) -> Result<u64> {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(self.connect().await?);
        }
        let end = Instant::now() + how_long;
        let mut tasks = JoinSet::new();
        for (nth, mut connection) in open.into_iter().enumerate() {
            let requests = self.requests.clone();
            tasks.spawn(async move {
                let mut done = 0;
                for request in requests.iter().cycle().skip(nth * requests.len() / connections) {
                    if Instant::now() >= end {
                        break;
                    }
                    connection.ask(request).await?;
                    done += 1;
                }
                Ok::<u64, anyhow::Error>(done)
            });
        }
        sum(tasks).await
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

struct Connection {
    stream: Box<dyn Wire>,
    seen: Vec<u8>,
}

impl Connection {
    /// One answer, which stays in `seen`; gives where its body begins.
    async fn ask(&mut self, request: &[u8]) -> Result<usize> {
        self.stream.write_all(request).await?;
        self.seen.clear();
        let mut whole = None;
        loop {
            ensure!(self.stream.read_buf(&mut self.seen).await? > 0, "the connection was closed");
            if whole.is_none() {
                whole = extent(&self.seen)?;
            }
            if let Some((head, end)) = whole
                && self.seen.len() >= end
            {
                return Ok(head);
            }
        }
    }
}

/// Where the body of a good answer begins and ends, once its head is there.
fn extent(seen: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(head) = seen.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&seen[..head])?;
    if !text.starts_with("HTTP/1.1 200") {
        bail!("it answers {}", text.lines().next().unwrap_or_default());
    }
    let length = text.lines().filter_map(|l| l.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.context("the answer has no length")?.1.trim().parse()?;
    Ok(Some((head + 4, head + 4 + length)))
}

/// How many unary calls of the health service were answered, over a few HTTP/2 connections.
pub async fn calls(pki: &Pki, leaf: &Leaf, address: SocketAddr, callers: usize, how_long: Duration) -> Result<u64> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&pki.ca_pem))
        .identity(Identity::from_pem(&leaf.chain_pem, &leaf.key_pem))
        .domain_name(format!("{SERVICE}.{SERVER_SUFFIX}"));
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(HealthClient::new(Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls.clone())?.connect().await?));
    }
    let end = Instant::now() + how_long;
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let mut client = clients[caller % clients.len()].clone();
        tasks.spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                client.check(HealthCheckRequest::default()).await?;
                done += 1;
            }
            Ok::<u64, anyhow::Error>(done)
        });
    }
    sum(tasks).await
}

async fn sum(mut tasks: JoinSet<Result<u64>>) -> Result<u64> {
    let mut all = 0;
    while let Some(done) = tasks.join_next().await {
        all += done??;
    }
    ensure!(all > 0, "nothing was answered");
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_extent_is_known_once_its_head_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(extent(answer).unwrap(), Some((38, 40)));
        assert_eq!(extent(&answer[..20]).unwrap(), None);
        assert!(extent(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
