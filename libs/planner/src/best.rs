//! Passes over all nodes' scores, written so that the compiler does several nodes with one instruction.

/// Of a node that will not do.
pub(crate) const NO: f32 = f32::NEG_INFINITY;

const LANES: usize = 8;

/// Rules out the nodes with less than `asked` free.
pub(crate) fn rule_out_below(scores: &mut [f32], free: &[i32], asked: i32) {
    for (score, free) in scores.iter_mut().zip(free) {
        *score = if *free < asked { NO } else { *score };
    }
}

/// Adds to each node what the table says for its value.
pub(crate) fn add_by(scores: &mut [f32], of: &[u32], table: &[f32]) {
    for (score, at) in scores.iter_mut().zip(of) {
        *score += table[*at as usize];
    }
}

/// The first node with the highest score.
pub(crate) fn best(scores: &[f32]) -> Option<(usize, f32)> {
    let mut top = [NO; LANES];
    let mut at = [0u32; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder();
    let tail = scores.len() - rest.len();
    for (chunk, scores) in chunks.enumerate() {
        let chunk = chunk as u32;
        for lane in 0..LANES {
            let better = scores[lane] > top[lane];
            top[lane] = if better { scores[lane] } else { top[lane] };
            at[lane] = if better { chunk } else { at[lane] };
        }
    }
    let lanes = top.iter().zip(at).enumerate().map(|(lane, (score, chunk))| (chunk as usize * LANES + lane, *score));
    let last = rest.iter().enumerate().map(|(n, score)| (tail + n, *score));
    let all = lanes.chain(last).filter(|(_, score)| *score > NO);
    all.reduce(|best, next| if next.1 > best.1 || (next.1 == best.1 && next.0 < best.0) { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_best_wins_wherever_it_lies() {
        for len in 1..40 {
            for first in 0..len {
                let mut scores = vec![1.0; len];
                scores[first] = 7.0;
                scores[len - 1] = 7.0;
                assert_eq!(best(&scores), Some((first, 7.0)), "{first} of {len}");
            }
        }
        assert_eq!(best(&[NO; 20]), None);
        assert_eq!(best(&[]), None);
    }
}
