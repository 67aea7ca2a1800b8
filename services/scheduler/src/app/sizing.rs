//! What a workload's instances have used lately, and what they should therefore reserve.

use gantry_kernel::Problem;
use serde::Serialize;

use super::context::Scheduler;
use super::view::Seeing;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SizingBody {
    pub workload: String,
    pub cpu_millis: u32,
    pub memory_bytes: u64,
    /// 15 % above what the busiest instance used 95 % of the time; none where nothing is recorded.
    pub recommended_cpu_millis: Option<u32>,
    /// 20 % above the most that an instance used.
    pub recommended_memory_bytes: Option<u64>,
    /// How much of the last seven days is recorded.
    pub hours: f64,
    pub reason: String,
}

const MIB: f64 = 1_048_576.0;
const LEAST_CPU: f64 = 10.0;
const LEAST_MIB: f64 = 16.0;

/// Of all workloads that reserve anything.
///
/// # Errors
/// When the metrics store is away.
pub async fn all(s: &Scheduler, seeing: &Seeing) -> Result<Vec<SizingBody>, Problem> {
    let home = &seeing.view.home;
    let away = |text: String| Problem::unavailable("the metrics store").with_source(std::io::Error::other(text));
    let mut out = Vec::new();
    for (name, workload) in &seeing.outline().workloads {
        // Names have no characters that PromQL could misread.
        let own = format!(
            "org=\"{}\",project=\"{}\",space=\"{}\",app=\"{}\",workload=\"{name}\"",
            home.org_name, home.project_name, home.space_name, seeing.view.name
        );
        let cpu = format!("1000 * quantile_over_time(0.95, (max(rate(gantry_container_cpu_seconds_total{{{own}}}[5m])))[7d:5m])");
        let memory = format!("max(max_over_time(gantry_container_memory_bytes{{{own}}}[7d]))");
        let since = format!("time() - min(min_over_time(timestamp(gantry_container_memory_bytes{{{own}}})[7d:1m]))");
        let (cpu, memory, since) = tokio::try_join!(s.prometheus.number(&cpu), s.prometheus.number(&memory), s.prometheus.number(&since)).map_err(away)?;
        let hours = since.unwrap_or(0.0) / 3600.0;
        let (now_cpu, now_memory) = (workload.requests.cpu_millis, workload.requests.memory_bytes);
        let (recommended_cpu_millis, recommended_memory_bytes) = (cpu.map(for_cpu), memory.map(for_memory));
        let reason = match (cpu, memory) {
            (Some(cpu), Some(memory)) => format!("the busiest instance used {cpu:.0} millicores 95 % of the time, and {:.0} MiB at most", memory / MIB),
            (None, Some(memory)) => format!("an instance used {:.0} MiB at most; of processors too little is recorded", memory / MIB),
            _ => "nothing is recorded yet".into(),
        };
        out.push(SizingBody {
            workload: name.to_string(),
            cpu_millis: now_cpu,
            memory_bytes: now_memory,
            recommended_cpu_millis,
            recommended_memory_bytes,
            hours: (hours * 10.0).round() / 10.0,
            reason,
        });
    }
    Ok(out)
}

fn for_cpu(used: f64) -> u32 {
    (used * 1.15).max(LEAST_CPU).ceil().min(1e9) as u32
}

/// In whole MiB.
fn for_memory(used: f64) -> u64 {
    let mib = (used * 1.2 / MIB).max(LEAST_MIB).ceil();
    (mib * MIB) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recommended_is_a_little_more_than_what_was_used() {
        assert_eq!((for_cpu(100.0), for_cpu(0.1)), (115, 10));
        assert_eq!((for_memory(100.0 * MIB), for_memory(1.0)), (120 << 20, 16 << 20));
    }
}
