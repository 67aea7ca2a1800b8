//! Passes on the blocks of a blob that are as they were written. A damaged block ends the stream with an error before
//! any of its bytes: the client sees a broken connection, never wrong content.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use super::blob_fs::blocking;
use crate::domain::digest::{Digest, Hasher};
use crate::domain::sums::{BLOCK, Sums};

/// How the bytes are checked.
pub enum Check {
    /// Block by block.
    Sums(Sums),
    /// Content from before there were sums: all of it is hashed, and the last block held back until the digest is known.
    Digest(Digest),
}

/// What has to be read for bytes `first..first + len` of `size`: whole blocks.
pub fn span(size: u64, (first, len): (u64, u64)) -> Range<u64> {
    let block = BLOCK as u64;
    first / block * block..(first + len).div_ceil(block).saturating_mul(block).min(size)
}

struct Reading {
    blocks: BoxStream<'static, io::Result<Bytes>>,
    size: u64,
    /// Where the next block starts.
    start: u64,
    /// Of what was asked for.
    next: u64,
    end: u64,
    sums: Option<Sums>,
    hash: Option<(Hasher, Digest)>,
    /// Told when the content is damaged.
    damaged: Option<Box<dyn FnOnce() + Send>>,
}

/// Bytes `first..first + len` of a blob of `size` bytes out of `blocks`, which are its [`span`]. `damaged` is called once, when a
/// check fails.
pub fn stream(
    blocks: BoxStream<'static, io::Result<Bytes>>,
    size: u64,
    (first, len): (u64, u64),
    check: Check,
    damaged: impl FnOnce() + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (sums, hash) = match check {
        Check::Sums(sums) => (Some(sums), None),
        // A part of content without sums can only be taken as it is.
        Check::Digest(digest) if len == size => (None, Some((Hasher::new(digest.algorithm()), digest))),
        Check::Digest(_) => (None, None),
    };
    let start = span(size, (first, len)).start;
    let reading = Reading { blocks, size, start, next: first, end: first + len, sums, hash, damaged: Some(Box::new(damaged)) };
    futures::stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        if reading.next >= reading.end {
            return None;
        }
        match reading.block().await {
            Ok(bytes) => Some((Ok(bytes), Some(reading))),
            Err(error) => {
                if let (io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof, Some(damaged)) = (error.kind(), reading.damaged.take()) {
                    damaged();
                }
                Some((Err(error), None))
            }
        }
    })
}

impl Reading {
    /// The rest of the block in which `next` lies, or as much of it as is wanted.
    async fn block(&mut self) -> io::Result<Bytes> {
        let bytes = self.blocks.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
        let (start, length) = (self.start, bytes.len() as u64);
        if length != (self.size - start).min(BLOCK as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let damage = || io::Error::new(io::ErrorKind::InvalidData, "the content is damaged in the store");
        // A checksum of a block takes some tens of microseconds: less than another thread would.
        let number = usize::try_from(start / BLOCK as u64).unwrap_or(usize::MAX);
        if self.sums.as_ref().is_some_and(|s| !s.fits(number, &bytes)) {
            return Err(damage());
        }
        if let Some((mut hasher, digest)) = self.hash.take() {
            let (block, last) = (bytes.clone(), start + length == self.size);
            let hashed = blocking(move || {
                hasher.update(&block);
                if last && hasher.clone().finish() != digest {
                    return Err(damage());
                }
                Ok((hasher, digest))
            });
            self.hash = Some(hashed.await?);
        }
        let from = usize::try_from(self.next - start).unwrap_or(0);
        let to = (self.end - start).min(length);
        self.start = start + length;
        self.next = start + to;
        Ok(bytes.slice(from..usize::try_from(to).unwrap_or(bytes.len())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::digest::Algorithm;

    /// What comes through, whether it ended well, and how often damage was told.
    fn read(content: &[u8], check: Check, part: (u64, u64)) -> (Vec<u8>, bool, u32) {
        let wanted = span(content.len() as u64, part);
        let wanted = &content[wanted.start as usize..wanted.end as usize];
        let blocks = futures::stream::iter(wanted.chunks(BLOCK).map(|b| Ok(Bytes::copy_from_slice(b))).collect::<Vec<_>>()).boxed();
        let told = Arc::new(AtomicU32::new(0));
        let teller = told.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stream = stream(blocks, content.len() as u64, part, check, move || {
            teller.fetch_add(1, Ordering::SeqCst);
        });
        let pieces: Vec<io::Result<Bytes>> = runtime.block_on(stream.collect());
        let whole = pieces.iter().all(Result::is_ok);
        (pieces.into_iter().filter_map(Result::ok).flatten().collect(), whole, told.load(Ordering::SeqCst))
    }

    fn content() -> Vec<u8> {
        (0..3 * BLOCK + 100).map(|i| ((i * 7) >> 2) as u8).collect()
    }

    #[test]
    fn a_flipped_bit_ends_the_stream_before_its_block() {
        let mut bytes = content();
        let (sums, digest) = (Sums::of(&bytes), Digest::of(Algorithm::Sha256, &bytes));
        let all = (0, bytes.len() as u64);
        bytes[2 * BLOCK + 5] ^= 1;
        let (got, whole, told) = read(&bytes, Check::Sums(sums.clone()), all);
        assert_eq!((got.len(), whole, told), (2 * BLOCK, false, 1));
        let (got, whole, told) = read(&bytes, Check::Digest(digest), all);
        assert_eq!((got.len(), whole, told), (3 * BLOCK, false, 1), "without sums the end is held back");
        // A part that the damage does not touch is fine.
        let (got, whole, _) = read(&bytes, Check::Sums(sums), (10, 20));
        assert_eq!((got, whole), (bytes[10..30].to_vec(), true));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_part_reads_back_as_written(first in 0usize..3 * BLOCK + 100, len in 0usize..2 * BLOCK) {
            let bytes = content();
            let len = len.min(bytes.len() - first);
            let (got, whole, told) = read(&bytes, Check::Sums(Sums::of(&bytes)), (first as u64, len as u64));
            prop_assert!(whole && told == 0);
            prop_assert_eq!(got, &bytes[first..first + len]);
        }
    }
}
