//! Short-lived credentials with which nodes pull an application's images, from identity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use gantry_contract::proto::identity::tokens_client::TokensClient;
use gantry_contract::proto::identity::{IssueRegistryCredentialRequest, RepositoryGrant};
use gantry_contract::proto::scheduler::ImageCredential;
use gantry_host::Host;
use gantry_kernel::{AppId, Problem};

/// Kept per application until half of their time is over, or its repositories change.
pub struct Credentials {
    host: Host,
    seconds: u32,
    kept: Mutex<BTreeMap<AppId, (BTreeSet<String>, ImageCredential)>>,
}

impl Credentials {
    pub fn new(host: Host, seconds: u32) -> Self {
        Self { host, seconds, kept: Mutex::default() }
    }

    /// # Errors
    /// When identity cannot be asked.
    pub async fn get(&self, app: AppId, repositories: &BTreeSet<String>) -> Result<ImageCredential, Problem> {
        let now = self.host.env.now().unix_timestamp();
        let fresh = |c: &ImageCredential| c.expires_at_unix - now > i64::from(self.seconds) / 2;
        if let Some((of, kept)) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&app)
            && of == repositories
            && fresh(kept)
        {
            return Ok(kept.clone());
        }
        let grants = repositories.iter().map(|r| RepositoryGrant { pattern: r.clone(), actions: vec!["pull".into()] }).collect();
        let mut request = tonic::Request::new(IssueRegistryCredentialRequest { grants, subject: String::new(), ttl_seconds: self.seconds });
        request.set_timeout(std::time::Duration::from_secs(3));
        let answer = TokensClient::new(self.host.channel("identity")?).issue_registry_credential(request).await?.into_inner();
        let credential = ImageCredential { username: answer.username, password: answer.password, expires_at_unix: answer.expires_at_unix };
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(app, (repositories.clone(), credential.clone()));
        Ok(credential)
    }
}
