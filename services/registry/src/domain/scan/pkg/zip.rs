//! Just enough of ZIP (PKWARE APPNOTE) to read chosen small files from an archive in memory, by its central directory.

use std::io::Read;

use super::{slice, u16_at, u32_at, u64_at};

pub struct Entry<'a> {
    pub name: String,
    method: u16,
    data: &'a [u8],
    pub size: u64,
}

/// What an archive says that is in it.
pub struct Directory<'a> {
    pub entries: Vec<Entry<'a>>,
    /// Whether these are all: there were no more than wanted, and nothing of the directory is damaged.
    pub whole: bool,
}

/// The directory, as far as it can be read, `most` entries of it; none if this is no archive.
pub fn directory(bytes: &[u8], most: usize) -> Option<Directory<'_>> {
    // The end record is in the last 64 KiB: a comment may follow it.
    let from = bytes.len().saturating_sub(65_557);
    let end = from + bytes[from..].windows(4).rposition(|w| w == b"PK\x05\x06")?;
    let mut found = Directory { entries: Vec::new(), whole: true };
    found.whole = read(bytes, end, most, &mut found.entries).unwrap_or(false);
    Some(found)
}

/// Where the directory begins, how many entries it has, and what offsets count from.
struct Place {
    at: usize,
    count: u64,
    /// An archive may have something in front (a launcher script): offsets count from the archive's own beginning.
    shift: usize,
}

fn place(bytes: &[u8], end: usize) -> Option<Place> {
    let count = u16_at(bytes, end + 10, false)?;
    let (length, start) = (u32_at(bytes, end + 12, false)?, u32_at(bytes, end + 16, false)?);
    let beyond = count == u16::MAX || length == u32::MAX || start == u32::MAX;
    let (end, count, length, start) = match larger(bytes, end).filter(|_| beyond) {
        Some(larger) => larger,
        None => (end, count.into(), length.into(), start.into()),
    };
    let (length, start) = (usize::try_from(length).ok()?, usize::try_from(start).ok()?);
    let shift = end.checked_sub(start.checked_add(length)?)?;
    Some(Place { at: start.checked_add(shift)?, count, shift })
}

/// The end record of archives with more than 65,534 entries or 4 GiB (APPNOTE, 4.3.14 and 4.3.15): where it is, entries, length and start.
fn larger(bytes: &[u8], end: usize) -> Option<(usize, u64, u64, u64)> {
    let has = |at: usize, mark: &[u8]| slice(bytes, at, 4).is_some_and(|there| there == mark);
    let locator = end.checked_sub(20).filter(|at| has(*at, b"PK\x06\x07"))?;
    let is_there = |at: &usize| has(*at, b"PK\x06\x06");
    // Right before, unless it has data of its own at its end.
    let said = usize::try_from(u64_at(bytes, locator + 8, false)?).ok()?;
    let at = locator.checked_sub(56).filter(is_there).or(Some(said).filter(is_there))?;
    let number = |offset: usize| u64_at(bytes, at.checked_add(offset)?, false);
    Some((at, number(32)?, number(40)?, number(48)?))
}

/// Whether all was read.
fn read<'a>(bytes: &'a [u8], end: usize, most: usize, found: &mut Vec<Entry<'a>>) -> Option<bool> {
    let Place { mut at, count, shift } = place(bytes, end)?;
    let mut whole = true;
    for _ in 0..count {
        if found.len() >= most {
            return Some(false);
        }
        if slice(bytes, at, 4)? != b"PK\x01\x02" {
            return None;
        }
        let number = |offset: usize| u16_at(bytes, at + offset, false).map(usize::from);
        let (name_length, extra, comment) = (number(28)?, number(30)?, number(32)?);
        let name = String::from_utf8_lossy(slice(bytes, at + 46, name_length)?).into_owned();
        let small = [u32_at(bytes, at + 24, false)?, u32_at(bytes, at + 20, false)?, u32_at(bytes, at + 42, false)?];
        let [size, packed, local] = numbers(small, slice(bytes, at + 46 + name_length, extra)?);
        let data = (|| {
            let local = usize::try_from(local).ok()?.checked_add(shift)?;
            let lengths = [26, 28].map(|offset| local.checked_add(offset).and_then(|at| u16_at(bytes, at, false)).map(usize::from));
            let start = local.checked_add(30)?.checked_add(lengths[0]?)?.checked_add(lengths[1]?)?;
            slice(bytes, start, usize::try_from(packed).ok()?)
        })();
        match data {
            Some(data) => found.push(Entry { name, method: u16_at(bytes, at + 10, false)?, data, size }),
            None => whole = false,
        }
        at = at.checked_add(46 + name_length + extra + comment)?;
    }
    Some(whole)
}

/// Size, packed size and place; those that have no room in the entry stand in its extra field (APPNOTE, 4.5.3).
fn numbers(small: [u32; 3], extra: &[u8]) -> [u64; 3] {
    let mut rest = extra;
    let mut field: &[u8] = &[];
    while let (Some(id), Some(length)) = (u16_at(rest, 0, false), u16_at(rest, 2, false)) {
        let Some(value) = slice(rest, 4, usize::from(length)) else { break };
        if id == 1 {
            field = value;
            break;
        }
        rest = &rest[4 + value.len()..];
    }
    let mut next = 0;
    small.map(|small| {
        let large = (small == u32::MAX).then(|| u64_at(field, next, false)).flatten();
        next += if large.is_some() { 8 } else { 0 };
        large.unwrap_or(small.into())
    })
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

    /// The same archive with the end record of a large one.
    fn large(zip: &[u8]) -> Vec<u8> {
        let (zip, end) = zip.split_at(zip.len() - 22);
        let wide = |at: usize, of: usize| end[at..at + of].iter().copied().chain(std::iter::repeat(0)).take(8).collect::<Vec<u8>>();
        let [count, length, start] = [wide(8, 2), wide(12, 4), wide(16, 4)];
        let at = (zip.len() as u64).to_le_bytes();
        let record = [b"PK\x06\x06".as_slice(), &44_u64.to_le_bytes(), &[0; 12], &count, &count, &length, &start].concat();
        assert_eq!(record.len(), 56);
        let locator = [b"PK\x06\x07".as_slice(), &[0; 4], &at, &[1, 0, 0, 0]].concat();
        [zip, &record, &locator, b"PK\x05\x06\0\0\0\0", &[0xff; 12], &[0, 0]].concat()
    }

    fn entries(bytes: &[u8]) -> Vec<Entry<'_>> {
        directory(bytes, 1000).map(|d| d.entries).unwrap_or_default()
    }

    #[test]
    fn a_directory_that_is_not_whole_says_so() {
        let zip = archive(&[("a", b"x"), ("b", b"y")]);
        assert!(directory(&zip, 2).unwrap().whole);
        let cut = directory(&zip, 1).unwrap();
        assert_eq!((cut.entries.len(), cut.whole), (1, false));
        let second = zip.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
        let mut broken = zip.clone();
        broken[second] = 0;
        let broken = directory(&broken, 2).unwrap();
        assert_eq!((broken.entries.len(), broken.whole), (1, false));
        let mut beyond = zip;
        beyond[second + 42..second + 46].copy_from_slice(&1_000_000_u32.to_le_bytes());
        assert!(!directory(&beyond, 2).unwrap().whole);
        assert!(directory(b"no archive", 2).is_none() && directory(b"", 2).is_none());
    }

    #[test]
    fn archives_with_the_records_of_large_ones_are_read() {
        let zip = archive(&[("a/b", b"hello"), ("c", &[7; 1000])]);
        for bytes in [large(&zip), [b"#!/bin/sh\n".as_slice(), &large(&zip)].concat()] {
            let found = directory(&bytes, 10).unwrap();
            assert!(found.whole);
            assert_eq!(found.entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a/b", "c"]);
            assert_eq!(found.entries[0].content(10).unwrap(), b"hello");
        }
        let extra = [&[9, 0, 2, 0, 5, 5, 1, 0, 16, 0][..], &7_u64.to_le_bytes(), &8_u64.to_le_bytes()].concat();
        assert_eq!(numbers([u32::MAX, 3, u32::MAX], &extra), [7, 3, 8]);
        assert_eq!(numbers([u32::MAX, 3, 4], &[1, 0, 8]), [u64::from(u32::MAX), 3, 4]);
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
            let zip = archive(&[("a", b"x"), ("b", b"y")]);
            for mut zip in [large(&zip), zip] {
                let at = at % zip.len();
                zip[at] = with;
                for entry in entries(&zip) {
                    let _ = entry.content(100);
                }
            }
        }
    }
}
