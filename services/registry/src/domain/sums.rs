//! Checksums of content by block: cheap enough to check on every read, so that a bit that flipped on the disk is never
//! served. Against accidents only; what content *is* says its digest.

/// Bytes of one block. The last one is shorter.
pub const BLOCK: usize = 1 << 20;

/// One CRC-32 per block, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(Vec<u32>);

impl Sums {
    /// As kept: four bytes each, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }

    /// None when `bytes` cannot be the sums of content of `size` bytes.
    pub fn parse(bytes: &[u8], size: u64) -> Option<Self> {
        let blocks = size.div_ceil(BLOCK as u64);
        if bytes.len() as u64 != blocks * 4 {
            return None;
        }
        Some(Self(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()))
    }

    /// Whether `bytes` are block number `block`.
    pub fn fits(&self, block: usize, bytes: &[u8]) -> bool {
        self.0.get(block).is_some_and(|sum| *sum == crc32fast::hash(bytes))
    }

    pub fn of(bytes: &[u8]) -> Self {
        let mut summing = Summing::default();
        summing.update(bytes);
        summing.finish()
    }
}

/// Sums in the making, fed while content streams by.
#[derive(Clone, Default)]
pub struct Summing {
    done: Vec<u32>,
    open: crc32fast::Hasher,
    filled: usize,
}

impl Summing {
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.open.update(now);
            self.filled += now.len();
            if self.filled == BLOCK {
                self.done.push(std::mem::take(&mut self.open).finalize());
                self.filled = 0;
            }
            bytes = later;
        }
    }

    pub fn finish(mut self) -> Sums {
        if self.filled > 0 {
            self.done.push(self.open.finalize());
        }
        Sums(self.done)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_block_has_its_sum_and_a_flipped_bit_shows() {
        let mut bytes = vec![7u8; 2 * BLOCK + 5];
        let sums = Sums::of(&bytes);
        assert_eq!(sums.to_bytes().len(), 12);
        assert!(sums.fits(1, &bytes[BLOCK..2 * BLOCK]) && sums.fits(2, &bytes[2 * BLOCK..]));
        bytes[BLOCK + 77] ^= 4;
        assert!(!sums.fits(1, &bytes[BLOCK..2 * BLOCK]) && !sums.fits(3, b""));
        assert_eq!(Sums::of(b"").to_bytes(), Vec::<u8>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn however_the_bytes_come_the_sums_are_the_same(cuts in proptest::collection::vec(0usize..700_000, 0..5)) {
            let all: Vec<u8> = (0..cuts.iter().sum::<usize>()).map(|i| ((i * 31) >> 3) as u8).collect();
            let mut summing = Summing::default();
            let mut rest = all.as_slice();
            for cut in cuts {
                let (now, later) = rest.split_at(cut);
                summing.update(now);
                rest = later;
            }
            let sums = summing.finish();
            prop_assert_eq!(&sums, &Sums::of(&all));
            prop_assert_eq!(Sums::parse(&sums.to_bytes(), all.len() as u64), Some(sums));
        }

        #[test]
        fn no_stored_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), size in any::<u64>()) {
            if let Some(sums) = Sums::parse(&bytes, size) {
                let _ = sums.fits(0, &bytes);
            }
        }
    }
}
