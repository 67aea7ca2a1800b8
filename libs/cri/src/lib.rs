//! Client of a container runtime (containerd, CRI-O) over the Kubernetes Container Runtime Interface v1.
//!
//! Owns the wire types, the connection over a unix socket, the CRI log format and one convenience: run a container to its
//! end. It knows nothing of applications or instances. Used by the agent (instances) and by cicd (pipeline steps).
//!
//! ```no_run
//! # async fn example() -> Result<(), gantry_cri::CriError> {
//! use gantry_cri::{Cri, Task};
//! let cri = Cri::connect("/run/containerd/containerd.sock").await?;
//! let task = Task::new("unit-tests", "registry.local/golang:1", "/var/log/step-1").command(["go", "test", "./..."]);
//! let ended = cri.run_to_completion(task, Default::default(), |line| println!("{}", line.text)).await?;
//! assert_eq!(ended.exit_code, 0);
//! # Ok(()) }
//! ```

mod client;
mod container;
mod error;
mod image;
pub mod log;
mod pod;
mod spdy;
mod stats;
mod stream;
mod task;

pub use client::{Cri, Handler, Version};
pub use container::{Container, ContainerSpec, ContainerState, ContainerStatus, Device, ExecOutput, Limits, Mount, Propagation, Seccomp};
pub use error::CriError;
pub use image::{Credential, ImageUser};
pub use pod::{Dns, HostPort, Pod, PodSpec, PodStatus};
pub use stats::ContainerUsage;
pub use stream::{Attach, Exec, Input, Outcome, Output, Streams};
pub use task::{Ended, Task};

/// Generated from `schemas/proto/cri/v1/cri.proto`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
mod wire {
    tonic::include_proto!("runtime.v1");
}
