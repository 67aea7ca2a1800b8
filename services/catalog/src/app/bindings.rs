//! Credentials: made at the request of an instance, sealed under its organisation's key, handed out by bindings.

use gantry_es::Meta;
use gantry_es_pg::Options;
use gantry_host::from_execute;
use gantry_kernel::{Name, OrgId, Problem, Result, Uuid};
use serde::Serialize;
use serde_json::Value;

use crate::App;
use crate::domain::instance::{Command, Phase, Refusal, Request, State};
use crate::store::secrets;

/// Letters and digits that cannot be taken for one another; 32 of them are 185 bits.
const ALPHABET: &[u8; 55] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ2345678";
const LENGTH: usize = 32;

/// What an application needs to use the instance.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Credentials {
    pub id: Uuid,
    pub name: String,
    /// `host`, `port`, `password`, `uri` and what else the offering gives, for containers of the space; `external_host`, `external_port`,
    /// `external_uri` for callers from outside.
    pub credentials: Value,
}

impl App {
    /// # Errors
    /// The instance is not ready, or has a binding of that name.
    pub async fn bind(&self, id: Uuid, binding: Uuid, name: &Name, meta: Meta) -> Result<Credentials> {
        let state = self.instances.load(id).await.map_err(from_execute)?.state;
        // Before the event: a binding whose address cannot be told would be of no use.
        let credentials = match (&state.request, state.phase) {
            (Some(request), Phase::Ready) => self.credentials(request).await?,
            _ => Value::Null,
        };
        let command = Command::Bind { binding, name: name.clone() };
        let done = self.instances.execute(id, command, Options::from(meta)).await.map_err(from_execute)?;
        self.host.settled(done.position).await;
        let id = done.state.bindings.get(name).copied().unwrap_or(binding);
        Ok(Credentials { id, name: name.to_string(), credentials })
    }

    /// Reads the credentials of a binding again. On record, because they are secrets.
    ///
    /// # Errors
    /// There is no such binding.
    pub async fn read_binding(&self, id: Uuid, name: &Name, meta: &Meta) -> Result<Credentials> {
        let state: State = self.instances.load(id).await.map_err(from_execute)?.state;
        let (Some(request), Some(binding)) = (&state.request, state.bindings.get(name)) else { return Err(Problem::not_found("binding", name)) };
        let credentials = self.credentials(request).await?;
        let mut fact = self.host.fact(meta.actor.clone(), "service-instance.credentials-read", format!("service-instance:{id}"), "ok");
        fact.org = Some(request.org);
        fact.from = meta.from.clone().unwrap_or_default();
        fact.reason = format!("binding {name} of {}", request.name);
        self.host.audit(fact).await;
        Ok(Credentials { id: *binding, name: name.to_string(), credentials })
    }

    /// # Errors
    /// There is no such binding.
    pub async fn unbind(&self, id: Uuid, name: &Name, meta: Meta) -> Result<()> {
        let done = self.instances.execute(id, Command::Unbind { name: name.clone() }, Options::from(meta)).await.map_err(|error| match error {
            gantry_es_pg::ExecuteError::Refused(Refusal::NotBound) => Problem::not_found("binding", name),
            other => from_execute(other),
        })?;
        self.host.settled(done.position).await;
        Ok(())
    }

    async fn credentials(&self, request: &Request) -> Result<Value> {
        let offering = self.offering(&request.offering)?;
        let reached = self.scheduler.reached(request, offering.service.as_str()).await?;
        let password = if offering.password { self.password(request).await.map_err(Problem::internal)? } else { String::new() };
        Ok(offering.credentials(&reached, &password))
    }

    pub(crate) async fn make_password(&self, request: &Request) -> Result<()> {
        let sealed = self.host.keyring().seal(&subject(request.org), &self.random_password()).await.map_err(Problem::internal)?;
        secrets::put(&self.host.db().pool, request.instance, &sealed).await.map_err(Problem::internal)
    }

    pub(crate) async fn password(&self, request: &Request) -> anyhow::Result<String> {
        let sealed =
            secrets::get(&self.host.db().pool, request.instance).await?.ok_or_else(|| anyhow::anyhow!("instance {} has no password", request.instance))?;
        Ok(self.host.keyring().open(&subject(request.org), &sealed).await?)
    }

    pub(crate) async fn forget_password(&self, id: Uuid) -> anyhow::Result<()> {
        Ok(secrets::delete(&self.host.db().pool, id).await?)
    }

    fn random_password(&self) -> String {
        let mut text = String::with_capacity(LENGTH);
        while text.len() < LENGTH {
            let fresh = self.host.env.random::<64>();
            // Bytes past the last whole multiple would make some letters likelier.
            let even = fresh.iter().filter(|b| usize::from(**b) < 256 / ALPHABET.len() * ALPHABET.len());
            text.extend(even.map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).take(LENGTH - text.len()));
        }
        text
    }
}

fn subject(org: OrgId) -> String {
    format!("org:{org}")
}
