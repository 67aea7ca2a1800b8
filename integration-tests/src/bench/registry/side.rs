//! One of the two registries as a client meets it: pushes and pulls as docker does them, and what they cost the server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::wire::{Answer, Door, Line};
use crate::bench::usage::cpu_of;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub struct Side {
    pub door: Door,
    pub pid: u32,
    /// Repository → the header line that signs in; none: nobody asks.
    tokens: HashMap<String, String>,
}

/// A small image: one layer of its own, one config of its own.
pub struct Small {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number that no other call gives, in this run and others on the same data.
pub fn unique() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed) | u64::from(std::process::id()) << 32
}

pub fn digest(pieces: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|p| hash.update(p));
    hash.finalize().iter().fold("sha256:".to_owned(), |text, b| format!("{text}{b:02x}"))
}

impl Small {
    /// `layer_bytes`: of noise that no other image has.
    pub fn new(layer_bytes: usize) -> Self {
        let mut state = unique();
        let layer: Vec<u8> = (0..layer_bytes.div_ceil(8))
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_le_bytes()
            })
            .collect();
        let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Labels": { "unique": unique() } },
            "rootfs": { "type": "layers", "diff_ids": [digest(&[&layer])] } });
        Self::of(layer, config.to_string().into_bytes())
    }

    fn of(layer: Vec<u8>, config: Vec<u8>) -> Self {
        Self { layer: layer.clone(), ..Self::of_layer(&digest(&[&layer]), layer.len(), config) }
    }

    /// With a layer that the registry has already.
    pub fn of_layer(layer: &str, size: usize, config: Vec<u8>) -> Self {
        let layers = json!([{ "mediaType": LAYER, "digest": layer, "size": size }]);
        let config_part = json!({ "mediaType": CONFIG, "digest": digest(&[&config]), "size": config.len() });
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config_part, "layers": layers });
        Self { manifest: manifest.to_string().into_bytes(), layer: Vec::new(), config }
    }
}

impl Side {
    pub fn new(door: Door, pid: u32) -> Self {
        Self { door, pid, tokens: HashMap::new() }
    }

    pub fn sign_in(&mut self, repository: &str, token: &str) {
        self.tokens.insert(repository.to_owned(), format!("authorization: Bearer {token}\r\n"));
    }

    pub fn connect(&self) -> Result<Line> {
        self.door.connect()
    }

    pub fn ask(&self, line: &mut Line, method: &str, repository: &str, rest: &str, more: &str, body: &[&[u8]]) -> Result<Answer> {
        let head = format!("{}{more}", self.tokens.get(repository).map_or("", String::as_str));
        line.ask(method, &format!("/v2/{repository}/{rest}"), &head, body)
    }

    fn at(&self, line: &mut Line, method: &str, repository: &str, path: &str, body: &[&[u8]]) -> Result<Answer> {
        let head = format!("{}content-type: application/octet-stream\r\n", self.tokens.get(repository).map_or("", String::as_str));
        line.ask(method, path, &head, body)
    }

    /// As docker does it: begin, send all, end with the digest.
    pub fn push_blob(&self, line: &mut Line, repository: &str, content: &[&[u8]], digest: &str) -> Result<()> {
        let begun = self.ask(line, "POST", repository, "blobs/uploads/", "", &[])?.expect(202)?;
        let place = begun.location.context("a location")?;
        let sent = self.at(line, "PATCH", repository, &place, content)?.expect(202)?;
        let place = sent.location.context("a location")?;
        self.at(line, "PUT", repository, &with_digest(&place, digest), &[])?.expect(201)?;
        Ok(())
    }

    /// In seven requests: is it there, begin and send with the digest, for layer and config; then the manifest.
    pub fn push_small(&self, line: &mut Line, repository: &str, tag: &str, image: &Small) -> Result<()> {
        for content in [&image.layer, &image.config] {
            let digest = digest(&[content]);
            self.ask(line, "HEAD", repository, &format!("blobs/{digest}"), "", &[])?.expect(404)?;
            let begun = self.ask(line, "POST", repository, "blobs/uploads/", "", &[])?.expect(202)?;
            let place = begun.location.context("a location")?;
            self.at(line, "PUT", repository, &with_digest(&place, &digest), &[content])?.expect(201)?;
        }
        self.push_manifest(line, repository, tag, &image.manifest)
    }

    pub fn push_manifest(&self, line: &mut Line, repository: &str, tag: &str, manifest: &[u8]) -> Result<()> {
        let kind = format!("content-type: {MANIFEST}\r\n");
        self.ask(line, "PUT", repository, &format!("manifests/{tag}"), &kind, &[manifest])?.expect(201)?;
        Ok(())
    }

    /// The manifest by its tag, the config and the layer.
    pub fn pull_small(&self, line: &mut Line, repository: &str, tag: &str, image: &Small) -> Result<()> {
        let got = self.manifest(line, repository, tag)?;
        anyhow::ensure!(got == image.manifest, "another manifest came back");
        for content in [&image.config, &image.layer] {
            let got = self.ask(line, "GET", repository, &format!("blobs/{}", digest(&[content])), "", &[])?.expect(200)?;
            anyhow::ensure!(got.body == **content, "other content came back");
        }
        Ok(())
    }

    pub fn manifest(&self, line: &mut Line, repository: &str, reference: &str) -> Result<Vec<u8>> {
        let kind = format!("accept: {MANIFEST}\r\n");
        Ok(self.ask(line, "GET", repository, &format!("manifests/{reference}"), &kind, &[])?.expect(200)?.body)
    }
}

fn with_digest(place: &str, digest: &str) -> String {
    format!("{place}{}digest={digest}", if place.contains('?') { '&' } else { '?' })
}

/// What a piece of work took: time, and processor time of the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub seconds: f64,
    pub cpu: f64,
    /// The time that one of a hundred pieces exceeded, in milliseconds; where that was measured.
    pub p99_ms: f64,
}

pub fn took(side: &Side, work: impl FnOnce() -> Result<()>) -> Result<Took> {
    let (cpu, since) = (cpu_of(&[side.pid])?, Instant::now());
    work()?;
    Ok(Took { seconds: since.elapsed().as_secs_f64(), cpu: cpu_of(&[side.pid])? - cpu, p99_ms: 0.0 })
}

/// `work(client, line, turn)` again and again on `clients` connections, `each` times on every one.
pub fn together(side: &Side, clients: usize, each: usize, work: impl Fn(usize, &mut Line, usize) -> Result<()> + Sync) -> Result<Took> {
    let lines = (0..clients).map(|_| side.connect()).collect::<Result<Vec<_>>>()?;
    let work = &work;
    let mut times: Vec<Duration> = Vec::new();
    let mut done = took(side, || {
        std::thread::scope(|scope| {
            let running: Vec<_> = lines
                .into_iter()
                .enumerate()
                .map(|(client, mut line)| {
                    scope.spawn(move || -> Result<Vec<Duration>> {
                        let mut times = Vec::with_capacity(each);
                        for turn in 0..each {
                            let since = Instant::now();
                            work(client, &mut line, turn)?;
                            times.push(since.elapsed());
                        }
                        Ok(times)
                    })
                })
                .collect();
            for one in running {
                times.extend(one.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
            }
            Ok(())
        })
    })?;
    done.p99_ms = crate::bench::rounds::quantile_ms(times, 0.99);
    Ok(done)
}
