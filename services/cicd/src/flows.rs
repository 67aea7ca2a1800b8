//! Everything that an event or a timer starts.

mod keeping;
mod metering;
mod patience;
mod projection;
mod pushes;
mod rollout;
mod runner;
mod steps;

pub use metering::Metering;
pub use projection::CicdTables;
pub use pushes::PushedTodo;
pub use runner::Runner;
pub use steps::Tools;
