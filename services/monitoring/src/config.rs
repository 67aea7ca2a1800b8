//! `[monitoring]`. Where Prometheus is stands in `[platform]`.

use gantry_host::Section;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long containers' lines are kept. 1 to 3650.
    pub log_retention_days: u32,
    /// Live streams (logs, events) at once; more are told to come back.
    pub live_streams: usize,
    /// How often alert rules are evaluated. 1 to 3600.
    pub alert_seconds: u32,
    /// How long changes of alerts are kept. 1 to 3650.
    pub alert_history_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { log_retention_days: 30, live_streams: 500, alert_seconds: 15, alert_history_days: 90 }
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if !(1..=3_650).contains(&self.log_retention_days) {
            faults.push(format!("log_retention_days = {}: must be 1 to 3650", self.log_retention_days));
        }
        if self.live_streams == 0 {
            faults.push("live_streams = 0: must be at least 1".into());
        }
        if !(1..=3_600).contains(&self.alert_seconds) {
            faults.push(format!("alert_seconds = {}: must be 1 to 3600", self.alert_seconds));
        }
        if !(1..=3_650).contains(&self.alert_history_days) {
            faults.push(format!("alert_history_days = {}: must be 1 to 3650", self.alert_history_days));
        }
    }
}
