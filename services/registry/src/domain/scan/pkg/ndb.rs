//! rpm's own `ndb` format (rpm, lib/backend/ndb): pages of slots, each naming a blob.

use super::{slice, u32_at};

const SLOTS_PER_PAGE: usize = 256;
const BLOCK: usize = 16;

/// The packages' headers.
pub fn blobs(bytes: &[u8]) -> Vec<Vec<u8>> {
    let pages = u32_at(bytes, 12, false).map_or(0, |n| n as usize).min(bytes.len() / 4096 + 1);
    // The file's head takes the place of two slots.
    (2..pages * SLOTS_PER_PAGE).map_while(|slot| slice(bytes, slot * 16, 16)).filter_map(|slot| blob(bytes, slot)).take(super::MOST).collect()
}

fn blob(bytes: &[u8], slot: &[u8]) -> Option<Vec<u8>> {
    let index = u32_at(slot, 4, false).filter(|i| *i != 0)?;
    if !slot.starts_with(b"Slot") {
        return None;
    }
    let at = (u32_at(slot, 8, false)? as usize).checked_mul(BLOCK)?;
    let head = slice(bytes, at, BLOCK)?;
    if !head.starts_with(b"BlbS") || u32_at(head, 4, false) != Some(index) {
        return None;
    }
    slice(bytes, at + BLOCK, u32_at(head, 12, false)? as usize).map(<[u8]>::to_vec)
}
