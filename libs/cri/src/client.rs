//! The connection: one HTTP/2 channel over the runtime's unix socket, which reconnects by itself.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::CriError;
use crate::wire::image_service_client::ImageServiceClient;
use crate::wire::runtime_service_client::RuntimeServiceClient;
use crate::wire::{StatusRequest, VersionRequest};

/// Most answers come at once; this only bounds a runtime that hangs.
pub(crate) const SHORT: Duration = Duration::from_secs(30);
/// Pods need the network plug-ins, stops need their grace, pulls need the network: these take longer.
pub(crate) const LONG: Duration = Duration::from_secs(240);
pub(crate) const PULL: Duration = Duration::from_secs(900);
const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// A client of one container runtime. Cheap to clone; every clone shares the connection.
#[derive(Clone)]
pub struct Cri {
    pub(crate) runtime: RuntimeServiceClient<Channel>,
    pub(crate) images: ImageServiceClient<Channel>,
}

/// Who answers on the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// "containerd", "cri-o".
    pub runtime: String,
    pub version: String,
}

impl Cri {
    /// Opens the runtime's socket and makes sure that something answering CRI v1 is behind it.
    ///
    /// # Errors
    /// [`CriError::Unreachable`] if nothing answers there.
    pub async fn connect(socket: impl AsRef<Path>) -> Result<Self, CriError> {
        let socket = socket.as_ref().to_owned();
        let cri = Self::lazy(&socket);
        match cri.version().await {
            Ok(_) => Ok(cri),
            Err(CriError::Failed { source, .. } | CriError::NotFound { source, .. }) => Err(CriError::Unreachable { socket, source }),
            Err(other) => Err(other),
        }
    }

    /// A client that opens the socket at its first call, and again whenever the runtime was restarted.
    pub fn lazy(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The name is never resolved; HTTP/2 only wants an authority.
        let channel = Endpoint::from_static("http://runtime.local").connect_with_connector_lazy(connector);
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
        }
    }

    /// Name and version of the runtime.
    ///
    /// # Errors
    /// As every call: [`CriError::Failed`] or [`CriError::TimedOut`].
    pub async fn version(&self) -> Result<Version, CriError> {
        let mut client = self.runtime.clone();
        let answer = bounded("version", SHORT, client.version(VersionRequest { version: "v1".into() })).await?;
        Ok(Version { runtime: answer.runtime_name, version: answer.runtime_version })
    }

    /// Faults the runtime reports about itself ("NetworkReady: cni plugin not initialized"); empty = it can run pods.
    ///
    /// # Errors
    /// As every call.
    pub async fn faults(&self) -> Result<Vec<String>, CriError> {
        let mut client = self.runtime.clone();
        let answer = bounded("status", SHORT, client.status(StatusRequest { verbose: false })).await?;
        let conditions = answer.status.map(|s| s.conditions).unwrap_or_default();
        Ok(conditions.into_iter().filter(|c| !c.status).map(|c| format!("{}: {}", c.r#type, c.message)).collect())
    }
}

impl Cri {
    /// The image that holds pods together, if the runtime tells (containerd does); it must never be removed.
    ///
    /// # Errors
    /// As every call.
    pub async fn sandbox_image(&self) -> Result<Option<String>, CriError> {
        let answer = bounded("status", SHORT, self.runtime.clone().status(StatusRequest { verbose: true })).await?;
        let config = answer.info.get("config").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        Ok(config.and_then(|c| c["sandboxImage"].as_str().map(str::to_owned)))
    }

    /// What can stand in [`crate::PodSpec::runtime_class`], sorted; empty = the runtime does not tell. Newer runtimes say it in so many
    /// words, containerd before 2.0 in its configuration.
    ///
    /// # Errors
    /// As every call.
    pub async fn handlers(&self) -> Result<Vec<Handler>, CriError> {
        let answer = bounded("status", SHORT, self.runtime.clone().status(StatusRequest { verbose: true })).await?;
        let config = answer.info.get("config").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()).unwrap_or_default();
        let told = answer.runtime_handlers.into_iter().map(|h| h.name);
        Ok(handlers(told, &config))
    }
}

/// A way of running containers that the runtime is configured for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handler {
    /// "runc", "crun", "kata".
    pub name: String,
    /// The program that its configuration names, if it names one.
    pub program: Option<PathBuf>,
    /// Where it keeps the state of its containers, if its configuration says so.
    pub root: Option<PathBuf>,
}

/// `told`: by name. `config`: containerd's, as its status shows it (`containerd.runtimes.<name>`).
fn handlers(told: impl Iterator<Item = String>, config: &serde_json::Value) -> Vec<Handler> {
    let configured = config["containerd"]["runtimes"].as_object();
    let of = |runtime: &serde_json::Value, option: &str| runtime["options"][option].as_str().filter(|p| !p.is_empty()).map(PathBuf::from);
    let option = |name: &str, option: &str| configured.and_then(|c| of(c.get(name)?, option));
    let names = told.chain(configured.into_iter().flatten().map(|(name, _)| name.clone()));
    let mut out: Vec<Handler> = names
        .map(|name| Handler { program: option(&name, "BinaryName"), root: option(&name, "Root"), name })
        .filter(|handler| !handler.name.is_empty())
        .collect();
    out.sort();
    out.dedup_by(|a, b| a.name == b.name);
    out
}

/// Runs a call with a deadline and names it in the error.
pub(crate) async fn bounded<T>(
    verb: &'static str,
    after: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, CriError> {
    match tokio::time::timeout(after, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(CriError::status(verb, status)),
        Err(_) => Err(CriError::TimedOut { verb, after }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_those_that_are_told_and_those_of_the_configuration() {
        let config = serde_json::json!({"containerd": {"runtimes": {"runc": {"options": {}}, "crun": {"options": {"BinaryName": "/opt/crun"}}}}});
        let names = |told: &[&str]| handlers(told.iter().map(|t| (*t).to_owned()), &config).into_iter().map(|h| h.name).collect::<Vec<_>>();
        assert_eq!(names(&[]), ["crun", "runc"]);
        // The empty one is the default, which bears a name as well.
        assert_eq!(names(&["", "kata", "runc"]), ["crun", "kata", "runc"]);
        assert_eq!(handlers(["crun".to_owned()].into_iter(), &config)[0].program.as_deref(), Some(Path::new("/opt/crun")));
        assert!(handlers(std::iter::empty(), &serde_json::Value::Null).is_empty());
    }
}
