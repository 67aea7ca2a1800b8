//! Files out of and into an instance, as a tar archive over its channels.

use tokio::io::AsyncWriteExt;
use tokio_util::io::SyncIoBridge;

use super::{CLOSE, INPUT, OUTPUT, Pipe, Refused};
use crate::adapters::copying;

const PIECE: usize = 64 << 10;

/// `path` with all below it, below its own name.
pub async fn download(first: u32, path: &str, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
    let (ours, theirs) = tokio::io::duplex(PIECE);
    let path = path.to_owned();
    let packing = tokio::task::spawn_blocking(move || copying::pack(first, &path, SyncIoBridge::new(theirs)));
    let mut read = tokio_util::io::ReaderStream::with_capacity(ours, PIECE);
    while let Some(piece) = futures::StreamExt::next(&mut read).await {
        let piece = piece.map_err(|e| Refused(e.to_string()))?;
        if !pipe.send(OUTPUT, &piece).await {
            return Ok(None);
        }
    }
    done(packing.await)
}

/// Unpacked below `path`, which is made if it is not there.
pub async fn upload(first: u32, path: &str, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
    let (mut ours, theirs) = tokio::io::duplex(PIECE);
    let path = path.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut from = SyncIoBridge::new(theirs);
        let done = copying::unpack(first, &path, &mut from);
        // What is behind the archive's end is taken, or the caller would wait.
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        done
    });
    let mut whole = false;
    while let Ok(Some(frame)) = pipe.from.message().await {
        match frame.data.split_first() {
            Some((&INPUT, bytes)) => {
                // It has failed, and says why.
                if ours.write_all(bytes).await.is_err() {
                    break;
                }
            }
            Some((&CLOSE, [INPUT])) => {
                whole = true;
                break;
            }
            _ => {}
        }
    }
    drop(ours);
    let end = done(unpacking.await);
    if whole { end } else { end.map(|_| None) }
}

pub(super) fn done(outcome: Result<Result<(), copying::CopyError>, tokio::task::JoinError>) -> Result<Option<i32>, Refused> {
    match outcome {
        Ok(Ok(())) => Ok(Some(0)),
        Ok(Err(error)) => Err(Refused(super::chain(&error))),
        Err(error) => Err(Refused(error.to_string())),
    }
}
