//! What can go wrong when talking to the runtime.

use std::path::PathBuf;
use std::time::Duration;

/// `Display` is one sentence an operator can act on; the gRPC status is the source.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    #[error("the container runtime at {} does not answer", socket.display())]
    Unreachable {
        socket: PathBuf,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("the container runtime did not finish {verb} within {after:?}")]
    TimedOut { verb: &'static str, after: Duration },
    #[error("there is no such {verb} target")]
    NotFound {
        verb: &'static str,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("the container runtime failed at {verb}: {detail}")]
    Failed {
        verb: &'static str,
        detail: String,
        #[source]
        source: Box<tonic::Status>,
    },
    #[error("the container runtime's answer to {verb} lacks `{field}`")]
    Incomplete { verb: &'static str, field: &'static str },
    #[error("the container runtime's session at {address} could not be opened: {detail}")]
    Session { address: String, detail: String },
    #[error("log directory {} cannot be made", path.display())]
    LogDirectory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl CriError {
    pub(crate) fn status(verb: &'static str, status: tonic::Status) -> Self {
        match status.code() {
            // containerd wraps some "not found" errors of the snapshotter and the image store as Unknown.
            tonic::Code::NotFound => Self::NotFound { verb, source: Box::new(status) },
            _ => Self::Failed { verb, detail: status.message().to_owned(), source: Box::new(status) },
        }
    }

    /// The pod, container or image is not there (any more).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The runtime itself is away; trying again later makes sense.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Failed { source, .. } => source.code() == tonic::Code::Unavailable,
            Self::TimedOut { .. } | Self::NotFound { .. } | Self::Incomplete { .. } | Self::Session { .. } | Self::LogDirectory { .. } => false,
        }
    }
}
