//! What an ELF file says about itself: its machine, and the lists of modules that Go and cargo-auditable put in.

use std::io::Read;

use serde::Deserialize;

use super::super::inventory::Package;
use super::{plain, slice, u16_at, u32_at, u64_at};

/// Bytes of an unpacked list of crates.
const LARGEST_LIST: u64 = 8 << 20;
const MOST_SECTIONS: usize = 1000;
/// What Go's list of modules begins with, at a multiple of 16 bytes (debug/buildinfo).
const GO_MARK: &[u8] = b"\xff Go buildinf:";
const GO_ALIGNED: usize = 16;

/// The architecture as images name it (GOARCH), with its bits and byte order.
pub fn machine(head: &[u8]) -> Option<&'static str> {
    let (wide, big) = class(head)?;
    Some(match (u16_at(head, 18, big)?, wide, big) {
        (62, true, false) => "amd64",
        (3, false, false) => "386",
        (183, true, false) => "arm64",
        (40, false, false) => "arm",
        (243, true, false) => "riscv64",
        (22, true, true) => "s390x",
        (21, true, false) => "ppc64le",
        (21, true, true) => "ppc64",
        (8, true, false) => "mips64le",
        (8, true, true) => "mips64",
        (8, false, false) => "mipsle",
        (8, false, true) => "mips",
        (258, true, false) => "loong64",
        _ => return None,
    })
}

fn class(head: &[u8]) -> Option<(bool, bool)> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    Some((*head.get(4)? == 2, *head.get(5)? == 2))
}

/// Modules and crates built into a program: kind and package.
pub fn packages(bytes: &[u8]) -> Vec<(&'static str, Package)> {
    let mut found: Vec<_> = go(bytes).unwrap_or_default().into_iter().map(|p| ("golang", p)).collect();
    found.extend(section(bytes, ".dep-v0").and_then(crates).unwrap_or_default().into_iter().map(|p| ("cargo", p)));
    found
}

fn section<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (wide, big) = class(bytes)?;
    let number = |at32: usize, at64: usize, base: usize| if wide { u64_at(bytes, base + at64, big) } else { u32_at(bytes, base + at32, big).map(u64::from) };
    let table = usize::try_from(number(32, 40, 0)?).ok()?;
    let at = if wide { 58 } else { 46 };
    let (size, count, names) = (usize::from(u16_at(bytes, at, big)?), usize::from(u16_at(bytes, at + 2, big)?), usize::from(u16_at(bytes, at + 4, big)?));
    let place = |i: usize| -> Option<(usize, usize)> {
        let base = table.checked_add(i.checked_mul(size)?)?;
        slice(bytes, base, if wide { 64 } else { 40 })?;
        Some((usize::try_from(number(16, 24, base)?).ok()?, usize::try_from(number(20, 32, base)?).ok()?))
    };
    let (texts, texts_length) = place(names)?;
    let texts = slice(bytes, texts, texts_length)?;
    (0..count.min(MOST_SECTIONS)).find_map(|i| {
        let at = u32_at(bytes, table.checked_add(i.checked_mul(size)?)?, big)? as usize;
        let text = texts.get(at..)?;
        if !(text.starts_with(name.as_bytes()) && text.get(name.len()) == Some(&0)) {
            return None;
        }
        let (offset, length) = place(i)?;
        slice(bytes, offset, length)
    })
}

/// A part of the file as it lies in memory.
struct Segment {
    offset: usize,
    length: u64,
    address: u64,
    /// May be written, and not executed.
    is_data: bool,
}

fn segments(bytes: &[u8]) -> Option<Vec<Segment>> {
    let (wide, big) = class(bytes)?;
    let number = |at32: usize, at64: usize, base: usize| if wide { u64_at(bytes, base + at64, big) } else { u32_at(bytes, base + at32, big).map(u64::from) };
    let table = usize::try_from(number(28, 32, 0)?).ok()?;
    let at = if wide { 54 } else { 42 };
    let (size, count) = (usize::from(u16_at(bytes, at, big)?), usize::from(u16_at(bytes, at + 2, big)?));
    let segment = |i: usize| {
        let base = table.checked_add(i.checked_mul(size)?)?;
        slice(bytes, base, if wide { 56 } else { 32 })?;
        let flags = u32_at(bytes, base + if wide { 4 } else { 24 }, big)?;
        let offset = usize::try_from(number(4, 8, base)?).ok()?;
        let is_loaded = u32_at(bytes, base, big)? == 1;
        let segment = Segment { offset, length: number(16, 32, base)?, address: number(8, 16, base)?, is_data: flags & 3 == 2 };
        is_loaded.then_some(segment)
    };
    Some((0..count.min(MOST_SECTIONS)).filter_map(segment).collect())
}

/// Modules of a Go program: by the section's name, or where a file without sections has its data.
fn go(bytes: &[u8]) -> Option<Vec<Package>> {
    let segments = segments(bytes).unwrap_or_default();
    let data = || {
        let data = segments.iter().find(|segment| segment.is_data)?;
        slice(bytes, data.offset, usize::try_from(data.length).ok()?)
    };
    let place = section(bytes, ".go.buildinfo").or_else(data)?;
    let list = (0..place.len()).step_by(GO_ALIGNED).map(|at| &place[at..]).find(|rest| rest.starts_with(GO_MARK))?;
    if list.get(15)? & 2 == 0 {
        let (version, modules) = pointed(bytes, &segments, list)?;
        return modules_of(version, modules);
    }
    // The texts are inside, since Go 1.18.
    let mut rest = list.get(32..)?;
    let version = text(&mut rest)?;
    modules_of(version, text(&mut rest)?)
}

/// Before Go 1.18 there are the addresses of two strings instead, each of which is an address and a length.
fn pointed<'a>(bytes: &'a [u8], segments: &[Segment], list: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (size, big) = (usize::from(*list.get(14)?), list.get(15)? & 1 == 1);
    let number = |from: &[u8], at: usize| match size {
        4 => u32_at(from, at, big).map(u64::from),
        8 => u64_at(from, at, big),
        _ => None,
    };
    let memory = |address: u64, length: u64| {
        let segment = segments.iter().find(|s| address.checked_sub(s.address).is_some_and(|into| into < s.length))?;
        let at = segment.offset.checked_add(usize::try_from(address - segment.address).ok()?)?;
        slice(bytes, at, usize::try_from(length).ok()?)
    };
    let string = |at: usize| {
        let head = memory(number(list, at)?, 2 * size as u64)?;
        memory(number(head, 0)?, number(head, size)?)
    };
    // A program that was built without modules has no list.
    Some((string(16)?, string(16 + size).unwrap_or_default()))
}

fn modules_of(version: &[u8], modules: &[u8]) -> Option<Vec<Package>> {
    // The list is between two marks of 16 bytes.
    let modules = if modules.len() >= 33 && modules[modules.len() - 17] == b'\n' { &modules[16..modules.len() - 16] } else { &[] };
    let mut found: Vec<Package> = Vec::new();
    // A toolchain from between two releases says `devel go1.23-<commit>`; an older one of that kind does not say which.
    let version =
        std::str::from_utf8(version).ok()?.split(' ').find_map(|word| word.strip_prefix("go").filter(|v| v.starts_with(|c: char| c.is_ascii_digit())));
    found.extend(version.and_then(|version| plain("stdlib", version.split('-').next().unwrap_or(version), "BSD-3-Clause")));
    // Whether the module of the line before is the last of those found.
    let mut is_last = false;
    for line in String::from_utf8_lossy(modules).lines().take(super::MOST) {
        let mut words = line.split('\t');
        let (kind, name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        // What `go build` made from a working copy has no version, a module that a folder takes the place of neither.
        let module = || plain(name, version, "").filter(|_| version != "(devel)");
        match kind {
            "mod" | "dep" => {
                let module = module();
                is_last = module.is_some();
                found.extend(module);
            }
            // The module before was replaced by this one.
            "=>" => {
                if is_last {
                    found.pop();
                }
                is_last = false;
                found.extend(module());
            }
            _ => {}
        }
    }
    Some(found)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        if shift > 28 {
            return None;
        }
    }
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// `.dep-v0` of cargo-auditable: JSON, compressed with zlib.
fn crates(section: &[u8]) -> Option<Vec<Package>> {
    #[derive(Deserialize)]
    struct List {
        packages: Vec<Crate>,
    }
    #[derive(Deserialize)]
    struct Crate {
        name: String,
        version: String,
        #[serde(default)]
        kind: String,
    }
    let mut json = Vec::new();
    flate2::read::ZlibDecoder::new(section).take(LARGEST_LIST).read_to_end(&mut json).ok()?;
    let list: List = serde_json::from_slice(&json).ok()?;
    // What was needed to build is not in the program.
    Some(list.packages.into_iter().take(super::MOST).filter(|c| c.kind != "build").filter_map(|c| plain(&c.name, &c.version, "")).collect())
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A 64-bit little-endian ELF file with one section of this name.
    pub fn elf(machine: u16, name: &str, content: &[u8]) -> Vec<u8> {
        let names = [b"\0.shstrtab\0".as_slice(), name.as_bytes(), b"\0"].concat();
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 2;
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        let content_at = file.len();
        file.extend(content);
        let names_at = file.len();
        file.extend(&names);
        let table = file.len() as u64;
        file[40..48].copy_from_slice(&table.to_le_bytes());
        for (field, value) in [(58, 64_u16), (60, 3), (62, 1)] {
            file[field..field + 2].copy_from_slice(&value.to_le_bytes());
        }
        for (name_at, at, length) in [(0_u32, 0, 0), (1, names_at, names.len()), (11, content_at, content.len())] {
            let mut head = vec![0; 64];
            head[..4].copy_from_slice(&name_at.to_le_bytes());
            head[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            head[32..40].copy_from_slice(&(length as u64).to_le_bytes());
            file.extend(head);
        }
        file
    }

    pub fn go_section(version: &str, modules: &str) -> Vec<u8> {
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(32, 0);
        let modules = [vec![0x30; 16], modules.as_bytes().to_vec(), vec![0x31; 16]].concat();
        for text in [version.as_bytes(), &modules] {
            let mut length = text.len();
            while length >= 0x80 {
                section.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            section.push(length as u8);
            section.extend(text);
        }
        section
    }

    /// The same without sections, and with this in its only segment, which is data at [`ADDRESS`].
    fn bare(data: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 128];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 2;
        file[18] = 62;
        file[32] = 64;
        (file[54], file[56]) = (56, 1);
        (file[64], file[68], file[72]) = (1, 6, 128);
        file[80..88].copy_from_slice(&ADDRESS.to_le_bytes());
        file[96..104].copy_from_slice(&(data.len() as u64).to_le_bytes());
        file.extend(data);
        file
    }

    const ADDRESS: u64 = 0x40_0000;

    pub fn audit_section(json: &str) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(json.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn modules_of_a_go_program_are_found_with_replacements() {
        let modules = "path\texample.com/cmd\nmod\texample.com\t(devel)\t\ndep\tgolang.org/x/net\tv0.1.0\th1:x\ndep\tgithub.com/a/b\tv1.0.0\n=>\tgithub.com/fork/b\tv1.0.1\th1:y\nbuild\tGOOS=linux\n";
        let file = elf(62, ".go.buildinfo", &go_section("go1.22.1", modules));
        let found: Vec<_> = packages(&file).into_iter().map(|(k, p)| (k, p.name, p.version)).collect();
        let expected = [("stdlib", "1.22.1"), ("golang.org/x/net", "v0.1.0"), ("github.com/fork/b", "v1.0.1")];
        assert_eq!(found, expected.map(|(n, v)| ("golang", n.to_owned(), v.to_owned())));
        assert_eq!(machine(&file), Some("amd64"));
        assert_eq!(machine(&elf(183, "x", b"")), Some("arm64"));
        assert_eq!(machine(b"#!/bin/sh"), None);
    }

    fn found(file: &[u8]) -> Vec<String> {
        packages(file).into_iter().map(|(_, p)| format!("{}@{}", p.name, p.version)).collect()
    }

    #[test]
    fn a_replacement_takes_the_place_of_its_own_module_only_and_a_folder_has_no_version() {
        let modules = "dep\ta\tv1.0.0\ndep\tb\t(devel)\n=>\tfork/b\tv1.1.0\ndep\tc\tv1.0.0\n=>\t./c\t(devel)\ndep\td\tv1.0.0\n=>\t../d\t\ndep\te\tv1.0.0\n";
        let found = |version: &str| found(&elf(62, ".go.buildinfo", &go_section(version, modules)));
        assert_eq!(found("go1.22.1 X:rangefunc"), ["stdlib@1.22.1", "a@v1.0.0", "fork/b@v1.1.0", "e@v1.0.0"]);
        assert_eq!(found("devel go1.23-0123abc Tue Dec 1 06:00:00 2026 +0000")[0], "stdlib@1.23");
        assert_eq!(found("devel +0123abc Tue Dec 1 06:00:00 2026 +0000")[0], "a@v1.0.0");
    }

    #[test]
    fn a_go_program_without_sections_and_one_from_before_go_1_18_are_read() {
        let data = [vec![0; 32], go_section("go1.22.1", "dep\ta\tv1.0.0\n")].concat();
        assert_eq!(found(&bare(&data)), ["stdlib@1.22.1", "a@v1.0.0"]);

        let (version, modules) = (b"go1.16.5", [[0x30_u8; 16].as_slice(), b"dep\ta\tv1.0.0\n", &[0x31; 16]].concat());
        let mut old = [GO_MARK, &[8, 0]].concat();
        let lengths = [version.len(), modules.len()].map(|n| n as u64);
        for number in [ADDRESS + 32, ADDRESS + 48, ADDRESS + 64, lengths[0], ADDRESS + 64 + lengths[0], lengths[1]] {
            old.extend(number.to_le_bytes());
        }
        old.extend(version);
        old.extend(&modules);
        assert_eq!(found(&bare(&old)), ["stdlib@1.16.5", "a@v1.0.0"]);
        // Addresses that lead nowhere.
        old[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(found(&bare(&old)).is_empty());
    }

    #[test]
    fn crates_of_an_auditable_program_are_found_without_build_dependencies() {
        let json =
            r#"{"packages":[{"name":"serde","version":"1.0.1","source":"crates.io"},{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}"#;
        let found = packages(&elf(62, ".dep-v0", &audit_section(json)));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1.name.as_str()), ("cargo", "serde"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<usize>(), with in any::<u8>()) {
            let _ = (packages(&bytes), machine(&bytes), packages(&[b"\x7fELF\x02\x01", bytes.as_slice()].concat()));
            let mut file = elf(62, ".go.buildinfo", &go_section("go1.22", "dep\ta\tv1\n"));
            let at = at % file.len();
            file[at] = with;
            let _ = packages(&file);
            let mut file = bare(&[GO_MARK, &[8, 0], &[7; 48]].concat());
            let at = at % file.len();
            file[at] = with;
            let _ = packages(&file);
        }
    }
}
