//! Reads a layer archive (tar, plain or compressed with gzip or zstd) for the files a scan wants. Nothing is unpacked to disk.
//!
//! A layer is hostile until proven otherwise: bytes, entries, kept bytes and header sizes are bounded, names are only
//! compared, links are never followed. Raw entries are read because the archive library keeps long names whole in memory.

use std::fs::File;
use std::io::{self, BufReader, Read};

use crate::domain::digest::{Algorithm, Hasher};
use crate::domain::scan::inventory::{Interest, LayerInventory, interest, look, may_hide};
use crate::domain::scan::pkg::{elf, pe};

/// Bounds of one layer's reading.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after decompression.
    pub unpacked_bytes: u64,
    pub entries: u64,
    /// Bytes of one interesting file.
    pub file_bytes: u64,
    /// Bytes of one program; in a larger one no modules are looked for.
    pub program_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes: 16 << 30, entries: 1_000_000, file_bytes: 256 << 20, program_bytes: 256 << 20 }
    }
}

/// Header data (long names, extended headers) that is worth reading.
const HEADER_BYTES: u64 = 256 * 1024;
/// Enough of a program to know its machine, or a script's interpreter.
const HEAD_BYTES: u64 = 1024;
/// Programs, scripts and links whose paths are kept, of each.
const MOST_PATHS: usize = 5_000;
/// Characters of a link's target that is kept.
const LONGEST_TARGET: usize = 500;
/// Files that could not be looked at; with more of them the layer is not worth going on.
const MOST_UNREAD: usize = 100;
/// Why the content behind a hard link is not known.
const SECOND_NAME: &str = "it is another name of a file that is not looked at for its own";
/// Paths removed or replaced in one layer.
const MOST_REMOVED: usize = 200_000;

/// Takes the inventory of a layer. A layer that is no archive, is damaged, or exceeds a limit gives what was found before, and says so.
///
/// # Errors
/// Only when the file itself cannot be read.
pub fn inventory(file: File, limits: Limits) -> io::Result<LayerInventory> {
    inventory_of(BufReader::with_capacity(128 * 1024, file), limits)
}

/// The same of bytes from anywhere.
///
/// # Errors
/// As [`inventory`].
pub fn inventory_of(mut reader: impl io::BufRead, limits: Limits) -> io::Result<LayerInventory> {
    let magic = reader.fill_buf()?;
    let mut found = LayerInventory::default();
    let outcome = match magic {
        [0x1f, 0x8b, ..] => whole(flate2::bufread::MultiGzDecoder::new(reader), limits, &mut found),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => match zstd::Decoder::with_buffer(reader) {
            Ok(mut decoder) => match decoder.window_log_max(27) {
                Ok(()) => whole(decoder, limits, &mut found),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        },
        _ => whole(reader, limits, &mut found),
    };
    if let Err(error) = outcome {
        found.truncated = Some(error.to_string());
    }
    Ok(found)
}

/// Walks the archive to its end, and measures it.
fn whole(source: impl Read, limits: Limits, found: &mut LayerInventory) -> io::Result<()> {
    let mut measured = Measured { source: Bounded { source, left: limits.unpacked_bytes }, hasher: Hasher::new(Algorithm::Sha256) };
    walk(&mut measured, limits, found)?;
    // What stands behind the archive's end counts, too; if it cannot be read, the inventory is whole all the same.
    if io::copy(&mut measured, &mut io::sink()).is_ok() {
        found.content = Some(measured.hasher.finish().to_string());
    }
    Ok(())
}

fn walk(source: impl Read, limits: Limits, found: &mut LayerInventory) -> io::Result<()> {
    let mut archive = tar::Archive::new(source);
    let (mut long_name, mut long_link, mut size): (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>) = (None, None, None);
    for (count, entry) in (1u64..).zip(archive.entries()?.raw(true)) {
        let mut entry = entry?;
        if count > limits.entries {
            return Err(io::Error::other(format!("more than {} entries", limits.entries)));
        }
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            let mut name = header_text(&mut entry)?;
            name.retain(|b| *b != 0);
            long_name = Some(name);
            continue;
        }
        if kind.is_pax_local_extensions() {
            let text = header_text(&mut entry)?;
            long_name = pax_value(&text, b"path=").or(long_name);
            long_link = pax_value(&text, b"linkpath=").or(long_link);
            size = pax_value(&text, b"size=").or(size);
            continue;
        }
        if kind.is_gnu_longlink() {
            let mut name = header_text(&mut entry)?;
            name.retain(|b| *b != 0);
            long_link = Some(name);
            continue;
        }
        if kind.is_pax_global_extensions() {
            continue;
        }
        // Who unpacks it believes that size, so what follows here would be read at another place than there.
        if let Some(said) = size.take()
            && std::str::from_utf8(&said).ok().and_then(|text| text.parse::<u64>().ok()) != entry.header().entry_size().ok()
        {
            return Err(io::Error::other("the size of an entry stands in an extended header"));
        }
        let target = long_link.take();
        let raw = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let Some(path) = clean(&raw) else { continue };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == ".wh..wh..opq" {
            found.opaque.push(folder.to_owned());
        } else if let Some(name) = name.strip_prefix(".wh.") {
            found.removed.push(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") });
        } else if kind.is_file() {
            let executable = entry.header().mode().is_ok_and(|m| m & 0o111 != 0);
            take(path, &mut entry, executable, limits, found)?;
        } else if !kind.is_dir() {
            let is_link = kind.is_symlink() || kind.is_hard_link();
            let target = target.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned)).filter(|_| is_link);
            other(path, target, kind.is_hard_link(), found);
        }
        if found.removed.len() + found.opaque.len() > MOST_REMOVED {
            return Err(io::Error::other(format!("more than {MOST_REMOVED} paths removed or replaced")));
        }
    }
    Ok(())
}

/// What is neither a file of its own nor a folder: a link to `target`, or a device. It takes the place of whatever a lower layer has there, be that a
/// whole folder.
fn other(path: String, target: Option<Vec<u8>>, is_hard: bool, found: &mut LayerInventory) {
    let target = target.filter(|t| !t.is_empty());
    if is_hard && interest(&path, false) == Interest::Whole {
        // One more name of a file that came before it in this layer.
        let first = target.as_deref().and_then(clean);
        if let Some(same) = first.as_deref().and_then(|first| found.files.get(first)).cloned() {
            found.files.insert(path, same);
            return;
        }
        // Told once: package managers that keep files by their content make many of them.
        let was_looked_at = first.is_some_and(|first| interest(&first, false) == Interest::Whole);
        if !was_looked_at && !found.unread.values().any(|why| why == SECOND_NAME) {
            found.unread.insert(path.clone(), SECOND_NAME.to_owned());
        }
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let leads = leads_to_programs(folder, name);
    if leads || may_hide(&path) {
        found.removed.push(path.clone());
    }
    if leads && found.links.len() < MOST_PATHS {
        // A hard link names its file from the top of the archive.
        let top = if is_hard { "/" } else { "" };
        if let Some(target) = target.and_then(|t| String::from_utf8(t).ok()).filter(|t| t.len() <= LONGEST_TARGET && !t.contains('\0')) {
            found.links.insert(path, format!("{top}{target}"));
        }
    }
}

/// Links among programs, and those of whole folders (`bin` to `usr/bin`).
fn leads_to_programs(folder: &str, name: &str) -> bool {
    folder.is_empty() || folder.ends_with("bin") || name == "bin" || name == "sbin"
}

/// `#!/bin/sh -e` → `/bin/sh`; of `/usr/bin/env`, that.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let word = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    (word.starts_with('/') && !word.contains('\0')).then(|| word.to_owned())
}

/// Looks at one file as far as it is worth it.
fn take(path: String, entry: &mut impl Read, executable: bool, limits: Limits, found: &mut LayerInventory) -> io::Result<()> {
    let interest = interest(&path, executable);
    if interest == Interest::None {
        return Ok(());
    }
    let mut content = Vec::new();
    entry.take(HEAD_BYTES).read_to_end(&mut content)?;
    let program = elf::machine(&content);
    if let Some(machine) = program.or_else(|| pe::machine(&content)) {
        *found.machines.entry(machine.to_owned()).or_insert(0) += 1;
        if found.programs.values().map(Vec::len).sum::<usize>() < MOST_PATHS {
            found.programs.entry(machine.to_owned()).or_default().push(path.clone());
        }
    } else if let Some(interpreter) = interpreter(&content).filter(|_| executable && found.scripts.len() < MOST_PATHS) {
        found.scripts.insert(path.clone(), interpreter);
    }
    let mut told = None;
    if interest == Interest::Whole || program.is_some() {
        let most = if program.is_some() { limits.program_bytes } else { limits.file_bytes };
        entry.take((most + 1).saturating_sub(content.len() as u64)).read_to_end(&mut content)?;
        if content.len() as u64 <= most {
            let unread;
            (told, unread) = look(&path, &content);
            found.unread.extend(unread.map(|why| (path.clone(), why)));
        } else if interest == Interest::Whole {
            // What lies behind it counts all the same.
            found.unread.insert(path.clone(), format!("it has more than {most} bytes"));
        }
        if found.unread.len() > MOST_UNREAD {
            return Err(io::Error::other(format!("more than {MOST_UNREAD} files cannot be read")));
        }
    }
    match told {
        Some(what) => drop(found.files.insert(path, what)),
        // It takes the place of whatever a lower layer has there.
        None => found.removed.push(path),
    }
    Ok(())
}

fn header_text(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(HEADER_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > HEADER_BYTES {
        return Err(io::Error::other("a name longer than any file system allows"));
    }
    Ok(text)
}

/// `<length> path=<value>\n` in a pax extended header (POSIX pax, "pax Extended Header"), of several the last; `key` with the equals sign.
fn pax_value(text: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut found) = (text, None);
    while let Some(space) = rest.iter().position(|b| *b == b' ') {
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length.checked_sub(1)?)?;
        if let Some(value) = record.strip_prefix(key) {
            found = Some(value.to_vec());
        }
        rest = rest.get(length..)?;
    }
    found
}

/// A relative path without `.`; none for one that tries to leave, or that no file system could have.
fn clean(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok().filter(|t| !t.contains('\0'))?;
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Ends with an error, not silently, at the limit.
struct Bounded<R> {
    source: R,
    left: u64,
}

/// Hashes what goes by.
struct Measured<R> {
    source: R,
    hasher: Hasher,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("the layer unpacks to more than is allowed"));
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.source.read(&mut buffer[..room])?;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
