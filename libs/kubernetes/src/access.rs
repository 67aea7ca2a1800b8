//! How a cluster is reached and how we are let in. Holds secrets: it is sealed before it is stored and never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a pod finds the account it was given (kubernetes.io/docs/tasks/run-application/access-api-from-pod).
pub const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `https://host:port`
    pub server: String,
    /// The authorities to trust, PEM; the machine's if none.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// The name in the server's certificate if it is not the host's.
    #[serde(default)]
    pub tls_server_name: Option<String>,
    /// Trust any certificate.
    #[serde(default)]
    pub insecure: bool,
    pub credential: Credential,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Credential {
    Token {
        token: String,
    },
    Certificate {
        certificate_pem: String,
        key_pem: String,
    },
    /// A program that prints an `ExecCredential`.
    Exec(Exec),
    /// The account of the pod that this process runs in; its token and authority are read again as they are renewed.
    InCluster {
        folder: String,
    },
}

impl Credential {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Certificate { .. } => "certificate",
            Self::Exec(_) => "exec",
            Self::InCluster { .. } => "in-cluster",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// `client.authentication.k8s.io/v1` or `v1beta1`.
    pub api_version: String,
    pub command: String,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Also tell it which cluster it is for.
    #[serde(default)]
    pub provide_cluster_info: bool,
}

impl Access {
    /// As a pod of the cluster itself.
    pub fn in_cluster(host: &str, port: &str) -> Self {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Self {
            server: format!("https://{host}:{port}"),
            ca_pem: None,
            tls_server_name: None,
            insecure: false,
            credential: Credential::InCluster { folder: IN_CLUSTER.to_owned() },
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("server", &self.server).field("credential", &self.credential).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(..)", self.word())
    }
}
