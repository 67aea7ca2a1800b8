//! The services we call, each only where an answer is needed right now: identity for short-lived credentials of the registry
//! and for personal access tokens, the scheduler to put an application to work.

use std::collections::HashMap;
use std::time::Duration;

use gantry_contract::proto::identity::tokens_client::TokensClient;
use gantry_contract::proto::identity::{IssueRegistryCredentialRequest, RepositoryGrant};
use gantry_contract::proto::scheduler::applications_client::ApplicationsClient;
use gantry_contract::proto::scheduler::{App, AppRef, DeployRequest};
use gantry_host::Host;
use gantry_kernel::{Problem, Secret};
use tonic::Streaming;

const LIMIT: Duration = Duration::from_secs(15);
const CREDENTIAL_SECONDS: u32 = 3600;

/// A user name and password for the registry.
pub struct Credential {
    pub username: String,
    pub password: Secret,
}

#[derive(Clone)]
pub struct Peers {
    host: Host,
}

/// What is to be deployed, and for whom.
#[derive(Clone)]
pub struct Deployment {
    pub app: AppRef,
    pub format: String,
    pub document: String,
    pub values: HashMap<String, String>,
    pub reason: String,
    pub subject: String,
    pub idempotency_key: String,
}

impl Peers {
    pub fn new(host: Host) -> Self {
        Self { host }
    }

    /// A short-lived access token for a personal access token (RFC 8693).
    ///
    /// # Errors
    /// Unauthenticated when identity does not know it.
    pub async fn exchange_personal(&self, token: &str) -> Result<String, Problem> {
        #[derive(serde::Deserialize)]
        struct Answer {
            access_token: String,
        }
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "gantry-cli"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        let away = |e: reqwest::Error| Problem::unavailable("the identity service").with_source(e);
        let url = format!("{}/oauth2/token", self.host.url_of("identity")?);
        let answer = self.host.http.post(url).form(&form).timeout(LIMIT).send().await.map_err(away)?;
        if answer.status().is_client_error() {
            return Err(Problem::unauthenticated("the personal access token is not known, expired or revoked"));
        }
        let answer: Answer = answer.error_for_status().map_err(away)?.json().await.map_err(away)?;
        Ok(answer.access_token)
    }

    /// Good for all images of one project: `org/project/*`.
    ///
    /// # Errors
    /// Identity's refusal, or that it is away.
    pub async fn registry_credential(&self, repositories: String, actions: &[&str], subject: &str) -> Result<Credential, Problem> {
        let mut request = tonic::Request::new(IssueRegistryCredentialRequest {
            grants: vec![RepositoryGrant { pattern: repositories, actions: actions.iter().map(|a| (*a).to_owned()).collect() }],
            subject: subject.to_owned(),
            ttl_seconds: CREDENTIAL_SECONDS,
        });
        request.set_timeout(LIMIT);
        let issued = TokensClient::new(self.host.channel("identity")?).issue_registry_credential(request).await?.into_inner();
        Ok(Credential { username: issued.username, password: Secret::new(issued.password) })
    }

    /// Gives the new revision.
    ///
    /// # Errors
    /// The scheduler's refusal (a fault in the document, a quota), or that it is away.
    pub async fn deploy(&self, deployment: Deployment) -> Result<u64, Problem> {
        let Deployment { app, format, document, values, reason, subject, idempotency_key } = deployment;
        let message = DeployRequest { app: Some(app), format, document, values, reason, subject, idempotency_key, ..DeployRequest::default() };
        let mut request = tonic::Request::new(message);
        request.set_timeout(LIMIT);
        Ok(ApplicationsClient::new(self.host.channel("scheduler")?).deploy(request).await?.into_inner().revision)
    }

    /// The application now and after each change.
    ///
    /// # Errors
    /// As every call.
    pub async fn watch(&self, app: AppRef) -> Result<Streaming<App>, Problem> {
        Ok(ApplicationsClient::new(self.host.channel("scheduler")?.endless()).watch(app).await?.into_inner())
    }
}
