//! The headers in an rpm database (rpm, "Header format"): index of tags, then their values.

use super::super::inventory::Package;
use super::{bdb, ndb, slice, sqlite, u32_at};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENSE: u32 = 1014;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;
const MODULARITY_LABEL: u32 = 5096;
const MOST_TAGS: u32 = 100_000;

/// The packages in a database file of any of rpm's formats, told by its first bytes.
pub fn packages(bytes: &[u8]) -> Vec<Package> {
    let blobs = if bytes.starts_with(b"SQLite format 3\0") {
        sqlite::blobs(bytes, "Packages")
    } else if bytes.starts_with(b"RpmP") {
        ndb::blobs(bytes)
    } else {
        bdb::blobs(bytes)
    };
    blobs.iter().take(super::MOST).filter_map(|blob| package(blob)).collect()
}

/// One header; keys that are in the database as packages (`gpg-pubkey`) are none.
pub fn package(blob: &[u8]) -> Option<Package> {
    let tags = u32_at(blob, 0, true).filter(|n| *n <= MOST_TAGS)? as usize;
    let store = slice(blob, 8, tags * 16).map(|_| 8 + tags * 16)?;
    let length = u32_at(blob, 4, true)? as usize;
    let data = slice(blob, store, length)?;
    let find = |wanted: u32| {
        (0..tags).map(|i| 8 + i * 16).find(|at| u32_at(blob, *at, true) == Some(wanted)).and_then(|at| Some(u32_at(blob, at + 8, true)? as usize))
    };
    let text = |tag: u32| {
        let value = data.get(find(tag)?..)?;
        let end = value.iter().position(|b| *b == 0)?;
        std::str::from_utf8(&value[..end]).ok().map(str::to_owned)
    };
    let name = text(NAME).filter(|n| !n.is_empty() && n != "gpg-pubkey")?;
    let bare = format!("{}-{}", text(VERSION)?, text(RELEASE)?);
    let version = match find(EPOCH).and_then(|at| u32_at(data, at, true)).filter(|e| *e > 0) {
        Some(epoch) => format!("{epoch}:{bare}"),
        None => bare,
    };
    // `openssl-1.1.1k-9.el8_7.src.rpm`
    let source = text(SOURCE_RPM).and_then(|s| {
        let mut parts = s.strip_suffix(".src.rpm").or_else(|| s.strip_suffix(".nosrc.rpm"))?.rsplitn(3, '-');
        let (_release, _version) = (parts.next()?, parts.next()?);
        parts.next().map(str::to_owned)
    });
    Some(Package {
        source: source.unwrap_or_else(|| name.clone()),
        source_version: version.clone(),
        architecture: text(ARCH).unwrap_or_default(),
        licence: text(LICENSE).unwrap_or_default().chars().take(300).collect(),
        module: text(MODULARITY_LABEL).unwrap_or_default().chars().take(300).collect(),
        name,
        version,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header as rpm keeps it.
    pub fn header(name: &str, version: &str, epoch: Option<u32>, fill: usize) -> Vec<u8> {
        let mut data = Vec::new();
        let mut index = Vec::new();
        let mut tag = |tag: u32, kind: u32, value: &[u8], data: &mut Vec<u8>| {
            while kind == 4 && !data.len().is_multiple_of(4) {
                data.push(0);
            }
            for part in [tag, kind, u32::try_from(data.len()).unwrap(), 1] {
                index.extend(part.to_be_bytes());
            }
            data.extend(value);
        };
        tag(NAME, 6, format!("{name}\0").as_bytes(), &mut data);
        tag(VERSION, 6, format!("{version}\0").as_bytes(), &mut data);
        tag(RELEASE, 6, b"9.el8\0", &mut data);
        if let Some(epoch) = epoch {
            tag(EPOCH, 4, &epoch.to_be_bytes(), &mut data);
        }
        tag(LICENSE, 6, b"MIT\0", &mut data);
        tag(ARCH, 6, b"x86_64\0", &mut data);
        tag(SOURCE_RPM, 6, b"src-name-1.0-9.el8.src.rpm\0", &mut data);
        tag(1005, 7, &vec![b'd'; fill], &mut data);
        if name.starts_with("nodejs") {
            tag(MODULARITY_LABEL, 6, b"nodejs:16:8090020230908:abc\0", &mut data);
        }
        let tags = u32::try_from(index.len() / 16).unwrap();
        [tags.to_be_bytes().to_vec(), u32::try_from(data.len()).unwrap().to_be_bytes().to_vec(), index, data].concat()
    }

    #[test]
    fn a_header_gives_a_package_with_epoch_and_source() {
        let found = package(&header("openssl-libs", "1.1.1k", Some(1), 10)).unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str(), found.source.as_str()), ("openssl-libs", "1:1.1.1k-9.el8", "src-name"));
        assert_eq!((found.architecture.as_str(), found.licence.as_str()), ("x86_64", "MIT"));
        assert_eq!(package(&header("zlib", "1.2", None, 0)).unwrap().version, "1.2-9.el8");
        assert_eq!(package(&header("gpg-pubkey", "1", None, 0)), None);
        assert_eq!((found.module.as_str(), package(&header("nodejs", "16.20", Some(1), 3)).unwrap().module.as_str()), ("", "nodejs:16:8090020230908:abc"));
    }

    fn unzip(bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut plain).unwrap();
        plain
    }

    /// Written by rpm 4.18 (SQLite) and, from the same headers, by Berkeley DB 5.3; the headers are larger than a page.
    const REAL: [&[u8]; 2] = [include_bytes!("../../../../tests/fixtures/rpmdb.sqlite.gz"), include_bytes!("../../../../tests/fixtures/Packages.gz")];

    #[test]
    fn real_databases_are_read() {
        for database in REAL {
            let mut found: Vec<_> = packages(&unzip(database)).into_iter().map(|p| (p.name, p.version, p.source)).collect();
            found.sort();
            let expected = [("pkg1-libs", "1.1-9.el8"), ("pkg2-libs", "1:1.2-9.el8"), ("pkg3-libs", "2:1.3-9.el8")];
            assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned(), n.to_owned())));
        }
    }

    #[test]
    fn rpms_own_format_is_read() {
        // As lib/backend/ndb/rpmpkg.c describes it: a page of slots, then blobs in blocks of 16 bytes.
        let blob = header("zlib", "1.2", None, 50);
        let mut file = vec![0; 4096];
        file[..4].copy_from_slice(b"RpmP");
        file[12] = 1;
        file[32..36].copy_from_slice(b"Slot");
        file[36] = 1;
        file[40..44].copy_from_slice(&256_u32.to_le_bytes());
        file.extend([b"BlbS".as_slice(), &1_u32.to_le_bytes(), &[0; 4], &u32::try_from(blob.len()).unwrap().to_le_bytes()].concat());
        file.extend(&blob);
        assert_eq!(packages(&file)[0].name, "zlib");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn flipped_bytes_in_a_database_make_no_reader_panic_or_hang(flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..12), which in 0_usize..2) {
            let mut bytes = unzip(REAL[which]);
            for (at, with) in flips {
                // The pages' heads are where it hurts.
                let at = if at % 2 == 0 { at % bytes.len() } else { (at % (bytes.len() / 4096)) * 4096 + at % 64 };
                bytes[at] = with;
            }
            let _ = packages(&bytes);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..200, with in any::<u8>()) {
            let _ = (packages(&bytes), package(&bytes));
            bytes = header("a", "1", Some(1), 20);
            let at = at % bytes.len();
            bytes[at] = with;
            let _ = package(&bytes);
        }
    }
}
