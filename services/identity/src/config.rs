//! Configuration of identity: section `[identity]`.

use std::path::PathBuf;

use gantry_host::Section;
use gantry_kernel::{Name, Username};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the platform administrator made at the first start.
    pub admin_username: String,
    /// File with the administrator's first password. Without it one is made and written, mode 0600, to `<home>/admin-password`.
    pub admin_password_file: Option<PathBuf>,
    /// An organisation made at the first start, owned by the administrator.
    pub seed_org: Option<String>,
    /// Whether anybody may register: `open` or `closed`.
    pub registration: Registration,
    /// Further redirect addresses of the console, e.g. of a development server.
    pub console_redirects: Vec<String>,
    pub clients: Vec<ClientConfig>,
    pub smtp: Option<Smtp>,
    /// PEM file with further authorities: for key sets, logout notices and certificates of clients.
    pub authorities_file: Option<PathBuf>,
    /// Whether key sets may be fetched from, and logout notices delivered to, this machine and private networks. Whoever may
    /// register a client names these addresses: only where all of them are trusted, or all programs live inside.
    pub outside_private: bool,
    /// Address of the gateway's door for certificates (`gateway.certificates_listen`), as clients reach it.
    pub certificates_url: Option<String>,
    /// Password hashes computed at once, 19 MiB and a core each; 0: one per core.
    pub hashes_at_once: usize,
    /// Failed sign-ins of one account from one address, after which a pause follows that doubles each time.
    pub attempts_per_pair: u32,
    /// Failed sign-ins of one account in five minutes.
    pub attempts_per_account: u32,
    /// Failed sign-ins from one address in five minutes.
    pub attempts_per_address: u32,
    /// Failed sign-ins after which a captcha follows; 0: never.
    pub captcha_after: u32,
    /// File of sorted, upper-case SHA-1 hashes of passwords that became known elsewhere.
    pub breached_passwords_file: Option<PathBuf>,
    pub session_hours: u32,
    pub access_token_seconds: u32,
    /// A refresh token not used for so long is void.
    pub refresh_idle_days: u32,
    /// A sign-in gives refresh tokens for so long at most.
    pub refresh_days: u32,
    /// How long a repeated refresh gets the same successor.
    pub refresh_grace_seconds: u32,
    /// How long a key signs before the next one does.
    pub key_lifetime_days: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    #[default]
    Open,
    Closed,
}

/// An application that signs people in here, or a program with a secret of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    pub id: String,
    #[serde(default)]
    pub name: String,
    /// File with the secret; without one the client is public.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// `authorization_code`, `refresh_token`, `device_code`, `client_credentials`.
    pub grants: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    /// `starttls`, `tls` or `none`.
    #[serde(default = "starttls")]
    pub security: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The sender: `Gantry <gantry@example.org>`.
    pub from: String,
}

fn starttls() -> String {
    "starttls".into()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            admin_username: "admin".into(),
            admin_password_file: None,
            seed_org: None,
            registration: Registration::Open,
            console_redirects: Vec::new(),
            clients: Vec::new(),
            smtp: None,
            authorities_file: None,
            certificates_url: None,
            hashes_at_once: 0,
            attempts_per_pair: 5,
            attempts_per_account: 10,
            attempts_per_address: 100,
            captcha_after: 3,
            outside_private: false,
            breached_passwords_file: None,
            session_hours: 12,
            access_token_seconds: 600,
            refresh_idle_days: 7,
            refresh_days: 30,
            refresh_grace_seconds: 30,
            key_lifetime_days: 30,
        }
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if let Err(error) = Username::parse(&self.admin_username) {
            faults.push(format!("admin_username = {}: {error}", self.admin_username));
        }
        if let Some(Err(error)) = self.seed_org.as_deref().map(Name::parse) {
            faults.push(format!("seed_org: {error}"));
        }
        let mut range = |key: &str, value: u32, low: u32, high: u32| {
            if !(low..=high).contains(&value) {
                faults.push(format!("{key} = {value}: must be {low} to {high}"));
            }
        };
        range("attempts_per_pair", self.attempts_per_pair, 1, 1_000);
        range("attempts_per_account", self.attempts_per_account, 1, 1_000);
        range("attempts_per_address", self.attempts_per_address, 1, 100_000);
        range("session_hours", self.session_hours, 1, 24 * 30);
        range("access_token_seconds", self.access_token_seconds, 30, 3_600);
        range("refresh_idle_days", self.refresh_idle_days, 1, 365);
        range("refresh_days", self.refresh_days, 1, 365);
        range("refresh_grace_seconds", self.refresh_grace_seconds, 0, 300);
        range("key_lifetime_days", self.key_lifetime_days, 1, 365);
        for client in &self.clients {
            let id = &client.id;
            if id.is_empty() || id.starts_with("gantry-") {
                faults.push(format!("clients: id `{id}`: must not be empty, and `gantry-` is taken"));
            }
            faults.extend(
                client
                    .grants
                    .iter()
                    .filter(|g| crate::app::clients::Grant::parse(g).is_none())
                    .map(|g| format!("clients.{id}.grants: `{g}`: authorization_code, refresh_token, device_code or client_credentials")),
            );
            if client.secret_file.is_none() && client.grants.iter().any(|g| g == "client_credentials") {
                faults.push(format!("clients.{id}: client_credentials needs secret_file"));
            }
        }
        if let Some(smtp) = &self.smtp
            && !matches!(smtp.security.as_str(), "starttls" | "tls" | "none")
        {
            faults.push(format!("smtp.security = {}: starttls, tls or none", smtp.security));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault_and_every_fault_is_listed() {
        let faults = |config: Config| {
            let mut faults = Vec::new();
            config.validate(&mut faults);
            faults
        };
        assert_eq!(faults(Config::default()), Vec::<String>::new());
        let bad = Config { admin_username: "Root!".into(), session_hours: 0, key_lifetime_days: 0, ..Config::default() };
        assert_eq!(faults(bad).len(), 3);
    }
}
