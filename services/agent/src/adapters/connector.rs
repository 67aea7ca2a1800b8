//! The kernel's own word on programs that begin to run: the process events connector (`cn_proc`), a netlink socket. It needs
//! `CAP_NET_ADMIN`, a kernel with `CONFIG_PROC_EVENTS`, and the machine's own process numbers.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with};

use crate::domain::process_events::{Event, PROCESSES, executions_only, listen, parse};

/// Events that wait to be read, in bytes as the kernel counts them: a few thousand.
const BUFFER: usize = 4 << 20;
/// The kernel answers at once, if it does.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// How long a read waits at most.
pub const PAUSE: Duration = Duration::from_millis(100);

/// A socket on which programs are told that begin to run.
pub struct Connector {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Connector {
    /// Opens it and waits for the kernel's answer.
    ///
    /// # Errors
    /// Without the right or the kernel for it, or from other process numbers than the machine's own, which are not answered.
    pub fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::CONNECTOR))?;
        // Above the machine's limit with the right to it.
        if set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            set_socket_recv_buffer_size(&socket, BUFFER)?;
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(PAUSE))?;
        bind(&socket, &SocketAddrNetlink::new(0, PROCESSES))?;
        let mut connector = Self { socket, buffer: vec![0; 8192] };
        connector.say(&listen())?;
        connector.answered()?;
        connector.say(&executions_only())?;
        Ok(connector)
    }

    fn say(&self, word: &[u8]) -> io::Result<()> {
        sendto(&self.socket, word, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    fn answered(&mut self) -> io::Result<()> {
        let end = Instant::now() + ANSWERS_WITHIN;
        while Instant::now() < end {
            for event in self.read()? {
                if let Event::Answered { error } = event {
                    let error = i32::try_from(error).unwrap_or(i32::MAX);
                    return if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) };
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not answer; from a container with process numbers of its own it does not"))
    }

    /// What has come; nothing after [`PAUSE`].
    ///
    /// # Errors
    /// When the socket cannot be read any more.
    pub fn read(&mut self) -> io::Result<Vec<Event>> {
        match recvfrom(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((length, _, from)) => {
                // Others than the kernel (port 0) can write to it as well.
                let kernel = from.and_then(|f| SocketAddrNetlink::try_from(f).ok()).is_some_and(|f| f.pid() == 0);
                Ok(if kernel { parse(self.buffer.get(..length).unwrap_or_default()) } else { Vec::new() })
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Vec::new()),
            // More has come than there was room for (netlink(7)).
            Err(Errno::NOBUFS) => Ok(vec![Event::Lost]),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the right to it alone; says so where it is missing.
    #[test]
    fn a_program_that_lives_for_a_moment_is_told() {
        let mut connector = match Connector::open() {
            Ok(connector) => connector,
            Err(error) => {
                eprintln!("skipped: the kernel tells nothing of programs here: {error}");
                return;
            }
        };
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let (pid, end) = (child.id(), Instant::now() + Duration::from_secs(5));
        loop {
            assert!(Instant::now() < end, "it was not told");
            if connector.read().unwrap().contains(&Event::Executed { pid }) {
                break;
            }
        }
        child.wait().unwrap();
    }
}
