//! The one place that turns the log's faults into what the user sees.

use gantry_es::DecodeError;
use gantry_es_pg::{AppendError, ExecuteError};
use gantry_kernel::{Kind, Problem};

/// A refusal of a domain, as the user sees it. Implemented by each service in its `error.rs`, by exhaustive match.
pub trait AsProblem {
    fn as_problem(&self) -> Problem;
}

/// Maps everything an `execute` can fail with.
pub fn from_execute<R: std::error::Error + AsProblem + Send + Sync + 'static>(error: ExecuteError<R>) -> Problem {
    match error {
        ExecuteError::Refused(refusal) => refusal.as_problem(),
        ExecuteError::Stale { actual, expected } => {
            Problem::new(Kind::Stale, "request.stale", format!("it is at version \"{actual}\" now, not \"{expected}\": read it again"))
        }
        ExecuteError::NameTaken { name, .. } => Problem::conflict("request.name_taken", format!("the name `{name}` is taken")),
        ExecuteError::Log(AppendError::Overloaded) => {
            Problem::new(Kind::Unavailable, "request.overloaded", "too many changes are waiting; try again").retry_after(std::time::Duration::from_secs(1))
        }
        ExecuteError::Log(error) => Problem::unavailable("the event log").with_source(error),
        ExecuteError::Read(error) => Problem::unavailable("the database").with_source(error),
        ExecuteError::Decode(error) => from_decode(error),
    }
}

/// What it means for the user that an event cannot be read.
pub fn from_decode(error: DecodeError) -> Problem {
    if !error.is_newer() {
        return Problem::internal(error);
    }
    // Another replica of this service is newer and has written it: that one can go on.
    Problem::new(Kind::Unavailable, "request.older_than_log", "a newer version of this service has changed this; try again, that version will answer")
        .with_source(error)
        .retry_after(std::time::Duration::from_secs(2))
}
