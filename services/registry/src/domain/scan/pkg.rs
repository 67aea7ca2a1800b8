//! Readers of the places where package managers and build tools leave what they installed. Each takes bytes of a hostile file
//! and gives packages; a broken file gives none, or those before the break.

pub mod bdb;
pub mod elf;
pub mod java;
pub mod language;
pub mod ndb;
pub mod pe;
pub mod rpm;
pub mod sqlite;
pub mod zip;

use super::inventory::Package;

/// Packages of one file at most: no honest one has more.
pub const MOST: usize = 100_000;

/// A package of a language, which has no architecture and is its own source.
pub fn plain(name: &str, version: &str, licence: &str) -> Option<Package> {
    let fine = |t: &str, most: usize| !t.is_empty() && t.len() <= most && !t.contains(['\n', '\0']);
    (fine(name, 500) && fine(version, 300)).then(|| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: String::new(),
        source: name.to_owned(),
        source_version: version.to_owned(),
        licence: licence.chars().take(300).collect(),
        module: String::new(),
    })
}

/// Big or little endian number at an offset.
pub(super) fn u16_at(bytes: &[u8], at: usize, big: bool) -> Option<u16> {
    let b: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(if big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) })
}

pub(super) fn u32_at(bytes: &[u8], at: usize, big: bool) -> Option<u32> {
    let b: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) })
}

pub(super) fn u64_at(bytes: &[u8], at: usize, big: bool) -> Option<u64> {
    let b: [u8; 8] = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    Some(if big { u64::from_be_bytes(b) } else { u64::from_le_bytes(b) })
}

/// A part of the bytes, if it is inside.
pub(super) fn slice(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}
