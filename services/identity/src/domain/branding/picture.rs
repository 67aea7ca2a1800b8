//! Which pictures may be a logo: PNG, JPEG or WebP, known by their content and not by what the sender calls them. SVG is
//! a document with scripts, and no picture here.

use thiserror::Error;

/// Larger ones would slow every sign-in page down.
pub const LARGEST_BYTES: usize = 100 * 1024;
const SIDES: std::ops::RangeInclusive<u32> = 16..=1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub media_type: &'static str,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Fault {
    #[error("must have at most 100 KiB; it has {0} bytes")]
    TooLarge(usize),
    #[error("must be a PNG, JPEG or WebP picture; SVG is not accepted because it can carry scripts")]
    Unknown,
    #[error("is a damaged or cut off {0} picture")]
    Damaged(&'static str),
    #[error("must have sides of 16 to 1024 pixels; it has {0} × {1}")]
    Sides(u32, u32),
}

/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Picture, Fault> {
    if bytes.len() > LARGEST_BYTES {
        return Err(Fault::TooLarge(bytes.len()));
    }
    let (media_type, sides) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        ("image/png", png(bytes))
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        ("image/jpeg", jpeg(bytes))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        ("image/webp", webp(bytes))
    } else {
        return Err(Fault::Unknown);
    };
    let (width, height) = sides.ok_or(Fault::Damaged(media_type))?;
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return Err(Fault::Sides(width, height));
    }
    Ok(Picture { media_type, width, height })
}

fn be(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    Some(bytes.get(at..at.checked_add(len)?)?.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

fn le(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    Some(bytes.get(at..at.checked_add(len)?)?.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// Chunks to the end, nothing after it: the first is the header (PNG 3rd edition, 5.6 and 11.2.1).
fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    if be(bytes, 8, 4)? != 13 || bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    let mut at = 8_usize;
    loop {
        let (length, kind) = (usize::try_from(be(bytes, at, 4)?).ok()?, bytes.get(at + 4..at + 8)?);
        let end = at.checked_add(length)?.checked_add(12)?;
        if kind == b"IEND" {
            return (length == 0 && end == bytes.len()).then_some((be(bytes, 16, 4)?, be(bytes, 20, 4)?));
        }
        if end > bytes.len() {
            return None;
        }
        at = end;
    }
}

/// Segments up to the frame header (ITU T.81, B.1 and B.2.2); ends with the mark of its end.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.ends_with(b"\xff\xd9") {
        return None;
    }
    let mut at = 2_usize;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        match *bytes.get(at + 1)? {
            0xff => at += 1,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Some((be(bytes, at + 7, 2)?, be(bytes, at + 5, 2)?)),
            // Scan or end before the frame.
            0xda | 0xd9 => return None,
            _ => at = at.checked_add(2)?.checked_add(usize::try_from(be(bytes, at + 2, 2)?).ok()?.max(2))?,
        }
    }
}

/// The first chunk says how large it is (RFC 9649, 2.5 to 2.7).
fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    if usize::try_from(le(bytes, 4, 4)?).ok()?.checked_add(8)? != bytes.len() {
        return None;
    }
    match bytes.get(12..16)? {
        b"VP8 " if bytes.get(23..26)? == b"\x9d\x01\x2a" => Some((le(bytes, 26, 2)? & 0x3fff, le(bytes, 28, 2)? & 0x3fff)),
        b"VP8L" if *bytes.get(20)? == 0x2f => {
            let packed = le(bytes, 21, 4)?;
            Some(((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => Some((le(bytes, 24, 3)? + 1, le(bytes, 27, 3)? + 1)),
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn png_of(width: u32, height: u32) -> Vec<u8> {
        let chunk = |kind: &[u8], data: &[u8]| [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], kind, data, &[0; 4]].concat();
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &[1, 2, 3]), chunk(b"IEND", &[])].concat()
    }

    fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
        let frame = [&[0xff, 0xc0, 0, 11, 8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[1, 1, 0x11, 0]].concat();
        [&[0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0][..], &frame, &[0xff, 0xda, 0, 2, 0xff, 0xd9]].concat()
    }

    fn webp_of(width: u32, height: u32) -> Vec<u8> {
        let canvas = [&[0; 4][..], &(width - 1).to_le_bytes()[..3], &(height - 1).to_le_bytes()[..3]].concat();
        [&b"RIFF"[..], &22_u32.to_le_bytes(), b"WEBPVP8X", &10_u32.to_le_bytes(), &canvas].concat()
    }

    #[test]
    fn a_picture_is_known_by_its_content() {
        let of = |media_type| Picture { media_type, width: 200, height: 40 };
        assert_eq!(read(&png_of(200, 40)), Ok(of("image/png")));
        assert_eq!(read(&jpeg_of(200, 40)), Ok(of("image/jpeg")));
        assert_eq!(read(&webp_of(200, 40)), Ok(of("image/webp")));
    }

    #[test]
    fn what_is_no_safe_picture_is_refused() {
        assert_eq!(read(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"), Err(Fault::Unknown));
        assert_eq!(read(b"GIF89a\x10\0\x10\0"), Err(Fault::Unknown));
        assert_eq!(read(b""), Err(Fault::Unknown));
        assert_eq!(read(&vec![0; LARGEST_BYTES + 1]), Err(Fault::TooLarge(LARGEST_BYTES + 1)));
        assert_eq!(read(&png_of(8, 40)), Err(Fault::Sides(8, 40)));
        assert_eq!(read(&png_of(40_000, 40_000)), Err(Fault::Sides(40_000, 40_000)), "a bomb");
        let page = [png_of(200, 40), b"<script>alert(1)</script>".to_vec()].concat();
        assert_eq!(read(&page), Err(Fault::Damaged("image/png")), "nothing follows a picture");
        assert_eq!(read(&png_of(200, 40)[..40]), Err(Fault::Damaged("image/png")));
        assert_eq!(read(&[jpeg_of(20, 20), vec![0]].concat()), Err(Fault::Damaged("image/jpeg")));
        assert_eq!(read(&[webp_of(20, 20), vec![0]].concat()), Err(Fault::Damaged("image/webp")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(start in prop::sample::select(vec![&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b""]), rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[start, &rest].concat());
        }
    }
}
