//! Repository names, tags and references, parsed once at the door (OCI distribution-spec, "Pulling manifests").

use std::fmt;

use gantry_kernel::Name;
use thiserror::Error;

use super::digest::Digest;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error("a repository is `<organisation>/<project>/<name>`, each part of a-z, 0-9 and single separators `.`, `_`, `__` or dashes")]
    Grammar,
    #[error("a repository name has at most {max} characters")]
    Length { max: usize },
    #[error("a tag has 1 to 128 of a-z, A-Z, 0-9, `_`, `.`, `-` and starts with a letter, digit or `_`")]
    Tag,
}

/// `<organisation>/<project>/<rest..>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName {
    text: String,
    org: Name,
    project: Name,
}

impl RepositoryName {
    /// Registry host and repository name together should stay below 255 (distribution-spec); a host gets 55 of them.
    pub const MAX: usize = 200;

    /// # Errors
    /// When the text is not a repository name of this registry.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > Self::MAX {
            return Err(NameError::Length { max: Self::MAX });
        }
        if !text.split('/').all(is_component) {
            return Err(NameError::Grammar);
        }
        let mut parts = text.splitn(3, '/');
        let (Some(org), Some(project), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NameError::Grammar);
        };
        let org = Name::parse(org).map_err(|_| NameError::Grammar)?;
        let project = Name::parse(project).map_err(|_| NameError::Grammar)?;
        Ok(Self { text: text.to_owned(), org, project })
    }

    /// From its parts: the REST paths have them apart.
    ///
    /// # Errors
    /// As [`RepositoryName::parse`].
    pub fn of(org: &str, project: &str, rest: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{org}/{project}/{rest}"))
    }

    pub fn org(&self) -> &Name {
        &self.org
    }

    pub fn project(&self) -> &Name {
        &self.project
    }

    /// What comes after organisation and project.
    pub fn rest(&self) -> &str {
        &self.text[self.org.as_str().len() + self.project.as_str().len() + 2..]
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(*first) || !word(*last) {
        return false;
    }
    bytes.split(|b| word(*b)).all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// # Errors
    /// When the text is not a tag.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let starts = bytes.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let fits = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if starts && fits && bytes.len() <= 128 { Ok(Self(text.to_owned())) } else { Err(NameError::Tag) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl Reference {
    /// # Errors
    /// Neither a tag nor a digest. A text with `:` can only be meant as a digest.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            Digest::parse(text).map(Self::Digest).map_err(|_| ReferenceError::Digest)
        } else {
            Tag::parse(text).map(Self::Tag).map_err(|_| ReferenceError::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReferenceError {
    #[error("not a tag")]
    Tag,
    #[error("not a digest")]
    Digest,
}

/// `[host[:port]/]<org>/<project>/<repository>[:tag][@digest]`, as people write images.
///
/// # Errors
/// When a part does not follow its grammar. A digest wins over a tag; none means `latest`.
pub fn parse_image(text: &str) -> Result<Image<'_>, NameError> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(Digest::parse(digest).map_err(|_| NameError::Grammar)?)),
        None => (text, None),
    };
    let last_slash = rest.rfind('/').ok_or(NameError::Grammar)?;
    let (path, tag) = match rest[last_slash..].find(':') {
        Some(colon) => (&rest[..last_slash + colon], Some(Tag::parse(&rest[last_slash + colon + 1..])?)),
        None => (rest, None),
    };
    // A first part with a dot, a port, or "localhost" is a host (the rule of the reference implementation).
    let (host, path) = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, path),
    };
    let name = RepositoryName::parse(path)?;
    let reference = match (digest, tag) {
        (Some(digest), _) => Reference::Digest(digest),
        (None, Some(tag)) => Reference::Tag(tag),
        (None, None) => Reference::Tag(Tag("latest".to_owned())),
    };
    Ok(Image { host, name, reference })
}

/// An image as written, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// The registry, if it was named.
    pub host: Option<&'a str>,
    pub name: RepositoryName,
    pub reference: Reference,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repository_has_an_organisation_a_project_and_a_name() {
        let name = RepositoryName::parse("acme/shop/web/front-end").unwrap();
        assert_eq!((name.org().as_str(), name.project().as_str(), name.rest()), ("acme", "shop", "web/front-end"));
        for good in ["a/b/c", "a/b/c.d", "a/b/c__d", "a/b/c---d", "a/b/0", "a-b/c-d/e_f"] {
            assert!(RepositoryName::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn names_that_leave_the_tree_are_refused() {
        let long = format!("a/b/{}", "c".repeat(200));
        for bad in [
            "",
            "/",
            "a",
            "a/b",
            "a/b/",
            "/a/b/c",
            "a//b/c",
            "a/b/..",
            "a/../b/c",
            "../../etc/passwd",
            "a/b/./c",
            "A/b/c",
            "a/b/C",
            "a/b/c..d",
            "a/b/c___d",
            "a/b/-c",
            "a/b/c-",
            "a/b/c\0",
            "a/b/c%2e%2e",
            "a.b/c/d",
            "a/b/ü",
            "a/b/c\n",
            &long,
        ] {
            assert!(RepositoryName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tag_has_at_most_128_characters_and_no_path() {
        for good in ["latest", "v1.0", "_x", "A-b.c", &"a".repeat(128)] {
            assert!(Tag::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_is_read_as_people_write_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, name, reference) in [
            ("acme/shop/web".to_owned(), "acme/shop/web", "latest"),
            ("localhost:7443/acme/shop/web:v1".to_owned(), "acme/shop/web", "v1"),
            ("registry.example.org/acme/shop/web".to_owned(), "acme/shop/web", "latest"),
            (format!("localhost/acme/shop/web:v1@{digest}"), "acme/shop/web", digest.as_str()),
        ] {
            let image = parse_image(&text).unwrap();
            assert_eq!((image.name.as_str(), image.reference.to_string().as_str()), (name, reference), "{text}");
        }
        assert_eq!(parse_image("localhost:7443/acme/shop/web").unwrap().host, Some("localhost:7443"));
        assert_eq!(parse_image("acme/shop/web").unwrap().host, None);
        assert!(parse_image("web:v1").is_err());
        assert!(parse_image("acme/shop/web:").is_err());
    }

    proptest! {
        #[test]
        fn a_name_that_parses_never_holds_dots_alone(text in "[a-z0-9._/-]{0,40}") {
            if let Ok(name) = RepositoryName::parse(&text) {
                prop_assert!(name.as_str().split('/').all(|p| !p.is_empty() && !p.starts_with('.')));
                prop_assert_eq!(RepositoryName::of(name.org().as_str(), name.project().as_str(), name.rest()).unwrap(), name);
            }
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,80}") {
            let _ = RepositoryName::parse(&text);
            let _ = Reference::parse(&text);
            let _ = parse_image(&text);
        }
    }
}
