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
            Self::ScalesItself(_) => Problem::conflict("scheduler.scales_itself", self.to_string()),
            Self::NoScaling(_) => Problem::conflict("scheduler.no_scaling", self.to_string()),
            Self::NoRelease => Problem::conflict("scheduler.no_release", self.to_string()),
            Self::NoSteps => Problem::conflict("scheduler.no_steps", self.to_string()),
            Self::NothingBefore => Problem::conflict("scheduler.nothing_before", self.to_string()),
            Self::Unreadable(_) => Problem::conflict("scheduler.revision_unreadable", self.to_string()),
            Self::NoRevision(_) => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
        }
    }
}

/// Everything that is wrong with a document, each with its line.
pub fn refused_document(remarks: &[Remark]) -> Problem {
    // A path of a file is written before the line, as compilers do.
    let place = |r: &Remark| if r.file.is_empty() { "document".to_owned() } else { r.file.clone() };
    let fault = |r: &Remark| FieldFault { field: format!("{}:{}:{}", place(r), r.line, r.path), detail: r.detail.clone() };
    let faults: Vec<FieldFault> = remarks.iter().map(fault).collect();
    let only_unsupported = remarks.iter().all(|r| r.level != Level::Wrong);
    let mut problem = Problem::invalid_fields(faults);
    let lines: Vec<String> = remarks
        .iter()
        .map(|r| match r.file.as_str() {
            "" => format!("line {}: {}: {}", r.line, r.path, r.detail),
            file => format!("{file} line {}: {}: {}", r.line, r.path, r.detail),
        })
        .collect();
    problem.detail = lines.join("; ");
    if only_unsupported {
        problem.code = "scheduler.unsupported";
        problem.detail.push_str(" (send `allow_unsupported`, or `gantry app deploy --accept-unsupported`, to go on without these)");
    } else {
        problem.code = "scheduler.document_invalid";
    }
    problem
}
