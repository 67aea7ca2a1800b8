//! What stands behind both balancers: servers that answer every request on a kept connection with the same bytes, with as little
//! work of their own as can be.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"item\":\"one\",\"price\":1234}";
/// A request of ours is a fraction of it, with all that a balancer adds.
const MOST: usize = 16 << 10;

/// They end when it is dropped.
pub struct Servers {
    pub addresses: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Servers {
    pub fn start(runtime: &Runtime, count: usize) -> Result<Self> {
        runtime.block_on(async {
            let (mut addresses, mut tasks) = (Vec::new(), JoinSet::new());
            for _ in 0..count {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                addresses.push(listener.local_addr()?);
                tasks.spawn(serve(listener));
            }
            Ok(Self { addresses, _tasks: tasks })
        })
    }
}

async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(answer(socket));
        while connections.try_join_next().is_some() {}
    }
}

/// Until the other side closes, or says something that is no request.
async fn answer(mut socket: TcpStream) {
    let _ = socket.set_nodelay(true);
    let mut seen = Vec::with_capacity(MOST);
    while socket.read_buf(&mut seen).await.is_ok_and(|n| n > 0) && seen.len() <= MOST {
        // None of the requests has a body.
        while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            seen.drain(..end + 4);
            if socket.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
