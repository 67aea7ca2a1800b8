//! One blob of 500 MB, in and out.

use anyhow::Result;

use super::side::{Side, Took, digest, took, unique};
use super::{Pair, Wanted, compare, in_turns, repository};
use crate::bench::figure::{Figure, Goal};

const BYTES: usize = 500_000_000;
/// What all have in common; the first bytes differ.
const REST: usize = BYTES - 8;
const GB: f64 = 1e9;

pub fn measure(wanted: &Wanted<'_>, pair: &Pair) -> Result<Vec<Figure>> {
    let suffix = pair.suffix;
    let of = |name: &str| wanted.named(name, suffix);
    let (push, push_cpu, pull, pull_cpu) = (of("registry-push"), of("registry-push-cpu"), of("registry-pull"), of("registry-pull-cpu"));
    if [push, push_cpu, pull, pull_cpu].iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    let mut state = 88_172_645_463_325_252_u64;
    let rest: Vec<u8> = (0..REST / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let repository = repository(0);
    // The last one pushed to each, for pulling.
    let (mut at_ours, mut at_peer) = (String::new(), String::new());
    let send = |side: &Side, last: &mut String| -> Result<Took> {
        let first = unique().to_le_bytes();
        let name = digest(&[&first, &rest]);
        let mut line = side.connect()?;
        let took = took(side, || side.push_blob(&mut line, &repository, &[&first, &rest], &name))?;
        *last = name;
        Ok(took)
    };
    let pushed = in_turns(wanted.rounds(), || send(&pair.ours, &mut at_ours), || send(&pair.peer, &mut at_peer))?;
    let fetch = |side: &Side, name: &str| -> Result<Took> {
        let mut line = side.connect()?;
        took(side, || {
            let got = side.ask(&mut line, "GET", &repository, &format!("blobs/{name}"), "", &[])?.expect(200)?;
            anyhow::ensure!(got.length == BYTES as u64, "{} bytes came back", got.length);
            Ok(())
        })
    };
    // Once before it counts: whether the pages are in memory still is the kernel's business, for both alike.
    fetch(&pair.ours, &at_ours)?;
    fetch(&pair.peer, &at_peer)?;
    let pulled = in_turns(wanted.rounds(), || fetch(&pair.ours, &at_ours), || fetch(&pair.peer, &at_peer))?;
    let bytes = BYTES as f64;
    let (rate, cost) = (move |t: &Took| bytes / 1e6 / t.seconds, move |t: &Took| t.cpu / (bytes / GB));
    let mut figures = Vec::new();
    figures.extend(push.map(|name| compare(name, "MB/s", &pushed, Goal::AtLeast(3.0), rate)));
    figures.extend(push_cpu.map(|name| Figure::at_most(name, "CPU s/GB", pushed.iter().map(|(ours, _)| cost(ours)).collect(), 2.0)));
    figures.extend(pull.map(|name| compare(name, "MB/s", &pulled, Goal::AtLeast(1.0), rate)));
    figures.extend(pull_cpu.map(|name| compare(name, "CPU s/GB", &pulled, Goal::AtMost(1.0), cost)));
    Ok(figures)
}
