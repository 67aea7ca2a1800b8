use std::io::{Seek, Write};

use proptest::prelude::*;

use super::*;
use crate::domain::digest::Digest;
use crate::domain::scan::inventory::{DPKG_STATUS, Found};

const STATUS: &[u8] = b"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n";

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn scan(bytes: &[u8], limits: Limits) -> LayerInventory {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    inventory(file, limits).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_compression_is_read() {
    let plain = archive(&[("./etc/motd", b"hi"), ("./var/lib/dpkg/status", STATUS)]);
    for bytes in [plain.clone(), gzip(&plain), zstd::encode_all(plain.as_slice(), 1).unwrap()] {
        let found = scan(&bytes, Limits::default());
        assert_eq!(found.truncated, None);
        assert_eq!(found.content, Some(Digest::of(Algorithm::Sha256, &plain).to_string()), "the same however it is packed");
        let Some(Found::Dpkg { packages }) = found.files.get(DPKG_STATUS) else { panic!("no packages: {found:?}") };
        assert_eq!(packages[0].name, "bash");
    }
}

#[test]
fn whiteouts_are_seen() {
    let found = scan(&archive(&[("var/lib/dpkg/.wh.status", b""), ("lib/apk/db/.wh..wh..opq", b""), ("srv/.wh.x", b"")]), Limits::default());
    assert_eq!(found.removed, ["var/lib/dpkg/status", "srv/x"]);
    assert_eq!(found.opaque, ["lib/apk/db"]);
}

#[test]
fn a_bomb_is_cut_short_and_said_so() {
    let bomb = gzip(&archive(&[("zeros", &vec![0; 3 << 20]), ("var/lib/dpkg/status", STATUS)]));
    let found = scan(&bomb, Limits { unpacked_bytes: 1 << 20, ..Limits::default() });
    assert_eq!(found.content, None);
    assert!(found.truncated.unwrap().contains("unpacks to more"));
    let many: Vec<_> = (0..50).map(|n| (format!("f{n}"), b"".as_slice())).collect();
    let many: Vec<_> = many.iter().map(|(n, c)| (n.as_str(), *c)).collect();
    assert!(scan(&archive(&many), Limits { entries: 10, ..Limits::default() }).truncated.unwrap().contains("entries"));
    let large = scan(&archive(&[("var/lib/dpkg/status", &vec![b'x'; 2000])]), Limits { file_bytes: 1000, ..Limits::default() });
    assert!(large.unread["var/lib/dpkg/status"].contains("more than 1000 bytes") && large.files.is_empty());
}

#[test]
fn a_file_that_is_too_large_hides_nothing_behind_it() {
    let limits = Limits { file_bytes: 1000, ..Limits::default() };
    let found = scan(&archive(&[("srv/app.jar", &vec![b'x'; 2000]), ("var/lib/dpkg/status", STATUS)]), limits);
    assert_eq!((found.truncated.as_deref(), found.removed.as_slice()), (None, &["srv/app.jar".to_owned()][..]));
    assert!(found.content.is_some() && found.files.contains_key(DPKG_STATUS));
    let notes = crate::domain::scan::inventory::merge(&[("l".into(), found)]).notes;
    assert_eq!(notes, ["l: srv/app.jar: it has more than 1000 bytes"]);
    let many: Vec<_> = (0..=MOST_UNREAD).map(|n| format!("srv/{n}.jar")).collect();
    let large = vec![b'x'; 1001];
    let many: Vec<_> = many.iter().map(|n| (n.as_str(), large.as_slice())).collect();
    assert!(scan(&archive(&many), limits).truncated.unwrap().contains("more than 100 files"));
}

#[test]
fn too_many_entries_and_a_zstd_bomb_are_cut_short() {
    let mut one = tar::Header::new_gnu();
    one.set_path("d/").unwrap();
    one.set_entry_type(tar::EntryType::Directory);
    one.set_size(0);
    one.set_cksum();
    // Repeated headers compress well: this is how such an archive is sent.
    let many = zstd::encode_all(one.as_bytes().repeat(60_000).as_slice(), 1).unwrap();
    assert!(many.len() < 1 << 20);
    assert!(scan(&many, Limits { entries: 50_000, ..Limits::default() }).truncated.unwrap().contains("50000 entries"));
    assert_eq!(Limits::default().entries, 1_000_000);
    let bomb = zstd::encode_all(archive(&[("zeros", &vec![0; 3 << 20])]).as_slice(), 1).unwrap();
    assert!(scan(&bomb, Limits { unpacked_bytes: 1 << 20, ..Limits::default() }).truncated.unwrap().contains("unpacks to more"));
}

#[test]
fn absolute_paths_and_devices_are_names_only() {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..20].copy_from_slice(b"/var/lib/dpkg/status");
    header.set_size(STATUS.len() as u64);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, STATUS).unwrap();
    assert_eq!(scan(&builder.into_inner().unwrap(), Limits::default()).files.len(), 1, "as below the image's root");
    for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo, tar::EntryType::Link] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("var/lib/dpkg/status").unwrap();
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, io::empty()).unwrap();
        let found = scan(&builder.into_inner().unwrap(), Limits::default());
        assert!(found.files.is_empty() && found.truncated.is_none(), "{kind:?}");
    }
}

#[test]
fn programs_tell_their_machine_and_modules_and_replace_what_was_there() {
    use crate::domain::scan::pkg::elf::tests::{elf, go_section};
    let program = elf(183, ".go.buildinfo", &go_section("go1.22.1", "dep\tgolang.org/x/net\tv0.1.0\th1:x\n"));
    let layer = |content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header, "usr/bin/app", content).unwrap();
        scan(&builder.into_inner().unwrap(), Limits::default())
    };
    let (go, script) = (layer(&program), layer(b"#!/bin/sh\n"));
    assert_eq!(go.machines.get("arm64"), Some(&1));
    let merged = crate::domain::scan::inventory::merge(&[("l".into(), go.clone())]);
    assert_eq!(merged.packages[1].package.name, "stdlib");
    assert_eq!((merged.packages[0].kind.as_str(), merged.packages[0].path.as_str()), ("golang", "usr/bin/app"));
    assert!(crate::domain::scan::inventory::merge(&[("l".into(), go), ("u".into(), script)]).packages.is_empty());
}

#[test]
fn a_long_name_and_an_extended_header_count() {
    let long = format!("{}/../../var/lib/dpkg/status", "d/".repeat(80));
    assert_eq!(clean(long.as_bytes()), None);
    assert_eq!(
        pax_value(b"11 foo=bar\n28 path=var/lib/dpkg/status\n", b"path="),
        Some(b"var/lib/dpkg/status".to_vec()).filter(|_| "28 path=var/lib/dpkg/status\n".len() == 28)
    );
    assert_eq!(clean(b"/etc/./os-release").as_deref(), Some("etc/os-release"));
    for bad in [b"99 path=x\n".as_slice(), b"x path=y\n", b"0 path=y\n", b"3 \n"] {
        assert_eq!(pax_value(bad, b"path="), None);
    }
}

#[test]
fn an_archive_that_is_unpacked_in_another_way_than_it_is_read_is_not_read_whole() {
    let pax = |records: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(records.len() as u64);
        builder.append_data(&mut header, "x", records.as_bytes()).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(STATUS.len() as u64);
        builder.append_data(&mut header, "harmless", STATUS).unwrap();
        scan(&builder.into_inner().unwrap(), Limits::default())
    };
    let record =
        |text: String| (1..9).map(|n| format!("{} {text}\n", text.len() + 2 + n)).find(|r| r.split(' ').next() == Some(r.len().to_string().as_str())).unwrap();
    let plain = record(format!("size={}", STATUS.len()));
    assert_eq!(pax(&plain).truncated, None);
    assert!(pax(&record("size=512".into())).truncated.is_some());
    assert!(pax(&record("size=nonsense".into())).truncated.is_some());
    let named = [record("path=harmless".into()), record("path=var/lib/dpkg/status".into())].concat();
    assert!(pax(&named).files.contains_key("var/lib/dpkg/status"), "the last counts");
    assert_eq!(clean(b"var/lib/dpkg/sta\0tus"), None);
}

#[test]
fn a_link_at_an_interesting_path_is_not_followed() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "var/lib/dpkg/status", "/etc/passwd").unwrap();
    let found = scan(&builder.into_inner().unwrap(), Limits::default());
    assert!(found.files.is_empty());
}

fn with_links(files: &[(&str, &[u8])], links: &[(tar::EntryType, &str, &str)]) -> LayerInventory {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    for (kind, path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }
    scan(&builder.into_inner().unwrap(), Limits::default())
}

#[test]
fn a_link_takes_the_place_of_what_a_lower_layer_has_there() {
    use crate::domain::scan::inventory::merge;
    let lower = scan(&archive(&[("var/lib/dpkg/status", STATUS)]), Limits::default());
    for (path, left) in [("var/lib/dpkg/status", 0), ("var/lib/dpkg", 0), ("var", 0), ("var/lib/dpk", 1), ("srv", 1)] {
        let upper = with_links(&[], &[(tar::EntryType::Symlink, path, "elsewhere")]);
        assert_eq!(merge(&[("l".into(), lower.clone()), ("u".into(), upper)]).packages.len(), left, "{path}");
    }
    // What is behind the link in the same layer counts.
    let both = with_links(&[("var/lib/dpkg/status", STATUS)], &[(tar::EntryType::Symlink, "var", "elsewhere")]);
    assert_eq!(merge(&[("l".into(), lower), ("u".into(), both)]).packages.len(), 1);
}

#[test]
fn another_name_of_a_file_is_that_file_and_of_one_that_was_not_looked_at_it_is_told() {
    let package = br#"{"name":"left-pad","version":"1.0.0"}"#.as_slice();
    let (first, second) = ("a/node_modules/left-pad/package.json", "b/node_modules/left-pad/package.json");
    let found = with_links(&[(first, package)], &[(tar::EntryType::Link, second, first)]);
    assert_eq!((found.files.get(second), found.files.len(), found.unread.len()), (found.files.get(first), 2, 0));
    let third = "c/node_modules/left-pad/package.json";
    let links = [second, third].map(|path| (tar::EntryType::Link, path, "store/00ff"));
    let found = with_links(&[("store/00ff", package)], &links);
    assert_eq!((found.files.len(), found.unread.keys().map(String::as_str).collect::<Vec<_>>()), (0, vec![second]));
    // One that was looked at and tells nothing is known.
    assert!(with_links(&[(first, b"{}")], &[(tar::EntryType::Link, second, first)]).unread.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8)) {
        scan(&bytes, Limits::default());
        bytes = archive(&[("var/lib/dpkg/status", STATUS)]);
        for (at, with) in flips {
            let at = at % bytes.len();
            bytes[at] = with;
        }
        scan(&bytes, Limits::default());
        scan(&gzip(&bytes), Limits::default());
    }
}
