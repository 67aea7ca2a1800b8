//! Java archives: `pom.properties` of Maven, else the manifest; archives inside archives.

use super::super::inventory::Package;
use super::{plain, zip};

/// Bytes of one description, and of one archive inside another.
const LARGEST_TEXT: u64 = 1 << 20;
const LARGEST_INNER: u64 = 128 << 20;
/// Archives in one file, and how deep: a bomb ends here.
const MOST_ARCHIVES: usize = 2_000;
const DEEPEST: usize = 3;

pub fn is_archive(path: &str) -> bool {
    ["jar", "war", "ear"].iter().any(|e| path.len() > e.len() + 1 && path.rsplit_once('.').is_some_and(|(_, x)| x.eq_ignore_ascii_case(e)))
}

/// `path` names the archive; some say their name and version only there.
pub fn packages(path: &str, bytes: &[u8]) -> Vec<Package> {
    let mut found = Vec::new();
    let mut left = MOST_ARCHIVES;
    let mut budget = 4 * LARGEST_INNER;
    read(path, bytes, 0, &mut left, &mut budget, &mut found);
    found.sort();
    found.dedup();
    found
}

fn read(path: &str, bytes: &[u8], depth: usize, left: &mut usize, budget: &mut u64, found: &mut Vec<Package>) {
    if depth > DEEPEST || *left == 0 || found.len() > super::MOST {
        return;
    }
    *left -= 1;
    let entries = zip::entries(bytes);
    let before = found.len();
    for entry in entries.iter().filter(|e| e.name.starts_with("META-INF/maven/") && e.name.ends_with("/pom.properties")).take(1000) {
        let Some(text) = entry.content(LARGEST_TEXT) else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        let field = |name: &str| text.lines().find_map(|l| l.trim().strip_prefix(name)?.trim_start().strip_prefix('=').map(str::trim)).unwrap_or_default();
        found.extend(
            plain(&format!("{}:{}", field("groupId"), field("artifactId")), field("version"), "")
                .filter(|p| !p.name.starts_with(':') && !p.name.ends_with(':')),
        );
    }
    if found.len() == before {
        let manifest = entries.iter().find(|e| e.name == "META-INF/MANIFEST.MF").and_then(|e| e.content(LARGEST_TEXT)).unwrap_or_default();
        found.extend(by_manifest(path, &String::from_utf8_lossy(&manifest)));
    }
    for entry in entries.iter().filter(|e| is_archive(&e.name)) {
        let limit = LARGEST_INNER.min(*budget);
        if let Some(inner) = entry.content(limit) {
            *budget = budget.saturating_sub(inner.len() as u64);
            read(&entry.name, &inner, depth + 1, left, budget, found);
        }
    }
}

/// Title and vendor of the manifest, else the file's name `artifact-1.2.3.jar`.
fn by_manifest(path: &str, manifest: &str) -> Option<Package> {
    let field =
        |name: &str| manifest.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::trim).filter(|v| !v.is_empty() && !v.contains("${"));
    let stem = path.rsplit('/').next().unwrap_or(path);
    let stem = stem.rsplit_once('.').map_or(stem, |(s, _)| s);
    let at = stem.char_indices().zip(stem.chars().skip(1)).find(|((_, c), next)| *c == '-' && next.is_ascii_digit()).map(|((i, _), _)| i);
    let (name, in_name) = at.map_or((stem, None), |i| (&stem[..i], Some(&stem[i + 1..])));
    let version = field("Implementation-Version").or_else(|| field("Bundle-Version")).or(in_name)?;
    let group = field("Implementation-Vendor-Id").or_else(|| field("Bundle-SymbolicName").and_then(|s| s.split(';').next()?.rsplit_once('.').map(|(g, _)| g)));
    plain(
        &group.map_or_else(|| name.to_owned(), |g| format!("{g}:{name}")),
        version.split(' ').next().unwrap_or(version),
        field("Bundle-License").unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_names_itself_and_what_is_inside() {
        let inner = zip::tests::archive(&[("META-INF/maven/org.x/y/pom.properties", b"groupId=org.x\nartifactId=y\nversion=2.0\n")]);
        let plain_jar =
            zip::tests::archive(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\nImplementation-Version: 1.4\r\nImplementation-Vendor-Id: org.z\r\n")]);
        let named_only = zip::tests::archive(&[("x.class", b"")]);
        let outer =
            zip::tests::archive(&[("WEB-INF/lib/y-2.0.jar", &inner), ("WEB-INF/lib/z.jar", &plain_jar), ("WEB-INF/lib/log4j-core-2.14.1.jar", &named_only)]);
        let found: Vec<_> = packages("app/web.war", &outer).into_iter().map(|p| (p.name, p.version)).collect();
        assert_eq!(found, [("log4j-core", "2.14.1"), ("org.x:y", "2.0"), ("org.z:z", "1.4")].map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn archives_inside_archives_end() {
        let mut bytes = zip::tests::archive(&[("META-INF/maven/a/b/pom.properties", b"groupId=a\nartifactId=b\nversion=1\n")]);
        for _ in 0..6 {
            bytes = zip::tests::archive(&[("in.jar", &bytes)]);
        }
        assert!(packages("out.jar", &bytes).iter().all(|p| p.name != "a:b"), "too deep to be looked at");
    }
}
