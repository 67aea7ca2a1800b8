//! The rules of CI/CD without any I/O: what a pipeline file means, what a run may do next, what a repository remembers.

mod admission;
mod duration;
mod junit;
mod masking;
mod pipeline;
mod pipeline_file;
mod plan;
mod run;
mod source;
mod template;

pub use admission::{Limits, Waiting, admit};
pub use junit::{Report, read_junit};
pub use masking::Masker;
pub use pipeline::{Build, Container, Deploy, Pipeline, Step, Work, branch_of, matches};
pub use pipeline_file::{FileFault, parse};
pub use plan::{Action, next};
pub use run::{NewRun, Outcome, Run, RunCommand, RunDecider, RunRefusal, RunStatus, StepStatus};
pub use source::{Source, SourceCommand, SourceDecider, SourceRefusal, ZERO};
pub use template::{Values, expand};
