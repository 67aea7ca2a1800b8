//! Passes a request's body on to who writes it, watching its length and pace. Small pieces are gathered: waking the writer
//! for each TLS record would cost more than writing.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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
pub(super) struct Batch {
    pub pieces: Vec<Bytes>,
    /// Given back when they are written and summed.
    _room: Option<OwnedSemaphorePermit>,
}

impl Deref for Batch {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        &self.pieces
    }
}

/// Room for what uploads have between the network and those who write and sum it, all of them together: each by itself may have several
/// batches there, which many at once would fill the memory with. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Room(Option<Places>);

#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    /// KiB.
    all: u32,
}

impl Room {
    /// For so many KiB. The default has no bound.
    pub fn of(kib: u32) -> Self {
        Self(Some(Places { free: Arc::new(Semaphore::new(kib as usize)), all: kib }))
    }

    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let Places { free, all } = self.0.clone()?;
        // A batch that is larger than all there is has all of it.
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(all).min(all);
        free.acquire_many_owned(kib).await.ok()
    }
}

/// Sends the body to `writer` until it ends. `at`: where the upload stands.
///
/// # Errors
/// A body that breaks off, falls silent, or is not as long as it says.
pub(super) async fn feed<E>(
    chunk: Chunk,
    at: u64,
    body: impl Stream<Item = Result<Bytes, E>>,
    writer: mpsc::Sender<Batch>,
    room: Room,
) -> Result<(), UploadError>
where
    E: Into<BodyError>,
{
    let mut body = std::pin::pin!(body);
    let mut gathering = Gathering::default();
    let outcome = take(chunk, at, &mut body, (&writer, &room), &mut gathering).await;
    // What came before a fault stays: it was sent in good faith.
    if !matches!(outcome, Err(UploadError::Length { .. } | UploadError::TooLarge(_))) {
        let _ = hand_on((&writer, &room), &mut gathering).await;
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
    pieces: Vec<Bytes>,
    bytes: usize,
    handed: Handed,
}

/// What was handed on already.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Handed {
    #[default]
    Nothing,
    First,
    More,
}

/// `Busy`: the writer has hung up.
async fn take<E>(
    chunk: Chunk,
    at: u64,
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    writer: (&mpsc::Sender<Batch>, &Room),
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
        gathering.pieces.push(piece);
        if gathering.bytes >= GATHERED || gathering.pieces.len() >= PIECES {
            hand_on(writer, gathering).await?;
        }
    }
    match chunk.length {
        Some(said) if said != got => Err(UploadError::Length { said, got }),
        _ => Ok(()),
    }
}

async fn hand_on((writer, room): (&mpsc::Sender<Batch>, &Room), gathering: &mut Gathering) -> Result<(), UploadError> {
    if gathering.pieces.is_empty() {
        return Ok(());
    }
    // Room is for those whose writer has taken the first. Where all threads are taken, those who wait for one must not keep room from those
    // who have one, and could otherwise never be done with it.
    if gathering.handed == Handed::First {
        drop(writer.reserve_many(writer.max_capacity()).await.map_err(|_| UploadError::Busy)?);
    }
    // The first one goes freely: the writer keeps it until it knows whether there is another, and a client that falls silent then must not
    // keep room from all others.
    let (room, handed) = match gathering.handed {
        Handed::Nothing => (None, Handed::First),
        Handed::First | Handed::More => (room.take(gathering.bytes).await, Handed::More),
    };
    (gathering.bytes, gathering.handed) = (0, handed);
    let batch = Batch { pieces: std::mem::take(&mut gathering.pieces), _room: room };
    writer.send(batch).await.map_err(|_| UploadError::Busy)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_the_first_batch_the_next_ones_wait_for_room_that_written_ones_give_back() {
        let (writer, mut inbox) = mpsc::channel(8);
        let chunk = Chunk { start: None, length: None, max: u64::MAX, patience: Duration::from_secs(60) };
        let body = futures::stream::iter((0..4).map(|_| Ok::<_, BodyError>(Bytes::from(vec![0; GATHERED]))));
        // Less than a batch, which has all of it then.
        let feeding = tokio::spawn(feed(chunk, 0, body, writer, Room::of(64)));
        let first = inbox.recv().await.expect("goes freely");
        let second = inbox.recv().await.expect("has all the room");
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(inbox.try_recv().is_err(), "there is no room for a third");
        drop(first);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(inbox.try_recv().is_err(), "the first one had none to give back");
        drop(second);
        let third = inbox.recv().await.expect("there is room again");
        assert_eq!(third.iter().map(Bytes::len).sum::<usize>(), GATHERED);
        drop(third);
        assert!(inbox.recv().await.is_some());
        feeding.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_has_no_writer_yet_keeps_no_room_from_those_who_have() {
        let room = Room::of(u32::try_from(GATHERED >> 10).unwrap());
        let chunk = || Chunk { start: None, length: None, max: u64::MAX, patience: Duration::from_secs(60) };
        let body = || futures::stream::iter((0..4).map(|_| Ok::<_, BodyError>(Bytes::from(vec![0; GATHERED]))));
        // No thread is free for it.
        let (idle, mut untouched) = mpsc::channel(QUEUE);
        let waiting = tokio::spawn(feed(chunk(), 0, body(), idle, room.clone()));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let (busy, mut inbox) = mpsc::channel(QUEUE);
        let feeding = tokio::spawn(feed(chunk(), 0, body(), busy, room));
        let all = async { while inbox.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("it has all the room");
        feeding.await.unwrap().unwrap();
        let mut batches = 0;
        while untouched.recv().await.is_some() {
            batches += 1;
        }
        assert_eq!(batches, 4);
        waiting.await.unwrap().unwrap();
    }
}
