//! Berkeley DB hash files, as older rpm wrote its `Packages`: values on chains of overflow pages. Every page is visited once.

use std::collections::HashSet;

use super::{slice, u16_at, u32_at};

const MAGIC: u32 = 0x0006_1561;
const HEAD: usize = 26;
const OVERFLOW: u8 = 7;

/// The values of the database.
pub fn blobs(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let _ = read(bytes, &mut found);
    found
}

fn read(bytes: &[u8], found: &mut Vec<Vec<u8>>) -> Option<()> {
    let big = match (u32_at(bytes, 12, false)?, u32_at(bytes, 12, true)?) {
        (MAGIC, _) => false,
        (_, MAGIC) => true,
        _ => return None,
    };
    let size = u32_at(bytes, 20, big).map(|s| s as usize).filter(|s| s.is_power_of_two() && (512..=65_536).contains(s))?;
    let mut seen = HashSet::new();
    for page in bytes.chunks_exact(size).skip(1) {
        // Hash pages, sorted or not.
        if !matches!(page[25], 2 | 13) {
            continue;
        }
        let entries = usize::from(u16_at(page, 20, big)?);
        // Keys and values take turns.
        for value in (1..entries).step_by(2) {
            let Some(at) = u16_at(page, HEAD + 2 * value, big).map(usize::from) else { break };
            if found.len() >= super::MOST {
                return None;
            }
            // A value on pages of its own; those kept in the page itself are no headers but rpm's counter.
            if page.get(at) == Some(&3)
                && let (Some(first), Some(length)) = (u32_at(page, at + 4, big), u32_at(page, at + 8, big))
                && let Some(blob) = chain(bytes, size, big, first, length as usize, &mut seen)
            {
                found.push(blob);
            }
        }
    }
    Some(())
}

fn chain(bytes: &[u8], size: usize, big: bool, first: u32, length: usize, seen: &mut HashSet<u32>) -> Option<Vec<u8>> {
    let mut blob = Vec::new();
    let mut number = first;
    while blob.len() < length.min(bytes.len()) {
        if number == 0 || !seen.insert(number) {
            return None;
        }
        let page = slice(bytes, (number as usize).checked_mul(size)?, size)?;
        if page[25] != OVERFLOW {
            return None;
        }
        let used = usize::from(u16_at(page, 22, big)?);
        blob.extend_from_slice(slice(page, HEAD, used)?);
        number = u32_at(page, 16, big)?;
    }
    blob.truncate(length);
    Some(blob)
}
