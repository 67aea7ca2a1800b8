//! A space on several Kubernetes clusters: what is said of them, which of them has how much of what, how that moves from one
//! to another, and when a cluster is lost. Whoever asks the clusters calls this; nothing here does.

mod moving;
mod portion;
mod pulse;
mod settings;
mod share;

pub use moving::{Pace, Stand, step};
pub use portion::{Part, overridden, portion};
pub use pulse::{Moment, Pulse, Turn};
pub use settings::{ClusterOverrides, Fleet, FleetMember, FleetPolicy};
pub use share::{Asked, Bound, Share, Site, bound, divide, shares};
