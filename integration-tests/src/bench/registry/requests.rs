//! What one small request costs with a token that is valid: is this image there, and what is in it.

use std::time::Instant;

use anyhow::Result;

use super::side::{Small, took};
use super::{Pair, Wanted};
use crate::bench::figure::Figure;

const CONNECTIONS: usize = 8;
const LIMIT_MS: f64 = 0.08;

pub fn measure(wanted: &Wanted<'_>, pair: &Pair) -> Result<Vec<Figure>> {
    if !wanted.any(&["registry-head", "registry-manifest"]) {
        return Ok(Vec::new());
    }
    let side = &pair.ours;
    let (repository, image) = (super::repository(0), Small::new(2_000));
    side.push_small(&mut side.connect()?, &repository, "asked", &image)?;
    let mut figures = Vec::new();
    for (name, method) in [("registry-head", "HEAD"), ("registry-manifest", "GET")] {
        let Some(name) = wanted.named(name, "") else { continue };
        let mut rounds = Vec::new();
        for _ in 0..wanted.rounds() {
            let lines = (0..CONNECTIONS).map(|_| side.connect()).collect::<Result<Vec<_>>>()?;
            let end = Instant::now() + wanted.seconds();
            let mut requests = 0;
            let took = took(side, || {
                std::thread::scope(|scope| {
                    let running: Vec<_> = lines
                        .into_iter()
                        .map(|mut line| {
                            let repository = &repository;
                            scope.spawn(move || -> Result<u64> {
                                let mut done = 0;
                                while Instant::now() < end {
                                    side.ask(&mut line, method, repository, "manifests/asked", "", &[])?.expect(200)?;
                                    done += 1;
                                }
                                Ok(done)
                            })
                        })
                        .collect();
                    for one in running {
                        requests += one.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
                    }
                    Ok(())
                })
            })?;
            rounds.push(took.cpu * 1e3 / requests as f64);
        }
        figures.push(Figure::at_most(name, "ms CPU/request", rounds, LIMIT_MS));
    }
    Ok(figures)
}
