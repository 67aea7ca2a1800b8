//! An image of one platform as one archive: an OCI layout (image-spec, image-layout.md), for docker with the file that
//! `docker load` reads. It is sent while it is read; every block is checked first.

use std::io;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use gantry_contract::registry::settings::Moment;
use gantry_kernel::Problem;
use serde_json::json;

use super::App;
use super::manifests::Found;
use crate::domain::digest::Digest;
use crate::domain::manifest::{Manifest, OCI_INDEX};
use crate::domain::name::{Reference, RepositoryName};
use crate::domain::platform::Platform;
use crate::error::{Error, Result};

/// Entries of a tar archive are padded to this.
const BLOCK: u64 = 512;
/// A longer name has an entry of its own, before that of its file.
const LONGEST_NAME: usize = 100;

/// In which form an image is taken along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `oci-archive`.
    Oci,
    /// `docker-archive`: what `docker load` and `podman load` take; an OCI layout, too.
    Docker,
}

impl Form {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "oci" => Some(Self::Oci),
            "docker" => Some(Self::Docker),
            _ => None,
        }
    }
}

/// An archive on its way.
pub struct Archive {
    pub bytes: u64,
    pub digest: Digest,
    pub stream: BoxStream<'static, io::Result<Bytes>>,
}

impl App {
    /// The image of `platform`; without one the only image there is.
    ///
    /// # Errors
    /// No such image, none or several for the platform, a policy that refuses it, content that is not here.
    pub async fn export(&self, name: &RepositoryName, reference: &Reference, platform: Option<&Platform>, form: Form) -> Result<Archive> {
        let (digest, found) = self.one_image(name, reference, platform).await?;
        self.may_hand_out(name, &found.row, Moment::Pull).await?;
        self.pulls.note(name.as_str(), &found.row.digest, self.host.env.now());
        let manifest = Manifest::parse(Some(&found.row.media_type), &found.bytes)?;
        let mut files: Vec<(String, u64, BoxStream<'static, io::Result<Bytes>>)> = Vec::new();
        let mut descriptor = json!({ "mediaType": found.row.media_type, "digest": digest.as_str(), "size": found.bytes.len() });
        if let Some(platform) = platform {
            descriptor["platform"] = json!({ "os": platform.os, "architecture": platform.architecture });
            if !platform.variant.is_empty() {
                descriptor["platform"]["variant"] = platform.variant.clone().into();
            }
        }
        let tag = match reference {
            Reference::Tag(tag) => Some(tag.to_string()),
            Reference::Digest(_) => None,
        };
        let full = tag.as_ref().map(|tag| format!("{}/{name}:{tag}", self.host.platform.public_host()));
        if let (Some(tag), Some(full)) = (&tag, &full) {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag, "io.containerd.image.name": full });
        }
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] });
        files.push(small("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string()));
        files.push(small("index.json", index.to_string()));
        if form == Form::Docker {
            let config = manifest.image_config().ok_or_else(|| not_for_docker("it is no container image"))?;
            let layers: Vec<String> = manifest.layers().iter().map(|l| path_of(&l.digest)).collect();
            let entry = json!([{ "Config": path_of(&config.digest), "RepoTags": full.into_iter().collect::<Vec<_>>(), "Layers": layers }]);
            files.push(small("manifest.json", entry.to_string()));
        }
        files.push(whole(&path_of(&digest), found.bytes.clone()));
        for part in manifest.blobs() {
            let kept = self.blob(name, &part.digest, true).await?;
            let (size, app, at) = (kept.size, self.clone(), part.digest.clone());
            // Opened when its turn comes: an image may have more layers than files may be open.
            let content = stream::once(async move { app.content(&at, kept, (0, size)).await.map_err(io::Error::other) });
            let content = content.flat_map(|opened| match opened {
                Ok(stream) => stream.boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            });
            files.push((path_of(&part.digest), size, content.boxed()));
        }
        let bytes = files.iter().map(length).sum::<u64>() + 2 * BLOCK;
        Ok(Archive { bytes, digest, stream: tar(files).boxed() })
    }

    /// What is exported: the image itself, or the one of an index that is for the platform.
    async fn one_image(&self, name: &RepositoryName, reference: &Reference, platform: Option<&Platform>) -> Result<(Digest, Found)> {
        let listed = self.platforms_of(name, reference, Some(Vec::new())).await?;
        let fits = |text: Option<&str>| match (platform, text.and_then(Platform::parse)) {
            (None, _) => true,
            (Some(wanted), Some(offered)) => wanted.takes(&offered),
            (Some(_), None) => false,
        };
        let mut fitting: Vec<_> = listed.images.iter().filter(|i| fits(i.platform.as_deref())).collect();
        // `linux/arm64` means that one, where `linux/arm64/v9` is there beside it.
        if fitting.len() > 1 && platform.is_some() {
            let exact: Vec<_> = fitting.iter().copied().filter(|i| i.platform.as_deref().and_then(Platform::parse).as_ref() == platform).collect();
            fitting = if exact.is_empty() { fitting } else { exact };
        }
        let there = || listed.images.iter().filter_map(|i| i.platform.clone()).collect::<Vec<_>>().join(", ");
        let one = match fitting.as_slice() {
            [one] => one,
            [] => return Err(Problem::invalid("platform", format!("there is no image for it; there are {}", there())).into()),
            _ => return Err(Problem::invalid("platform", format!("there are several images: say which ({})", there())).into()),
        };
        let digest = Digest::parse(&one.digest).map_err(|e| Error::Internal(e.into()))?;
        let found = self.manifest(name, &Reference::Digest(digest.clone())).await?;
        Ok((digest, found))
    }
}

fn not_for_docker(why: &str) -> Error {
    Problem::invalid("format", format!("{why}: only format=oci can hold it")).into()
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

type Entry = (String, u64, BoxStream<'static, io::Result<Bytes>>);

fn small(path: &str, text: String) -> Entry {
    whole(path, Bytes::from(text))
}

fn whole(path: &str, bytes: Bytes) -> Entry {
    (path.to_owned(), bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())
}

/// What a file takes in the archive.
fn length((path, size, _): &Entry) -> u64 {
    let name = if path.len() > LONGEST_NAME { BLOCK + (path.len() as u64 + 1).div_ceil(BLOCK) * BLOCK } else { 0 };
    name + BLOCK + size.div_ceil(BLOCK) * BLOCK
}

/// The files one after another, each with its header and padding, and the end of the archive.
fn tar(files: Vec<Entry>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let entries = stream::iter(files).flat_map(|(path, size, content)| {
        let padding = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or(0);
        let start = stream::iter([header(&path, size)]);
        let end = stream::iter((padding > 0).then(|| Ok(Bytes::from(vec![0; padding]))));
        start.chain(content).chain(end)
    });
    entries.chain(stream::iter([Ok(Bytes::from_static(&[0; 2 * BLOCK as usize]))]))
}

fn header(path: &str, size: u64) -> io::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    // The same image is the same archive.
    header.set_mtime(0);
    // The content follows elsewhere.
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, path, io::empty())?;
    Ok(Bytes::copy_from_slice(archive.get_ref()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn an_archive_is_read_by_others() {
        let content: Vec<u8> = (0..1300u32).map(|n| n as u8).collect();
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        let files = vec![
            small("a", "hello".into()),
            whole("empty", Bytes::new()),
            whole(&long, content.clone().into()),
            whole("blobs/sha256/x", content.clone().into()),
        ];
        let bytes: u64 = files.iter().map(length).sum::<u64>() + 2 * BLOCK;
        let pieces: Vec<Bytes> = tar(files).map(Result::unwrap).collect().await;
        let archive = pieces.concat();
        assert_eq!(archive.len() as u64, bytes);
        let mut read = tar::Archive::new(archive.as_slice());
        let entries: Vec<(String, Vec<u8>)> = read
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect();
        assert_eq!(entries, [("a".into(), b"hello".to_vec()), ("empty".into(), vec![]), (long, content.clone()), ("blobs/sha256/x".into(), content)]);
    }
}
