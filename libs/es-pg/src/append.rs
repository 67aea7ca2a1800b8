//! What an append asks and answers.

use std::sync::Arc;

use gantry_es::{Meta, NewEvent, Recorded, StreamId};
use thiserror::Error;

/// Events for one stream.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    pub stream: StreamId,
    /// The version the writer has seen (0: no stream yet); `None` does not check.
    pub expected: Option<i64>,
    pub events: Vec<NewEvent>,
}

/// A unique name taken or given back in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Take { scope: String, name: String },
    Release { scope: String, name: String },
}

impl Claim {
    pub fn take(scope: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Take { scope: scope.into(), name: name.into() }
    }

    pub fn release(scope: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Release { scope: scope.into(), name: name.into() }
    }

    pub(crate) fn key(&self) -> (&str, &str) {
        match self {
            Self::Take { scope, name } | Self::Release { scope, name } => (scope, name),
        }
    }
}

/// All or nothing: events for one or several streams, with name claims. `meta.command_id` makes it happen once.
#[derive(Clone, Debug)]
pub struct Append {
    pub writes: Vec<StreamWrite>,
    pub claims: Vec<Claim>,
    pub meta: Meta,
}

impl Append {
    pub fn one(stream: StreamId, expected: Option<i64>, events: Vec<NewEvent>, meta: Meta) -> Self {
        Self { writes: vec![StreamWrite { stream, expected, events }], claims: Vec::new(), meta }
    }
}

/// What became of an append.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The events as recorded, in order; shared with whoever follows the log.
    pub events: Vec<Arc<Recorded>>,
    /// Position of the last one.
    pub position: i64,
}

#[derive(Debug, Error)]
pub enum AppendError {
    #[error("stream {stream} is at version {actual}, not {expected}")]
    Stale { stream: StreamId, expected: i64, actual: i64 },
    #[error("the name `{name}` is taken")]
    NameTaken { scope: String, name: String, by: StreamId },
    /// The command was carried out before; the stream it wrote then, and how far.
    #[error("this command was carried out before")]
    Repeated { stream: StreamId, version: i64, position: i64 },
    #[error("the event log is shutting down")]
    Closed,
    #[error("too many appends are waiting")]
    Overloaded,
    #[error("the database refused the append")]
    Sql(#[source] Arc<sqlx::Error>),
}

pub(crate) type Answer = Result<Appended, AppendError>;
