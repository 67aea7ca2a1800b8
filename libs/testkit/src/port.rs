//! Where a server of a test may listen that has to be told before it starts. Whoever can take port 0 and say which it got should: between
//! the asking here and the listening somebody else may come.

use std::net::{Ipv4Addr, SocketAddr};

/// A port of the loopback interface that nobody listens at right now.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    gantry_servers::server::free_port().expect("a free port")
}

/// The same with its address.
///
/// # Panics
/// When there is none.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
