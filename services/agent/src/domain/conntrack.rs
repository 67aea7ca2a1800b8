//! The kernel's list of flows (`ctnetlink`): netlink messages (RFC 3549 section 2.3.2) of the subsystem `NFNL_SUBSYS_CTNETLINK` with
//! attributes as in `linux/netfilter/nfnetlink_conntrack.h`. How it is asked for, what it says of datagrams of IPv4, and how one is taken out.

use std::net::{Ipv4Addr, SocketAddrV4};

const NETLINK_HEADER: usize = 16;
/// Family, version, resource (`struct nfgenmsg`).
const FILTER_HEADER: usize = 4;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NFNL_SUBSYS_CTNETLINK << 8 |` `IPCTNL_MSG_CT_NEW`, `_GET`, `_DELETE`.
const NEW: u16 = 0x100;
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`.
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// `AF_INET`.
const IPV4: u8 = 2;
/// `IPPROTO_UDP`.
const UDP: u8 = 17;
/// `NLA_F_NESTED`, and what is left of a kind without the flags.
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`, `CTA_ZONE`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;

/// One flow of datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Whom the one who began it sends to.
    pub to: SocketAddrV4,
    /// Who answers: another one where the destination was changed.
    pub answers_from: SocketAddrV4,
    /// The attributes by which it is found again, as they came.
    key: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Flow(Flow),
    /// The list is at its end, or what was asked for is done.
    Done,
    /// The number of an error (errno(3)).
    Failed(i32),
}

/// Asks for all flows of IPv4.
pub fn list() -> Vec<u8> {
    message(GET, REQUEST | DUMP, &[])
}

/// Takes one out; it is answered.
pub fn delete(flow: &Flow) -> Vec<u8> {
    message(DELETE, REQUEST | ACK, &flow.key)
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(NETLINK_HEADER + FILTER_HEADER + attributes.len()).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    // Number and sender: one question at a time, and the kernel knows who asks.
    out.extend([0; 8]);
    out.extend([IPV4, 0, 0, 0]);
    out.extend(attributes);
    out
}

/// What a datagram of the kernel says. What is cut off, or no flow of datagrams, is left out.
pub fn parse(datagram: &[u8]) -> Vec<Message> {
    let mut out = Vec::new();
    let mut rest = datagram;
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let Some(whole) = usize::try_from(length).ok().filter(|l| *l >= NETLINK_HEADER).and_then(|l| rest.get(..l)) else { break };
        match kind {
            DONE => out.push(Message::Done),
            ERROR => out.extend(u32_at(whole, NETLINK_HEADER).map(|code| match code.cast_signed() {
                0 => Message::Done,
                code => Message::Failed(code.saturating_neg()),
            })),
            NEW => out.extend(flow(whole.get(NETLINK_HEADER + FILTER_HEADER..).unwrap_or_default()).map(Message::Flow)),
            _ => {}
        }
        rest = rest.get(whole.len().next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

fn flow(text: &[u8]) -> Option<Flow> {
    let (mut to, mut answers_from, mut key) = (None, None, Vec::new());
    for (kind, value) in Attributes(text) {
        match kind {
            ORIGINAL => {
                to = Some(ends(value)?.1);
                attribute(ORIGINAL | NESTED, value, &mut key);
            }
            REPLY => answers_from = Some(ends(value)?.0),
            ID | ZONE => attribute(kind, value, &mut key),
            _ => {}
        }
    }
    Some(Flow { to: to?, answers_from: answers_from?, key })
}

/// Source and destination of a tuple, if it is of UDP: `CTA_TUPLE_IP` (1) with `CTA_IP_V4_SRC` (1) and `_DST` (2), `CTA_TUPLE_PROTO` (2)
/// with `CTA_PROTO_NUM` (1), `_SRC_PORT` (2) and `_DST_PORT` (3); numbers are in the network's order of bytes.
fn ends(tuple: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let (addresses, protocol) = (find(tuple, 1)?, find(tuple, 2)?);
    if find(protocol, 1)? != [UDP] {
        return None;
    }
    let address = |of| Some(Ipv4Addr::from(<[u8; 4]>::try_from(find(addresses, of)?).ok()?));
    let port = |of| Some(u16::from_be_bytes(find(protocol, of)?.try_into().ok()?));
    Some((SocketAddrV4::new(address(1)?, port(2)?), SocketAddrV4::new(address(2)?, port(3)?)))
}

fn find(attributes: &[u8], of: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(kind, _)| *kind == of).map(|(_, value)| value)
}

fn attribute(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Kind (without flags) and value of each.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, kind) = (usize::from(u16_at(self.0, 0)?), u16_at(self.0, 2)?);
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & KIND, value))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tuple(from: SocketAddrV4, to: SocketAddrV4, protocol: u8) -> Vec<u8> {
        let (mut addresses, mut ports, mut out) = (Vec::new(), Vec::new(), Vec::new());
        attribute(1, &from.ip().octets(), &mut addresses);
        attribute(2, &to.ip().octets(), &mut addresses);
        attribute(1, &[protocol], &mut ports);
        attribute(2, &from.port().to_be_bytes(), &mut ports);
        attribute(3, &to.port().to_be_bytes(), &mut ports);
        attribute(1 | NESTED, &addresses, &mut out);
        attribute(2 | NESTED, &ports, &mut out);
        out
    }

    fn told(from: &str, to: &str, answers_from: &str, protocol: u8) -> Vec<u8> {
        let at = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let mut attributes = Vec::new();
        attribute(ORIGINAL | NESTED, &tuple(at(from), at(to), protocol), &mut attributes);
        attribute(REPLY | NESTED, &tuple(at(answers_from), at(from), protocol), &mut attributes);
        attribute(3, &[0, 0, 1, 0xba], &mut attributes);
        attribute(ID, &[1, 2, 3, 4], &mut attributes);
        message(NEW, 0, &attributes)
    }

    /// A flow as the kernel would tell it.
    pub(crate) fn flow_of(from: &str, to: &str, answers_from: &str) -> Flow {
        let mut all = parse(&told(from, to, answers_from, UDP));
        let Some(Message::Flow(flow)) = all.pop() else { panic!("it is not read") };
        flow
    }

    #[test]
    fn flows_of_datagrams_are_read_and_deleted_by_what_they_are_known_by() {
        let flow = flow_of("10.88.0.9:4000", "10.100.3.4:53", "10.88.0.2:5353");
        assert_eq!((flow.to.to_string(), flow.answers_from.to_string()), ("10.100.3.4:53".to_owned(), "10.88.0.2:5353".to_owned()));
        let delete = delete(&flow);
        assert_eq!(usize::try_from(u32_at(&delete, 0).unwrap()).unwrap(), delete.len());
        let attributes: Vec<u16> = Attributes(&delete[NETLINK_HEADER + FILTER_HEADER..]).map(|(kind, _)| kind).collect();
        assert_eq!(attributes, [ORIGINAL, ID]);
        assert!(parse(&told("10.0.0.1:1", "10.0.0.2:2", "10.0.0.2:2", 6)).is_empty(), "TCP is none");
    }

    #[test]
    fn the_end_and_errors_are_told() {
        let answer = |code: i32| {
            let mut out = message(ERROR, 0, &[]);
            out[NETLINK_HEADER..].copy_from_slice(&code.to_ne_bytes());
            out
        };
        let all = parse(&[message(DONE, 0, &[]), answer(0), answer(-2)].concat());
        assert_eq!(all, [Message::Done, Message::Done, Message::Failed(2)]);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_is_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..120) {
            parse(&bytes);
            let whole = told("10.88.0.9:4000", "10.100.3.4:53", "10.88.0.2:5353", UDP);
            parse(&whole[..cut.min(whole.len())]);
            parse(&[&whole[..cut.min(whole.len())], &bytes].concat());
        }
    }
}
