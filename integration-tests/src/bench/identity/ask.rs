//! Talks HTTP/1.1 over kept connections with as little work of its own as can be, and reads what comes back.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A server to connect to.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Server {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    pub fn with_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self { address, tls: Some(config.into()) }
    }

    pub async fn connect(&self) -> Result<Talk> {
        let socket = TcpStream::connect(self.address).await.with_context(|| format!("nobody listens on {}", self.address))?;
        socket.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost")?, socket).await.context("TLS")?),
            None => Box::new(socket),
        };
        Ok(Talk { stream, seen: Vec::with_capacity(16 << 10) })
    }
}

/// One connection.
pub struct Talk {
    stream: Box<dyn Stream>,
    seen: Vec<u8>,
}

/// An answer with its whole body.
pub struct Answer<'a> {
    pub status: u16,
    head: &'a str,
    pub body: &'a str,
}

impl<'a> Answer<'a> {
    pub fn headers(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().filter_map(|l| l.split_once(':'));
        lines.filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(self.body).with_context(|| format!("{} {}", self.status, self.body))
    }

    /// # Errors
    /// Unless the status is this.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{} instead of {status}: {} {}", self.status, self.head, self.body.chars().take(400).collect::<String>());
        Ok(self)
    }
}

impl Talk {
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.seen.clear();
        let mut whole = None;
        loop {
            ensure!(self.stream.read_buf(&mut self.seen).await? > 0, "the connection was closed");
            if whole.is_none() {
                whole = extent(&self.seen)?;
            }
            if let Some((status, head, end)) = whole
                && self.seen.len() >= end
            {
                let text = std::str::from_utf8(&self.seen[..end])?;
                return Ok(Answer { status, head: &text[..head], body: &text[head..] });
            }
        }
    }
}

/// Status, and where the body begins and ends, once the head is there.
fn extent(seen: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(head) = seen.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&seen[..head])?;
    let status: u16 = text.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status line")?;
    let length = text.lines().filter_map(|l| l.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = match length {
        Some((_, length)) => length.trim().parse()?,
        None if status == 204 || status == 304 => 0,
        None => anyhow::bail!("an answer without a length: {text}"),
    };
    Ok(Some((status, head + 4, head + 4 + length)))
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if method != "GET" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

pub fn get(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    request("GET", path, headers, "")
}

pub fn post_form(path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Vec<u8> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request("POST", path, &[headers, &[("content-type", "application/x-www-form-urlencoded")]].concat(), &body)
}

pub fn post_json(path: &str, token: &str, body: &serde_json::Value) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    request("POST", path, &[("authorization", &bearer), ("content-type", "application/json")], &body.to_string())
}

pub fn get_json(path: &str, token: &str) -> Vec<u8> {
    get(path, &[("authorization", &format!("Bearer {token}")), ("accept", "application/json")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_extent_is_known_once_its_head_is_whole() {
        let answer = b"HTTP/1.1 303 See Other\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(extent(answer).unwrap(), Some((303, 45, 47)));
        assert_eq!(extent(&answer[..20]).unwrap(), None);
        assert_eq!(extent(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Some((204, 27, 27)));
    }

    #[test]
    fn a_form_is_written_with_its_length() {
        let text = String::from_utf8(post_form("/login", &[("cookie", "a=b")], &[("name", "a b"), ("x", "&")])).unwrap();
        assert!(text.starts_with("POST /login HTTP/1.1\r\n") && text.contains("cookie: a=b\r\n"));
        assert!(text.ends_with("content-length: 14\r\n\r\nname=a+b&x=%26"), "{text}");
    }
}
