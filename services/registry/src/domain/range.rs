//! Byte ranges: the registry's own `Content-Range: <start>-<end>` of upload chunks, and HTTP's `Range: bytes=..` of reads.

use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("a chunk's range is `<first>-<last>`, two decimal numbers with first <= last")]
pub struct RangeError;

/// Where a chunk says it belongs: first and last byte, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    pub first: u64,
    pub last: u64,
}

impl ChunkRange {
    /// Accepts the registry form `0-99` and HTTP's `bytes 0-99/*` (some clients send it).
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        let text = text.trim();
        let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let text = text.split('/').next().unwrap_or_default();
        let (first, last) = text.split_once('-').ok_or(RangeError)?;
        let (first, last) = (decimal(first).ok_or(RangeError)?, decimal(last).ok_or(RangeError)?);
        if first > last { Err(RangeError) } else { Ok(Self { first, last }) }
    }

    pub fn bytes(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRange {
    /// No range, or one in a form a server may ignore (RFC 9110 section 14.2).
    Whole,
    Part {
        first: u64,
        len: u64,
    },
    /// 416.
    Unsatisfiable,
}

/// Reads `Range` for content of `size` bytes. Several ranges in one header are ignored: the whole answer is allowed then.
pub fn read_range(header: Option<&str>, size: u64) -> ReadRange {
    let Some(spec) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return ReadRange::Whole };
    let Some((first, last)) = spec.split_once('-') else { return ReadRange::Whole };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let Some(suffix) = decimal(last) else { return ReadRange::Whole };
        let len = suffix.min(size);
        return if len == 0 { ReadRange::Unsatisfiable } else { ReadRange::Part { first: size - len, len } };
    }
    let Some(first) = decimal(first) else { return ReadRange::Whole };
    let last = if last.is_empty() {
        u64::MAX
    } else {
        match decimal(last) {
            Some(last) if last >= first => last,
            // RFC 9110 lets a server ignore a last position before the first; the conformance suite of the distribution
            // specification wants it refused.
            Some(_) => return ReadRange::Unsatisfiable,
            None => return ReadRange::Whole,
        }
    };
    if first >= size {
        return ReadRange::Unsatisfiable;
    }
    ReadRange::Part { first, len: (last.min(size - 1) - first) + 1 }
}

/// Digits only: `u64::from_str` would take a sign.
fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chunk_range_includes_both_ends() {
        assert_eq!(ChunkRange::parse("0-9").unwrap().bytes(), 10);
        assert_eq!(ChunkRange::parse("bytes 5-9/*").unwrap(), ChunkRange { first: 5, last: 9 });
        for bad in ["", "-", "9-0", "a-b", "0-", "-9", "+1-2", "0-99999999999999999999"] {
            assert!(ChunkRange::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_follow_rfc_9110() {
        for (header, expected) in [
            (None, ReadRange::Whole),
            (Some("bytes=0-0"), ReadRange::Part { first: 0, len: 1 }),
            (Some("bytes=5-"), ReadRange::Part { first: 5, len: 5 }),
            (Some("bytes=5-100"), ReadRange::Part { first: 5, len: 5 }),
            (Some("bytes=-3"), ReadRange::Part { first: 7, len: 3 }),
            (Some("bytes=-30"), ReadRange::Part { first: 0, len: 10 }),
            (Some("bytes=-0"), ReadRange::Unsatisfiable),
            (Some("bytes=10-"), ReadRange::Unsatisfiable),
            (Some("bytes=3-1"), ReadRange::Unsatisfiable),
            (Some("bytes=0-1,3-4"), ReadRange::Whole),
            (Some("lines=0-1"), ReadRange::Whole),
        ] {
            assert_eq!(read_range(header, 10), expected, "{header:?}");
        }
        assert_eq!(read_range(Some("bytes=0-"), 0), ReadRange::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_never_reaches_past_the_end(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", size in 0u64..5000) {
            if let ReadRange::Part { first, len } = read_range(Some(&header), size) {
                prop_assert!(len > 0 && first + len <= size);
            }
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,60}", size in any::<u64>()) {
            let _ = ChunkRange::parse(&text).map(ChunkRange::bytes);
            let _ = read_range(Some(&text), size);
        }
    }
}
