//! A block of addresses as CIDR writes it (RFC 4632, RFC 4291): `10.0.0.0/8`, `fd00::/8`.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    first: IpAddr,
    /// Bits that all its addresses share.
    length: u32,
}

impl Block {
    /// What is written behind the length's bits does not count, as in Kubernetes.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let first: IpAddr = address.parse().ok()?;
        let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
        let length = length.parse().ok().filter(|l| plain && *l <= bits(first).1)?;
        Some(Self { first, length })
    }

    pub fn holds(self, address: IpAddr) -> bool {
        let ((own, width), (other, of)) = (bits(self.first), bits(address));
        width == of && (self.length == 0 || (own ^ other) >> (width - self.length) == 0)
    }

    pub fn is_ipv4(self) -> bool {
        self.first.is_ipv4()
    }

    /// All addresses of its kind.
    pub fn is_all(self) -> bool {
        self.length == 0
    }

    /// Is all of the other in it?
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.holds(other.first)
    }
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(four) => (u32::from(four).into(), 32),
        IpAddr::V6(six) => (six.into(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        Block::parse(text).unwrap()
    }

    #[test]
    fn blocks_hold_their_addresses_and_no_others() {
        let holds = |of: &str, address: &str| block(of).holds(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.1.2.3/8", "10.9.9.9"), "the rest of the address does not count");
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "fd00::1"));
        assert!(holds("::/0", "fd00::1") && !holds("::/0", "192.0.2.1"));
        assert!(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe00::1"));
        assert!(block("10.0.0.0/8").is_ipv4() && !block("fd00::/8").is_ipv4());
        assert!(holds("192.0.2.7/32", "192.0.2.7") && !holds("192.0.2.7/32", "192.0.2.6"));
    }

    #[test]
    fn a_block_covers_its_parts() {
        assert!(block("10.0.0.0/8").covers(block("10.1.0.0/16")) && !block("10.1.0.0/16").covers(block("10.0.0.0/8")));
        assert!(!block("10.0.0.0/8").covers(block("11.0.0.0/16")) && !block("0.0.0.0/0").covers(block("fd00::/8")));
    }

    #[test]
    fn what_is_no_block_is_none() {
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "x/8", "10.0.0.0/8/8"] {
            assert!(Block::parse(bad).is_none(), "{bad}");
        }
    }
}
