//! Content on its way in from another registry: written to a file, hashed, and read by everybody who waits for it, all at
//! once. The last bytes are held back until the digest is known to be right, so nobody ever has the whole of wrong content.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::blob_fs::blocking;
use super::blob_store::{Place, Staged};
use crate::domain::digest::{Digest, Hasher};
use crate::domain::sums::Summing;

/// Bytes handed on at once.
const PIECE: u64 = 256 << 10;
/// Held back until the digest is known.
const HELD_BACK: u64 = 1;
/// Pieces between the network and the disk.
const QUEUE: usize = 8;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Going(u64),
    /// It is a blob now.
    Kept,
    Failed(String),
}

/// Content that is coming, for those who read it. Cheap to clone.
#[derive(Clone)]
pub struct Coming {
    file: Arc<File>,
    size: u64,
    stage: watch::Receiver<Stage>,
}

/// The writing end.
pub struct Incoming {
    path: PathBuf,
    digest: Digest,
    size: u64,
    written: u64,
    /// It goes to the database, not to the disk.
    small: bool,
    pieces: mpsc::Sender<Bytes>,
    writer: tokio::task::JoinHandle<io::Result<(u64, Hasher, Summing)>>,
    stage: Arc<watch::Sender<Stage>>,
}

/// Makes room in `folder` for content of `size` bytes that is to have `digest`. What a crash leaves behind there is removed with stale
/// uploads. Up to `inline` bytes come back in memory at the end.
///
/// # Errors
/// I/O.
pub async fn incoming(folder: &Path, name: Uuid, digest: Digest, size: u64, inline: u64) -> io::Result<(Incoming, Coming)> {
    let path = folder.join(format!("{name}.spool"));
    let at = path.clone();
    let (file, reading) = blocking(move || Ok((File::create_new(&at)?, File::open(&at)?))).await?;
    let (sender, stage) = watch::channel(Stage::Going(0));
    let sender = Arc::new(sender);
    let (pieces, inbox) = mpsc::channel(QUEUE);
    let (algorithm, progress) = (digest.algorithm(), sender.clone());
    let small = size <= inline;
    let writer = tokio::task::spawn_blocking(move || write(file, Hasher::new(algorithm), inbox, &progress, !small));
    let coming = Coming { file: Arc::new(reading), size, stage };
    Ok((Incoming { path, digest, size, written: 0, small, pieces, writer, stage: sender }, coming))
}

fn write(
    mut file: File,
    mut hasher: Hasher,
    mut inbox: mpsc::Receiver<Bytes>,
    progress: &watch::Sender<Stage>,
    durable: bool,
) -> io::Result<(u64, Hasher, Summing)> {
    let (mut written, mut summing) = (0, Summing::default());
    while let Some(piece) = inbox.blocking_recv() {
        file.write_all(&piece)?;
        written += piece.len() as u64;
        progress.send_replace(Stage::Going(written));
        hasher.update(&piece);
        summing.update(&piece);
    }
    if durable {
        file.sync_all()?;
    }
    Ok((written, hasher, summing))
}

impl Incoming {
    /// Bytes taken in so far: where an interrupted transfer goes on.
    pub fn offset(&self) -> u64 {
        self.written
    }

    pub fn is_whole(&self) -> bool {
        self.written == self.size
    }

    /// # Errors
    /// The disk, or more content than announced.
    pub async fn take(&mut self, piece: Bytes) -> io::Result<()> {
        self.written += piece.len() as u64;
        if self.written > self.size {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than the {} bytes that were announced", self.size)));
        }
        // A writer that stopped has the reason; it comes with the end.
        self.pieces.send(piece).await.map_err(|_| io::Error::other("the disk cannot be written"))
    }

    /// The end: content to be published, if it is what was wanted. Those who wait get their last bytes by [`Arrived::kept`].
    ///
    /// # Errors
    /// Other content, or the disk. Nothing is kept then.
    pub async fn finish(self) -> io::Result<(Staged, Arrived)> {
        let Self { path, digest, size, small, pieces, writer, stage, .. } = self;
        drop(pieces);
        let outcome = match writer.await.map_err(io::Error::other)? {
            Ok((written, ..)) if written != size => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{written} of {size} bytes came"))),
            Ok((_, hasher, summing)) => match hasher.finish() {
                found if found == digest => place(path.clone(), small).await.map(|place| Staged::of(digest, size, summing.finish(), place)),
                found => Err(io::Error::new(io::ErrorKind::InvalidData, format!("the content has digest {found}"))),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(staged) => Ok((staged, Arrived(stage))),
            Err(error) => {
                stage.send_replace(Stage::Failed(error.to_string()));
                let _ = blocking(move || std::fs::remove_file(path)).await;
                Err(error)
            }
        }
    }

    /// Gives up: those who read see a broken connection.
    pub async fn fail(self, why: &str) {
        let Self { path, pieces, writer, stage, .. } = self;
        drop(pieces);
        let _ = writer.await;
        stage.send_replace(Stage::Failed(why.to_owned()));
        let _ = blocking(move || std::fs::remove_file(path)).await;
    }
}

/// Small content is read back, and its file goes.
async fn place(path: PathBuf, small: bool) -> io::Result<Place> {
    if !small {
        return Ok(Place::File(path));
    }
    blocking(move || {
        let bytes = std::fs::read(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Place::Inline(bytes.into()))
    })
    .await
}

/// Content that is right, and about to be a blob.
pub struct Arrived(Arc<watch::Sender<Stage>>);

impl Arrived {
    /// It is one now.
    pub fn kept(self) {
        self.0.send_replace(Stage::Kept);
    }

    pub fn failed(self, why: &str) {
        self.0.send_replace(Stage::Failed(why.to_owned()));
    }
}

impl Coming {
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits for the end; why it failed, if it did.
    ///
    /// # Errors
    /// The reason.
    pub async fn ended(&self) -> Result<(), String> {
        let mut stage = self.stage.clone();
        let last = stage.wait_for(|s| !matches!(s, Stage::Going(_))).await;
        match last.as_deref() {
            Ok(Stage::Kept) => Ok(()),
            Ok(Stage::Failed(why)) => Err(why.clone()),
            Ok(Stage::Going(_)) | Err(_) => Err("the transfer was given up".into()),
        }
    }

    /// All of it from the beginning, as it comes.
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        futures::stream::unfold((self, 0u64, false), |(mut coming, at, over)| async move {
            if over || at >= coming.size {
                return None;
            }
            match coming.piece(at).await {
                Ok(bytes) => {
                    let next = at + bytes.len() as u64;
                    Some((Ok(bytes), (coming, next, false)))
                }
                Err(error) => Some((Err(error), (coming, at, true))),
            }
        })
    }

    async fn piece(&mut self, at: u64) -> io::Result<Bytes> {
        let (size, reachable) = (self.size, |stage: &Stage, size: u64| match stage {
            Stage::Going(written) => (*written).min(size.saturating_sub(HELD_BACK)),
            Stage::Kept => size,
            Stage::Failed(_) => u64::MAX,
        });
        let stage = self.stage.wait_for(|s| reachable(s, size) > at).await.map_err(|_| io::Error::other("the transfer was given up"))?.clone();
        if let Stage::Failed(why) = stage {
            return Err(io::Error::other(why));
        }
        let (file, len) = (self.file.clone(), (reachable(&stage, size) - at).min(PIECE));
        blocking(move || {
            let mut piece = vec![0; usize::try_from(len).unwrap_or_default()];
            file.read_exact_at(&mut piece, at)?;
            Ok(Bytes::from(piece))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::super::blob_fs::BlobFs;
    use super::super::blob_store::BlobStore;
    use super::*;
    use crate::domain::digest::Algorithm;

    async fn read(coming: Coming) -> Result<Vec<u8>, (Vec<u8>, String)> {
        let mut all = Vec::new();
        let mut stream = Box::pin(coming.stream());
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => all.extend_from_slice(&piece),
                Err(error) => return Err((all, error.to_string())),
            }
        }
        Ok(all)
    }

    #[tokio::test]
    async fn everybody_reads_what_comes_and_it_becomes_a_blob() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobFs::open(folder.path()).unwrap();
        let content = vec![7u8; 600_000];
        let digest = Digest::of(Algorithm::Sha256, &content);
        let (mut incoming, coming) = incoming(store.spool(), Uuid::from_u128(1), digest.clone(), content.len() as u64, 0).await.unwrap();
        let early = tokio::spawn(read(coming.clone()));
        for piece in content.chunks(100_000) {
            incoming.take(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let (staged, arrived) = incoming.finish().await.unwrap();
        BlobFs::publish(&store, [&staged]).await.unwrap();
        arrived.kept();
        assert_eq!(early.await.unwrap().unwrap(), content);
        assert_eq!(read(coming.clone()).await.unwrap(), content, "the file was renamed and is read all the same");
        coming.ended().await.unwrap();
        assert_eq!(BlobFs::size(&store, &digest).await.unwrap(), Some(content.len() as u64));
    }

    #[tokio::test]
    async fn wrong_content_is_never_whole_and_never_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobFs::open(folder.path()).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let (mut incoming, coming) = incoming(store.spool(), Uuid::from_u128(1), digest.clone(), 5, 0).await.unwrap();
        let reader = tokio::spawn(read(coming));
        incoming.take(Bytes::from_static(b"hullo")).await.unwrap();
        assert!(incoming.finish().await.is_err());
        let (seen, why) = reader.await.unwrap().unwrap_err();
        assert!(seen.len() < 5 && why.contains("digest"), "{why}");
        assert_eq!(BlobFs::size(&store, &digest).await.unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn more_or_less_than_announced_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobFs::open(folder.path()).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let (mut long, coming) = incoming(store.spool(), Uuid::from_u128(1), digest.clone(), 3, 0).await.unwrap();
        assert!(long.take(Bytes::from_static(b"hello")).await.is_err());
        long.fail("too long").await;
        assert_eq!(coming.ended().await.unwrap_err(), "too long");
        let (mut short, _) = incoming(store.spool(), Uuid::from_u128(2), digest, 9, 0).await.unwrap();
        short.take(Bytes::from_static(b"hello")).await.unwrap();
        assert!(short.finish().await.is_err());
    }
}
