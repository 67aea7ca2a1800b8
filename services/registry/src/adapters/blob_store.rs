//! The border between the registry and where content is kept: content by digest, and uploads on their way to it. A file
//! system (`blob_fs`) and S3 (`blob_s3`) are behind it. Who may see what is not known here.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use thiserror::Error;
use url::Url;
use uuid::Uuid;

use crate::domain::digest::{Algorithm, Digest};
use crate::domain::littering::Open;
use crate::domain::name::RepositoryName;
use crate::domain::sums::Sums;

/// What stops a body that comes in.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Pieces of a request's body.
pub type Body<'a> = BoxStream<'a, Result<Bytes, BodyError>>;

#[derive(Debug, Error)]
pub enum UploadError {
    #[error("there is no such upload")]
    Unknown,
    #[error("another request is writing to this upload")]
    Busy,
    #[error("the upload stands at byte {at}, the chunk starts at {start}")]
    OutOfOrder { at: u64, start: u64 },
    #[error("the chunk has {got} bytes, its header says {said}")]
    Length { said: u64, got: u64 },
    #[error("a blob has at most {0} bytes")]
    TooLarge(u64),
    #[error("the content has digest {found}")]
    Digest { found: Digest },
    #[error("the connection broke off")]
    Broken(#[source] BodyError),
    #[error("no byte came for {0:?}")]
    Slow(Duration),
    #[error("the store cannot be written")]
    Io(#[from] io::Error),
}

impl UploadError {
    /// Where what an upload has must be there and is not, the upload is over: another request finished or cancelled it meanwhile, or
    /// a power cut has brought back the word that it was begun.
    pub(crate) fn or_over(self) -> Self {
        match self {
            Self::Io(error) if is_gone(&error) => Self::Unknown,
            other => other,
        }
    }
}

/// Whether what an error is about is not there any more, here or on the machine that shares it.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

/// What a request says about the bytes it carries, and the bounds it must keep.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Where it says it starts; `None` appends.
    pub start: Option<u64>,
    /// How long it says it is.
    pub length: Option<u64>,
    /// Bytes the whole blob may have.
    pub max: u64,
    /// Longest pause between two pieces.
    pub patience: Duration,
}

/// Complete, verified content that is not yet a blob.
#[derive(Debug)]
pub struct Staged {
    pub digest: Digest,
    pub size: u64,
    pub sums: Sums,
    pub(super) place: Place,
}

/// Where staged content waits.
#[derive(Debug)]
pub enum Place {
    /// Here: small enough to live in the database.
    Inline(Bytes),
    /// Here, to be put into the store.
    Memory(Bytes),
    /// A file of this machine, or of the folder that replicas share.
    File(PathBuf),
    /// An object of the store.
    Object(object_store::path::Path),
}

impl Staged {
    pub(super) fn of(digest: Digest, size: u64, sums: Sums, place: Place) -> Self {
        Self { digest, size, sums, place }
    }

    /// The content, if it is to live in the database.
    pub fn inline(&self) -> Option<&Bytes> {
        match &self.place {
            Place::Inline(bytes) => Some(bytes),
            Place::Memory(_) | Place::File(_) | Place::Object(_) => None,
        }
    }

    /// The file it waits in, if it does.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.place {
            Place::File(path) => Some(path.clone()),
            Place::Inline(_) | Place::Memory(_) | Place::Object(_) => None,
        }
    }
}

/// A blob as a file of this machine.
pub struct Blob {
    pub file: File,
    pub size: u64,
}

/// A part of a blob, to be read once.
pub struct Opened {
    /// Of the whole blob.
    pub size: u64,
    /// The part asked for in blocks of [`crate::domain::sums::BLOCK`] bytes, the last one perhaps shorter.
    pub blocks: BoxStream<'static, io::Result<Bytes>>,
}

/// Content by digest. A blob appears complete and durable, or not at all. Errors of kind `StorageFull` and `ResourceBusy`
/// mean that there is no room, and that the store asks for patience; `InvalidData` where a part is opened, that the content is damaged.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Bytes `part` of a blob; it begins and ends at block borders or the blob's end. A missing blob is `None`.
    ///
    /// # Errors
    /// I/O.
    async fn open(&self, digest: &Digest, part: Range<u64>) -> io::Result<Option<Opened>>;

    /// The whole blob as a file: for those who read it forth and back. Elsewhere than on a file system it is brought here first.
    ///
    /// # Errors
    /// I/O.
    async fn local(&self, digest: &Digest) -> io::Result<Option<Blob>>;

    /// # Errors
    /// I/O; a missing blob is `None`.
    async fn size(&self, digest: &Digest) -> io::Result<Option<u64>>;

    /// The whole of a small blob.
    ///
    /// # Errors
    /// I/O, or more than `limit` bytes.
    async fn read_small(&self, digest: &Digest, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Takes bytes at hand, to be published. `digest` must be theirs.
    ///
    /// # Errors
    /// I/O.
    async fn stage(&self, name: Uuid, digest: Digest, bytes: Bytes) -> io::Result<Staged>;

    /// Does what of publishing takes long and is harmless if it is never finished. Comes before [`BlobStore::publish`], which then
    /// is quick: that one is called while rows are locked.
    ///
    /// # Errors
    /// I/O.
    async fn prepare(&self, staged: &Staged) -> io::Result<()>;

    /// Makes content readable under its digest. On return names and contents are durable. Repeating it is harmless.
    ///
    /// # Errors
    /// I/O; what is staged then stays as it was.
    async fn publish(&self, staged: &[&Staged]) -> io::Result<()>;

    /// Removes blobs. The caller has made sure that nothing refers to them.
    ///
    /// # Errors
    /// I/O; a missing blob is fine.
    async fn remove(&self, digests: &[Digest]) -> io::Result<()>;

    /// # Errors
    /// I/O.
    async fn start_upload(&self, id: Uuid, repository: &RepositoryName, algorithm: Algorithm) -> Result<(), UploadError>;

    /// How many bytes have come.
    ///
    /// # Errors
    /// Unknown id, also when it belongs to another repository.
    async fn upload_offset(&self, id: Uuid, repository: &RepositoryName) -> Result<u64, UploadError>;

    /// Appends a body; returns the new offset. What came before a broken connection stays.
    ///
    /// # Errors
    /// See [`UploadError`].
    async fn append(&self, id: Uuid, repository: &RepositoryName, chunk: Chunk, body: Body<'_>) -> Result<u64, UploadError>;

    /// Checks the digest of all that came and makes it durable; content of at most `inline` bytes comes back in memory instead.
    /// The upload stays until [`BlobStore::end_upload`].
    ///
    /// # Errors
    /// Another digest: the upload is then over, as the specification's clients expect.
    async fn finish(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, inline: u64) -> Result<Staged, UploadError>;

    /// The same for content that comes whole with the last request and is to live in the database: the store need not see it. `None`: the
    /// upload has bytes already, or somebody is writing to it.
    ///
    /// # Errors
    /// Another digest: the upload is then over.
    async fn finish_whole(&self, id: Uuid, repository: &RepositoryName, wanted: &Digest, bytes: &Bytes) -> Result<Option<Staged>, UploadError>;

    /// Forgets an upload and what is left of its bytes.
    ///
    /// # Errors
    /// I/O.
    async fn end_upload(&self, id: Uuid) -> Result<(), UploadError>;

    /// # Errors
    /// Unknown id, also when it belongs to another repository.
    async fn cancel_upload(&self, id: Uuid, repository: &RepositoryName) -> Result<(), UploadError>;

    /// Removes uploads that nobody has touched for `age`; returns how many.
    ///
    /// # Errors
    /// I/O.
    async fn remove_stale_uploads(&self, age: Duration) -> io::Result<u64>;

    /// Uploads under way, each with the repository that it is to.
    ///
    /// # Errors
    /// I/O.
    async fn open_uploads(&self) -> io::Result<Vec<(String, Open)>>;

    /// Content whose digests begin with the byte `part` and that was written before `before`, with its sizes.
    ///
    /// # Errors
    /// I/O.
    async fn stored(&self, part: u8, before: SystemTime) -> io::Result<Vec<(Digest, u64)>>;

    /// Removes what was on its way at this machine and that nobody has written to for `age`. Every replica has its own.
    ///
    /// # Errors
    /// I/O.
    async fn tidy(&self, age: Duration) -> io::Result<()>;

    /// Folder of this machine for content on its way from other registries.
    fn spool(&self) -> &Path;

    /// Where a client may fetch the blob itself, if it may.
    ///
    /// # Errors
    /// I/O.
    async fn redirect(&self, digest: &Digest) -> io::Result<Option<Url>>;
}
