//! Content by digest in a bucket of an S3-compatible store: `<prefix>/blobs/<algorithm>/<first two hex>/<hex>`. Uploads are at
//! `<prefix>/uploads/<id>/` until their digest is known (`blob_s3/upload.rs`); how far they are is in the database, so that any
//! replica, and the next process, goes on with them.
//!
//! A key of a blob appears whole or not at all: S3 shows an object only when its last part is in.

mod fault;
mod transfer;
mod upload;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path as Folder, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use gantry_host::Host;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, Certificate, ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use url::Url;
use uuid::Uuid;

use self::fault::io as fault;
use self::upload::Sessions;
use super::blob_store::{Blob, BlobStore, Body, Chunk, Opened, Place, Staged, UploadError};
use crate::config::S3;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::littering::Open;
use crate::domain::name::RepositoryName;
use crate::domain::sums::{BLOCK, Sums};

/// Objects published, or looked for, at the same time.
const AT_ONCE: usize = 16;
const MOST_RETRIES: usize = 8;
/// How long the store may say nothing: where it only looks or reads, and where it writes.
const SILENCE: Duration = Duration::from_secs(30);
const LONG_SILENCE: Duration = Duration::from_secs(600);

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct BlobS3 {
    s3: Arc<AmazonS3>,
    /// The same for what the store may think about for long before it says a word: copies, parts that it takes in, parts that it joins.
    patient: Arc<AmazonS3>,
    /// Signs addresses for clients; none: they get everything through the registry.
    signer: Option<Arc<AmazonS3>>,
    prefix: Path,
    config: Arc<S3>,
    spool: Arc<Folder>,
    host: Host,
    sessions: Arc<Sessions>,
}

impl BlobS3 {
    /// The bucket of `config`, which must be there; `folder` is for what is on its way. A store that is away for the moment is no fault.
    ///
    /// # Errors
    /// A bucket that is not there or may not be used, a folder that cannot be written.
    pub async fn open(config: &S3, folder: &Folder, host: &Host) -> anyhow::Result<Self> {
        let s3 = connect(config, &config.endpoint, SILENCE)?;
        let signer = match (config.redirect, config.public_endpoint.as_str()) {
            (false, _) => None,
            (true, "") => Some(s3.clone()),
            (true, public) => Some(connect(config, public, SILENCE)?),
        };
        let spool: PathBuf = folder.join("spool");
        std::fs::create_dir_all(&spool).with_context(|| format!("cannot make {}", spool.display()))?;
        let store = Self {
            s3: Arc::new(s3),
            patient: Arc::new(connect(config, &config.endpoint, LONG_SILENCE)?),
            signer: signer.map(Arc::new),
            prefix: Path::parse(&config.prefix)?,
            config: Arc::new(config.clone()),
            spool: spool.into(),
            host: host.clone(),
            sessions: Arc::new(Mutex::new(HashMap::new())),
        };
        match store.s3.head(&store.prefix.clone().join("blobs").join("probe")).await.map_err(fault) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => {
                // Also what a missing bucket says.
                store.s3.list_with_delimiter(Some(&store.prefix.clone().join("probe"))).await.map_err(fault).map(|_| ()).or_else(away)?;
            }
            other => other.map(|_| ()).or_else(away)?,
        }
        Ok(store)
    }

    fn key(&self, digest: &Digest) -> Path {
        let hex = digest.hex();
        self.prefix.clone().join("blobs").join(digest.algorithm().as_str()).join(&hex[..2]).join(hex)
    }

    fn upload_prefix(&self, id: Uuid) -> Path {
        self.prefix.clone().join("uploads").join(id.to_string())
    }

    /// Whole content of a key, as it comes.
    async fn get(&self, key: &Path, part: Option<Range<u64>>) -> io::Result<Option<(u64, BoxStream<'static, io::Result<Bytes>>)>> {
        let options = GetOptions::new().with_range(part);
        match self.s3.get_opts(key, options).await.map_err(fault) {
            Ok(got) => Ok(Some((got.meta.size, got.into_stream().map_err(fault).boxed()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, keys: Vec<Path>) -> io::Result<()> {
        let mut done = self.s3.delete_stream(futures::stream::iter(keys.into_iter().map(Ok)).boxed());
        while let Some(one) = done.next().await {
            match one.map_err(fault) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn publish_one(&self, staged: &Staged) -> io::Result<()> {
        let there = self.s3.head(&self.key(&staged.digest)).await.map_err(fault);
        match there {
            Ok(meta) if meta.size == staged.size => {}
            // Collected between the two steps, under another row's lock: it is put there once more.
            Ok(_) => self.prepare(staged).await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.prepare(staged).await?,
            Err(error) => return Err(error),
        }
        if let Place::File(path) = &staged.place {
            let _ = tokio::fs::remove_file(path).await;
        }
        Ok(())
    }
}

/// A store that does not answer yet may do so later: the registry starts, and answers 503 until then.
fn away(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::ResourceBusy {
        tracing::warn!(error = %error, "the object store does not answer; the registry starts and tries again with each request");
        return Ok(());
    }
    Err(error)
}

/// `silence`: how long nothing may come from the store.
fn connect(config: &S3, endpoint: &str, silence: Duration) -> anyhow::Result<AmazonS3> {
    let mut client = ClientOptions::new().with_allow_http(config.allow_http).with_connect_timeout(Duration::from_secs(5)).with_timeout_disabled();
    client = client.with_read_timeout(silence);
    if !config.ca_file.as_os_str().is_empty() {
        let pem = std::fs::read(&config.ca_file).with_context(|| format!("s3.ca_file: cannot read {}", config.ca_file.display()))?;
        for certificate in Certificate::from_pem_bundle(&pem).context("s3.ca_file")? {
            client = client.with_root_certificate(certificate);
        }
    }
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 },
        max_retries: MOST_RETRIES,
        retry_timeout: config.patience(),
    };
    let keyed = !config.access_key_id.is_empty();
    let mut builder = if keyed { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
    builder = builder.with_bucket_name(&config.bucket).with_region(&config.region).with_client_options(client).with_retry(retry);
    builder = builder.with_allow_http(config.allow_http).with_virtual_hosted_style_request(config.virtual_hosts);
    if !endpoint.is_empty() {
        builder = builder.with_endpoint(endpoint);
    }
    if keyed {
        builder = builder.with_access_key_id(&config.access_key_id).with_secret_access_key(config.secret_access_key.expose());
    }
    Ok(builder.build()?)
}

/// Cuts what comes into blocks.
fn blocks(stream: BoxStream<'static, io::Result<Bytes>>) -> BoxStream<'static, io::Result<Bytes>> {
    futures::stream::unfold((stream, BytesMut::new(), false), |(mut stream, mut kept, mut over)| async move {
        while kept.len() < BLOCK && !over {
            match stream.next().await {
                Some(Ok(piece)) => kept.extend_from_slice(&piece),
                Some(Err(error)) => return Some((Err(error), (stream, BytesMut::new(), true))),
                None => over = true,
            }
        }
        let block = kept.split_to(kept.len().min(BLOCK)).freeze();
        (!block.is_empty()).then_some((Ok(block), (stream, kept, over)))
    })
    .boxed()
}

#[async_trait]
impl BlobStore for BlobS3 {
    async fn open(&self, digest: &Digest, part: Range<u64>) -> io::Result<Option<Opened>> {
        // There is no range of nothing.
        let part = (!part.is_empty()).then_some(part);
        Ok(self.get(&self.key(digest), part).await?.map(|(size, stream)| Opened { size, blocks: blocks(stream) }))
    }

    async fn local(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let Some((size, stream)) = self.get(&self.key(digest), None).await? else { return Ok(None) };
        Ok(Some(Blob { file: transfer::to_file(&self.spool, stream).await?, size }))
    }

    async fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        match self.s3.head(&self.key(digest)).await.map_err(fault) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_small(&self, digest: &Digest, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((size, mut stream)) = self.get(&self.key(digest), None).await? else { return Ok(None) };
        if size > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{size} bytes, at most {limit} are read here")));
        }
        let mut all = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(Some(all))
    }

    async fn stage(&self, _: Uuid, digest: Digest, bytes: Bytes) -> io::Result<Staged> {
        Ok(Staged::of(digest, bytes.len() as u64, Sums::of(&bytes), Place::Memory(bytes)))
    }

    async fn prepare(&self, staged: &Staged) -> io::Result<()> {
        let key = self.key(&staged.digest);
        match &staged.place {
            Place::Inline(bytes) | Place::Memory(bytes) => self.patient.put(&key, bytes.clone().into()).await.map(|_| ()).map_err(fault),
            Place::File(path) => transfer::from_file(self, path, staged.size, &key).await,
            Place::Object(from) => transfer::copy(self, from, staged.size, &key).await,
        }
    }

    async fn publish(&self, staged: &[&Staged]) -> io::Result<()> {
        for some in staged.chunks(AT_ONCE) {
            futures::future::try_join_all(some.iter().map(|one| self.publish_one(one))).await?;
        }
        Ok(())
    }

    async fn remove(&self, digests: &[Digest]) -> io::Result<()> {
        self.delete(digests.iter().map(|d| self.key(d)).collect()).await
    }

    async fn start_upload(&self, id: Uuid, repository: &RepositoryName, algorithm: Algorithm) -> Result<(), UploadError> {
        self.begin(id, repository, algorithm).await
    }

    async fn upload_offset(&self, id: Uuid, repository: &RepositoryName) -> Result<u64, UploadError> {
        self.offset(id, repository).await
    }

    async fn append(&self, id: Uuid, repository: &RepositoryName, chunk: Chunk, body: Body<'_>) -> Result<u64, UploadError> {
        self.take_in(id, repository, chunk, body).await
    }

    async fn finish(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, inline: u64) -> Result<Staged, UploadError> {
        self.complete(id, repository, wanted, inline).await
    }

    async fn finish_whole(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, bytes: &Bytes) -> Result<Option<Staged>, UploadError> {
        self.whole(id, repository, wanted, bytes).await
    }

    async fn end_upload(&self, id: Uuid) -> Result<(), UploadError> {
        Ok(self.end_published(id).await?)
    }

    async fn cancel_upload(&self, id: Uuid, repository: &RepositoryName) -> Result<(), UploadError> {
        self.cancel(id, repository).await
    }

    async fn remove_stale_uploads(&self, age: Duration) -> io::Result<u64> {
        self.remove_stale(age).await
    }

    async fn open_uploads(&self) -> io::Result<Vec<(String, Open)>> {
        self.under_way().await
    }

    async fn stored(&self, part: u8, before: SystemTime) -> io::Result<Vec<(Digest, u64)>> {
        let before = before.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let mut found = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = self.prefix.clone().join("blobs").join(algorithm.as_str()).join(format!("{part:02x}"));
            let mut objects = self.s3.list(Some(&folder));
            while let Some(meta) = objects.next().await.transpose().map_err(fault)? {
                let digest = meta.location.filename().and_then(|hex| Digest::parse(&format!("{}:{hex}", algorithm.as_str())).ok());
                if let Some(digest) = digest.filter(|_| meta.last_modified.timestamp() < before) {
                    found.push((digest, meta.size));
                }
            }
        }
        Ok(found)
    }

    async fn tidy(&self, age: Duration) -> io::Result<()> {
        let spool = self.spool.clone();
        super::blob_fs::blocking(move || super::upload_fs::remove_older(&spool, age)).await
    }

    fn spool(&self) -> &Folder {
        &self.spool
    }

    async fn redirect(&self, digest: &Digest) -> io::Result<Option<Url>> {
        let Some(signer) = &self.signer else { return Ok(None) };
        Ok(Some(signer.signed_url(http::Method::GET, &self.key(digest), self.config.redirect_for()).await.map_err(fault)?))
    }
}
