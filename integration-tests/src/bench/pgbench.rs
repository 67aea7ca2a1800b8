//! Postgres' own load generator, the anchor of everything that writes rows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gantry_servers::Need;

/// One script against one database.
pub struct PgBench {
    program: PathBuf,
    script: PathBuf,
    url: String,
    /// `name=value` of the script's variables.
    defined: Vec<String>,
    /// Connections at once.
    pub clients: u32,
}

impl PgBench {
    /// `script` in pgbench's own language; written below `folder` as `<name>.sql`.
    ///
    /// # Errors
    /// When Postgres' programs are not on this machine.
    pub fn new(folder: &Path, name: &str, script: &str, url: &str) -> Result<Self> {
        let postgres = Need::Postgres.find().map_err(|why| anyhow::anyhow!("PostgreSQL: {why}"))?;
        let program = postgres.path.with_file_name("pgbench");
        let file = folder.join(format!("{name}.sql"));
        std::fs::write(&file, script)?;
        Ok(Self { program, script: file, url: url.to_owned(), defined: Vec::new(), clients: 32 })
    }

    /// Gives the script a variable, which is sent with every execution.
    #[must_use]
    pub fn defining(mut self, name: &str, value: &str) -> Self {
        self.defined.push(format!("{name}={value}"));
        self
    }

    /// Transactions per second over `how_long`, without the time to connect; statements are prepared once per connection.
    ///
    /// # Errors
    /// When pgbench fails or a transaction of it did.
    pub fn rate(&self, how_long: Duration) -> Result<f64> {
        let clients = self.clients.to_string();
        let seconds = how_long.as_secs().max(1).to_string();
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(self.clients as usize).to_string();
        let output = Command::new(&self.program)
            .args(["-n", "-M", "prepared", "-c", &clients, "-j", &threads, "-T", &seconds, "-f"])
            .arg(&self.script)
            .args(self.defined.iter().flat_map(|variable| ["-D", variable.as_str()]))
            .arg(&self.url)
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("pgbench: {}: {}{}", output.status, text, String::from_utf8_lossy(&output.stderr).trim());
        }
        rate_of(&text).with_context(|| format!("pgbench said no rate:\n{text}"))
    }
}

/// From `tps = 6812.123456 (without initial connection time)`.
fn rate_of(text: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix("tps = "))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_pgbench_prints() {
        let text = "number of failed transactions: 0 (0.000%)\nlatency average = 2.1 ms\ntps = 6812.500000 (without initial connection time)\n";
        assert_eq!(rate_of(text), Some(6812.5));
        assert_eq!(rate_of("no rate"), None);
    }
}
