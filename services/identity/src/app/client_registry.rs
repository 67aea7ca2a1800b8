//! Making, changing and removing clients, and their secrets. Who may do so is decided by the door.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_contract::identity::{ClientSecret, ClientSettings};
use gantry_es::Meta;
use gantry_es_pg::{Executed, Expect, Options};
use gantry_kernel::{OrgId, Problem};
use time::Duration;

use crate::app::App;
use crate::app::certificates;
use crate::app::secrets::{fresh, kept};
use crate::domain::client::{Command, Present, State, uses_secret};
use crate::domain::client_settings;
use crate::error::refused;

pub const SECRET_PREFIX: &str = "gcs_";
const MAX_SECRET_DAYS: u32 = 3_660;

/// A client as it is after a change, and a secret that is shown this once.
#[derive(Debug)]
pub struct Made {
    pub client: Box<Present>,
    pub version: i64,
    pub secret: Option<String>,
}

impl App {
    /// # Errors
    /// Faulty settings by field, or a taken id.
    pub async fn register_client(&self, id: Option<&str>, org: Option<OrgId>, settings: ClientSettings, dynamic: bool, meta: Meta) -> Result<Made, Problem> {
        let id = match id {
            Some(id) if client_settings::is_id(id) && !self.clients.is_built_in(id) => id.to_owned(),
            Some(_) => return Err(Problem::invalid("id", "must have 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, and must not begin with `gantry-`")),
            None => self.host.env.uuid().simple().to_string(),
        };
        let settings = self.checked(settings, org)?;
        let secret = uses_secret(&settings.token_endpoint_auth_method).then(|| self.make_secret(None));
        let (kept, shown) = secret.unzip();
        let command = Command::Register { client: id.clone(), org, settings: Box::new(settings), secret: kept, dynamic };
        let executed = self.run(&id, command, Expect::Any, meta, org).await?;
        let repeated = executed.repeated;
        let made = self.changed(&id, executed).await?;
        // The first answer to a repeated command has shown the secret; only its hash is left.
        Ok(Made { secret: shown.filter(|_| !repeated), ..made })
    }

    /// # Errors
    /// Faulty settings, or a stale version.
    pub async fn change_client(&self, id: &str, org: Option<OrgId>, settings: ClientSettings, expect: Expect, meta: Meta) -> Result<Made, Problem> {
        let settings = self.checked(settings, org)?;
        let executed = self.run(id, Command::Change { settings: Box::new(settings) }, expect, meta, org).await?;
        self.changed(id, executed).await
    }

    /// # Errors
    /// When there are two secrets already.
    pub async fn add_client_secret(&self, id: &str, org: Option<OrgId>, days: Option<u32>, meta: Meta) -> Result<(Made, String), Problem> {
        if days.is_some_and(|d| d == 0 || d > MAX_SECRET_DAYS) {
            return Err(Problem::invalid("expires_in_days", format!("must be 1 to {MAX_SECRET_DAYS}")));
        }
        let (secret, text) = self.make_secret(days);
        let secret_id = secret.id.clone();
        let executed = self.run(id, Command::AddSecret { secret }, Expect::Any, meta, org).await?;
        let shown = (!executed.repeated).then_some(text);
        let made = self.changed(id, executed).await?;
        Ok((Made { secret: shown, ..made }, secret_id))
    }

    /// # Errors
    /// When it is the last one, or not there.
    pub async fn remove_client_secret(&self, id: &str, org: Option<OrgId>, secret: &str, meta: Meta) -> Result<Made, Problem> {
        let executed = self.run(id, Command::RemoveSecret { id: secret.to_owned() }, Expect::Any, meta, org).await?;
        self.changed(id, executed).await
    }

    /// Deletes a client; what it was given stops working.
    ///
    /// # Errors
    /// A stale version, or no such client.
    pub async fn delete_client(&self, id: &str, org: Option<OrgId>, expect: Expect, meta: Meta) -> Result<(), Problem> {
        let executed = self.run(id, Command::Delete, expect, meta, org).await?;
        self.clients.forget(id).await;
        self.settled(executed.position).await;
        crate::store::refresh::end_all_of_client(self.pool(), id, "client deleted", self.now()).await.map_err(crate::error::fault)?;
        Ok(())
    }

    fn checked(&self, mut settings: ClientSettings, org: Option<OrgId>) -> Result<ClientSettings, Problem> {
        settings.client_name = settings.client_name.trim().to_owned();
        let mut faults = client_settings::faults(&settings, org.is_some());
        // Tokens for this audience are good for the whole API.
        if settings.audience.as_deref().is_some_and(|a| a.trim_end_matches('/') == self.issuer) {
            faults.push(gantry_kernel::FieldFault { field: "audience".into(), detail: "this platform itself: use scope `api`".into() });
        }
        if settings.tls_client_auth_subject_dn.as_deref().is_some_and(|name| !certificates::is_name(name)) {
            let detail = "must be a name by RFC 4514, as `openssl x509 -noout -subject -nameopt RFC2253` prints it: CN=shop,O=Acme".into();
            faults.push(gantry_kernel::FieldFault { field: "tls_client_auth_subject_dn".into(), detail });
        }
        if faults.is_empty() { Ok(settings) } else { Err(Problem::invalid_fields(faults)) }
    }

    fn make_secret(&self, days: Option<u32>) -> (ClientSecret, String) {
        let text = fresh(&self.host.env, SECRET_PREFIX);
        let now = self.now();
        let secret = ClientSecret {
            id: self.host.env.uuid().simple().to_string(),
            hash: URL_SAFE_NO_PAD.encode(kept(&text)),
            hint: text.chars().take(SECRET_PREFIX.len() + 4).collect(),
            created_at: now.unix_timestamp(),
            expires_at: days.map(|d| (now + Duration::days(d.into())).unix_timestamp()),
        };
        (secret, text)
    }

    async fn run(&self, id: &str, command: Command, expect: Expect, meta: Meta, org: Option<OrgId>) -> Result<Executed<State>, Problem> {
        let meta = Meta { tenant: org, ..meta };
        self.client_log.execute(id, command, Options { meta, expect, ..Options::default() }).await.map_err(refused)
    }

    async fn changed(&self, id: &str, executed: Executed<State>) -> Result<Made, Problem> {
        self.clients.forget(id).await;
        self.settled(executed.position).await;
        self.clients.forget(id).await;
        match executed.state {
            State::Present(client) => Ok(Made { client, version: executed.version, secret: None }),
            State::Absent | State::Deleted => Err(Problem::not_found("client", id)),
        }
    }
}
