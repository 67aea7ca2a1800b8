//! Finding images: what can be asked for, and the terms that an image is found by. A term is a kind and a word; its detail is
//! what people see beside it (the version of a package, the value of a label, the package of a finding).

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::config::Config;
use super::name::Tag;
use super::platform::{self, Platform};
use super::scan::inventory::Inventory;
use super::scan::report::Report;

/// Terms of one image; no honest one has more.
pub const MOST_TERMS: usize = 60_000;
/// Characters of a word and of a detail. Words are part of an index, whose entries are bounded.
const LONGEST: usize = 200;
/// Characters of a digest that are needed to look for it.
const LEAST_HEX: usize = 6;

/// One term with its detail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    pub term: String,
    pub detail: String,
}

impl Term {
    fn new(kind: &str, word: &str, detail: &str) -> Option<Self> {
        let fine = !word.is_empty() && !word.contains('\0') && word.chars().count() <= LONGEST;
        let detail = detail.replace('\0', "").chars().take(LONGEST).collect();
        fine.then(|| Self { term: format!("{kind}:{word}"), detail })
    }
}

/// By what a pushed manifest says: platforms and annotations.
pub fn of_push(platforms: &[String], annotations: &BTreeMap<String, String>) -> Vec<Term> {
    let platforms = platforms.iter().filter_map(|p| Platform::parse(p)).flat_map(|p| p.terms());
    let mut terms: BTreeSet<Term> = platforms.map(|term| Term { term, detail: String::new() }).collect();
    terms.extend(annotations.iter().filter_map(|(name, value)| Term::new("label", name, value)));
    terms.into_iter().take(MOST_TERMS).collect()
}

/// By what a scan found: labels, packages (by their own name and that of their source), findings by every name they have.
pub fn of_scan(config: &Config, inventory: &Inventory, report: &Report) -> Vec<Term> {
    let mut terms: BTreeSet<Term> = config.labels.iter().filter_map(|(name, value)| Term::new("label", name, value)).collect();
    for installed in &inventory.packages {
        let package = &installed.package;
        terms.extend(Term::new("package", &package.name.to_lowercase(), &package.version));
        if package.source != package.name {
            terms.extend(Term::new("package", &package.source.to_lowercase(), &package.source_version));
        }
    }
    for finding in &report.findings {
        for id in std::iter::once(&finding.id).chain(&finding.aliases) {
            terms.extend(Term::new("finding", &id.to_uppercase(), &finding.package));
        }
    }
    terms.into_iter().take(MOST_TERMS).collect()
}

/// What was asked for; all of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// With a detail: exactly that one.
    pub terms: Vec<(String, Option<String>)>,
    /// Part of the repository's name.
    pub name: Option<String>,
    /// Start of a tag.
    pub tag: Option<String>,
    /// Start of a digest, with its algorithm.
    pub digest: Option<String>,
    pub kind: Option<Kind>,
}

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ImageKind)]
pub enum Kind {
    /// For one platform.
    Image,
    /// A list of images, one for each platform.
    Index,
    /// Anything else: a chart, a bill of materials, a model.
    Artifact,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Index => "index",
            Self::Artifact => "artifact",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Image, Self::Index, Self::Artifact].into_iter().find(|k| k.as_str() == word)
    }
}

/// What makes no sense, by its parameter.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field}: {detail}")]
pub struct Unclear {
    pub field: &'static str,
    pub detail: &'static str,
}

fn unclear<T>(field: &'static str, detail: &'static str) -> Result<T, Unclear> {
    Err(Unclear { field, detail })
}

/// The parameters as they came.
#[derive(Clone, Debug, Default)]
pub struct Asked<'a> {
    pub text: Option<&'a str>,
    pub platform: Option<&'a str>,
    pub labels: &'a [String],
    pub package: Option<&'a str>,
    pub finding: Option<&'a str>,
    pub digest: Option<&'a str>,
    pub kind: Option<&'a str>,
}

impl Wanted {
    /// # Errors
    /// A parameter that cannot be meant.
    pub fn parse(asked: &Asked<'_>) -> Result<Self, Unclear> {
        let mut wanted = Self::default();
        if let Some(text) = asked.text.map(str::trim).filter(|t| !t.is_empty()) {
            wanted.text(text)?;
        }
        if let Some(digest) = asked.digest {
            wanted.digest =
                Some(digest_start(digest).map_or_else(|| unclear("digest", "must be a digest or its start: sha256: and at least 6 hex digits"), Ok)?);
        }
        if let Some(text) = asked.platform {
            let term =
                platform::term(text).map_or_else(|| unclear("platform", "must be os/architecture[/variant], an operating system or an architecture"), Ok)?;
            wanted.terms.push((term, None));
        }
        if asked.labels.len() > 10 {
            return unclear("label", "at most 10 labels can be asked for at once");
        }
        for label in asked.labels {
            let (name, value) = label.split_once('=').map_or((label.as_str(), None), |(n, v)| (n, Some(v)));
            wanted.term("label", name, value)?;
        }
        if let Some(package) = asked.package {
            // A scope of npm begins with an @ itself.
            let at = package.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(i, _)| i);
            let (name, version) = at.map_or((package, None), |at| (&package[..at], Some(&package[at + 1..])));
            wanted.term("package", &name.to_lowercase(), version)?;
        }
        if let Some(finding) = asked.finding {
            wanted.term("finding", &finding.trim().to_uppercase(), None)?;
        }
        if let Some(kind) = asked.kind {
            wanted.kind = Some(Kind::parse(kind).map_or_else(|| unclear("kind", "must be image, index or artifact"), Ok)?);
        }
        Ok(wanted)
    }

    fn term(&mut self, kind: &'static str, word: &str, detail: Option<&str>) -> Result<(), Unclear> {
        let term = Term::new(kind, word, detail.unwrap_or_default()).map_or_else(|| unclear(kind, "must have 1 to 200 characters"), Ok)?;
        self.terms.push((term.term, detail.map(|_| term.detail)));
        Ok(())
    }

    /// Part of a name, `name:start-of-tag`, or the start of a digest.
    fn text(&mut self, text: &str) -> Result<(), Unclear> {
        if let Some(digest) = digest_start(text) {
            self.digest = Some(digest);
            return Ok(());
        }
        // As people copy it: host and digest are of no use here.
        let text = text.split('@').next().unwrap_or(text);
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (text, None),
        };
        let name = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
            _ => name,
        };
        let name = name.to_lowercase();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/');
        if name.len() > LONGEST || !name.chars().all(allowed) {
            return unclear("q", "must be part of a repository's name, name:tag, or the start of a digest");
        }
        self.name = Some(name).filter(|n| !n.is_empty());
        if let Some(tag) = tag.filter(|t| !t.is_empty()) {
            self.tag = Some(Tag::parse(tag).map_or_else(|_| unclear("q", "what follows the colon must be the start of a tag"), Ok)?.as_str().to_owned());
        }
        Ok(())
    }
}

/// `sha256:abcdef…`, also cut short.
fn digest_start(text: &str) -> Option<String> {
    let (algorithm, hex) = text.split_once(':')?;
    let most = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return None,
    };
    let fine = (LEAST_HEX..=most).contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    fine.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scan::inventory::{Installed, Package};
    use super::*;

    fn asked(text: &str) -> Result<Wanted, Unclear> {
        Wanted::parse(&Asked { text: Some(text), ..Asked::default() })
    }

    #[test]
    fn a_text_is_a_name_a_tag_or_a_digest() {
        let hex = "ab12cd34";
        assert_eq!(asked(&format!("sha256:{hex}")).unwrap().digest.as_deref(), Some("sha256:ab12cd34"));
        let web = asked("Shop/web:v1").unwrap();
        assert_eq!((web.name.as_deref(), web.tag.as_deref()), (Some("shop/web"), Some("v1")));
        let copied = asked(&format!("localhost:7443/acme/shop/web:v1@sha256:{}", "a".repeat(64))).unwrap();
        assert_eq!((copied.name.as_deref(), copied.tag.as_deref()), (Some("acme/shop/web"), Some("v1")));
        assert_eq!(asked(":v1").unwrap().tag.as_deref(), Some("v1"));
        assert_eq!(asked("  ").unwrap(), Wanted::default());
        for bad in ["a b", "x%", "web:ta g", "\u{e9}"] {
            assert_eq!(asked(bad).unwrap_err().field, "q", "{bad}");
        }
    }

    #[test]
    fn packages_labels_and_findings_are_terms() {
        let labels = ["team=web".to_owned(), "only".to_owned()];
        let asked =
            Asked { package: Some("@types/Node@20.1.0"), finding: Some("cve-2026-1"), labels: &labels, platform: Some("linux/arm64"), ..Asked::default() };
        let terms = Wanted::parse(&asked).unwrap().terms;
        let expected = [
            ("platform:linux/arm64", None),
            ("label:team", Some("web")),
            ("label:only", None),
            ("package:@types/node", Some("20.1.0")),
            ("finding:CVE-2026-1", None),
        ];
        assert!(terms.iter().map(|(t, d)| (t.as_str(), d.as_deref())).eq(expected), "{terms:?}");
        for (bad, field) in [
            (Asked { platform: Some("a b"), ..Asked::default() }, "platform"),
            (Asked { digest: Some("sha256:xyz"), ..Asked::default() }, "digest"),
            (Asked { kind: Some("other"), ..Asked::default() }, "kind"),
            (Asked { package: Some(""), ..Asked::default() }, "package"),
        ] {
            assert_eq!(Wanted::parse(&bad).unwrap_err().field, field);
        }
    }

    #[test]
    fn an_image_is_found_by_what_was_installed_and_found() {
        let package = Package {
            name: "libssl3".into(),
            version: "3.0-1".into(),
            architecture: "amd64".into(),
            source: "OpenSSL".into(),
            source_version: "3.0-1".into(),
            licence: String::new(),
            module: String::new(),
        };
        let installed = Installed { package, kind: "deb".into(), layer: String::new(), path: String::new() };
        let inventory = Inventory { packages: vec![installed], ..Inventory::default() };
        let config = Config { labels: [("team".to_owned(), "web".to_owned())].into(), ..Config::default() };
        let terms = of_scan(&config, &inventory, &Report::default());
        let texts: Vec<_> = terms.iter().map(|t| (t.term.as_str(), t.detail.as_str())).collect();
        assert_eq!(texts, [("label:team", "web"), ("package:libssl3", "3.0-1"), ("package:openssl", "3.0-1")]);
        let pushed = of_push(&["linux/arm64/v8".into()], &[("a".to_owned(), "b".to_owned())].into());
        assert_eq!(pushed.iter().map(|t| t.term.as_str()).collect::<Vec<_>>(), ["arch:arm64", "label:a", "os:linux", "platform:linux/arm64"]);
    }

    proptest! {
        #[test]
        fn no_parameter_makes_it_panic(text in "\\PC{0,40}") {
            let labels = [text.clone()];
            let all = [
                Asked { text: Some(&text), ..Asked::default() },
                Asked { platform: Some(&text), package: Some(&text), finding: Some(&text), labels: &labels, digest: Some(&text), ..Asked::default() },
            ];
            for asked in &all {
                let _ = Wanted::parse(asked);
            }
        }
    }
}
