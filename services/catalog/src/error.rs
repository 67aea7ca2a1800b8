//! The catalogue's refusals as problems. Codes are listed in `docs/errors.md`.

use gantry_host::AsProblem;
use gantry_kernel::Problem;

use crate::domain::instance::Refusal;

impl AsProblem for Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Exists => Problem::conflict("catalog.instance_exists", self.to_string()),
            Self::Missing => Problem::not_found("service instance", ""),
            Self::WrongPhase(phase) => {
                let hint = if *phase == "provisioning" { "; wait until it is ready" } else { "" };
                Problem::conflict("catalog.instance_not_ready", format!("the instance is {phase}{hint}"))
            }
            Self::Bound => Problem::conflict("catalog.binding_exists", self.to_string()),
            Self::NotBound => Problem::not_found("binding", ""),
        }
    }
}
