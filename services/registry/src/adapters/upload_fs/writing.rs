//! Bytes of an upload into its file, and their digest beside: a thread each as soon as they are more than one batch.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::adapters::disk::Disk;
use crate::adapters::feed::{Batch, QUEUE};
use crate::domain::digest::{Algorithm, Hasher};
use crate::domain::sums::{BLOCK, Summing};

/// How far the digest of an upload is.
pub(in crate::adapters) struct Progress {
    pub hasher: Hasher,
    pub summing: Summing,
    pub offset: u64,
}

impl Progress {
    pub fn new(algorithm: Algorithm) -> Self {
        Self { hasher: Hasher::new(algorithm), summing: Summing::default(), offset: 0 }
    }

    pub fn take(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        self.summing.update(piece);
        self.offset += piece.len() as u64;
    }
}

/// Nobody else writes to the upload.
pub(super) type Guard = OwnedMutexGuard<Option<Progress>>;

/// Bytes after which the disk is told to begin writing: what is left for the end, when the client waits, is little.
const WRITTEN_BACK: u64 = 32 << 20;

/// What is written, with what keeps others from the upload.
pub(super) type Written = (u64, Guard, File);

/// Holds the guard until the last byte is written, also when the request's future is dropped half-way.
pub(super) fn write(
    mut file: File,
    path: &Path,
    at: u64,
    algorithm: Algorithm,
    mut inbox: mpsc::Receiver<Batch>,
    mut guard: Guard,
    disk: &Disk,
) -> io::Result<Written> {
    // Taken out: after an error half-way the state is lost, and the next request reads the file again.
    let mut progress = match guard.take() {
        Some(progress) if progress.offset == at => progress,
        _ => hash_file(path, algorithm)?,
    };
    // One batch is all of most uploads, and not worth a second thread.
    let Some(first) = inbox.blocking_recv() else {
        *guard = Some(progress);
        return Ok((at, guard, file));
    };
    write_all(&mut file, &first)?;
    let Some(second) = inbox.blocking_recv() else {
        first.iter().for_each(|piece| progress.take(piece));
        let offset = progress.offset;
        *guard = Some(progress);
        return Ok((offset, guard, file));
    };
    let (batches, hashed) = std::sync::mpsc::sync_channel::<Batch>(QUEUE);
    let (progress, written) = std::thread::scope(|scope| {
        let hasher = std::thread::Builder::new().name("blob-hash".into()).spawn_scoped(scope, move || {
            while let Ok(batch) = hashed.recv() {
                batch.iter().for_each(|piece| progress.take(piece));
            }
            progress
        })?;
        let written = write_and_pass((&mut file, disk), [first, second], &mut inbox, &batches);
        drop(batches);
        let progress = hasher.join().map_err(|_| io::Error::other("the digest could not be computed"))?;
        io::Result::Ok((progress, written))
    })?;
    written?;
    let offset = progress.offset;
    *guard = Some(progress);
    Ok((offset, guard, file))
}

/// The disk being told to begin writing.
type Flushing = std::thread::JoinHandle<io::Result<()>>;

/// The first batch is on the disk already.
fn write_and_pass(
    to: (&mut File, &Disk),
    batches: [Batch; 2],
    inbox: &mut mpsc::Receiver<Batch>,
    hasher: &std::sync::mpsc::SyncSender<Batch>,
) -> io::Result<()> {
    let mut flushing = None;
    let passed = pass(to, batches, inbox, hasher, &mut flushing);
    // Waited for in any case: it shares the file's lock, which would keep away whoever comes next. Its fault counts more than another: the upload
    // cannot go on.
    flushed(flushing).and(passed)
}

fn pass(
    (file, disk): (&mut File, &Disk),
    [first, second]: [Batch; 2],
    inbox: &mut mpsc::Receiver<Batch>,
    hasher: &std::sync::mpsc::SyncSender<Batch>,
    flushing: &mut Option<Flushing>,
) -> io::Result<()> {
    let gone = |_| io::Error::other("the digest could not be computed");
    hasher.send(first).map_err(gone)?;
    let (mut next, mut fresh) = (Some(second), 0u64);
    while let Some(batch) = next {
        write_all(file, &batch)?;
        fresh += batch.iter().map(|piece| piece.len() as u64).sum::<u64>();
        hasher.send(batch).map_err(gone)?;
        if fresh >= WRITTEN_BACK && flushing.as_ref().is_none_or(Flushing::is_finished) {
            fresh = 0;
            flushed(flushing.take())?;
            let (file, disk) = (file.try_clone()?, disk.clone());
            *flushing = Some(std::thread::Builder::new().name("blob-flush".into()).spawn(move || disk.sync_data(&file))?);
        }
        next = inbox.blocking_recv();
    }
    Ok(())
}

/// What the disk said. It says a fault once, so it must not be missed: the sync at the upload's end might hear nothing of it.
fn flushed(flushing: Option<Flushing>) -> io::Result<()> {
    flushing.map_or(Ok(()), |thread| thread.join().map_err(|_| io::Error::other("the disk could not be written"))?)
}

/// All pieces by as few system calls as there can be.
fn write_all(file: &mut File, batch: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<io::IoSlice<'_>> = batch.iter().map(|piece| io::IoSlice::new(piece)).collect();
    let mut left: &mut [io::IoSlice<'_>] = &mut slices;
    // An empty piece at the front would look like a write that wrote nothing.
    io::IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => io::IoSlice::advance_slices(&mut left, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn hash_file(path: &Path, algorithm: Algorithm) -> io::Result<Progress> {
    let mut progress = Progress::new(algorithm);
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BLOCK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(progress),
            n => progress.take(&buffer[..n]),
        }
    }
}
