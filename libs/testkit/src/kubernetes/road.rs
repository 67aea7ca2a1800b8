//! The way to an API server: open, closed, or one that swallows whatever is sent.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections are refused, and those that were open end.
    Refused,
    /// Connections are taken, and nothing is ever answered.
    Hanging,
}

/// Ends with the test's runtime.
#[derive(Clone)]
pub struct Road(watch::Sender<Way>);

impl Road {
    /// Its address, and how it is opened and closed.
    pub async fn to(server: SocketAddr) -> (SocketAddr, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (sender, way) = watch::channel(Way::Open);
        tokio::spawn(serve(listener, address, server, way));
        (address, Self(sender))
    }

    pub fn set(&self, way: Way) {
        self.0.send_replace(way);
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, server: SocketAddr, mut way: watch::Receiver<Way>) {
    let mut listener = Some(listener);
    loop {
        if *way.borrow_and_update() == Way::Refused {
            listener = None;
            if way.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(address).await.expect("the port is still ours"),
        };
        tokio::select! {
            taken = open.accept() => {
                if let Ok((stream, _)) = taken {
                    tokio::spawn(carry(stream, server, way.clone()));
                }
            }
            changed = way.changed() => if changed.is_err() { return },
        }
        listener = Some(open);
    }
}

/// As the way was when the connection came; it ends when that changes.
async fn carry(mut stream: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>) {
    let open = *way.borrow_and_update() == Way::Open;
    let carried = async {
        if !open {
            std::future::pending::<()>().await;
        }
        if let Ok(mut there) = TcpStream::connect(server).await {
            // However it ends, both sides see it.
            drop(tokio::io::copy_bidirectional(&mut stream, &mut there).await);
        }
    };
    tokio::select! {
        () = carried => return,
        _ = way.changed() => {}
    }
    if *way.borrow_and_update() == Way::Hanging {
        // What was under way is never answered.
        drop(way.changed().await);
    }
}
