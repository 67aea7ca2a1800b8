//! What processes have used of the machine, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// Of Linux on every architecture we run on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time, user and system, that these processes have used (proc(5), `stat`, fields 14 and 15).
///
/// # Errors
/// When one of them has ended.
pub fn cpu_of(pids: &[u32]) -> Result<f64> {
    let mut ticks = 0.0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
        let fields: Vec<&str> = stat.rsplit_once(')').context("an odd stat line")?.1.split_whitespace().collect();
        for field in [11, 12] {
            ticks += fields.get(field).and_then(|f| f.parse::<f64>().ok()).context("an odd stat line")?;
        }
    }
    Ok(ticks / TICKS_PER_SECOND)
}

/// Memory of a process that is in use now, in MiB (proc(5), `VmRSS`).
///
/// # Errors
/// When it has ended.
pub fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has ended"))?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).and_then(|l| l.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
