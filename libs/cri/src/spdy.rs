//! The frames of SPDY/3.1 that a session with a container runtime needs (draft-mbelshe-httpbis-spdy-00, section 2). containerd 1.6
//! and CRI-O offer it for exec, attach and port-forward, and it is the one offer of theirs in which standard input can be ended.
//!
//! Headers are only ever sent: what the runtime answers in its own says nothing that is not known, so nothing is inflated here, and
//! what is sent is "compressed" by blocks that are stored as they are (RFC 1951, section 3.2.4).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// Frames end in 24 bits of length; more than this at once is nothing a runtime sends.
const LONGEST: usize = 4 << 20;
const FIN: u8 = 1;
const HEAD: usize = 8;

/// What comes from the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Data {
        stream: u32,
        bytes: Bytes,
        last: bool,
    },
    /// The other side will have nothing more to do with the stream.
    Reset {
        stream: u32,
    },
    /// To be sent back as it is.
    Ping {
        id: u32,
    },
    GoAway,
    /// Replies, settings, windows: nothing follows from them.
    Other {
        kind: u16,
    },
}

/// Takes frames from a connection.
#[derive(Debug, Default)]
pub struct Frames;

impl Decoder for Frames {
    type Item = Frame;
    type Error = std::io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Frame>, std::io::Error> {
        if from.len() < HEAD {
            return Ok(None);
        }
        let (first, second) = ((&from[..4]).get_u32(), (&from[4..HEAD]).get_u32());
        let (flags, length) = ((second >> 24) as u8, (second & 0x00FF_FFFF) as usize);
        if length > LONGEST {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a frame is too long"));
        }
        if from.len() < HEAD + length {
            from.reserve(HEAD + length - from.len());
            return Ok(None);
        }
        from.advance(HEAD);
        let mut body = from.split_to(length).freeze();
        let control = first & 0x8000_0000 != 0;
        if !control {
            return Ok(Some(Frame::Data { stream: first & 0x7FFF_FFFF, bytes: body, last: flags & FIN != 0 }));
        }
        let kind = (first & 0xFFFF) as u16;
        // Replies and headers may carry the end of the stream, too.
        Ok(Some(match kind {
            2 | 8 if flags & FIN != 0 && body.len() >= 4 => Frame::Data { stream: body.get_u32() & 0x7FFF_FFFF, bytes: Bytes::new(), last: true },
            3 if body.len() >= 4 => Frame::Reset { stream: body.get_u32() & 0x7FFF_FFFF },
            6 if body.len() >= 4 => Frame::Ping { id: body.get_u32() },
            7 => Frame::GoAway,
            kind => Frame::Other { kind },
        }))
    }
}

/// Makes frames; the headers of all streams of a connection are one compressed text, so there is one of these per connection.
#[derive(Debug, Default)]
pub struct Writer {
    begun: bool,
}

impl Writer {
    /// Opens a stream of ours, which has an odd number, higher than all before.
    pub fn open(&mut self, stream: u32, headers: &[(&str, &str)], to: &mut BytesMut) {
        let mut block = BytesMut::new();
        block.put_u32(headers.len() as u32);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.put_u32(text.len() as u32);
            block.put_slice(text.as_bytes());
        }
        let mut stored = BytesMut::new();
        if !std::mem::replace(&mut self.begun, true) {
            // RFC 1950: deflate, 32 KiB, no preset dictionary.
            stored.put_slice(&[0x78, 0x01]);
        }
        // The empty block makes the reader give out what it has.
        for part in [&block[..], &[]] {
            let length = part.len() as u16;
            stored.put_u8(0);
            stored.put_u16_le(length);
            stored.put_u16_le(!length);
            stored.put_slice(part);
        }
        control(1, 10 + stored.len(), to);
        to.put_u32(stream);
        to.put_u32(0);
        to.put_u16(0);
        to.put_slice(&stored);
    }
}

/// A piece of a stream; with `last` it is the end of this side of it.
pub fn data(stream: u32, bytes: &[u8], last: bool, to: &mut BytesMut) {
    to.put_u32(stream);
    to.put_u32(u32::from(if last { FIN } else { 0 }) << 24 | bytes.len() as u32);
    to.put_slice(bytes);
}

pub fn pong(id: u32, to: &mut BytesMut) {
    control(6, 4, to);
    to.put_u32(id);
}

fn control(kind: u16, length: usize, to: &mut BytesMut) {
    to.put_u16(0x8003);
    to.put_u16(kind);
    to.put_u32(length as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whole_however_they_are_cut() {
        let mut wire = BytesMut::new();
        data(5, b"hello", true, &mut wire);
        pong(7, &mut wire);
        Writer::default().open(1, &[("streamtype", "stdin")], &mut wire);
        let (mut seen, mut held) = (Vec::new(), BytesMut::new());
        for byte in wire {
            held.put_u8(byte);
            seen.extend(Frames.decode(&mut held).unwrap());
        }
        let hello = Frame::Data { stream: 5, bytes: Bytes::from_static(b"hello"), last: true };
        assert_eq!(seen, [hello, Frame::Ping { id: 7 }, Frame::Other { kind: 1 }]);
    }

    #[test]
    fn headers_are_stored_blocks_behind_one_zlib_head() {
        let (mut writer, mut wire) = (Writer::default(), BytesMut::new());
        writer.open(1, &[("a", "b")], &mut wire);
        let pairs = [0, 0, 0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b'];
        assert_eq!(&wire[18..20], [0x78, 0x01]);
        assert_eq!(&wire[20..25], [0, 14, 0, !14, 0xFF]);
        assert_eq!(wire[25..39], pairs);
        assert_eq!(wire[39..], [0, 0, 0, 0xFF, 0xFF]);
        let before = wire.len();
        writer.open(3, &[("a", "b")], &mut wire);
        assert_eq!(wire.len() - before, before - 2, "the head comes once");
    }

    #[test]
    fn a_frame_without_an_end_is_refused() {
        let mut wire = BytesMut::from(&[0, 0, 0, 1, 0, 0xFF, 0xFF, 0xFF][..]);
        assert!(Frames.decode(&mut wire).is_err());
    }
}
