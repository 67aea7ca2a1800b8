//! Manifests: what a pushed document says, checked once. The bytes stay as they came; only facts are taken out.
//!
//! OCI image manifest and index (image-spec 1.1), Docker schema 2 manifest and list. Docker schema 1 is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use super::digest::Digest;
use super::keys::Others;

/// What the distribution-spec asks a registry to take at least ("Pushing Manifests").
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Descriptors in one manifest. Real images have at most a few hundred; an event must stay below a message's size.
const MAX_DESCRIPTORS: usize = 3_000;
/// Characters of a media type (RFC 6838 section 4.2: 127 on each side of the slash).
const MAX_MEDIA_TYPE: usize = 255;
/// Bytes of one piece of content: what a registry can be configured to take at most. Sums of such stay far below what a table counts to.
const MAX_CONTENT: u64 = 1 << 44;
/// Annotations up to this size travel in the event; larger ones are in the manifest's bytes only.
const MAX_EVENT_ANNOTATIONS: usize = 64 * 1024;
const MAX_PLATFORMS: usize = 200;
const MAX_PLATFORM: usize = 64;

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("a manifest has at most {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the manifest is not JSON of the right shape: {0}")]
    Json(#[from] serde_json::Error),
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    #[error("the manifest says it is `{inside}`, the request says `{outside}`")]
    MediaTypes { inside: String, outside: String },
    #[error("`{0}` is not a kind of manifest this registry keeps")]
    Unknown(String),
    #[error("a manifest refers to at most {MAX_DESCRIPTORS} pieces of content")]
    TooMany,
    #[error("artifactType has at most {MAX_MEDIA_TYPE} characters")]
    ArtifactType,
    #[error("a piece of content has at most {MAX_CONTENT} bytes")]
    ContentSize,
    #[error("annotations, types and platforms hold no zero bytes")]
    ZeroByte,
    #[error("an image manifest needs `config` and `layers` and has no `manifests`; an index has only `manifests`")]
    Shape,
}

/// A pointer to content (image-spec, descriptor.md). Fields this program does not use are kept in the bytes only.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub others: Others,
}

impl Descriptor {
    /// Layers that may be fetched from elsewhere only; a registry need not have them.
    pub fn is_foreign(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// Layers that are unpacked where an image runs; others are passed over there.
    pub fn is_image_layer(&self) -> bool {
        self.media_type.starts_with("application/vnd.oci.image.layer.") || self.media_type.starts_with("application/vnd.docker.image.rootfs.")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub variant: Option<String>,
}

impl Platform {
    /// `linux/arm64/v8`; none where the image does not say.
    pub fn text(&self) -> Option<String> {
        let unknown = |t: &str| t.is_empty() || t == "unknown";
        if unknown(&self.os) || unknown(&self.architecture) {
            return None;
        }
        let base = format!("{}/{}", self.os, self.architecture);
        let text = match self.variant.as_deref().filter(|v| !v.is_empty()) {
            Some(variant) => format!("{base}/{variant}"),
            None => base,
        };
        (text.len() <= MAX_PLATFORM).then_some(text)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    _others: Others,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub media_type: String,
    /// As the referrers API wants it: `artifactType`, else the config's media type (image manifests).
    pub artifact_type: Option<String>,
    pub subject: Option<Descriptor>,
    pub annotations: BTreeMap<String, String>,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Image { config: Descriptor, layers: Vec<Descriptor> },
    Index { manifests: Vec<Descriptor> },
}

impl Manifest {
    /// `outside` is the request's `Content-Type`.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(outside: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let raw: Raw = serde_json::from_slice(bytes)?;
        if raw.schema_version != 2 {
            return Err(ManifestError::SchemaVersion);
        }
        let outside = outside.map(|t| t.split(';').next().unwrap_or(t).trim().to_owned()).filter(|t| !t.is_empty());
        let media_type = match (raw.media_type, outside) {
            (Some(inside), Some(outside)) if inside != outside => return Err(ManifestError::MediaTypes { inside, outside }),
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => {
                if raw.manifests.is_some() {
                    OCI_INDEX.to_owned()
                } else {
                    OCI_MANIFEST.to_owned()
                }
            }
        };
        let annotations = raw.annotations.unwrap_or_default();
        // One document must not be readable as both kinds: a client could be shown another image than was scanned (CVE-2021-41190).
        let content = match (media_type.as_str(), raw.config, raw.layers, raw.manifests) {
            (OCI_MANIFEST | DOCKER_MANIFEST, Some(config), Some(layers), None) => Content::Image { config, layers },
            (OCI_INDEX | DOCKER_LIST, None, None, Some(manifests)) => Content::Index { manifests },
            (OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_LIST, ..) => return Err(ManifestError::Shape),
            (other, ..) => return Err(ManifestError::Unknown(other.to_owned())),
        };
        let declared = raw.artifact_type.filter(|t| !t.is_empty());
        let artifact_type = match &content {
            Content::Image { config, .. } => declared.or_else(|| Some(config.media_type.clone())),
            Content::Index { .. } => declared,
        };
        if artifact_type.as_ref().is_some_and(|t| t.len() > MAX_MEDIA_TYPE) {
            return Err(ManifestError::ArtifactType);
        }
        let manifest = Self { media_type, artifact_type, subject: raw.subject, annotations, content };
        if manifest.layers().len() + manifest.children().len() > MAX_DESCRIPTORS {
            return Err(ManifestError::TooMany);
        }
        if manifest.blobs().iter().any(|d| d.size > MAX_CONTENT) {
            return Err(ManifestError::ContentSize);
        }
        if manifest.has_zero_byte() {
            return Err(ManifestError::ZeroByte);
        }
        Ok(manifest)
    }

    /// In what goes into events and tables, which cannot hold any.
    fn has_zero_byte(&self) -> bool {
        let zero = |text: &str| text.contains('\0');
        let descriptors = self.layers().iter().chain(self.children()).chain(&self.subject);
        self.annotations.iter().any(|(k, v)| zero(k) || zero(v))
            || self.artifact_type.as_deref().is_some_and(zero)
            || descriptors.into_iter().any(|d| zero(&d.media_type) || d.platform.as_ref().and_then(Platform::text).is_some_and(|p| zero(&p)))
    }

    /// The annotations as they travel in the event: all, or none if they are larger than any list should show.
    pub fn event_annotations(&self) -> BTreeMap<String, String> {
        let size: usize = self.annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
        if size <= MAX_EVENT_ANNOTATIONS { self.annotations.clone() } else { BTreeMap::new() }
    }

    /// Whether a manifest whose event has no annotations may have some all the same.
    pub fn may_hide_annotations(size_bytes: u64) -> bool {
        size_bytes > MAX_EVENT_ANNOTATIONS as u64
    }

    /// The blobs that must be in the repository: config and layers, foreign layers apart, each once.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let Content::Image { config, layers } = &self.content else { return Vec::new() };
        let mut seen = std::collections::BTreeSet::new();
        std::iter::once(config).chain(layers.iter().filter(|l| !l.is_foreign())).filter(|d| seen.insert(&d.digest)).collect()
    }

    /// Whether an image may be kept although the blobs `missing` are not here ("sparse"): its config and one layer at least
    /// must be. One of which nothing is here is a mistake, not a choice.
    pub fn may_lack(&self, missing: &[String]) -> bool {
        let Content::Image { config, layers } = &self.content else { return true };
        let here = |d: &Descriptor| !missing.iter().any(|m| m == d.digest.as_str());
        here(config) && layers.iter().any(|l| !l.is_foreign() && here(l))
    }

    pub fn layers(&self) -> &[Descriptor] {
        match &self.content {
            Content::Image { layers, .. } => layers,
            Content::Index { .. } => &[],
        }
    }

    pub fn children(&self) -> &[Descriptor] {
        match &self.content {
            Content::Image { .. } => &[],
            Content::Index { manifests } => manifests,
        }
    }

    /// The config, when it is one that names a platform.
    pub fn image_config(&self) -> Option<&Descriptor> {
        match &self.content {
            Content::Image { config, layers }
                if is_image_config(&config.media_type) || is_vague(&config.media_type) && layers.iter().any(Descriptor::is_image_layer) =>
            {
                Some(config)
            }
            _ => None,
        }
    }

    /// Whether a container can be started of it, whatever else it says that it is: a `subject`, an artifact's type, layers of other kinds beside
    /// those of an image do not keep a runtime from it.
    pub fn may_run(&self) -> bool {
        self.image_config().is_some() && (self.layers().is_empty() || self.layers().iter().any(Descriptor::is_image_layer))
    }

    /// Platforms an index names, in its order, each once.
    pub fn index_platforms(&self) -> Vec<String> {
        let mut platforms = Vec::new();
        for text in self.children().iter().filter_map(|m| m.platform.as_ref()?.text()) {
            if !platforms.contains(&text) && platforms.len() < MAX_PLATFORMS {
                platforms.push(text);
            }
        }
        platforms
    }
}

/// Whether this media type is one of a config that names a platform.
pub fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// What old registries made of a config's media type; Docker takes an image by it all the same.
fn is_vague(media_type: &str) -> bool {
    matches!(media_type, "application/octet-stream" | "application/json" | "text/html" | "text/plain; charset=utf-8" | "")
}

/// Whether this media type is one of a list of images.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// The platform in an image config (image-spec, config.md).
pub fn config_platform(bytes: &[u8]) -> Option<String> {
    serde_json::from_slice::<Platform>(bytes).ok()?.text().filter(|p| !p.contains('\0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(media_type: &str, fill: char) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", fill.to_string().repeat(64)), "size": 7})
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, 'a'),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 'b'), descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 'b')],
        })
    }

    fn parse(outside: Option<&str>, value: &Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(outside, value.to_string().as_bytes())
    }

    #[test]
    fn what_a_runtime_would_start_is_an_image_whatever_it_calls_itself() {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 'b');
        let other = descriptor("application/vnd.acme.note", 'c');
        let made = |config: &str, layers: Vec<&Value>| json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(config, 'a'), "layers": layers, "subject": descriptor(OCI_MANIFEST, 'd'), "artifactType": "x/y" });
        let runs = |config: &str, layers: Vec<&Value>| parse(Some(OCI_MANIFEST), &made(config, layers)).unwrap().may_run();
        assert!(runs(OCI_CONFIG, vec![&layer]) && runs(DOCKER_CONFIG, vec![&layer, &other]) && runs(OCI_CONFIG, vec![]));
        assert!(runs("application/octet-stream", vec![&layer]), "as Docker takes it");
        assert!(!runs(OCI_CONFIG, vec![&other]), "a signature as cosign makes it");
        assert!(!runs("application/octet-stream", vec![&other]) && !runs("application/vnd.cncf.helm.config.v1+json", vec![&layer]));
    }

    #[test]
    fn an_image_names_its_config_and_each_layer_once() {
        let manifest = parse(Some(OCI_MANIFEST), &image()).unwrap();
        assert_eq!(manifest.blobs().len(), 2);
        assert_eq!(manifest.layers().len(), 2);
        assert_eq!(manifest.artifact_type.as_deref(), Some(OCI_CONFIG));
        assert!(manifest.image_config().is_some());
    }

    #[test]
    fn foreign_layers_need_not_be_here() {
        let mut value = image();
        value["layers"] = json!([descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", 'c')]);
        assert_eq!(parse(None, &value).unwrap().blobs().len(), 1);
    }

    #[test]
    fn an_index_lists_platforms_once_and_leaves_out_unknown_ones() {
        let platform = |os: &str, architecture: &str| {
            let mut d = descriptor(OCI_MANIFEST, 'd');
            d["platform"] = json!({"os": os, "architecture": architecture});
            d
        };
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "artifactType": "x/y", "manifests":
            [platform("linux", "amd64"), platform("linux", "amd64"), platform("unknown", "unknown"), platform("linux", "arm64")]});
        let manifest = parse(Some(OCI_INDEX), &index).unwrap();
        assert_eq!(manifest.index_platforms(), ["linux/amd64", "linux/arm64"]);
        assert_eq!(manifest.artifact_type.as_deref(), Some("x/y"));
    }

    #[test]
    fn a_document_that_is_two_things_at_once_is_refused() {
        let mut both = image();
        both["manifests"] = json!([]);
        assert!(matches!(parse(Some(OCI_MANIFEST), &both), Err(ManifestError::Shape)));
        assert!(matches!(parse(Some(OCI_INDEX), &image()), Err(ManifestError::MediaTypes { .. })));
        let mut untyped = image();
        untyped.as_object_mut().unwrap().remove("mediaType");
        assert!(matches!(parse(Some(OCI_INDEX), &untyped), Err(ManifestError::Shape)));
    }

    #[test]
    fn a_document_that_other_programs_read_in_another_way_is_refused() {
        let text = image().to_string();
        let odd = |name: &str, of: &str| {
            let value = serde_json::to_string(&image()[of]).unwrap();
            Manifest::parse(None, format!("{},\"{name}\":{value}}}", text.strip_suffix('}').unwrap()).as_bytes())
        };
        for (name, of) in [("Layers", "layers"), ("CONFIG", "config"), ("layer\u{17f}", "layers")] {
            let refused = odd(name, of).unwrap_err();
            assert!(refused.to_string().contains("would be taken for"), "{name}: {refused}");
        }
        assert!(matches!(odd("layers", "layers"), Err(ManifestError::Json(_))), "twice");
        assert_eq!(odd("x-layers", "layers").unwrap().layers().len(), 2);
        let mut twisted = image();
        twisted["layers"][0]["Digest"] = image()["config"]["digest"].clone();
        assert!(parse(None, &twisted).unwrap_err().to_string().contains("`Digest` would be taken for `digest`"));
        let mut fine = image();
        fine["layers"][0]["data"] = "aGVsbG8=".into();
        fine["layers"][0]["annotations"] = json!({ "Size": "7" });
        assert_eq!(parse(None, &fine).unwrap().layers()[0].annotations["Size"], "7");
    }

    #[test]
    fn other_schemas_and_kinds_are_refused_with_their_name() {
        let mut old = image();
        old["schemaVersion"] = json!(1);
        assert!(matches!(parse(None, &old), Err(ManifestError::SchemaVersion)));
        let mut other = image();
        other["mediaType"] = json!("application/x-other");
        assert!(parse(None, &other).unwrap_err().to_string().contains("application/x-other"));
        assert!(matches!(Manifest::parse(None, &vec![b' '; MAX_BYTES + 1]), Err(ManifestError::TooLarge)));
    }

    #[test]
    fn what_would_not_fit_into_an_event_is_refused_or_left_out() {
        let mut value = image();
        value["layers"] = (0..=MAX_DESCRIPTORS).map(|_| descriptor("x/y", 'b')).collect();
        assert!(matches!(parse(None, &value), Err(ManifestError::TooMany)));
        let mut value = image();
        value["artifactType"] = "x".repeat(300).into();
        assert!(matches!(parse(None, &value), Err(ManifestError::ArtifactType)));
        let mut value = image();
        value["annotations"] = json!({ "fill": "x".repeat(MAX_EVENT_ANNOTATIONS) });
        let manifest = parse(None, &value).unwrap();
        assert!(manifest.event_annotations().is_empty());
        assert!(Manifest::may_hide_annotations(value.to_string().len() as u64));
        assert_eq!(config_platform(json!({"os": "x".repeat(100), "architecture": "y"}).to_string().as_bytes()), None);
    }

    #[test]
    fn what_no_table_can_hold_is_refused() {
        for (key, value) in [("annotations", json!({ "a": "\0" })), ("annotations", json!({ "\0": "a" })), ("artifactType", json!("x\0y"))] {
            let mut manifest = image();
            manifest[key] = value;
            assert!(matches!(parse(None, &manifest), Err(ManifestError::ZeroByte)), "{key}");
        }
        let mut manifest = image();
        manifest["layers"][0]["size"] = json!(u64::MAX);
        assert!(matches!(parse(None, &manifest), Err(ManifestError::ContentSize)));
        assert_eq!(config_platform(br#"{"os":"li\u0000nux","architecture":"amd64"}"#), None);
    }

    #[test]
    fn a_json_bomb_is_refused() {
        let deep = "[".repeat(200_000);
        assert!(matches!(Manifest::parse(None, deep.as_bytes()), Err(ManifestError::Json(_))));
        let nested = format!("{{\"schemaVersion\":2,\"x\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(Manifest::parse(None, nested.as_bytes()).is_err());
    }

    #[test]
    fn a_config_tells_its_platform() {
        assert_eq!(config_platform(br#"{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{}}"#).as_deref(), Some("linux/arm64/v8"));
        assert_eq!(config_platform(b"{}"), None);
        assert_eq!(config_platform(b"nonsense"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Manifest::parse(None, &bytes);
            let _ = config_platform(&bytes);
        }
    }
}
