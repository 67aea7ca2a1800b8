//! The cluster that is measured against: the one of `GANTRY_TEST_KUBECONFIG`, behind a door that counts what is asked of it, or
//! the API server of the testkit, which does what controllers and kubelets do at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use gantry_kernel::Env;
use gantry_kubernetes::{Access, Client, Credential, Options};
use gantry_servers::text_from_env;
use gantry_testkit::kubernetes::ApiServer;

/// Largest object that is sent to the cluster.
const LARGEST: usize = 4 << 20;
const KUBECONFIG: &str = "GANTRY_TEST_KUBECONFIG";
const IMAGE: &str = "GANTRY_TEST_IMAGE";

/// One request that the cluster got.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
}

impl Asked {
    /// Something is changed. Reviews are questions.
    pub fn writes(&self) -> bool {
        self.method != "GET" && !self.path.contains("/selfsubject")
    }

    /// A list of objects; what metrics servers measure is read again and again by its nature.
    pub fn lists(&self) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        let watches = self.path.contains("watch=true");
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = match parts[..] {
            ["api", _, ref rest @ ..] | ["apis", _, _, ref rest @ ..] => rest,
            _ => return false,
        };
        let collection = matches!(rest, ["namespaces", _, _] | [_]);
        self.method == "GET" && !watches && collection && !path.starts_with("/apis/metrics.k8s.io/")
    }
}

pub enum Cluster {
    Real { url: String, image: Option<String>, seen: Arc<Mutex<Vec<Asked>>> },
    Pretended(ApiServer),
}

impl Cluster {
    /// # Errors
    /// When the cluster that is named cannot be used.
    pub async fn find() -> Result<Self> {
        let Some(file) = text_from_env(KUBECONFIG) else {
            let server = ApiServer::start().await;
            server.controllers();
            return Ok(Self::Pretended(server));
        };
        let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
        let access = gantry_kubernetes::parse(&text, None).with_context(|| file.clone())?;
        let seen = Arc::default();
        let url = open(Door::new(&access, Arc::clone(&seen))?).await?;
        Ok(Self::Real { url, image: text_from_env(IMAGE), seen })
    }

    pub fn is_real(&self) -> bool {
        matches!(self, Self::Real { .. })
    }

    /// The unit of a figure, which says where it was measured.
    pub fn unit(&self, real: &'static str, pretended: &'static str) -> &'static str {
        if self.is_real() { real } else { pretended }
    }

    /// # Errors
    /// When a real cluster has to run it and it is not named.
    pub fn image(&self) -> Result<&str> {
        match self {
            Self::Real { image, .. } => image.as_deref().with_context(|| format!("{IMAGE} is not set: an image that goes on running")),
            Self::Pretended(_) => Ok("registry.example.org/echo:1"),
        }
    }

    pub fn kubeconfig(&self) -> String {
        match self {
            Self::Pretended(server) => server.kubeconfig("good"),
            Self::Real { url, .. } => format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: it\ncontexts: [{{name: it, context: {{cluster: it, user: it}}}}]\nclusters: [{{name: it, cluster: {{server: '{url}'}}}}]\nusers: [{{name: it, user: {{token: counted}}}}]\n"
            ),
        }
    }

    /// For the measurement itself.
    pub fn client(&self) -> Result<Client> {
        let access = gantry_kubernetes::parse(&self.kubeconfig(), None)?;
        Ok(Client::new(access, Options::new(Env::system()))?)
    }

    /// What has been asked since the last call, by anybody.
    pub fn asked(&self) -> Vec<Asked> {
        match self {
            Self::Real { seen, .. } => std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner)),
            Self::Pretended(server) => server.requests().into_iter().map(|r| Asked { method: r.method, path: r.path }).collect(),
        }
    }
}

/// Hands everything on to the real API server.
#[derive(Clone)]
struct Door {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Door {
    fn new(access: &Access, seen: Arc<Mutex<Vec<Asked>>>) -> Result<Self> {
        let mut builder = reqwest::Client::builder().http1_only().no_proxy().connect_timeout(Duration::from_secs(10));
        if let Some(pem) = &access.ca_pem {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
        }
        if access.insecure {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let mut token = None;
        match &access.credential {
            Credential::Token { token: given } => token = Some(given.trim().to_owned()),
            Credential::Certificate { certificate_pem, key_pem } => {
                let both = format!("{}\n{}\n", certificate_pem.trim(), key_pem.trim());
                builder = builder.identity(reqwest::Identity::from_pem(both.as_bytes())?);
            }
            Credential::Exec(_) | Credential::InCluster { .. } => bail!("{KUBECONFIG}: the bench needs a token or a certificate in it"),
        }
        Ok(Self { http: builder.build()?, server: access.server.trim_end_matches('/').to_owned(), token, seen })
    }

    async fn pass(&self, request: Request) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { method: parts.method.to_string(), path: path.clone() });
        let mut onward = self.http.request(parts.method, format!("{}{path}", self.server)).body(to_bytes(body, LARGEST).await?);
        if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
            onward = onward.header(CONTENT_TYPE, kind);
        }
        if let Some(token) = &self.token {
            onward = onward.bearer_auth(token);
        }
        let answer = onward.send().await?;
        let mut response = Response::builder().status(answer.status());
        for name in [CONTENT_TYPE, RETRY_AFTER] {
            if let Some(value) = answer.headers().get(&name) {
                response = response.header(name, value);
            }
        }
        Ok(response.body(Body::from_stream(answer.bytes_stream()))?)
    }
}

async fn forward(State(door): State<Door>, request: Request) -> Response {
    match door.pass(request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn open(door: Door) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(forward).with_state(door)).await });
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_writes_are_told_from_watches_reads_and_questions() {
        let asked = |method: &str, path: &str| Asked { method: method.into(), path: path.into() };
        assert!(asked("GET", "/api/v1/pods?limit=500").lists() && asked("GET", "/apis/apps/v1/namespaces/x/deployments").lists());
        assert!(!asked("GET", "/api/v1/pods?watch=true").lists() && !asked("GET", "/api/v1/namespaces/x/pods/p").lists());
        assert!(!asked("GET", "/apis/metrics.k8s.io/v1beta1/pods").lists() && !asked("GET", "/readyz").lists());
        assert!(asked("PATCH", "/api/v1/namespaces/x").writes() && !asked("GET", "/api/v1/pods").writes());
        assert!(!asked("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").writes());
    }
}
