//! Passes a request's body on to who writes it, watching its length and pace. Small pieces are gathered: waking the writer
//! for each TLS record would cost more than writing.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::blob_store::{BodyError, Chunk, UploadError};

/// Bytes handed on at once, if that many are on their way.
const GATHERED: usize = 256 << 10;
/// Most pieces handed on at once: what one `writev` takes.
const PIECES: usize = 256;
/// A pause after which what has been gathered is worth writing.
const LULL: Duration = Duration::from_millis(5);
/// Batches between the network and the writer.
pub(super) const QUEUE: usize = 2;
/// What is read of a body that cannot be kept: a client that is still sending would see a broken connection instead of the answer.
const DRAINED: u64 = 64 << 20;

/// Pieces of a body, in order.
pub(super) type Batch = Vec<Bytes>;

/// Sends the body to `writer` until it ends. `at`: where the upload stands.
///
/// # Errors
/// A body that breaks off, falls silent, or is not as long as it says.
pub(super) async fn feed<E>(chunk: Chunk, at: u64, body: impl Stream<Item = Result<Bytes, E>>, writer: mpsc::Sender<Batch>) -> Result<(), UploadError>
where
    E: Into<BodyError>,
{
    let mut body = std::pin::pin!(body);
    let mut gathering = Gathering::default();
    let outcome = take(chunk, at, &mut body, &writer, &mut gathering).await;
    // What came before a fault stays: it was sent in good faith.
    if !matches!(outcome, Err(UploadError::Length { .. } | UploadError::TooLarge(_))) && !gathering.batch.is_empty() {
        let _ = writer.send(gathering.batch).await;
    }
    match outcome {
        Err(UploadError::Busy) => {
            drain(chunk.patience, &mut body).await;
            // The writer's own fault, which its result tells.
            Ok(())
        }
        other => other,
    }
}

#[derive(Default)]
struct Gathering {
    batch: Batch,
    bytes: usize,
}

/// `Busy`: the writer has hung up.
async fn take<E>(
    chunk: Chunk,
    at: u64,
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    writer: &mpsc::Sender<Batch>,
    gathering: &mut Gathering,
) -> Result<(), UploadError>
where
    E: Into<BodyError>,
{
    let mut got = 0u64;
    loop {
        // What comes close together is gathered; in a lull it is handed on.
        let next = match futures::FutureExt::now_or_never(body.next()) {
            Some(next) => next,
            None => match tokio::time::timeout(LULL, body.next()).await {
                Ok(next) => next,
                Err(_) => {
                    hand_on(writer, gathering).await?;
                    tokio::time::timeout(chunk.patience, body.next()).await.map_err(|_| UploadError::Slow(chunk.patience))?
                }
            },
        };
        let piece = match next {
            None => break,
            Some(Err(error)) => return Err(UploadError::Broken(error.into())),
            Some(Ok(piece)) => piece,
        };
        got += piece.len() as u64;
        if let Some(said) = chunk.length.filter(|said| got > *said) {
            return Err(UploadError::Length { said, got });
        }
        if at.saturating_add(got) > chunk.max {
            return Err(UploadError::TooLarge(chunk.max));
        }
        gathering.bytes += piece.len();
        gathering.batch.push(piece);
        if gathering.bytes >= GATHERED || gathering.batch.len() >= PIECES {
            hand_on(writer, gathering).await?;
        }
    }
    match chunk.length {
        Some(said) if said != got => Err(UploadError::Length { said, got }),
        _ => Ok(()),
    }
}

async fn hand_on(writer: &mpsc::Sender<Batch>, gathering: &mut Gathering) -> Result<(), UploadError> {
    if gathering.batch.is_empty() {
        return Ok(());
    }
    gathering.bytes = 0;
    writer.send(std::mem::take(&mut gathering.batch)).await.map_err(|_| UploadError::Busy)
}

async fn drain<E>(patience: Duration, body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let mut left = DRAINED;
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(patience, body.next()).await {
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 {
            break;
        }
    }
}
