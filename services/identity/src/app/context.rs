//! What every verb works with. Made once at the start, shared by all requests.

use std::sync::Arc;

use gantry_contract::audit::AuditFact;
use gantry_es::Meta;
use gantry_es_pg::{Keyring, Store};
use gantry_host::Host;
use gantry_kernel::{OffsetDateTime, Problem};
use sea_orm::DatabaseConnection;
use sqlx::PgPool;

use crate::adapters::attempts::Attempts;
use crate::adapters::breached::Breached;
use crate::adapters::mail::Mailer;
use crate::adapters::outside::Outside;
use crate::adapters::replay::Replay;
use crate::adapters::revocation::RevocationLists;
use crate::app::captcha::Answered;
use crate::app::client_auth::Vouched;
use crate::app::clients::Clients;
use crate::app::passkeys::Passkeys;
use crate::app::passwords::Hasher;
use crate::app::record::Recorder;
use crate::app::secrets::{FormSeal, Lookup, Succession};
use crate::app::signing::SigningKeys;
use crate::app::upstreams::Upstreams;
use crate::config::Config;
use crate::domain::binding::Binding;
use crate::domain::branding::Brand;
use crate::domain::certificate::{Authority, Certificate};
use crate::domain::client::Client;
use crate::domain::factor::Factors;
use crate::domain::membership::Membership;
use crate::domain::org::Org;
use crate::domain::policy::Policies;
use crate::domain::robot::Robot;
use crate::domain::role::CustomRole;
use crate::domain::teams::Teams;
use crate::domain::user::User;

/// Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

pub struct Parts {
    pub host: Host,
    pub config: Config,
    /// The public address without a slash at its end.
    pub issuer: String,
    pub users: Store<User>,
    pub orgs: Store<Org>,
    pub bindings: Store<Binding>,
    pub factor_store: Store<Factors>,
    pub roles: Store<CustomRole>,
    pub teams: Store<Teams>,
    pub memberships: Store<Membership>,
    pub robots: Store<Robot>,
    pub client_log: Store<Client>,
    pub policy_store: Store<Policies>,
    pub brands: Store<Brand>,
    pub certificates: Store<Certificate>,
    pub authorities: Store<Authority>,
    pub recorder: Recorder,
    pub passkey_room: Option<Passkeys>,
    pub answered: Answered,
    pub breached: Option<Breached>,
    pub keyring: Keyring,
    pub lookup: Lookup,
    pub forms: FormSeal,
    pub succession: Succession,
    pub keys: SigningKeys,
    pub hasher: Hasher,
    pub attempts: Attempts,
    pub clients: Clients,
    pub replay: Replay,
    pub outside: Outside,
    pub lists: RevocationLists,
    pub vouched: Vouched,
    pub mailer: Option<Mailer>,
    pub upstreams: Upstreams,
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub fn now(&self) -> OffsetDateTime {
        self.host.env.now()
    }

    pub fn orm(&self) -> &DatabaseConnection {
        &self.host.db().orm
    }

    pub fn pool(&self) -> &PgPool {
        &self.host.db().pool
    }

    /// Waits until the own read models show what was appended.
    pub async fn settled(&self, position: i64) {
        if position > 0 {
            self.host.settled(position).await;
        }
    }

    /// Puts a security fact on record, durably; from there it goes to the audit stream (flows/facts). A record that cannot be
    /// kept does not undo what has happened: it is logged for the operator, and the audit stream gets it all the same.
    pub async fn record(&self, fact: Fact<'_>) {
        let Fact { actor, action, object, result, reason, from } = fact;
        let fact = AuditFact { reason: reason.to_owned(), from: from.to_owned(), ..self.host.fact(actor, action, object, result) };
        if let Err(error) = self.recorder.keep(&fact).await {
            tracing::error!(error = Problem::internal(error).chain(), action = fact.action, "a security fact could not be kept");
            self.host.audit(fact).await;
        }
    }
}

/// A security fact: what happened to whom, and how it ended.
pub struct Fact<'a> {
    pub actor: &'a str,
    pub action: &'a str,
    pub object: &'a str,
    /// `ok`, `denied` or `failed`.
    pub result: &'a str,
    pub reason: &'a str,
    pub from: &'a str,
}

/// The meta of something a person does on a page, where there is no bearer token.
pub fn meta_of(actor: &str, from: &str) -> Meta {
    Meta { actor: actor.to_owned(), from: Some(from.to_owned()), ..Meta::default() }
}
