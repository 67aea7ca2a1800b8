//! What foreign bytes meet first, as one function each: for the fuzz targets in `fuzz/` and for the tests that replay their corpus.
//! Each states what must hold whatever comes, and panics if it does not.

use crate::domain::conntrack;
use crate::domain::process_events::parse;

/// A datagram of the kernel's process events.
///
/// # Panics
/// If more is read from it than it has room for, or if what is read depends on what follows.
pub fn process_events(data: &[u8]) {
    let events = parse(data);
    assert!(events.len() <= data.len() / 16, "more events than headers");
    let aligned = &data[..data.len() - data.len() % 4];
    let longer = parse(&[aligned, &[0; 16]].concat());
    let same = parse(aligned);
    assert!(longer.starts_with(&same), "what comes after a message changes it");
}

/// A datagram of the kernel's list of flows.
///
/// # Panics
/// If more is read from it than it has room for, or if what is to be deleted does not say how long it is.
pub fn flows(data: &[u8]) {
    let messages = conntrack::parse(data);
    assert!(messages.len() <= data.len() / 16, "more messages than headers");
    for message in messages {
        if let conntrack::Message::Flow(flow) = message {
            let word = conntrack::delete(&flow);
            let length = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            assert_eq!(usize::try_from(length).ok(), Some(word.len()), "a word of another length");
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_testkit::replay;

    #[test]
    fn the_corpus_of_process_events_is_read_or_left() {
        replay("agent_process_events", super::process_events);
    }

    #[test]
    fn the_corpus_of_flows_is_read_or_left() {
        replay("agent_flows", super::flows);
    }
}
