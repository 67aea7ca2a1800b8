//! Waiting for long work: a bar on a terminal, a line per change elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Between two looks. The lists can be watched as well; a look is simpler and long work is rare.
const INTERVAL: Duration = Duration::from_millis(700);

pub struct Progress {
    bar: ProgressBar,
    said: String,
    start: Instant,
    limit: Duration,
}

/// What one look saw.
pub struct Seen {
    pub done: u64,
    pub of: u64,
    pub text: String,
    pub finished: bool,
}

impl Progress {
    /// # Errors
    /// Never in practice: the template is fixed.
    pub fn new(limit: Duration) -> Result<Self> {
        let style = ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} {msg} ({elapsed})")?;
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(1).with_style(style) } else { ProgressBar::hidden() };
        bar.enable_steady_tick(Duration::from_millis(150));
        Ok(Self { bar, said: String::new(), start: Instant::now(), limit })
    }

    /// Shows it; true when there is nothing more to wait for. Sleeps until the next look otherwise.
    ///
    /// # Errors
    /// When the time is up.
    pub async fn step(&mut self, seen: Seen) -> Result<bool> {
        self.bar.set_length(seen.of.max(1));
        self.bar.set_position(seen.done.min(seen.of));
        self.bar.set_message(seen.text.clone());
        if self.bar.is_hidden() && seen.text != self.said {
            eprintln!("{}/{} {}", seen.done, seen.of, seen.text);
            self.said.clone_from(&seen.text);
        }
        if seen.finished {
            self.bar.finish_and_clear();
            return Ok(true);
        }
        if self.start.elapsed() > self.limit {
            self.bar.finish_and_clear();
            bail!("not done after {} s: {}; it goes on without this command", self.limit.as_secs(), seen.text);
        }
        tokio::time::sleep(INTERVAL).await;
        Ok(false)
    }
}
