//! The one place that turns refusals into problems; each code has an entry in docs/errors.md.

use gantry_host::AsProblem;
use gantry_kernel::{Kind, Problem};
use sea_orm::DbErr;

use crate::adapters::git::GitError;
use crate::domain::{RunRefusal, SourceRefusal};

impl AsProblem for SourceRefusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::NameTaken => Problem::conflict("cicd.repository_exists", self.to_string()),
            Self::NoSuchRepository => Problem::new(Kind::NotFound, "request.not_found", self.to_string()),
        }
    }
}

impl AsProblem for RunRefusal {
    fn as_problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::NoSuchRun | Self::NoSuchStep(_) => Problem::new(Kind::NotFound, "request.not_found", text),
            Self::AlreadyOver => Problem::conflict("cicd.run_over", text),
            Self::NotWaiting(_) => Problem::conflict("cicd.not_waiting", text),
            Self::NotReady(_) | Self::NotStarted(_) | Self::NotRunning | Self::NotDone => Problem::conflict("cicd.run_state", text),
        }
    }
}

pub fn database(error: DbErr) -> Problem {
    Problem::unavailable("the database").with_source(error)
}

pub fn git(error: GitError) -> Problem {
    Problem::internal(error)
}
