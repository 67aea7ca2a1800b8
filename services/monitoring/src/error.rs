//! Monitoring's refusals as problems. Codes are listed in `docs/errors.md`.

use gantry_host::AsProblem;
use gantry_kernel::{Kind, Problem};

use crate::domain::alert_rule::Refusal;

impl AsProblem for Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Threshold => Problem::invalid("threshold", self.to_string()),
            Self::TooLong => Problem::invalid("for_seconds", self.to_string()),
            Self::RestartsOfWorkload => Problem::invalid("workload", self.to_string()),
            Self::TooMany => Problem::new(Kind::QuotaExceeded, "monitoring.too_many_alert_rules", self.to_string()),
            Self::NotThere(name) => Problem::not_found("alert rule", name),
        }
    }
}
