//! From an append in one service to a committed row in another's projection, over JetStream.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ledger::{Callers, Statement};
use crate::bench::results::Figures;
use crate::bench::rounds::{interleaved, median, quantile_ms};
use crate::bench::stage::{HUNDRED, HUNDRED_ROWS, Stage, insert};

pub const FIGURES: &[&str] = &["delivery-sustained", "delivery-latency"];

/// Enough to keep every part busy; more would only wait.
const WRITERS: usize = 4;
/// How far appends may run ahead of the projection: what is sustained is measured, not what can be piled up.
const AHEAD: i64 = 10_000;
const LOAD: f64 = 0.3;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let stage = Stage::set()?;
    let reached = stage.run(stage.reader.subscribe("ledger", Arc::new(Statement)))?;
    let anchor = stage.pgbench("hundred", &insert(HUNDRED))?;
    let mut callers = Callers::new(stage.channel()?, "delivery", WRITERS);
    // The first reads and connections are nobody's daily life.
    stage.run(sustained(&mut callers, &stage, &reached, Duration::from_secs(1)))?;
    #[allow(clippy::cast_precision_loss, reason = "100")]
    let rounds = interleaved(
        options.rounds,
        || stage.run(sustained(&mut callers, &stage, &reached, options.round())),
        || Ok(anchor.rate(options.round())? * HUNDRED as f64),
    )?;
    let rate = median(rounds.iter().map(|r| r.ours).collect());
    let mut figures = Figures::default();
    figures.push(Figure::compared("delivery-sustained", "events/s", HUNDRED_ROWS, rounds, Goal::AtLeast(0.3)));
    if options.wants("delivery", "delivery-latency") {
        let times = (0..options.rounds).map(|_| stage.run(latency(&mut callers, &reached, rate * LOAD, options.round())));
        figures.push(Figure::at_most("delivery-latency", "ms p99 at 30 % load", times.collect::<Result<_>>()?, 50.0));
    }
    figures.all()
}

/// Events per second from the first append to the last committed row.
async fn sustained(callers: &mut Callers, stage: &Stage, reached: &watch::Receiver<i64>, how_long: Duration) -> Result<f64> {
    let started = Instant::now();
    let rate = callers.append_while(HUNDRED, how_long, Some((reached.clone(), AHEAD))).await?;
    let appending = started.elapsed();
    let head = stage.ledger.log().head();
    let all = reached.clone().wait_for(|at| *at >= head).await.map(|_| ());
    all.context("the projection's runner ended")?;
    Ok(rate * appending.as_secs_f64() / started.elapsed().as_secs_f64())
}

/// The time from a call to the committed row of its last event, at a steady rate of events.
async fn latency(callers: &mut Callers, reached: &watch::Receiver<i64>, rate: f64, how_long: Duration) -> Result<f64> {
    let seen: Arc<Mutex<Vec<(i64, Instant)>>> = Arc::default();
    let watching = {
        let (seen, mut reached) = (seen.clone(), reached.clone());
        tokio::spawn(async move {
            while reached.changed().await.is_ok() {
                let at = *reached.borrow_and_update();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push((at, Instant::now()));
            }
        })
    };
    #[allow(clippy::cast_precision_loss, reason = "100")]
    let calls = callers.steadily(HUNDRED, HUNDRED as f64 / rate, how_long).await?;
    let last = calls.iter().map(|(position, _)| *position).max().context("there were calls")?;
    let settled = tokio::time::timeout(Duration::from_secs(30), async { reached.clone().wait_for(|at| *at >= last).await.map(|_| ()) });
    settled.await.context("the projection did not catch up in 30 s")??;
    // The watcher learns of it no later than we do, or at once.
    tokio::time::sleep(Duration::from_millis(50)).await;
    watching.abort();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let times = calls.iter().map(|(position, called)| {
        let committed = seen.iter().find(|(at, _)| at >= position).map(|(_, when)| *when);
        Ok(committed.context("every event was seen")?.saturating_duration_since(*called))
    });
    Ok(quantile_ms(times.collect::<Result<_>>()?, 0.99))
}
