//! What the suite takes while nothing happens: memory and processor of the process that holds all services.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::bench::Options;
use crate::bench::figure::Figure;

/// Of Linux on every architecture we run on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let home = std::env::var_os("GANTRY_HOME").map_or_else(|| PathBuf::from(".gantry"), PathBuf::from);
    let file = home.join("run/gantryd.pid");
    let text = fs::read_to_string(&file).with_context(|| format!("no {}: `make up` first", file.display()))?;
    let pid = text.split_whitespace().next().context("the pid file is empty")?.to_owned();
    let (mut memory, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (ticks, since) = (ticks(&pid)?, Instant::now());
        sleep(options.round());
        let used = (self::ticks(&pid)? - ticks) / TICKS_PER_SECOND;
        processor.push(100.0 * used / since.elapsed().as_secs_f64());
        memory.push(resident_mib(&pid)?);
    }
    Ok(vec![Figure::at_most("idle-memory", "MiB resident", memory, 250.0), Figure::at_most("idle-processor", "% of one core", processor, 2.0)])
}

/// User and system time (proc(5), `stat`, fields 14 and 15), in clock ticks.
fn ticks(pid: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("gantryd does not run")?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("an odd stat line")?.1.split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).context("an odd stat line");
    Ok(field(11)? + field(12)?)
}

fn resident_mib(pid: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("gantryd does not run")?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).and_then(|l| l.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
