//! Where a server of a test may listen that has to be told before it starts. Whoever can take port 0 and say which it got should: between
//! the asking here and the listening a program that knows nothing of tests may come. Other tests do not: whoever was given a port keeps
//! a mark of it until its process ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Below what the kernel gives to those who connect (32768 and up, ip(7)): one of them must not have it when the server starts.
const PORTS: Range<u16> = 21_000..32_000;

/// Marks of the ports that this process was given.
static MARKS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port of the loopback interface that nobody listens at right now, and that no other test is given.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let mut marks = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = PORTS.end - PORTS.start;
    // Tests that start together begin to look at different places.
    let first = u16::try_from(std::process::id().wrapping_mul(31) % u32::from(count)).expect("less than the ports there are");
    for step in 0..count {
        let port = PORTS.start + (first + step) % count;
        if let Some(mark) = mark(port).filter(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            marks.push(mark);
            return port;
        }
    }
    panic!("every port from {} to {} is taken", PORTS.start, PORTS.end)
}

/// `None`: another test has it. A name of this kind is no file, and is free again when its process is gone (unix(7), abstract).
fn mark(port: u16) -> Option<UnixListener> {
    let name = UnixAddress::from_abstract_name(format!("gantry test port {port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

/// The same with its address.
///
/// # Panics
/// When there is none.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_none_that_somebody_listens_at() {
        let given = free_port();
        assert!(mark(given).is_none(), "it is marked");
        let next = free_port();
        assert_ne!(given, next);
        // As a program has it that knows nothing of marks.
        let after = PORTS.start + (next - PORTS.start + 1) % (PORTS.end - PORTS.start);
        let _there = TcpListener::bind((Ipv4Addr::LOCALHOST, after));
        assert_ne!(free_port(), after);
        let _listens = TcpListener::bind(free_address()).expect("it is free");
    }
}
