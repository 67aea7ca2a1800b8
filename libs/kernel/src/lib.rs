//! The words every other crate speaks: typed ids and names, time and randomness as arguments, and the one error type
//! that crosses a border. No I/O here, and nothing about any one service.

mod env;
mod id;
mod name;
mod ordered;
pub mod pattern;
mod problem;
mod scope;
mod secret;

pub use env::{Clock, Env, FixedClock, IdSource, SystemClock, SystemIds};
pub use id::*;
pub use name::{Name, NameError, Username};
pub use problem::{FieldFault, Kind, Problem, Result};
pub use scope::{Role, Scope, ScopeError};
pub use secret::Secret;

pub use time::OffsetDateTime;
pub use uuid::Uuid;
