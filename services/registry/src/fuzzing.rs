//! What strangers' bytes meet first, as one function each: for the fuzz targets in `fuzz/` and for the tests that replay
//! their corpus. Each states what must hold whatever comes, and panics if it does not.

use std::cmp::Ordering;
use std::io::BufReader;

use gantry_kernel::OffsetDateTime;

use crate::adapters::layer::{Limits, inventory_of};
use crate::domain::challenge::{Challenge, next_page};
use crate::domain::config::Config;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName, Tag, parse_image};
use crate::domain::platform::{self, Platform};
use crate::domain::range::{ChunkRange, ReadRange, read_range};
use crate::domain::scan::inventory::{self, Found, Interest, merge};
use crate::domain::scan::{advisory, entry, external, feeds, pkg, version};
use crate::domain::search::{Asked, Wanted};
use crate::domain::signature::key;
use crate::domain::signature::statement::{self, Envelope};
use crate::domain::signature::{bundle, cose, notation};
use crate::domain::{origin, pattern};

/// A pushed manifest, and an image's config.
///
/// # Panics
/// When one is let through that no table or event can hold, or that is two things at once.
pub fn manifest(data: &[u8]) {
    let config = Config::parse(data);
    assert!(config.labels.iter().all(|(k, v)| !k.contains('\0') && !v.contains('\0')), "a label that no table holds");
    let Ok(read) = Manifest::parse(None, data) else { return };
    assert!(data.len() <= MAX_BYTES, "a bomb was read");
    assert!(read.layers().is_empty() || read.children().is_empty(), "it is two things at once");
    let blobs = read.blobs();
    let mut digests: Vec<&str> = blobs.iter().map(|d| d.digest.as_str()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), blobs.len(), "a blob stands twice");
    assert!(blobs.iter().all(|d| i64::try_from(d.size).is_ok()), "a size that no table holds");
    let texts = read.index_platforms().into_iter().chain(read.event_annotations().into_iter().flat_map(|(k, v)| [k, v]));
    assert!(texts.into_iter().all(|t| !t.contains('\0')), "a text that no table holds");
    let _ = (read.may_lack(&[]), origin::chains(&read, &config, &Default::default()), origin::claim([&read.annotations]));
}

/// A platform as images and people write it, and a search for images.
///
/// # Panics
/// When one form is read as another, or a search asks for what is none.
pub fn platform(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(read) = Platform::parse(text) {
        assert_eq!(Platform::parse(&read.to_string()).as_ref(), Some(&read), "{text}");
        assert!(read.takes(&read), "{text}");
    }
    if let Some(term) = platform::term(text) {
        assert!(!term.contains(char::is_whitespace), "{term}");
    }
    let label = [text.to_owned()];
    let asked = Asked { text: Some(text), platform: Some(text), labels: &label, package: Some(text), finding: Some(text), digest: None, kind: None };
    if let Ok(wanted) = Wanted::parse(&asked) {
        assert!(wanted.terms.iter().all(|(t, _)| !t.contains('\0')), "a term that no table holds");
    }
}

/// Names, tags, digests and references, as they stand in paths.
///
/// # Panics
/// When something is let through that leads elsewhere as a path.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let harmless = |t: &str| !t.is_empty() && !t.split('/').any(|p| p.is_empty() || p.starts_with('.')) && !t.contains(['\\', '%', '\0', ' ', '\n']);
    if let Ok(name) = RepositoryName::parse(text) {
        assert!(harmless(name.as_str()) && name.as_str() == text && name.as_str().len() <= RepositoryName::MAX, "{text}");
        assert_eq!(format!("{}/{}/{}", name.org(), name.project(), name.rest()), text);
    }
    if let Ok(tag) = Tag::parse(text) {
        assert!(tag.as_str().len() <= 128 && harmless(tag.as_str()) && !tag.as_str().contains(['/', ':', '@']), "{text}");
    }
    if let Ok(digest) = Digest::parse(text) {
        assert!(digest.hex().bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) && digest.to_string() == text, "{text}");
    }
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(reference.to_string(), text);
    }
    if let Ok(image) = parse_image(text) {
        assert!(harmless(image.name.as_str()), "{text}");
    }
    if pattern::fault(text).is_none() {
        let _ = pattern::matches(text, "team/web");
    }
    let _ = (Challenge::parse(text), next_page(text));
}

/// `Range` of a read, `Content-Range` of a chunk; the size is in the first bytes.
///
/// # Panics
/// When a part leads out of the content.
pub fn range(data: &[u8]) {
    let (size, text) = data.split_at(data.len().min(2));
    let size = size.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let ReadRange::Part { first, len } = read_range(Some(text), size) {
        assert!(len > 0 && first.checked_add(len).is_some_and(|end| end <= size), "{text} of {size}");
    }
    if let Ok(chunk) = ChunkRange::parse(text) {
        assert!(chunk.first <= chunk.last && chunk.bytes() > 0, "{text}");
    }
}

/// A layer: a tar archive, compressed or not.
///
/// # Panics
/// When a path leads out of the image, or a bound does not hold.
pub fn layer(data: &[u8]) {
    let limits = Limits { unpacked_bytes: 1 << 20, entries: 500, file_bytes: 1 << 16, program_bytes: 1 << 16 };
    let Ok(found) = inventory_of(BufReader::new(data), limits) else { return };
    let inside = |p: &String| !p.is_empty() && !p.starts_with('/') && !p.split('/').any(|part| part == "..");
    let paths = found.files.keys().chain(&found.removed).chain(found.programs.values().flatten()).chain(found.scripts.keys()).chain(found.links.keys());
    assert!(paths.into_iter().all(inside), "a path leads out of the image: {found:?}");
    let layers = [("sha256:x".to_owned(), found)];
    let _ = merge(&layers);
    let start = Config { starts: "/bin/sh".into(), platform: "linux/amd64".into(), ..Config::default() };
    let _ = entry::entry(&start, &layers);
}

/// Places where package managers and build tools leave what they installed; the first byte says which.
const PLACES: [&str; 12] = [
    "var/lib/dpkg/status",
    "lib/apk/db/installed",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages.db",
    "var/lib/rpm/Packages",
    "etc/os-release",
    "app/node_modules/x/package.json",
    "app/package-lock.json",
    "site-packages/x.dist-info/METADATA",
    "srv/Cargo.lock",
    "srv/app.jar",
    "usr/bin/app",
];

/// A package database, or a program.
///
/// # Panics
/// When it tells of more packages than any honest one has, or of none that could be shown.
pub fn packages(data: &[u8]) {
    let Some((which, content)) = data.split_first() else { return };
    let path = PLACES[usize::from(*which) % PLACES.len()];
    assert_ne!(inventory::interest(path, true), Interest::None, "{path}");
    let _ = (pkg::elf::machine(content), pkg::pe::machine(content));
    if let Some(Found::Language { packages }) = inventory::read(path, content) {
        assert!(packages.len() <= pkg::MOST * 2, "{path}");
        assert!(packages.iter().all(|(kind, p)| !kind.is_empty() && !p.name.is_empty() && !p.name.contains('\0')), "{path}");
    }
}

/// Vulnerability data of any kind, and what a scanner outside answers.
///
/// # Panics
/// When a finding has no name.
pub fn advisories(data: &[u8]) {
    if let Ok(read) = feeds::read(data) {
        assert!(read.advisories.iter().all(|a| !a.package.is_empty() || a.id.len() <= data.len()), "an advisory was made up");
        let mut advisories = read.advisories.clone();
        advisory::complete(&mut advisories, &read.judgements);
        let kept = advisories.iter().zip(&read.advisories).all(|(a, b)| b.score.is_none() || a.score == b.score);
        assert!(kept, "an advisory's own score was changed");
    }
    let _ = external::abilities(data);
    if let Ok(found) = external::findings(data, "fuzz") {
        assert!(found.iter().all(|f| !f.id.is_empty() && f.scanners == ["fuzz"] && f.score.is_none_or(|s| (0.0..=10.0).contains(&s))));
    }
    let _ = external::sbom(data);
}

/// Three versions, parted by line ends.
///
/// # Panics
/// When their order is none.
pub fn versions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let all: Vec<&str> = text.lines().take(3).collect();
    for kind in ["deb", "apk", "rpm", "pypi", "maven", "npm"] {
        let order = version::order(kind);
        for a in &all {
            assert_eq!(order(a, a), Ordering::Equal, "{kind}: {a:?} beside itself");
            for b in &all {
                assert_eq!(order(a, b), order(b, a).reverse(), "{kind}: {a:?} and {b:?}");
            }
        }
    }
}

/// Signatures and attestations in every envelope.
///
/// # Panics
/// When one that nobody trusted signed is believed.
pub fn signature(data: &[u8]) {
    let digest = Digest::of(Algorithm::Sha256, b"image").to_string();
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
    for parts in [notation::jws(data), cose::envelope(data)].into_iter().flatten() {
        assert!(notation::verify(&parts, &digest, &[], now).is_err(), "signed by nobody");
    }
    let text = String::from_utf8_lossy(data);
    assert!(statement::simple(data, &text, &digest, &[]).is_err(), "signed by nobody");
    match bundle::read(data, &digest, b"image", &[]) {
        Ok(bundle::Says::Signed(key)) => panic!("signed by {key}, whom nobody trusts"),
        Ok(bundle::Says::Attested(said, key)) => {
            assert!(key.is_none(), "attested by somebody whom nobody trusts");
            let _ = (statement::builder(&said), statement::materials(&said));
        }
        Err(_) => {}
    }
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(data)
        && let Ok((said, key)) = statement::attested(&envelope, &digest, &[])
    {
        assert!(key.is_none(), "attested by somebody whom nobody trusts");
        let _ = (statement::builder(&said), statement::materials(&said));
    }
    let _ = key::parse(&text);
}

#[cfg(test)]
mod tests {
    use gantry_testkit::replay;

    #[test]
    fn the_corpus_of_manifests_is_kept_whole_or_refused() {
        replay("registry_manifest", super::manifest);
    }

    #[test]
    fn the_corpus_of_platforms_has_one_form_each() {
        replay("registry_platform", super::platform);
    }

    #[test]
    fn the_corpus_of_references_leads_nowhere_else() {
        replay("registry_reference", super::reference);
    }

    #[test]
    fn the_corpus_of_ranges_stays_inside() {
        replay("registry_range", super::range);
    }

    #[test]
    fn the_corpus_of_layers_stays_inside_the_image() {
        replay("registry_layer", super::layer);
    }

    #[test]
    fn the_corpus_of_package_databases_is_read_within_bounds() {
        replay("registry_packages", super::packages);
    }

    #[test]
    fn the_corpus_of_advisories_is_read_or_refused() {
        replay("registry_advisories", super::advisories);
    }

    #[test]
    fn the_corpus_of_versions_has_an_order() {
        replay("registry_versions", super::versions);
    }

    #[test]
    fn the_corpus_of_signatures_convinces_nobody() {
        replay("registry_signature", super::signature);
    }
}
