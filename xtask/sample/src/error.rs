//! Refusals as problems.

use gantry_host::AsProblem;
use gantry_kernel::Problem;

use crate::domain::item::Refusal;

impl AsProblem for Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Empty | Self::TooLong { .. } => Problem::invalid("text", self.to_string()),
        }
    }
}
