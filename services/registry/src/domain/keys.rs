//! Names in JSON that other programs read as other names. Those written in Go, which is every runtime, take `Layers` for `layers`, and of several the
//! last: a document that has both is one image for who checks it and another one for who runs it (compare CVE-2021-41190).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// What manifests and descriptors are read by.
const NAMES: [&str; 12] =
    ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations", "digest", "size", "platform", "urls"];

/// The names of an object that nobody here reads, to be taken in by `#[serde(flatten)]`: none of them may pass for one that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others;

impl<'de> Deserialize<'de> for Others {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Others;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Others, A::Error> {
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if let Some(read) = passes_for(&name) {
                return Err(A::Error::custom(format_args!("`{name:.50}` would be taken for `{read}` by some programs")));
            }
        }
        Ok(Others)
    }
}

/// The name that Go's encoding/json takes it for, if that is another one: it folds as Unicode does, where two letters are no ASCII.
fn passes_for(name: &str) -> Option<&'static str> {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    NAMES.into_iter().find(|read| *read != name && read.chars().map(fold).eq(name.chars().map(fold)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_as_other_programs_do() {
        for (name, read) in [("Layers", "layers"), ("LAYERS", "layers"), ("layer\u{17f}", "layers"), ("mediatype", "mediaType"), ("Size", "size")] {
            assert_eq!(passes_for(name), Some(read));
        }
        for fine in ["layers", "mediaType", "layer", "layers ", "data", "org.acme.Layers", ""] {
            assert_eq!(passes_for(fine), None, "{fine}");
        }
    }
}
