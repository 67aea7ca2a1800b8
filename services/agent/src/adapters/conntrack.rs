//! The kernel's flows of datagrams: a netlink socket of the packet filter. It needs `CAP_NET_ADMIN`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with};

use super::processes::blocking;
use crate::domain::conntrack::{Flow, Message, delete, list, parse};

const BUFFER: usize = 1 << 20;
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// `ENOENT`: it has ended meanwhile.
const GONE: i32 = 2;

/// Looks at all flows and takes out those that `choose` gives; gives how many.
///
/// # Errors
/// When the kernel cannot be asked, or does not let it be done.
pub async fn forget(choose: impl FnOnce(&[Flow]) -> Vec<Flow> + Send + 'static) -> io::Result<usize> {
    blocking(move || {
        let mut socket = Socket::open()?;
        let flows = socket.flows()?;
        let chosen = choose(&flows);
        for flow in &chosen {
            socket.delete(flow)?;
        }
        Ok(chosen.len())
    })
    .await
}

struct Socket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
        if set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            set_socket_recv_buffer_size(&socket, BUFFER)?;
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWERS_WITHIN))?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, buffer: vec![0; 64 << 10] })
    }

    fn flows(&mut self) -> io::Result<Vec<Flow>> {
        self.say(&list())?;
        let mut flows = Vec::new();
        loop {
            for message in self.read()? {
                match message {
                    Message::Flow(flow) => flows.push(flow),
                    Message::Done => return Ok(flows),
                    Message::Failed(code) => return Err(io::Error::from_raw_os_error(code)),
                }
            }
        }
    }

    fn delete(&mut self, flow: &Flow) -> io::Result<()> {
        self.say(&delete(flow))?;
        loop {
            for message in self.read()? {
                match message {
                    Message::Done | Message::Failed(GONE) => return Ok(()),
                    Message::Failed(code) => return Err(io::Error::from_raw_os_error(code)),
                    Message::Flow(_) => {}
                }
            }
        }
    }

    fn say(&self, word: &[u8]) -> io::Result<()> {
        sendto(&self.socket, word, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    fn read(&mut self) -> io::Result<Vec<Message>> {
        loop {
            match recvfrom(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _, from)) => {
                    let kernel = from.and_then(|f| SocketAddrNetlink::try_from(f).ok()).is_some_and(|f| f.pid() == 0);
                    if kernel {
                        return Ok(parse(self.buffer.get(..length).unwrap_or_default()));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not tell its flows")),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
