//! Where an image comes from: the chain of its layers, by which another image is known as the one it was built on, and what
//! its annotations say about that.

use std::collections::{BTreeMap, HashMap};

use super::config::Config;
use super::digest::{Algorithm, Digest};
use super::manifest::Manifest;

const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// Layers that are looked at; more than any image may have.
const MOST_LAYERS: usize = 3_000;

/// The base as the image itself says (image-spec, annotations.md).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = BaseClaim)]
pub struct Claim {
    /// `docker.io/library/debian:12`.
    pub name: Option<String>,
    pub digest: Option<String>,
}

/// By the annotations of the image, else of the index that lists it, else by the labels of its config.
pub fn claim<'a>(says: impl IntoIterator<Item = &'a BTreeMap<String, String>>) -> Option<Claim> {
    let text = |map: &BTreeMap<String, String>, key: &str, most: usize| map.get(key).filter(|t| !t.is_empty() && t.len() <= most).cloned();
    says.into_iter().find_map(|map| {
        let claim = Claim { name: text(map, BASE_NAME, 500), digest: text(map, BASE_DIGEST, 200).filter(|d| Digest::parse(d).is_ok()) };
        (claim != Claim::default()).then_some(claim)
    })
}

/// What is known here of a layer's content, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its digest, as the layer was read.
    Is(String),
    /// It was read, but not to its end: no archive, damaged, or too large.
    Unreadable,
    /// An older program read it and did not measure it.
    NotMeasured,
}

/// The identity of each stack of layers from the lowest up (image-spec, config.md, "Layer ChainID"): by the layers' content, so that
/// the same layer compressed in another way is the same. What the config says about the content is only believed of layers that were read
/// before it was measured: whoever pushes an image could name any base there. A layer nobody has read is known by its digest.
pub fn chains(manifest: &Manifest, config: &Config, contents: &HashMap<String, Content>) -> Vec<String> {
    let layers = manifest.layers();
    let says = |n: usize| config.diff_ids.get(n).filter(|_| config.diff_ids.len() == layers.len()).map(ToString::to_string);
    let ids = layers.iter().enumerate().map(|(n, layer)| {
        let known = match contents.get(layer.digest.as_str()) {
            Some(Content::Is(digest)) => Some(digest.clone()),
            Some(Content::NotMeasured) => says(n),
            Some(Content::Unreadable) | None => None,
        };
        known.unwrap_or_else(|| format!("packed:{}", layer.digest))
    });
    let mut chains: Vec<String> = Vec::new();
    for id in ids.take(MOST_LAYERS) {
        let next = match chains.last() {
            None => id,
            Some(before) => Digest::of(Algorithm::Sha256, format!("{before} {id}").as_bytes()).to_string(),
        };
        chains.push(next);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(layers: usize) -> Manifest {
        let descriptor =
            |n: usize| serde_json::json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{n:064x}"), "size": 1 });
        let config = serde_json::json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{}", "a".repeat(64)), "size": 2 });
        let all = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": (0..layers).map(descriptor).collect::<Vec<_>>() });
        Manifest::parse(None, all.to_string().as_bytes()).unwrap()
    }

    fn config(contents: &[&str]) -> Config {
        Config { diff_ids: contents.iter().map(|c| Digest::of(Algorithm::Sha256, c.as_bytes())).collect(), ..Config::default() }
    }

    /// What is known of the first layers.
    fn known(contents: &[Content]) -> HashMap<String, Content> {
        contents.iter().enumerate().map(|(n, content)| (format!("sha256:{n:064x}"), content.clone())).collect()
    }

    fn measured(contents: &[&str]) -> HashMap<String, Content> {
        known(&contents.iter().map(|c| Content::Is(Digest::of(Algorithm::Sha256, c.as_bytes()).to_string())).collect::<Vec<_>>())
    }

    #[test]
    fn a_stack_on_another_begins_with_its_chain() {
        let says = Config::default();
        let (base, upper) = (chains(&manifest(2), &says, &measured(&["a", "b"])), chains(&manifest(3), &says, &measured(&["a", "b", "c"])));
        assert_eq!(base[..], upper[..2]);
        assert_ne!(chains(&manifest(2), &says, &measured(&["b", "a"]))[1], base[1], "the order counts");
        assert_eq!(base[0], Digest::of(Algorithm::Sha256, b"a").to_string(), "as the image-spec has it");
        assert!(chains(&manifest(0), &says, &HashMap::new()).is_empty());
    }

    #[test]
    fn what_a_config_says_of_layers_counts_only_where_they_were_read_before_they_were_measured() {
        let base = chains(&manifest(2), &Config::default(), &measured(&["a", "b"]));
        let lie = config(&["a", "b"]);
        let packed = chains(&manifest(2), &lie, &HashMap::new());
        assert!(packed[0].starts_with("packed:") && packed.len() == 2, "nobody has read them");
        assert_eq!(chains(&manifest(2), &lie, &known(&[Content::Unreadable, Content::Unreadable])), packed);
        assert_ne!(chains(&manifest(2), &lie, &measured(&["x", "y"]))[0], base[0], "they hold something else");
        let old = known(&[Content::NotMeasured, Content::NotMeasured]);
        assert_eq!(chains(&manifest(2), &lie, &old), base);
        assert_eq!(chains(&manifest(2), &config(&["only one"]), &old), packed, "a config that tells of other layers tells nothing");
    }

    #[test]
    fn the_first_that_says_something_counts() {
        let says = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
        let (image, index) = (says(&[("other", "x")]), says(&[(BASE_NAME, "docker.io/library/debian:12"), (BASE_DIGEST, "no digest")]));
        let found = claim([&image, &index]).unwrap();
        assert_eq!((found.name.as_deref(), found.digest), (Some("docker.io/library/debian:12"), None));
        assert_eq!(claim([&image]), None);
    }
}
