//! Large content from one place to another, in parts: from a file, and from one key to the next.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::path::Path as Folder;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::super::blob_fs::blocking;
use super::BlobS3;
use super::fault::io as fault;

/// S3 copies an object of at most so many bytes by itself.
const COPIED_WHOLE: u64 = 5 << 30;
/// Parts on their way at the same time.
const AT_ONCE: usize = 3;

/// A file of this machine without a name, with what comes, to be read from its beginning.
pub async fn to_file(folder: &Folder, mut stream: BoxStream<'static, io::Result<Bytes>>) -> io::Result<File> {
    let folder = folder.to_owned();
    let (pieces, mut inbox) = tokio::sync::mpsc::channel::<Bytes>(16);
    let writer = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile_in(&folder)?;
        while let Some(piece) = inbox.blocking_recv() {
            file.write_all(&piece)?;
        }
        file.rewind()?;
        io::Result::Ok(file)
    });
    while let Some(piece) = stream.next().await {
        if pieces.send(piece?).await.is_err() {
            break;
        }
    }
    drop(pieces);
    writer.await.map_err(io::Error::other)?
}

pub async fn from_file(store: &BlobS3, path: &Folder, size: u64, to: &Path) -> io::Result<()> {
    let path = path.to_owned();
    let part = |range: Range<u64>| {
        let path = path.clone();
        blocking(move || {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
            std::os::unix::fs::FileExt::read_exact_at(&File::open(path)?, &mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        })
    };
    in_parts(store, size, to, part).await
}

/// From one key to another; the first stays.
pub async fn copy(store: &BlobS3, from: &Path, size: u64, to: &Path) -> io::Result<()> {
    if size <= COPIED_WHOLE {
        return store.patient.copy(from, to).await.map_err(fault);
    }
    in_parts(store, size, to, |range| async move { store.s3.get_range(from, range).await.map_err(fault) }).await
}

async fn in_parts<F: Future<Output = io::Result<Bytes>>>(store: &BlobS3, size: u64, to: &Path, part: impl Fn(Range<u64>) -> F) -> io::Result<()> {
    let step = store.config.part_bytes;
    if size <= step {
        let bytes = part(0..size).await?;
        return store.patient.put(to, bytes.into()).await.map(|_| ()).map_err(fault);
    }
    let id = store.s3.create_multipart(to).await.map_err(fault)?;
    let ranges = (0..size).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(|from| from..(from + step).min(size));
    let put = |(n, range): (usize, Range<u64>)| {
        let (id, read) = (&id, part(range));
        async move { store.patient.put_part(to, id, n, PutPayload::from(read.await?)).await.map_err(fault) }
    };
    let parts: io::Result<Vec<PartId>> = futures::stream::iter(ranges.enumerate()).map(put).buffered(AT_ONCE).try_collect().await;
    let done = match parts {
        Ok(parts) => store.patient.complete_multipart(to, &id, parts).await.map(|_| ()).map_err(fault),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // What came of it would be paid for without being seen.
        let _ = store.s3.abort_multipart(to, &id).await;
    }
    done
}
