//! What the user sees of a refusal.

use gantry_host::AsProblem;
use gantry_kernel::{FieldFault, Kind, Problem};

use crate::domain::app::Refusal;
use crate::domain::document::{Level, Remark};

impl AsProblem for Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Missing => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
            Self::NoWorkload(_) => Problem::invalid("workload", self.to_string()),
            Self::ReplicasOutOfRange => Problem::invalid("replicas", self.to_string()),
            Self::ReasonTooLong => Problem::invalid("reason", self.to_string()),
            Self::NotScalable(_) => Problem::conflict("scheduler.not_scalable", self.to_string()),
            Self::IsStopped => Problem::conflict("scheduler.app_stopped", self.to_string()),
            Self::NoRevision(_) => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
        }
    }
}

/// Everything that is wrong with a document, each with its line.
pub fn refused_document(remarks: &[Remark]) -> Problem {
    let fault = |r: &Remark| FieldFault { field: format!("document:{}:{}", r.line, r.path), detail: r.detail.clone() };
    let faults: Vec<FieldFault> = remarks.iter().map(fault).collect();
    let only_unsupported = remarks.iter().all(|r| r.level == Level::Unsupported);
    let mut problem = Problem::invalid_fields(faults);
    let lines: Vec<String> = remarks.iter().map(|r| format!("line {}: {}: {}", r.line, r.path, r.detail)).collect();
    problem.detail = lines.join("; ");
    if only_unsupported {
        problem.code = "scheduler.unsupported";
        problem.detail.push_str(" (send `allow_unsupported` to leave these out)");
    } else {
        problem.code = "scheduler.document_invalid";
    }
    problem
}
