//! The applications that may ask for tokens: the console and the command line built in, the operator's by configuration,
//! all others from the log. Read for every request, so they are kept in memory for a moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_contract::identity::{ClientSecret, ClientSettings};
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Uuid};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use url::Url;

use crate::app::secrets::kept;
use crate::config::{ClientConfig, Config};
use crate::domain::authorize::{ClientFacts, SCOPES};
use crate::error::fault;
use crate::store::clients::{self, ClientRow};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    AuthorizationCode,
    RefreshToken,
    DeviceCode,
    ClientCredentials,
    TokenExchange,
}

pub const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

impl Grant {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "authorization_code" => Some(Self::AuthorizationCode),
            "refresh_token" => Some(Self::RefreshToken),
            "device_code" | DEVICE_CODE => Some(Self::DeviceCode),
            "client_credentials" => Some(Self::ClientCredentials),
            TOKEN_EXCHANGE => Some(Self::TokenExchange),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub name: String,
    pub org: Option<OrgId>,
    pub settings: ClientSettings,
    /// Ours, or in the operator's configuration.
    pub built_in: bool,
    secrets: Vec<ClientSecret>,
    grants: BTreeSet<Grant>,
}

impl Client {
    fn new(id: &str, org: Option<OrgId>, settings: ClientSettings, secrets: Vec<ClientSecret>, built_in: bool) -> Self {
        let name = if settings.client_name.is_empty() { id.to_owned() } else { settings.client_name.clone() };
        let grants = settings.grant_types.iter().filter_map(|g| Grant::parse(g)).collect();
        Self { id: id.to_owned(), name, org, settings, built_in, secrets, grants }
    }

    pub fn may(&self, grant: Grant) -> bool {
        self.grants.contains(&grant)
    }

    pub fn is_public(&self) -> bool {
        self.settings.token_endpoint_auth_method == "none"
    }

    /// It may go without PKCE: it has credentials, and an administrator said so.
    pub fn pkce_optional(&self) -> bool {
        self.settings.pkce_optional && !self.is_public()
    }

    /// Secrets are random, so a plain hash is enough.
    pub fn secret_fits(&self, secret: &str, now: OffsetDateTime) -> bool {
        let hash = URL_SAFE_NO_PAD.encode(kept(secret));
        let alive = self.secrets.iter().filter(|s| s.expires_at.is_none_or(|at| at > now.unix_timestamp()));
        // Both are always looked at, so that time does not tell which one nearly fitted.
        alive.fold(false, |fits, s| verify_slices_are_equal(s.hash.as_bytes(), hash.as_bytes()).is_ok() | fits)
    }

    /// The subject of its own tokens: a robot, so that role bindings can be given to it. Follows from its id.
    pub fn robot(&self) -> Uuid {
        let digest = Sha256::digest(format!("gantry client {}", self.id));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The asked scopes that exist and that this client may have.
    pub fn scope(&self, asked: &str) -> String {
        let asked: BTreeSet<&str> = asked.split_ascii_whitespace().collect();
        let allowed = |s: &&str| self.settings.scopes.iter().any(|mine| mine == s);
        SCOPES.iter().copied().filter(|s| asked.contains(s)).filter(allowed).collect::<Vec<_>>().join(" ")
    }

    /// Whether what it gets with this scope is for when the person is away (OpenID Connect Core 11), so that it goes on when the browser's
    /// session ends (Back-Channel Logout 2.7). The console is the browser: who signs out there is out.
    pub fn goes_on_alone(&self, scope: &str) -> bool {
        self.may(Grant::RefreshToken) && self.id != CONSOLE && scope.split_ascii_whitespace().any(|s| s == "offline_access")
    }
}

impl From<ClientRow> for Client {
    fn from(row: ClientRow) -> Self {
        Self::new(&row.id, row.org.map(OrgId), row.settings.0, row.secrets.0, false)
    }
}

impl ClientFacts for &Client {
    fn redirects(&self) -> &[String] {
        &self.settings.redirect_uris
    }
    fn may_use_code(&self) -> bool {
        self.may(Grant::AuthorizationCode)
    }
    fn scope(&self, asked: &str) -> String {
        Client::scope(self, asked)
    }
    fn pkce_optional(&self) -> bool {
        Client::pkce_optional(self)
    }
    fn wants_pushed(&self) -> bool {
        self.settings.require_pushed_authorization_requests
    }
}

pub struct Clients {
    built_in: HashMap<String, Arc<Client>>,
    pool: PgPool,
    recent: Cache<String, Arc<Client>>,
}

pub const CONSOLE: &str = "gantry-console";
pub const CLI: &str = "gantry-cli";

/// A changed client, or a removed secret, counts everywhere after this long.
const FRESH_FOR: Duration = Duration::from_secs(1);
const RECENT: u64 = 5_000;

impl Clients {
    /// # Errors
    /// When a secret file cannot be read.
    pub fn new(config: &Config, public_url: &Url, pool: PgPool) -> anyhow::Result<Self> {
        let base = public_url.as_str().trim_end_matches('/');
        let mut console = vec![format!("{base}/auth/callback")];
        console.extend(config.console_redirects.iter().cloned());
        let all_scopes = SCOPES.map(str::to_owned).to_vec();
        let ours = ClientSettings {
            token_endpoint_auth_method: "none".into(),
            scopes: all_scopes,
            id_token_signed_response_alg: "ES256".into(),
            ..ClientSettings::default()
        };
        let grants = |names: &[&str]| names.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
        let console = ClientSettings {
            client_name: "Gantry Console".into(),
            redirect_uris: console,
            post_logout_redirect_uris: vec![format!("{base}/"), base.to_owned(), format!("{base}/auth/login")],
            grant_types: grants(&["authorization_code", "refresh_token"]),
            ..ours.clone()
        };
        let cli = ClientSettings {
            client_name: "Gantry CLI".into(),
            application_type: "native".into(),
            redirect_uris: vec!["http://127.0.0.1/callback".into(), "http://[::1]/callback".into()],
            grant_types: grants(&["authorization_code", "refresh_token", DEVICE_CODE, TOKEN_EXCHANGE]),
            ..ours
        };
        let mut built_in = HashMap::new();
        let mut add = |client: Client| built_in.insert(client.id.clone(), Arc::new(client));
        add(Client::new(CONSOLE, None, console, Vec::new(), true));
        add(Client::new(CLI, None, cli, Vec::new(), true));
        for configured in &config.clients {
            add(from_config(configured)?);
        }
        Ok(Self { built_in, pool, recent: Cache::builder().max_capacity(RECENT).time_to_live(FRESH_FOR).build() })
    }

    /// The client, unless it is switched off.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn get(&self, id: &str) -> Result<Option<Arc<Client>>, Problem> {
        // No id has them, and the database would refuse them.
        if id.contains('\0') {
            return Ok(None);
        }
        if let Some(client) = self.built_in.get(id) {
            return Ok(Some(client.clone()));
        }
        if let Some(client) = self.recent.get(id).await {
            return Ok(Some(client));
        }
        let row = clients::get(&self.pool, id).await.map_err(fault)?;
        let Some(row) = row.filter(|r| r.settings.enabled) else { return Ok(None) };
        let client = Arc::new(Client::from(row));
        self.recent.insert(id.to_owned(), client.clone()).await;
        Ok(Some(client))
    }

    /// What people are shown of a client that may be gone.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn name(&self, id: &str) -> Result<String, Problem> {
        Ok(self.get(id).await?.map_or_else(|| id.to_owned(), |c| c.name.clone()))
    }

    /// This process sees the change at once.
    pub async fn forget(&self, id: &str) {
        self.recent.invalidate(id).await;
    }

    pub fn is_built_in(&self, id: &str) -> bool {
        self.built_in.contains_key(id)
    }

    pub fn built_in(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.built_in.values()
    }

    /// Whether `client`, or if it is not known any client, registered `address` to come back to after signing out.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn logout_redirect(&self, client: Option<&str>, address: &str) -> Result<bool, Problem> {
        let has = |c: &Client| c.settings.post_logout_redirect_uris.iter().any(|r| r == address);
        match client {
            Some(id) => Ok(self.get(id).await?.is_some_and(|c| has(&c))),
            None if self.built_in.values().any(|c| has(c)) => Ok(true),
            None => clients::logout_redirect(&self.pool, address).await.map_err(fault),
        }
    }
}

fn from_config(configured: &ClientConfig) -> anyhow::Result<Client> {
    let secret = configured.secret_file.as_ref().map(std::fs::read_to_string).transpose()?;
    let settings = ClientSettings {
        client_name: configured.name.clone(),
        redirect_uris: configured.redirect_uris.clone(),
        post_logout_redirect_uris: configured.post_logout_redirect_uris.clone(),
        grant_types: configured.grants.clone(),
        token_endpoint_auth_method: if secret.is_some() { "client_secret_basic" } else { "none" }.into(),
        scopes: SCOPES.map(str::to_owned).to_vec(),
        ..ClientSettings::default()
    };
    let secrets =
        secret.map(|s| ClientSecret { id: "file".into(), hash: URL_SAFE_NO_PAD.encode(kept(s.trim())), hint: String::new(), created_at: 0, expires_at: None });
    Ok(Client::new(&configured.id, None, settings, secrets.into_iter().collect(), true))
}
