//! Appends: durable, version-checked, gapless, over gRPC with certificates, beside pgbench inserting the same row into a table
//! of the same shape in the same Postgres. The relay publishes what is appended meanwhile, as it always does; what is left to it at the end
//! of our turn it does before the anchor's begins.

use anyhow::Result;

use crate::bench::figure::{Figure, Goal};
use crate::bench::ledger::Callers;
use crate::bench::results::Figures;
use crate::bench::rounds::interleaved;
use crate::bench::stage::{CALLERS, HUNDRED, HUNDRED_ROWS, Stage, insert, locked};
use crate::bench::{Options, former};

pub const FIGURES: &[&str] = &["append-single", "append-locked", "append-hundred"];

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let stage = Stage::set()?;
    let mut figures = Figures::default();
    let mut compare = |name, anchor_name, script: &str, size: usize, goal| -> Result<()> {
        if !options.wants("event-log", name) {
            return Ok(());
        }
        former::say(name);
        let anchor = stage.pgbench(name, script)?;
        let mut callers = Callers::new(stage.channel()?, name, CALLERS);
        #[allow(clippy::cast_precision_loss, reason = "1 or 100")]
        let rows = size as f64;
        let ours = || {
            stage.run(async {
                let rate = callers.append(size, options.round()).await?;
                stage.published().await?;
                anyhow::Ok(rate)
            })
        };
        let rounds = interleaved(options.rounds, ours, || Ok(anchor.rate(options.round())? * rows))?;
        figures.push(Figure::compared(name, "events/s", anchor_name, rounds, goal));
        Ok(())
    };
    compare("append-single", "pgbench, 32 clients, 1-row insert, no order", &insert(1), 1, Goal::AtLeast(1.5))?;
    compare("append-locked", "pgbench, 32 clients, 1-row insert under the lock", &locked(), 1, Goal::AtLeast(5.0))?;
    compare("append-hundred", HUNDRED_ROWS, &insert(HUNDRED), HUNDRED, Goal::AtLeast(0.6))?;
    figures.all()
}
