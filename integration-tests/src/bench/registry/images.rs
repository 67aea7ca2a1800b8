//! A thousand small images, pushed by eight clients at once in seven requests each, and pulled again; layers mounted elsewhere.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::side::{Side, Small, Took, digest, together};
use super::{CLIENTS, Pair, Wanted, compare, in_turns, repository};
use crate::bench::figure::{Figure, Goal};

const IMAGES: usize = 1_000;
const EACH: usize = IMAGES / CLIENTS;
const LAYER_BYTES: usize = 20_000;
const MOUNTS: usize = 400;

pub fn measure(wanted: &Wanted<'_>, pair: &Pair) -> Result<Vec<Figure>> {
    let of = |name: &str| wanted.named(name, pair.suffix);
    let (push, p99, pull) = (of("registry-images-push"), of("registry-images-p99"), of("registry-images-pull"));
    let mut figures = Vec::new();
    if push.or(p99).or(pull).is_some() {
        let rounds = wanted.rounds();
        let sets: Vec<(Set, Set)> = (0..rounds).map(|_| (Set::new(), Set::new())).collect();
        let (mut n, mut m) = (0, 0);
        let pushed = in_turns(
            rounds,
            || {
                n += 1;
                sets[n - 1].0.push(&pair.ours)
            },
            || {
                m += 1;
                sets[m - 1].1.push(&pair.peer)
            },
        )?;
        let last = &sets[rounds - 1];
        let pulled = in_turns(rounds, || last.0.pull(&pair.ours), || last.1.pull(&pair.peer))?;
        let rate = |t: &Took| IMAGES as f64 / t.seconds;
        figures.extend(push.map(|name| compare(name, "images/s", &pushed, Goal::AtLeast(5.0), rate)));
        figures.extend(p99.map(|name| compare(name, "ms p99", &pushed, Goal::AtMost(0.3), |t| t.p99_ms)));
        figures.extend(pull.map(|name| compare(name, "images/s", &pulled, Goal::AtLeast(3.0), rate)));
    }
    figures.extend(of("registry-mount").map(|name| mounts(wanted, pair, name)).transpose()?);
    Ok(figures)
}

struct Set {
    images: Vec<Small>,
    tag: String,
}

impl Set {
    fn new() -> Self {
        Self { images: (0..IMAGES).map(|_| Small::new(LAYER_BYTES)).collect(), tag: format!("t{}", super::side::unique()) }
    }

    fn each(&self, side: &Side, work: impl Fn(&mut super::wire::Line, &str, &str, &Small) -> Result<()> + Sync) -> Result<Took> {
        together(side, CLIENTS, EACH, |client, line, turn| work(line, &repository(client), &format!("{}-{turn}", self.tag), &self.images[client * EACH + turn]))
    }

    fn push(&self, side: &Side) -> Result<Took> {
        self.each(side, |line, repository, tag, image| side.push_small(line, repository, tag, image))
    }

    fn pull(&self, side: &Side) -> Result<Took> {
        self.each(side, |line, repository, tag, image| side.pull_small(line, repository, tag, image))
    }
}

/// Layers that one repository has, made readable in another.
fn mounts(wanted: &Wanted<'_>, pair: &Pair, name: &'static str) -> Result<Figure> {
    let run = |side: &Side| -> Result<Took> {
        let source = format!("{}from", super::PROJECT);
        let mut line = side.connect()?;
        let layers: Vec<Vec<u8>> = (0..MOUNTS).map(|_| Small::new(2_000).layer).collect();
        let digests: Vec<String> = layers.iter().map(|l| digest(&[l])).collect();
        for (layer, digest) in layers.iter().zip(&digests) {
            side.push_blob(&mut line, &source, &[layer], digest)?;
        }
        let next = Mutex::new(digests.iter());
        together(side, CLIENTS, MOUNTS / CLIENTS, |_, line, _| {
            let digest = next.lock().unwrap_or_else(PoisonError::into_inner).next().expect("as many as there are turns");
            side.ask(line, "POST", &format!("{}into", super::PROJECT), &format!("blobs/uploads/?mount={digest}&from={source}"), "", &[])?.expect(201)?;
            Ok(())
        })
    };
    let all = in_turns(wanted.rounds(), || run(&pair.ours), || run(&pair.peer))?;
    Ok(compare(name, "mounts/s", &all, Goal::AtLeast(5.0), |t| MOUNTS as f64 / t.seconds))
}
