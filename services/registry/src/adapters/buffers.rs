//! Buffers that blocks are read into, used again and again: a new one for each block would be cleared, and its pages asked of the kernel, at a
//! cost near that of reading.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::domain::sums::BLOCK;

/// Buffers kept for later.
const KEPT: usize = 8;
/// Less than this is not worth a buffer of a whole block.
const WORTH: usize = BLOCK / 4;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// `length` bytes, at most a block's, as `fill` leaves them. The buffer comes back when the last of them is dropped.
    ///
    /// # Errors
    /// What `fill` says; it must write all of what it is given.
    pub fn filled<E>(&self, length: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Bytes, E> {
        if length < WORTH || length > BLOCK {
            let mut bytes = vec![0; length];
            fill(&mut bytes)?;
            return Ok(bytes.into());
        }
        let bytes = self.lock().pop().unwrap_or_else(|| vec![0; BLOCK]);
        let mut lent = Lent { bytes, length, home: self.clone() };
        fill(&mut lent.bytes[..length])?;
        Ok(Bytes::from_owner(lent))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer in use.
struct Lent {
    bytes: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.home.lock();
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buffers: &Buffers, length: usize, byte: u8) -> Bytes {
        let filled = buffers.filled(length, |to| {
            to.fill(byte);
            Ok::<_, std::convert::Infallible>(())
        });
        filled.unwrap()
    }

    #[test]
    fn a_buffer_comes_back_with_its_last_slice_and_few_are_kept() {
        let buffers = Buffers::default();
        let block = of(&buffers, BLOCK, 1);
        let slice = block.slice(10..20);
        drop(block);
        assert_eq!(buffers.lock().len(), 0, "somebody has some of it");
        assert_eq!(slice, [1u8; 10].as_slice());
        drop(slice);
        assert_eq!(buffers.lock().len(), 1);
        // Shorter than the one before: nothing of that shows.
        assert_eq!(of(&buffers, WORTH, 2), vec![2u8; WORTH]);
        let many: Vec<Bytes> = (0..2 * KEPT).map(|n| of(&buffers, BLOCK, n as u8)).collect();
        assert!(many.iter().enumerate().all(|(n, bytes)| bytes.iter().all(|b| *b == n as u8)), "each has its own");
        drop(many);
        assert_eq!(buffers.lock().len(), KEPT);
        drop(of(&buffers, WORTH - 1, 3));
        assert_eq!(buffers.lock().len(), KEPT);
    }

    #[test]
    fn what_cannot_be_read_gives_its_buffer_back() {
        let buffers = Buffers::default();
        assert!(buffers.filled(BLOCK, |_| Err("away")).is_err());
        assert_eq!(buffers.lock().len(), 1);
    }
}
