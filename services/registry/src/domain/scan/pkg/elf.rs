//! What an ELF file says about itself: its machine, and the lists of modules that Go and cargo-auditable put in.

use std::io::Read;

use serde::Deserialize;

use super::super::inventory::Package;
use super::{plain, slice, u16_at, u32_at, u64_at};

/// Bytes of an unpacked list of crates.
const LARGEST_LIST: u64 = 8 << 20;
const MOST_SECTIONS: usize = 1000;

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
    let mut found: Vec<_> = section(bytes, ".go.buildinfo").and_then(go).unwrap_or_default().into_iter().map(|p| ("golang", p)).collect();
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

/// `.go.buildinfo` with its texts inside, as written since Go 1.18 (debug/buildinfo).
fn go(section: &[u8]) -> Option<Vec<Package>> {
    if !section.starts_with(b"\xff Go buildinf:") || section.get(15)? & 2 == 0 {
        return None;
    }
    let mut rest = section.get(32..)?;
    let version = text(&mut rest)?;
    let modules = text(&mut rest)?;
    // The list is between two marks of 16 bytes.
    let modules = if modules.len() >= 33 && modules[modules.len() - 17] == b'\n' { &modules[16..modules.len() - 16] } else { &[] };
    let mut found: Vec<Package> = Vec::new();
    found.extend(plain("stdlib", std::str::from_utf8(version).ok()?.trim_start_matches("go").split([' ', '-']).next().unwrap_or_default(), "BSD-3-Clause"));
    for line in String::from_utf8_lossy(modules).lines().take(super::MOST) {
        let mut words = line.split('\t');
        let (kind, name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match kind {
            // What `go build` made from a working copy has no version.
            "mod" | "dep" if version != "(devel)" => found.extend(plain(name, version, "")),
            // The module before was replaced by this one.
            "=>" => {
                found.pop();
                found.extend(plain(name, version, ""));
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
        }
    }
}
