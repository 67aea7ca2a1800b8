//! The machine's limit: argon2id with OWASP's parameters on every core at once, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Hashes per second of all cores together.
pub fn limit(how_long: Duration) -> Result<f64> {
    let params = Params::new(19_456, 2, 1, None).context("the parameters are in range")?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let done = AtomicU64::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
                // Memory once for all: the limit is what the computation takes.
                let mut memory = vec![Block::default(); params.block_count()];
                let mut out = [0; 32];
                while started.elapsed() < how_long {
                    if hasher.hash_password_into_with_memory(b"tr4ck-Pumice_olive", b"sixteen bytes st", &mut out, &mut memory).is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    #[allow(clippy::cast_precision_loss, reason = "some hundred")]
    Ok(done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}
