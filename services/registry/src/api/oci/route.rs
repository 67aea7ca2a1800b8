//! Takes `/v2/<name>/<what>/<which>` apart from the right: a name may itself hold `blobs` or `manifests`.

/// What a path is about, still unparsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Blob(String),
    Uploads,
    Upload(String),
    Manifest(String),
    Tags,
    Referrers(String),
}

/// Repository name and target; none for a path of no known form.
pub fn parse(path: &str) -> Option<(String, Target)> {
    let rest = path.strip_prefix("/v2/")?;
    let parts: Vec<&str> = rest.split('/').collect();
    let (name, target) = match parts.as_slice() {
        [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] => (name, Target::Uploads),
        [name @ .., "blobs", "uploads", id] => (name, Target::Upload((*id).to_owned())),
        [name @ .., "blobs", digest] => (name, Target::Blob(colon(digest))),
        [name @ .., "manifests", reference] => (name, Target::Manifest(colon(reference))),
        [name @ .., "tags", "list"] => (name, Target::Tags),
        [name @ .., "referrers", digest] => (name, Target::Referrers(colon(digest))),
        _ => return None,
    };
    Some((name.join("/"), target))
}

/// Some clients encode the colon of a digest; nothing else in a valid path needs encoding.
fn colon(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_from_the_right() {
        for (path, name, target) in [
            ("/v2/a/b/c/blobs/sha256%3Aaa", "a/b/c", Target::Blob("sha256:aa".into())),
            ("/v2/a/b/c/blobs/uploads/", "a/b/c", Target::Uploads),
            ("/v2/a/b/c/blobs/uploads", "a/b/c", Target::Uploads),
            ("/v2/a/b/c/blobs/uploads/1-2", "a/b/c", Target::Upload("1-2".into())),
            ("/v2/a/b/blobs/manifests/v1", "a/b/blobs", Target::Manifest("v1".into())),
            ("/v2/a/tags/list/tags/list", "a/tags/list", Target::Tags),
            ("/v2/a/b/c/referrers/sha256:aa", "a/b/c", Target::Referrers("sha256:aa".into())),
            ("/v2/../../x/manifests/v1", "../../x", Target::Manifest("v1".into())),
        ] {
            assert_eq!(parse(path), Some((name.to_owned(), target)), "{path}");
        }
        for none in ["/v2/", "/v2/a/b/c", "/v1/a/b/c/tags/list", "/v2/a/b/c/tags/lists", ""] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic(path in "(/v2)?(/(blobs|uploads|manifests|tags|list|referrers|[a-z.%:]{0,6})){0,8}") {
            let _ = parse(&path);
        }
    }
}
