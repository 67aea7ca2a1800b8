//! Ports of an instance that are reached from here.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{CLOSE, END, INPUT, OUTPUT, finish, frame, instance};
use crate::args::InstanceTarget;
use crate::client::Socket;
use crate::commands::Context;
use crate::failure::Failure;

pub async fn forward(cx: &mut Context, app: &str, target: &InstanceTarget, ports: &[String], address: IpAddr) -> Result<()> {
    if target.container.is_some() {
        return Err(Failure::Usage("the containers of an instance have their ports in common; leave out --container".into()).into());
    }
    let pairs = ports.iter().map(|p| pair(p)).collect::<Result<Vec<_>>>()?;
    let at = instance(cx, app, target).await?;
    let (taken, mut taking) = mpsc::channel::<(TcpStream, u16)>(16);
    for (local, remote) in pairs {
        let at = SocketAddr::new(address, local);
        let listener = TcpListener::bind(at).await.with_context(|| format!("{at} cannot be listened on; name another local port, LOCAL:{remote}"))?;
        eprintln!("{} leads to port {remote}", listener.local_addr()?);
        let taken = taken.clone();
        #[allow(clippy::disallowed_methods, reason = "ends with this program")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if taken.send((stream, remote)).await.is_err() {
                    return;
                }
            }
        });
    }
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            Some((stream, port)) = taking.recv() => match cx.client.socket(&format!("{at}/forward"), &[("port", port.to_string())]).await {
                #[allow(clippy::disallowed_methods, reason = "ends with this program")]
                Ok(socket) => drop(tokio::spawn(async move {
                    if let Err(error) = join(stream, socket).await {
                        eprintln!("port {port}: {error}");
                    }
                })),
                Err(error) => eprintln!("{}", crate::failure::render(&error)),
            },
        }
    }
}

async fn join(stream: TcpStream, socket: Socket) -> Result<()> {
    let (mut to, mut from) = socket.split();
    let (mut reader, mut writer) = stream.into_split();
    let up = async {
        let mut piece = vec![0; 32 << 10];
        loop {
            match reader.read(&mut piece).await.unwrap_or(0) {
                0 => break,
                count => to.send(frame(INPUT, &piece[..count])).await?,
            }
        }
        to.send(frame(CLOSE, &[INPUT])).await?;
        // The other direction may still have something to say.
        std::future::pending::<Result<()>>().await
    };
    let down = async {
        while let Some(message) = from.next().await {
            let Message::Binary(bytes) = message? else { continue };
            match bytes.split_first() {
                Some((&OUTPUT, rest)) => writer.write_all(rest).await?,
                Some((&END, rest)) => return finish(Some(rest)),
                _ => {}
            }
        }
        finish(None)
    };
    tokio::select! { ended = up => ended, ended = down => ended }
}

/// `8080`, or `LOCAL:REMOTE`.
fn pair(text: &str) -> Result<(u16, u16)> {
    let port = |t: &str| t.parse::<u16>().ok();
    let pair = match text.split_once(':') {
        Some((local, remote)) => port(local).zip(port(remote)),
        None => port(text).map(|p| (p, p)),
    };
    pair.filter(|(_, remote)| *remote > 0).ok_or_else(|| Failure::Usage(format!("{text}: must be PORT or LOCAL:REMOTE")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!((pair("80").unwrap(), pair("0:80").unwrap()), ((80, 80), (0, 80)));
        assert!(pair("x").is_err() && pair("1:0").is_err() && pair("99999").is_err());
    }
}
