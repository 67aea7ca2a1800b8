//! One kept connection to a registry, with or without TLS, that costs as little as can be: both sides are asked by the same code.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Where a registry listens, and how.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    /// None: without TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

trait Pipe: Read + Write + Send {}
impl<T: Read + Write + Send> Pipe for T {}

pub struct Line {
    pipe: Box<dyn Pipe>,
    buffer: Vec<u8>,
    door: Door,
}

/// What came back; the body is read and, unless it is small, forgotten.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Path of the `Location`, without scheme and host.
    pub location: Option<String>,
    pub body: Vec<u8>,
    pub length: u64,
}

/// Larger bodies are only counted.
const KEPT: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

impl Door {
    pub fn connect(&self) -> Result<Line> {
        let socket = TcpStream::connect(self.address).with_context(|| format!("nobody listens on {}", self.address))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let pipe: Box<dyn Pipe> = match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                let mut connection = ClientConnection::new(tls.clone(), ServerName::try_from("localhost")?)?;
                // A record for each write of the body, not a queue of them.
                connection.set_buffer_limit(Some(1 << 20));
                Box::new(StreamOwned::new(connection, socket))
            }
        };
        Ok(Line { pipe, buffer: Vec::with_capacity(64 << 10), door: self.clone() })
    }
}

impl Line {
    /// Sends a request. `head` are header lines, each with its end; the body's length is added.
    pub fn ask(&mut self, method: &str, path: &str, head: &str, body: &[&[u8]]) -> Result<Answer> {
        let length: usize = body.iter().map(|b| b.len()).sum();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{head}", self.door.address).into_bytes();
        if method != "GET" && method != "HEAD" {
            request.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        // Small bodies ride along with the head, as in every client.
        if length <= 16 << 10 {
            body.iter().for_each(|b| request.extend_from_slice(b));
            self.pipe.write_all(&request)?;
        } else {
            self.pipe.write_all(&request)?;
            for piece in body.iter().flat_map(|b| b.chunks(256 << 10)) {
                self.pipe.write_all(piece)?;
            }
        }
        self.pipe.flush()?;
        self.answer(method == "HEAD")
    }

    fn answer(&mut self, bodyless: bool) -> Result<Answer> {
        self.buffer.clear();
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            self.more()?;
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_owned();
        let status: u16 = text.split(' ').nth(1).and_then(|s| s.parse().ok()).context("not an answer")?;
        let header = |name: &str| text.lines().filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim());
        let location = header("location").map(|l| path_of(l).to_owned());
        ensure!(header("transfer-encoding").is_none(), "an answer of unknown length: {text}");
        let length: u64 = header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, location, body: Vec::new(), length };
        if bodyless || status == 204 || length == 0 {
            return Ok(answer);
        }
        let mut got = (self.buffer.len() - head) as u64;
        if length <= KEPT {
            while got < length {
                got += self.more()? as u64;
            }
            answer.body = self.buffer[head..].to_vec();
        } else {
            self.buffer.resize(256 << 10, 0);
            while got < length {
                let n = self.pipe.read(&mut self.buffer)?;
                ensure!(n > 0, "the connection was closed");
                got += n as u64;
            }
        }
        Ok(answer)
    }

    fn more(&mut self) -> Result<usize> {
        let mut chunk = [0; 16 << 10];
        let n = self.pipe.read(&mut chunk)?;
        ensure!(n > 0, "the connection was closed");
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n)
    }
}

impl Answer {
    /// # Errors
    /// Any other status than this one.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!("it answers {} instead of {status}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(self)
    }
}

fn path_of(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_followed_with_and_without_host() {
        assert_eq!(path_of("http://127.0.0.1:5000/v2/x?a=b"), "/v2/x?a=b");
        assert_eq!(path_of("/v2/x"), "/v2/x");
    }
}
