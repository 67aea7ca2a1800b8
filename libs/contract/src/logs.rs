//! Lines that containers print, on their way from the agent to the log store. On stream `GANTRY_LOGS`.

use gantry_kernel::{AppId, InstanceId, OffsetDateTime};
use serde::{Deserialize, Serialize};

/// Some consecutive lines of one instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogBatch {
    pub org: String,
    pub project: String,
    pub space: String,
    pub app: String,
    pub app_id: AppId,
    pub workload: String,
    pub instance: InstanceId,
    pub node: String,
    /// Byte offset in the container's log file of the first line; with `instance` and `file` it makes the batch unique.
    pub offset: u64,
    /// Which start of the container (0, 1, ...).
    pub attempt: u32,
    pub lines: Vec<LogLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogLine {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `stdout` or `stderr`.
    pub stream: String,
    pub text: String,
}
