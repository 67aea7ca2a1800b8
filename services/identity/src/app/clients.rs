//! The applications that may ask for tokens: the console and the command line built in, others by configuration.

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use gantry_kernel::Uuid;
use sha2::{Digest, Sha256};
use url::Url;

use crate::app::secrets::kept;
use crate::config::{ClientConfig, Config};
use crate::domain::authorize::ClientFacts;

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
    pub redirects: Vec<String>,
    pub logout_redirects: Vec<String>,
    secret_hash: Option<Vec<u8>>,
    grants: BTreeSet<Grant>,
}

impl Client {
    pub fn may(&self, grant: Grant) -> bool {
        self.grants.contains(&grant)
    }

    pub fn is_public(&self) -> bool {
        self.secret_hash.is_none()
    }

    /// Secrets are random, so a plain hash is enough.
    pub fn secret_fits(&self, secret: &str) -> bool {
        self.secret_hash.as_ref().is_some_and(|hash| verify_slices_are_equal(hash, &kept(secret)).is_ok())
    }

    /// The subject of its own tokens: a robot, so that role bindings can be given to it. Follows from its id.
    pub fn robot(&self) -> Uuid {
        let digest = Sha256::digest(format!("gantry client {}", self.id));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl ClientFacts for &Client {
    fn redirects(&self) -> &[String] {
        &self.redirects
    }
    fn may_use_code(&self) -> bool {
        self.may(Grant::AuthorizationCode)
    }
}

pub struct Clients(HashMap<String, Client>);

pub const CONSOLE: &str = "gantry-console";
pub const CLI: &str = "gantry-cli";

impl Clients {
    /// # Errors
    /// When a secret file cannot be read.
    pub fn new(config: &Config, public_url: &Url) -> anyhow::Result<Self> {
        let base = public_url.as_str().trim_end_matches('/');
        let mut console = vec![format!("{base}/auth/callback")];
        console.extend(config.console_redirects.iter().cloned());
        let logout = vec![format!("{base}/"), base.to_owned(), format!("{base}/auth/login")];
        let mut all = HashMap::new();
        let mut add = |client: Client| all.insert(client.id.clone(), client);
        add(Client {
            id: CONSOLE.into(),
            name: "Gantry Console".into(),
            redirects: console,
            logout_redirects: logout,
            secret_hash: None,
            grants: BTreeSet::from([Grant::AuthorizationCode, Grant::RefreshToken]),
        });
        add(Client {
            id: CLI.into(),
            name: "Gantry CLI".into(),
            redirects: vec!["http://127.0.0.1/callback".into(), "http://[::1]/callback".into()],
            logout_redirects: Vec::new(),
            secret_hash: None,
            grants: BTreeSet::from([Grant::AuthorizationCode, Grant::RefreshToken, Grant::DeviceCode, Grant::TokenExchange]),
        });
        for configured in &config.clients {
            add(from_config(configured)?);
        }
        Ok(Self(all))
    }

    pub fn get(&self, id: &str) -> Option<&Client> {
        self.0.get(id)
    }

    /// Whether some client registered `address` to come back to after signing out.
    pub fn logout_redirect(&self, client: Option<&str>, address: &str) -> bool {
        let mut candidates = self.0.values().filter(|c| client.is_none_or(|id| c.id == id));
        candidates.any(|c| c.logout_redirects.iter().any(|r| r == address))
    }
}

fn from_config(configured: &ClientConfig) -> anyhow::Result<Client> {
    let secret = configured.secret_file.as_ref().map(std::fs::read_to_string).transpose()?;
    Ok(Client {
        id: configured.id.clone(),
        name: if configured.name.is_empty() { configured.id.clone() } else { configured.name.clone() },
        redirects: configured.redirect_uris.clone(),
        logout_redirects: configured.post_logout_redirect_uris.clone(),
        secret_hash: secret.map(|s| kept(s.trim())),
        grants: configured.grants.iter().filter_map(|g| Grant::parse(g)).collect(),
    })
}
