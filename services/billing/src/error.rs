//! Billing's refusals as problems. Codes are listed in `docs/errors.md`.

use gantry_host::AsProblem;
use gantry_kernel::{FieldFault, Kind, Problem};

use crate::domain::amounts::Exceeded;
use crate::domain::{invoice, plan, quota};

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        // Waiting helps only when others use what is asked for.
        let code = if exceeded.asked > exceeded.allowed { "billing.quota_too_small" } else { "billing.quota_exceeded" };
        let mut problem = Self::new(Kind::QuotaExceeded, code, exceeded.to_string());
        let detail = format!("{}: limit {}, used {}, asked {}", exceeded.holder, exceeded.allowed, exceeded.used, exceeded.asked);
        problem.faults.push(FieldFault { field: exceeded.limit.to_owned(), detail });
        problem
    }
}

impl AsProblem for quota::Refusal {
    fn as_problem(&self) -> Problem {
        Problem::invalid(self.field(), self.to_string())
    }
}

impl AsProblem for plan::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Price(meter, _) | Self::Meter(meter) => Problem::invalid(format!("prices.{meter}"), self.to_string()),
            Self::Currency(_) => Problem::invalid("currency", self.to_string()),
            Self::Count => Problem::invalid("prices", self.to_string()),
            Self::CurrencyChanged(_) => Problem::conflict("billing.currency_changed", self.to_string()),
            Self::NotPublished => Problem::conflict("billing.plan_not_published", self.to_string()),
        }
    }
}

impl AsProblem for invoice::Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::PeriodOpen => Problem::conflict("billing.period_open", self.to_string()),
            Self::NotIssued => Problem::conflict("billing.not_issued", self.to_string()),
            Self::NoReason => Problem::invalid("reason", self.to_string()),
            Self::DoesNotAddUp => Problem::new(Kind::Internal, "request.internal", "internal error"),
        }
    }
}
