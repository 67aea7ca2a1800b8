//! `[billing]`.

use gantry_contract::billing::Limits;
use gantry_host::Section;
use serde::{Deserialize, Serialize};

use crate::domain::{money, quota};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Of the built-in price plans (ISO 4217). Looked at on the first start only.
    pub currency: String,
    /// Limits of every organisation, project and user for which nobody has set others; absent: none.
    pub org_limits: Limits,
    pub project_limits: Limits,
    pub user_limits: Limits,
    /// How long after its end a month waits for late samples before its invoices are issued. 1 to 240.
    pub invoice_grace_hours: u32,
    /// How long single samples are kept; hour sums and invoices stay. 7 to 3650.
    pub sample_retention_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        let gib = 1 << 30;
        let org = Limits {
            cpu_millis: Some(64_000),
            cpu_millis_per_container: Some(16_000),
            memory_bytes: Some(128 * gib),
            memory_bytes_per_container: Some(32 * gib),
            storage_bytes: Some(1_024 * gib),
            storage_bytes_per_container: Some(256 * gib),
            containers: Some(500),
        };
        Self {
            currency: "CNY".into(),
            org_limits: org,
            project_limits: Limits::default(),
            user_limits: Limits::default(),
            invoice_grace_hours: 24,
            sample_retention_days: 400,
        }
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if let Err(error) = money::check_currency(&self.currency) {
            faults.push(format!("currency = {:?}: {error}", self.currency));
        }
        for (name, limits) in [("org_limits", &self.org_limits), ("project_limits", &self.project_limits), ("user_limits", &self.user_limits)] {
            if let Err(error) = quota::check(limits) {
                faults.push(format!("{name}.{}: {error}", error.field()));
            }
        }
        if !(1..=240).contains(&self.invoice_grace_hours) {
            faults.push(format!("invoice_grace_hours = {}: must be 1 to 240", self.invoice_grace_hours));
        }
        if !(7..=3_650).contains(&self.sample_retention_days) {
            faults.push(format!("sample_retention_days = {}: must be 7 to 3650", self.sample_retention_days));
        }
    }
}
