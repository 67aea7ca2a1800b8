//! The kernel's messages about processes: netlink (RFC 3549 section 2.3.2) around the connector's (`linux/connector.h`) around one
//! event (`linux/cn_proc.h`), each in the byte order of the machine. And the two words by which they are asked for.

/// `NLMSG_DONE`: the connector sends all of its messages as such.
const DONE: u16 = 3;
/// `NLMSG_OVERRUN`: data was lost.
const OVERRUN: u16 = 4;
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
/// Kind, processor, time.
const EVENT_HEADER: usize = 16;
/// `CN_IDX_PROC` and `CN_VAL_PROC`; the first is the multicast group, too.
pub const PROCESSES: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`.
const LISTEN: u32 = 1;
/// `PROC_EVENT_NONE`: the answer to a word.
const ANSWER: u32 = 0;
/// `PROC_EVENT_EXEC`.
const EXEC: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process runs another program than before. As the node numbers it.
    Executed { pid: u32 },
    /// To the word that it is to tell: 0, or the number of an error (errno(3)).
    Answered { error: u32 },
    /// Some could not be delivered.
    Lost,
}

/// What a datagram says. What is cut off, or none of this, is left out.
pub fn parse(datagram: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut rest = datagram;
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let Some(whole) = usize::try_from(length).ok().filter(|l| *l >= NETLINK_HEADER).and_then(|l| rest.get(..l)) else { break };
        match kind {
            DONE => events.extend(event(whole.get(NETLINK_HEADER..).unwrap_or_default())),
            OVERRUN => events.push(Event::Lost),
            _ => {}
        }
        // Each begins at a multiple of four (NLMSG_ALIGN).
        rest = rest.get(whole.len().next_multiple_of(4)..).unwrap_or_default();
    }
    events
}

fn event(message: &[u8]) -> Option<Event> {
    if (u32_at(message, 0)?, u32_at(message, 4)?) != (PROCESSES, PROCESSES) {
        return None;
    }
    let length = usize::from(u16_at(message, 16)?);
    let event = message.get(CONNECTOR_HEADER..CONNECTOR_HEADER.checked_add(length)?)?;
    match u32_at(event, 0)? {
        ANSWER => Some(Event::Answered { error: u32_at(event, EVENT_HEADER)? }),
        // The thread that did it, then the process that it was a thread of.
        EXEC => Some(Event::Executed { pid: u32_at(event, EVENT_HEADER + 4)? }),
        _ => None,
    }
}

/// Asks for all events. Every kernel that has the connector answers it, if it is asked from the machine's own process numbers.
pub fn listen() -> Vec<u8> {
    word(&[LISTEN])
}

/// Asks for executions alone. Kernels before 6.6 take no notice, and go on telling all.
pub fn executions_only() -> Vec<u8> {
    word(&[LISTEN, EXEC])
}

fn word(content: &[u32]) -> Vec<u8> {
    let data = content.len() * 4;
    let total = u32::try_from(NETLINK_HEADER + CONNECTOR_HEADER + data).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    out.extend(total.to_ne_bytes());
    out.extend(DONE.to_ne_bytes());
    // Flags, number, sender: the kernel knows who it is.
    out.extend([0; 10]);
    out.extend(PROCESSES.to_ne_bytes());
    out.extend(PROCESSES.to_ne_bytes());
    // Number, answered number.
    out.extend([0; 8]);
    out.extend(u16::try_from(data).unwrap_or(u16::MAX).to_ne_bytes());
    out.extend([0; 2]);
    content.iter().for_each(|value| out.extend(value.to_ne_bytes()));
    out
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

#[cfg(test)]
#[path = "process_events/tests.rs"]
mod tests;
