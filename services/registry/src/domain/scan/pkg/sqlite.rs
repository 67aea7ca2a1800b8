//! Just enough of SQLite's file format (sqlite.org/fileformat2.html) to read the blobs of one table. Every page is visited at
//! most once, so a file that points in circles ends.

use std::collections::HashSet;

use super::{slice, u16_at, u32_at};

const DEEPEST: usize = 40;

struct Pages<'a> {
    bytes: &'a [u8],
    size: usize,
    /// Without what is reserved at each page's end.
    usable: usize,
    seen: HashSet<u32>,
}

/// The largest blob of each row of `table`.
pub fn blobs(bytes: &[u8], table: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let _ = read(bytes, table, &mut found);
    found
}

fn read(bytes: &[u8], table: &str, found: &mut Vec<Vec<u8>>) -> Option<()> {
    let size = match u16_at(bytes, 16, true)? {
        1 => 65_536,
        n if n >= 512 && n.is_power_of_two() => usize::from(n),
        _ => return None,
    };
    let usable = size.checked_sub(usize::from(*bytes.get(20)?)).filter(|u| *u >= 480)?;
    let mut pages = Pages { bytes, size, usable, seen: HashSet::new() };
    let mut schema = Vec::new();
    pages.walk(1, 0, &mut schema);
    let root = schema.iter().find_map(|row| {
        let row = record(row)?;
        let text = |i: usize| row.get(i).and_then(|(_, v)| std::str::from_utf8(v).ok());
        (text(0)? == "table" && text(1)? == table).then(|| integer(row.get(3)?.1)).flatten()
    })?;
    pages.seen.clear();
    let mut rows = Vec::new();
    pages.walk(root, 0, &mut rows);
    for row in rows {
        let values = record(&row)?;
        if let Some((_, blob)) = values.into_iter().filter(|(kind, _)| *kind >= 12 && kind % 2 == 0).max_by_key(|(_, v)| v.len()) {
            found.push(blob.to_vec());
        }
    }
    Some(())
}

impl Pages<'_> {
    fn page(&self, number: u32) -> Option<&[u8]> {
        slice(self.bytes, (number as usize).checked_sub(1)?.checked_mul(self.size)?, self.size)
    }

    /// Collects the payloads below a page.
    fn walk(&mut self, number: u32, depth: usize, rows: &mut Vec<Vec<u8>>) -> Option<()> {
        if depth > DEEPEST || rows.len() > super::MOST || !self.seen.insert(number) {
            return None;
        }
        let page = self.page(number)?.to_vec();
        let head = if number == 1 { 100 } else { 0 };
        let cells = usize::from(u16_at(&page, head + 3, true)?);
        match page.get(head)? {
            5 => {
                for i in 0..cells {
                    let at = usize::from(u16_at(&page, head + 12 + 2 * i, true)?);
                    let child = u32_at(&page, at, true)?;
                    self.walk(child, depth + 1, rows);
                }
                self.walk(u32_at(&page, head + 8, true)?, depth + 1, rows)
            }
            13 => {
                for i in 0..cells {
                    let at = usize::from(u16_at(&page, head + 8 + 2 * i, true)?);
                    if let Some(row) = self.payload(&page, at) {
                        rows.push(row);
                    }
                }
                Some(())
            }
            _ => None,
        }
    }

    fn payload(&mut self, page: &[u8], at: usize) -> Option<Vec<u8>> {
        let (length, n) = varint(page.get(at..)?)?;
        let (_, m) = varint(page.get(at + n..)?)?;
        let length = usize::try_from(length).ok().filter(|l| *l <= self.bytes.len())?;
        let (most, least) = (self.usable - 35, (self.usable - 12) * 32 / 255 - 23);
        let local = if length <= most {
            length
        } else {
            let k = least + (length - least) % (self.usable - 4);
            if k <= most { k } else { least }
        };
        let start = at + n + m;
        let mut payload = slice(page, start, local)?.to_vec();
        let mut next = if local < length { u32_at(page, start + local, true)? } else { 0 };
        while payload.len() < length {
            if !self.seen.insert(next) {
                return None;
            }
            let overflow = self.page(next)?;
            let take = (length - payload.len()).min(self.usable - 4);
            let part = slice(overflow, 4, take)?.to_vec();
            next = u32_at(overflow, 0, true)?;
            payload.extend(part);
        }
        Some(payload)
    }
}

/// Serial type and bytes of each value.
fn record(payload: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let (head, mut at) = varint(payload)?;
    let head = usize::try_from(head).ok()?;
    let mut value = head;
    let mut values = Vec::new();
    while at < head {
        let (kind, n) = varint(payload.get(at..)?)?;
        at += n;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            kind => usize::try_from((kind - 12) / 2).ok()?,
        };
        values.push((kind, slice(payload, value, length)?));
        value = value.checked_add(length)?;
    }
    Some(values)
}

fn integer(bytes: &[u8]) -> Option<u32> {
    u32::try_from(bytes.iter().try_fold(0_u64, |all, b| all.checked_mul(256)?.checked_add(u64::from(*b)))?).ok()
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(9).enumerate() {
        if i == 8 {
            return Some((value << 8 | u64::from(*byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}
