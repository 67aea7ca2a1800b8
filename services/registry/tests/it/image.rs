//! Small images made in the test: layers as tar, a config, a manifest; as JSON to push, or as an OCI layout for skopeo.

use std::io::Write;
use std::path::Path;

use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::stage::Stage;

pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub struct Image {
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
    pub manifest: Value,
}

/// A gzip-compressed layer.
pub fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(Algorithm::Sha256, bytes).as_str(), "size": bytes.len() })
}

impl Image {
    pub fn of(layers: Vec<Vec<u8>>, architecture: &str) -> Self {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|l| {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(l.as_slice()), &mut plain).unwrap();
                Digest::of(Algorithm::Sha256, &plain).to_string()
            })
            .collect();
        let config = json!({ "architecture": architecture, "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = config.to_string().into_bytes();
        let descriptors: Vec<Value> = layers.iter().map(|l| descriptor(LAYER, l)).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(CONFIG, &config), "layers": descriptors });
        Self { config, layers, manifest }
    }

    /// One that no other test has.
    pub fn simple(text: &str) -> Self {
        Self::of(vec![layer(&[("hello", text.as_bytes())])], "amd64")
    }

    pub fn digest(&self) -> String {
        Digest::of(Algorithm::Sha256, self.manifest.to_string().as_bytes()).to_string()
    }

    /// Uploads the content and then the manifest; the push must succeed.
    pub async fn push(&self, stage: &Stage, repository: &str, reference: &str, token: &str) -> String {
        self.upload(stage, repository, token).await;
        let response = stage.push(repository, reference, token, &self.manifest).await;
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        self.digest()
    }

    pub async fn upload(&self, stage: &Stage, repository: &str, token: &str) {
        for blob in self.layers.iter().chain([&self.config]) {
            stage.upload(repository, token, blob).await;
        }
    }

    /// Writes an OCI layout (image-spec, image-layout.md) with this image as `latest`.
    pub fn write_layout(&self, folder: &Path) {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let manifest = self.manifest.to_string().into_bytes();
        for bytes in self.layers.iter().chain([&self.config, &manifest]) {
            let mut file = std::fs::File::create(blobs.join(Digest::of(Algorithm::Sha256, bytes).hex())).unwrap();
            file.write_all(bytes).unwrap();
        }
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let mut entry = descriptor(OCI_MANIFEST, &manifest);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
        std::fs::write(folder.join("index.json"), json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] }).to_string()).unwrap();
    }
}

/// A list of images with the platforms it says they are for.
pub fn index(images: &[(&Image, &str, &str)]) -> Value {
    let entries: Vec<Value> = images
        .iter()
        .map(|(image, os, architecture)| {
            let mut entry = descriptor(OCI_MANIFEST, image.manifest.to_string().as_bytes());
            entry["platform"] = json!({ "os": os, "architecture": architecture });
            entry
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries })
}
