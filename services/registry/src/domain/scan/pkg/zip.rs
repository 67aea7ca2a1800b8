//! Just enough of ZIP (PKWARE APPNOTE) to read chosen small files from an archive in memory, by its central directory.

use std::io::Read;

use super::{slice, u16_at, u32_at};

const MOST_ENTRIES: usize = 200_000;

pub struct Entry<'a> {
    pub name: String,
    method: u16,
    data: &'a [u8],
    pub size: u64,
}

/// The entries, as far as the directory can be read.
pub fn entries(bytes: &[u8]) -> Vec<Entry<'_>> {
    let mut found = Vec::new();
    let _ = read(bytes, &mut found);
    found
}

fn read<'a>(bytes: &'a [u8], found: &mut Vec<Entry<'a>>) -> Option<()> {
    // The end record is in the last 64 KiB: a comment may follow it.
    let from = bytes.len().saturating_sub(65_557);
    let end = from + bytes[from..].windows(4).rposition(|w| w == b"PK\x05\x06")?;
    let count = usize::from(u16_at(bytes, end + 10, false)?).min(MOST_ENTRIES);
    let directory = u32_at(bytes, end + 16, false)? as usize;
    let length = u32_at(bytes, end + 12, false)? as usize;
    // An archive may have something in front (a launcher script): offsets count from the archive's own beginning.
    let shift = end.checked_sub(directory.checked_add(length)?)?;
    let mut at = directory.checked_add(shift)?;
    for _ in 0..count {
        if slice(bytes, at, 4)? != b"PK\x01\x02" {
            return None;
        }
        let number = |offset: usize| u16_at(bytes, at + offset, false).map(usize::from);
        let (name_length, extra, comment) = (number(28)?, number(30)?, number(32)?);
        let name = String::from_utf8_lossy(slice(bytes, at + 46, name_length)?).into_owned();
        let (packed, size) = (u32_at(bytes, at + 20, false)? as usize, u64::from(u32_at(bytes, at + 24, false)?));
        let local = (u32_at(bytes, at + 42, false)? as usize).checked_add(shift)?;
        let data = (|| {
            let start = local.checked_add(30)?.checked_add(usize::from(u16_at(bytes, local + 26, false)?))?.checked_add(usize::from(u16_at(
                bytes,
                local + 28,
                false,
            )?))?;
            slice(bytes, start, packed)
        })();
        if let Some(data) = data {
            found.push(Entry { name, method: u16_at(bytes, at + 10, false)?, data, size });
        }
        at = at.checked_add(46 + name_length + extra + comment)?;
    }
    Some(())
}

impl Entry<'_> {
    /// The content, at most `limit` bytes of it; none if it is larger or damaged.
    pub fn content(&self, limit: u64) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        match self.method {
            0 if self.data.len() as u64 <= limit => content.extend_from_slice(self.data),
            8 => {
                flate2::read::DeflateDecoder::new(self.data).take(limit + 1).read_to_end(&mut content).ok()?;
            }
            _ => return None,
        }
        (content.len() as u64 <= limit).then_some(content)
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in files {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            let packed = encoder.finish().unwrap();
            let at = u32::try_from(out.len()).unwrap();
            let sizes = [&[0; 4][..], &u32::try_from(packed.len()).unwrap().to_le_bytes(), &u32::try_from(content.len()).unwrap().to_le_bytes()].concat();
            let lengths = [u16::try_from(name.len()).unwrap().to_le_bytes(), [0; 2]].concat();
            out.extend([b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0".as_slice(), &sizes, &lengths, name.as_bytes(), &packed].concat());
            directory.extend([b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\0\0".as_slice(), &sizes, &lengths, &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat());
        }
        let count = u16::try_from(files.len()).unwrap().to_le_bytes();
        let (length, at) = (u32::try_from(directory.len()).unwrap().to_le_bytes(), u32::try_from(out.len()).unwrap().to_le_bytes());
        out.extend(directory);
        out.extend([b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &length, &at, &[0, 0]].concat());
        out
    }

    #[test]
    fn files_are_found_also_behind_a_launcher() {
        let zip = archive(&[("a/b", b"hello"), ("c", &[7; 1000])]);
        for bytes in [zip.clone(), [b"#!/bin/sh\n".as_slice(), &zip].concat()] {
            let found = entries(&bytes);
            assert_eq!(found.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a/b", "c"]);
            assert_eq!(found[0].content(10).unwrap(), b"hello");
            assert_eq!(found[1].content(999), None, "more than asked for");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<usize>(), with in any::<u8>()) {
            let _ = entries(&bytes).len();
            let mut zip = archive(&[("a", b"x"), ("b", b"y")]);
            let at = at % zip.len();
            zip[at] = with;
            for entry in entries(&zip) {
                let _ = entry.content(100);
            }
        }
    }
}
