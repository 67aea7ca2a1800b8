//! Reading the log back: a projection built anew beside the live one, and an aggregate loaded over gRPC.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use gantry_es_pg::rebuild;

use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ledger::{Callers, Statement};
use crate::bench::results::Figures;
use crate::bench::rounds::interleaved;
use crate::bench::stage::{HUNDRED, Stage};

pub const FIGURES: &[&str] = &["projection-rebuild", "aggregate-load"];

/// Length of the log that is read: some seconds of reading.
const EVENTS: i64 = 200_000;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let stage = Stage::set()?;
    let mut figures = Figures::default();
    if options.wants("reading", "aggregate-load") {
        let mut callers = Callers::new(stage.channel()?, "loaded", 1);
        stage.run(callers.append_once(HUNDRED))?;
        // A first load to connect, and to have the aggregate as it is after a while.
        stage.run(callers.load_p99_ms(options.round() / 4))?;
        let times = (0..options.rounds).map(|_| stage.run(callers.load_p99_ms(options.round())));
        figures.push(Figure::at_most("aggregate-load", "ms p99, 100 events over gRPC", times.collect::<Result<_>>()?, 5.0));
    }
    if options.wants("reading", "projection-rebuild") {
        stage.run(stage.ledger.project(Arc::new(Statement)))?;
        let mut callers = Callers::new(stage.channel()?, "rebuilt", 8);
        while stage.ledger.log().head() < EVENTS {
            stage.run(callers.append_once(HUNDRED))?;
        }
        let head = stage.ledger.log().head();
        stage.run(stage.ledger.progress.settled(head, std::time::Duration::from_secs(300)))?;
        stage.run(stage.published())?;
        let rounds = interleaved(options.rounds, || stage.run(rebuilt(&stage)), || stage.run(read(&stage)))?;
        figures.push(Figure::compared("projection-rebuild", "events/s", "sqlx reading the log's rows in order", rounds, Goal::AtLeast(0.4)));
    }
    figures.all()
}

#[allow(clippy::cast_precision_loss, reason = "some hundred thousand")]
async fn rebuilt(stage: &Stage) -> Result<f64> {
    let started = Instant::now();
    let position = rebuild(stage.ledger.log(), &Statement).await?;
    Ok(position as f64 / started.elapsed().as_secs_f64())
}

/// Every column of every row in order, as fast as the driver hands them out; none is looked at.
#[allow(clippy::cast_precision_loss, reason = "some hundred thousand")]
async fn read(stage: &Stage) -> Result<f64> {
    let started = Instant::now();
    let mut rows = sqlx::query("select * from events order by position").fetch(&stage.ledger.db().pool);
    let mut count = 0u64;
    while rows.try_next().await.context("the log can be read")?.is_some() {
        count += 1;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}
