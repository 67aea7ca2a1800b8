use proptest::prelude::*;

use super::*;

/// As the kernel writes it: `what` and what follows the event's header.
fn message(what: u32, content: &[u32]) -> Vec<u8> {
    let mut event = Vec::new();
    event.extend(what.to_ne_bytes());
    event.extend(0_u32.to_ne_bytes());
    event.extend(12_345_u64.to_ne_bytes());
    content.iter().for_each(|c| event.extend(c.to_ne_bytes()));
    // The union of all events is as large as its largest.
    event.resize(EVENT_HEADER + 24, 0);
    let mut out = Vec::new();
    out.extend(u32::try_from(NETLINK_HEADER + CONNECTOR_HEADER + event.len()).unwrap().to_ne_bytes());
    out.extend(DONE.to_ne_bytes());
    out.extend([0; 10]);
    out.extend([PROCESSES, PROCESSES, 7, 0].iter().flat_map(|v| v.to_ne_bytes()));
    out.extend(u16::try_from(event.len()).unwrap().to_ne_bytes());
    out.extend([0; 2]);
    out.extend(event);
    out
}

#[test]
fn executions_and_answers_are_read_and_others_are_not() {
    assert_eq!(parse(&message(EXEC, &[11, 10])), [Event::Executed { pid: 10 }], "the process, not its thread");
    assert_eq!(parse(&message(ANSWER, &[1])), [Event::Answered { error: 1 }]);
    // PROC_EVENT_FORK, PROC_EVENT_EXIT.
    assert!(parse(&message(1, &[1, 1, 2, 2])).is_empty() && parse(&message(0x8000_0000, &[1, 1, 0, 17])).is_empty());
    let several = [message(EXEC, &[1, 1]), message(1, &[1, 1, 2, 2]), message(EXEC, &[3, 3])].concat();
    assert_eq!(parse(&several), [Event::Executed { pid: 1 }, Event::Executed { pid: 3 }]);
    let mut overrun = message(EXEC, &[1, 1]);
    overrun[4] = OVERRUN.to_ne_bytes()[0];
    overrun[5] = OVERRUN.to_ne_bytes()[1];
    assert_eq!(parse(&overrun), [Event::Lost]);
    let mut of_others = message(EXEC, &[1, 1]);
    of_others[NETLINK_HEADER] ^= 0xff;
    assert!(parse(&of_others).is_empty(), "another connector's");
}

#[test]
fn what_is_cut_off_says_nothing() {
    let whole = message(EXEC, &[1, 1]);
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_empty(), "{length}");
    }
    let mut too_long = whole.clone();
    // The connector's length says more than there is.
    too_long[NETLINK_HEADER + 16..NETLINK_HEADER + 18].copy_from_slice(&u16::MAX.to_ne_bytes());
    assert!(parse(&too_long).is_empty());
    let mut none = whole;
    none[..4].copy_from_slice(&0_u32.to_ne_bytes());
    assert!(parse(&none).is_empty(), "and it ends");
}

#[test]
fn the_words_are_as_the_kernel_wants_them() {
    assert_eq!((listen().len(), executions_only().len()), (40, 44));
    for word in [listen(), executions_only()] {
        assert_eq!(u32_at(&word, 0).map(|l| l as usize), Some(word.len()));
        assert_eq!(usize::from(u16_at(&word, NETLINK_HEADER + 16).unwrap()), word.len() - NETLINK_HEADER - CONNECTOR_HEADER);
    }
    assert_eq!((u32_at(&executions_only(), 36), u32_at(&executions_only(), 40)), (Some(LISTEN), Some(EXEC)));
}

proptest! {
    #[test]
    fn no_datagram_makes_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(parse(&bytes).len() <= bytes.len() / NETLINK_HEADER);
    }

    #[test]
    fn a_damaged_message_hides_none_before_it(at in 0_usize..76, to in any::<u8>(), pid in any::<u32>()) {
        let mut damaged = message(EXEC, &[9, 9]);
        damaged[at] = to;
        let events = parse(&[message(EXEC, &[pid, pid]), damaged].concat());
        prop_assert_eq!(events.first(), Some(&Event::Executed { pid }));
    }
}
