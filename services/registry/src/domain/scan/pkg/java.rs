//! Java archives: `pom.properties` of Maven, else the manifest; archives inside archives.

use super::super::inventory::Package;
use super::{plain, zip};

/// Bytes of one description, and of one archive inside another.
const LARGEST_TEXT: u64 = 1 << 20;
const LARGEST_INNER: u64 = 128 << 20;
/// Archives in one file, and how deep: a bomb ends here.
const MOST_ARCHIVES: usize = 2_000;
const DEEPEST: usize = 3;
const MOST_ENTRIES: usize = 200_000;
const MOST_DESCRIPTIONS: usize = 1_000;

pub fn is_archive(path: &str) -> bool {
    ["jar", "war", "ear"].iter().any(|e| path.len() > e.len() + 1 && path.rsplit_once('.').is_some_and(|(_, x)| x.eq_ignore_ascii_case(e)))
}

/// `path` names the archive; some say their name and version only there. Beside the packages: what of it could not be looked at, and why.
pub fn packages(path: &str, bytes: &[u8]) -> (Vec<Package>, Option<String>) {
    let mut reading = Reading { left: MOST_ARCHIVES, budget: 4 * LARGEST_INNER, found: Vec::new(), unread: None };
    reading.read(path, bytes, 0);
    reading.found.sort();
    reading.found.dedup();
    (reading.found, reading.unread)
}

struct Reading {
    left: usize,
    budget: u64,
    found: Vec<Package>,
    unread: Option<String>,
}

impl Reading {
    fn read(&mut self, path: &str, bytes: &[u8], depth: usize) {
        if depth > DEEPEST || self.left == 0 || self.found.len() > super::MOST {
            return self.unread(path, "archives in it are too deep or too many");
        }
        self.left -= 1;
        let directory = zip::directory(bytes, MOST_ENTRIES);
        if directory.as_ref().is_some_and(|d| !d.whole) {
            self.unread(path, "its directory is damaged or too long");
        }
        let entries = directory.map(|d| d.entries).unwrap_or_default();
        let before = self.found.len();
        let descriptions = entries.iter().filter(|e| e.name.starts_with("META-INF/maven/") && e.name.ends_with("/pom.properties"));
        for (count, entry) in descriptions.enumerate() {
            let Some(text) = entry.content(LARGEST_TEXT).filter(|_| count < MOST_DESCRIPTIONS) else {
                self.unread(path, &format!("`{}` is damaged, too large, or one of too many", entry.name));
                break;
            };
            self.found.extend(described(&String::from_utf8_lossy(&text)));
        }
        if self.found.len() == before {
            let manifest = entries.iter().find(|e| e.name == "META-INF/MANIFEST.MF").and_then(|e| e.content(LARGEST_TEXT)).unwrap_or_default();
            self.found.extend(by_manifest(path, &String::from_utf8_lossy(&manifest)));
        }
        for entry in entries.iter().filter(|e| is_archive(&e.name)) {
            match entry.content(LARGEST_INNER.min(self.budget)) {
                Some(inner) => {
                    self.budget = self.budget.saturating_sub(inner.len() as u64);
                    self.read(&entry.name, &inner, depth + 1);
                }
                None => self.unread(&entry.name, "it is damaged, or there is too much to unpack"),
            }
        }
    }

    /// The first is enough: it keeps the archive from passing for one that was looked at.
    fn unread(&mut self, path: &str, why: &str) {
        if self.unread.is_none() {
            let path: String = path.replace('\0', "").chars().take(300).collect();
            self.unread = Some(format!("{path}: {why}"));
        }
    }
}

/// `groupId=..`, `artifactId=..`, `version=..`
fn described(text: &str) -> Option<Package> {
    let field = |name: &str| text.lines().find_map(|l| l.trim().strip_prefix(name)?.trim_start().strip_prefix('=').map(str::trim)).unwrap_or_default();
    plain(&format!("{}:{}", field("groupId"), field("artifactId")), field("version"), "").filter(|p| !p.name.starts_with(':') && !p.name.ends_with(':'))
}

/// Title and vendor of the manifest, else the file's name `artifact-1.2.3.jar`.
fn by_manifest(path: &str, manifest: &str) -> Option<Package> {
    // A line has 72 bytes at most and goes on behind a space (JAR file specification, "Notes on Manifest and Signature Files"). Sections behind the first
    // are about single files of it.
    let manifest = manifest.replace("\r\n", "\n").replace("\n ", "");
    let main = || manifest.lines().take_while(|line| !line.is_empty());
    let field = |name: &str| main().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::trim).filter(|v| !v.is_empty() && !v.contains("${"));
    let stem = path.rsplit('/').next().unwrap_or(path);
    let stem = stem.rsplit_once('.').map_or(stem, |(s, _)| s);
    let (name, in_name) = version_at(stem).map_or((stem, None), |at| (&stem[..at - 1], Some(&stem[at..])));
    let version = field("Implementation-Version").or_else(|| field("Bundle-Version")).or(in_name)?;
    let group = field("Implementation-Vendor-Id").or_else(|| field("Bundle-SymbolicName").and_then(|s| s.split(';').next()?.rsplit_once('.').map(|(g, _)| g)));
    plain(
        &group.map_or_else(|| name.to_owned(), |g| format!("{g}:{name}")),
        version.split(' ').next().unwrap_or(version),
        field("Bundle-License").unwrap_or_default(),
    )
}

/// Words that stand in versions, with or without a number behind them.
const QUALIFIERS: [&str; 16] =
    ["alpha", "beta", "milestone", "m", "rc", "cr", "pre", "snapshot", "ga", "final", "release", "sp", "build", "b", "jre", "android"];

/// Where the version begins in a file's name: behind the first hyphen before a digit, unless that number is a part of the name
/// (`log4j-1.2-api-2.14.1`).
fn version_at(stem: &str) -> Option<usize> {
    let is_name = |word: &str| {
        let plain = word.trim_end_matches(|c: char| c.is_ascii_digit());
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && !QUALIFIERS.iter().any(|known| plain.eq_ignore_ascii_case(known))
    };
    let mut starts = stem.match_indices('-').map(|(at, _)| at + 1).filter(|at| stem[*at..].starts_with(|c: char| c.is_ascii_digit()));
    let first = starts.next()?;
    Some(starts.fold(first, |at, next| if stem[at..next].split('-').any(is_name) { next } else { at }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_a_name_is_not_its_version() {
        for (stem, name, version) in [
            ("log4j-1.2-api-2.14.1", "log4j-1.2-api", "2.14.1"),
            ("hibernate-jpa-2.1-api-1.0.2.Final", "hibernate-jpa-2.1-api", "1.0.2.Final"),
            ("log4j-core-2.14.1", "log4j-core", "2.14.1"),
            ("guava-31.1-jre", "guava", "31.1-jre"),
            ("x-1.0-beta-2", "x", "1.0-beta-2"),
            ("x-1.0-RC1-20210101.120000-3", "x", "1.0-RC1-20210101.120000-3"),
        ] {
            let found = by_manifest(&format!("lib/{stem}.jar"), "").unwrap();
            assert_eq!((found.name.as_str(), found.version.as_str()), (name, version));
        }
        assert_eq!((version_at("plain"), version_at("-"), version_at("é-1-é-2"), version_at("")), (None, None, Some(3), None));
    }

    #[test]
    fn an_archive_names_itself_and_what_is_inside() {
        let inner = zip::tests::archive(&[("META-INF/maven/org.x/y/pom.properties", b"groupId=org.x\nartifactId=y\nversion=2.0\n")]);
        let plain_jar =
            zip::tests::archive(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\nImplementation-Version: 1.4\r\nImplementation-Vendor-Id: org.z\r\n")]);
        let named_only = zip::tests::archive(&[("x.class", b"")]);
        let outer =
            zip::tests::archive(&[("WEB-INF/lib/y-2.0.jar", &inner), ("WEB-INF/lib/z.jar", &plain_jar), ("WEB-INF/lib/log4j-core-2.14.1.jar", &named_only)]);
        let (found, unread) = packages("app/web.war", &outer);
        assert_eq!(unread, None);
        let found: Vec<_> = found.into_iter().map(|p| (p.name, p.version)).collect();
        assert_eq!(found, [("log4j-core", "2.14.1"), ("org.x:y", "2.0"), ("org.z:z", "1.4")].map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_manifest_is_read_with_its_long_lines_and_without_the_sections_of_single_files() {
        let manifest = "Manifest-Version: 1.0\r\nBundle-SymbolicName: org.example.with.a.long.name.that.goes.on.to.the.\r\n second.line;singleton:=true\r\nBundle-Version: 2.1\r\n\r\nName: x/\r\nImplementation-Version: 9.9\r\n";
        let found = by_manifest("lib/line.jar", manifest).unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("org.example.with.a.long.name.that.goes.on.to.the.second:line", "2.1"));
    }

    #[test]
    fn archives_inside_archives_end_and_what_is_not_looked_at_is_told() {
        let mut bytes = zip::tests::archive(&[("META-INF/maven/a/b/pom.properties", b"groupId=a\nartifactId=b\nversion=1\n")]);
        for _ in 0..6 {
            bytes = zip::tests::archive(&[("in.jar", &bytes)]);
        }
        let (found, unread) = packages("out.jar", &bytes);
        assert!(found.iter().all(|p| p.name != "a:b"), "too deep to be looked at");
        assert!(unread.unwrap().contains("too deep"));

        let good = zip::tests::archive(&[("META-INF/maven/a/b/pom.properties", b"groupId=a\nartifactId=b\nversion=1\n")]);
        let mut outer = zip::tests::archive(&[("lib/x.jar", &good), ("lib/y.jar", &good)]);
        // The packed bytes of the first one begin behind its name.
        outer[30 + "lib/x.jar".len()] = 0xff;
        let (found, unread) = packages("web.war", &outer);
        assert_eq!(found.len(), 1, "the other one counts");
        assert!(unread.unwrap().starts_with("lib/x.jar: "));
        assert_eq!(packages("notes.jar", b"no archive at all"), (Vec::new(), None));
        let mut broken = good;
        let directory = broken.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
        broken[directory] = 0;
        assert!(packages("web-1.0.jar", &broken).1.unwrap().contains("directory"));
    }
}
