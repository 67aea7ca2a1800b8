//! identity: who people are and what they may do. An OpenID Connect provider, and organisations with projects, spaces
//! and role bindings, kept as events.

pub mod adapters;
pub mod api;
pub mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod flows;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod store;

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use gantry_es_pg::Store;
use gantry_host::{Host, Parts, Service};
use time::Duration;
use url::Url;
use utoipa_axum::router::OpenApiRouter;

use crate::adapters::attempts::{Attempts, Limits};
use crate::adapters::mail::Mailer;
use crate::adapters::outside::Outside;
use crate::adapters::replay::Replay;
use crate::app::App;
use crate::app::client_auth::Vouched;
use crate::app::clients::Clients;
use crate::app::context;
use crate::app::logout::Deliver;
use crate::app::passkeys::Passkeys;
use crate::app::passwords::Hasher;
use crate::app::secrets::{self, FormSeal, Lookup, Succession};
use crate::app::signing::SigningKeys;
use crate::config::Config;
use crate::domain::signing::Policy;
use crate::flows::clients::ClientDirectory;
use crate::flows::directory::Directory;
use crate::flows::groups::Groups;

pub struct Identity;

#[async_trait]
impl Service for Identity {
    const NAME: &'static str = "identity";
    type Config = Config;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        store::migrations::ALL
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        api::rest::router().split_for_parts().1
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        let app = app(config, host.clone()).await?;
        host.project(Arc::new(Directory { keyring: app.keyring.clone(), lookup: app.lookup.clone() })).await?;
        host.project(Arc::new(flows::factors::FactorList)).await?;
        host.project(Arc::new(flows::upstreams::Upstreams)).await?;
        host.project(Arc::new(Groups)).await?;
        host.project(Arc::new(ClientDirectory)).await?;
        host.project(Arc::new(flows::policies::PolicyList)).await?;
        host.project(Arc::new(flows::branding::Brandings)).await?;
        host.project(Arc::new(flows::person_certificates::PersonCertificates)).await?;
        host.subscribe("scheduler", Arc::new(flows::removed_nodes::RemovedNodes { env: host.env.clone() })).await?;
        store::facts::make_partitions(&app.host.db().admin, app.now()).await?;
        app.host.keep_running("facts", flows::facts::run(app.clone()));
        app.host.keep_running("partitions", flows::facts::partitions(app.clone()));
        // Signing works before the first request comes.
        app.keys.turn().await?;
        flows::rotation::publish(&app);
        app.bootstrap().await?;
        host.work(Arc::new(Deliver { app: app.clone() }));
        host.work(Arc::new(flows::removed_nodes::Revoke(app.clone())));
        host.keep_running("signing keys", flows::rotation::run(app.clone()));
        if app.mailer.is_some() {
            host.work(Arc::new(flows::outbox::Outbox(app.clone())));
            host.work(Arc::new(flows::outbox::Forgotten(app.clone())));
            host.keep_running("reminders", flows::person_certificates::remind(app.clone()));
        }
        host.keep_running("revocation lists", flows::revocation::run(app.clone()));
        host.keep_running("sweeping", flows::sweep::run(app.clone()));
        host.keep_running("session ends", flows::session_ends::run(app.clone()));
        app.refresh_ways().await?;
        host.keep_running("synchronisation", flows::sync::run(app.clone()));
        let (rest, _) = OpenApiRouter::new().merge(api::rest::router()).split_for_parts();
        let router = rest.merge(api::oauth::router()).merge(api::pages::router(app.clone())).merge(api::scim::router()).with_state(app.clone());
        let router = router.layer(axum::middleware::from_fn(api::clean::layer));
        Ok(Parts {
            router,
            grpc: Some(tonic::service::Routes::new(api::grpc::service(app))),
            grpc_names: vec!["gantry.identity.v1.Tokens"],
            transcoded: api::grpc::OF_REST,
            ..Parts::default()
        })
    }
}

async fn app(config: Config, host: Host) -> anyhow::Result<App> {
    let keyring = host.keyring().clone();
    let (pool, env) = (host.db().pool.clone(), host.env.clone());
    let secret = async |name: &str| secrets::load(&pool, &keyring, &env, name).await;
    let policy = Policy {
        lifetime: Duration::days(config.key_lifetime_days.into()),
        ahead: Duration::hours(2),
        // As long as any client's token may live.
        overlap: Duration::days(1) + Duration::hours(1),
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let limits = Limits { per_pair: config.attempts_per_pair, per_account: config.attempts_per_account, per_address: config.attempts_per_address };
    // Applications of this installation have certificates of its own authority; others by `authorities_file`.
    let mut authorities = host.pki.ca_pem.clone();
    if let Some(file) = &config.authorities_file {
        authorities.push('\n');
        authorities.push_str(&std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let parts = context::Parts {
        issuer: host.platform.public_url.clone(),
        users: Store::new(host.log().clone()),
        orgs: Store::new(host.log().clone()),
        bindings: Store::new(host.log().clone()),
        factor_store: Store::new(host.log().clone()),
        roles: Store::new(host.log().clone()),
        teams: Store::new(host.log().clone()),
        memberships: Store::new(host.log().clone()),
        robots: Store::new(host.log().clone()),
        client_log: Store::new(host.log().clone()),
        policy_store: Store::new(host.log().clone()),
        brands: Store::new(host.log().clone()),
        certificates: Store::new(host.log().clone()),
        authorities: Store::new(host.log().clone()),
        recorder: app::record::Recorder::start(pool.clone(), &host.cancel, &host.tracker),
        answered: app::captcha::Answered::new(host.redis.clone(), &format!("{}:identity", host.platform.prefix)),
        breached: config.breached_passwords_file.as_deref().map(adapters::breached::Breached::open).transpose()?,
        passkey_room: Passkeys::new(&Url::parse(&host.platform.public_url)?, host.redis.clone(), &format!("{}:identity", host.platform.prefix)),
        lookup: Lookup::new(&secret("lookup").await?),
        forms: FormSeal::new(&secret("forms").await?),
        succession: Succession::new(&secret("succession").await?),
        keys: SigningKeys::new(pool.clone(), keyring.clone(), env.clone(), policy),
        hasher: Hasher::new(if config.hashes_at_once == 0 { cores } else { config.hashes_at_once })?,
        attempts: Attempts::new(Some(host.redis.clone()), &format!("{}:identity", host.platform.prefix), env.clone(), limits),
        upstreams: app::upstreams::Upstreams::new(host.log(), host.platform.database_connections),
        clients: Clients::new(&config, &Url::parse(&host.platform.public_url)?, pool.clone())?,
        replay: Replay::new(host.redis.clone(), &format!("{}:identity", host.platform.prefix)),
        lists: adapters::revocation::RevocationLists::new(&authorities, config.outside_private)?,
        outside: Outside::new(&authorities, config.outside_private)?,
        vouched: Vouched::new(&authorities)?,
        mailer: config.smtp.as_ref().map(Mailer::new).transpose()?,
        keyring,
        config,
        host,
    };
    Ok(App::new(parts))
}
