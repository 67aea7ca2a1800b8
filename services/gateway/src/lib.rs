//! The one public door: TLS, the console, sign-in sessions, rate limits, and a streaming proxy to the services.
//! It holds no state of its own but browser sessions, which are in Redis.

pub mod adapters;
pub mod api;
pub mod app;
mod config;
pub mod domain;

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use axum::Router;
use gantry_host::{Host, Leaf, Parts, Service, Shown};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::adapters::identity::Identity;
use crate::adapters::store::Store;
use crate::adapters::upstreams::Upstreams;
use crate::app::documents::Documents;
use crate::app::door::Door;
use crate::app::kept::Kept;
use crate::app::limiter::Limiter;
use crate::app::proxy::Proxy;
use crate::app::sessions::Sessions;
pub use crate::config::GatewayConfig;

/// The public door.
pub struct Gateway;

#[async_trait]
impl Service for Gateway {
    const NAME: &'static str = "gateway";
    const DATABASE: bool = false;
    type Config = GatewayConfig;

    fn openapi() -> utoipa::openapi::OpenApi {
        api::openapi()
    }

    /// The door has its own listener: strangers' connections need bounds that the services' listener has no need of.
    async fn start(config: GatewayConfig, host: Host) -> anyhow::Result<Parts> {
        let public: url::Url = host.platform.public_url.parse().context("platform.public_url")?;
        let name = public.host_str().unwrap_or("localhost").to_owned();
        let shown = Shown::new(match of_an_operator(&config, &host)? {
            Some(leaf) => leaf,
            None => host.pki.leaf("gateway", &[name.as_str()])?,
        })?;
        let tls = TlsAcceptor::from(gantry_host::door_config(shown.clone()));
        let listener = TcpListener::bind(config.listen).await.with_context(|| format!("gateway.listen = {}", config.listen))?;
        let address = listener.local_addr()?;
        let door = Arc::new(door(&config, &host, public, &name)?);
        tracing::info!(%address, url = host.platform.public_url, "the door is open");
        let (patience, entrance, cancel, tracker) = (config.patience(), host.public.clone(), host.cancel.clone(), host.tracker.clone());
        if let Some(address) = config.certificates_listen {
            let tls = TlsAcceptor::from(Arc::new(adapters::certificates::server_config(shown.clone())?));
            let listener = TcpListener::bind(address).await.with_context(|| format!("gateway.certificates_listen = {address}"))?;
            let (door, entrance, cancel, tracker) = (door.clone(), entrance.clone(), cancel.clone(), tracker.clone());
            host.keep_running("door for certificates", async move {
                if let Err(error) = app::listen::serve(listener, tls, door, patience, entrance, cancel, tracker).await {
                    tracing::error!(%error, "the door for certificates is closed");
                }
            });
        }
        host.keep_running("door", async move {
            if let Err(error) = app::listen::serve(listener, tls, door, patience, entrance, cancel, tracker).await {
                tracing::error!(%error, "the door is closed");
            }
        });
        host.clone().keep_running("certificate of the door", async move {
            let read = || match of_an_operator(&config, &host)? {
                Some(leaf) => Ok(Some(leaf)),
                None => host.pki.renewed("gateway", &[name.as_str()], &shown.leaf(), host.env.now()),
            };
            gantry_host::follow_files(&host, &shown, read, |leaf| shown.replace(leaf.clone())).await;
        });
        Ok(Parts::default())
    }
}

fn door(config: &GatewayConfig, host: &Host, public: url::Url, name: &str) -> anyhow::Result<Door> {
    let prefix = format!("{}:gateway", host.platform.prefix);
    let client = gantry_host::shown_client_config(host.trusted.clone(), host.shown.clone());
    let (of, beside) = (host.clone(), host.clone());
    let upstreams = Upstreams::new(move |service| of.url_of(service).ok(), client).with_neighbours(move |service| beside.neighbour(service));
    let store = Store::new(host.redis.clone(), &prefix, &host.master_key()?);
    let identity = Identity::new(upstreams.clone(), public.clone());
    let sessions = Sessions::new(host.env.clone(), store, identity.clone(), config.lifetimes());
    let documents = Documents::new(upstreams.clone(), &host.platform.public_url, serde_json::to_value(Gateway::openapi())?);
    let own = Router::new().merge(api::auth::router(sessions.clone())).merge(api::health::router(documents)).merge(api::console::router(host.env.clone()));
    Ok(Door {
        env: host.env.clone(),
        limiter: Limiter::new(Some(host.redis.clone()), &prefix),
        limits: config.limits(),
        proxy: Proxy::new(upstreams, config.bounds(), host.tracker.clone()),
        sessions,
        kept: Kept::new(identity),
        own,
        authority: host.platform.public_host().to_owned(),
        // A browser that once saw the header would refuse plain HTTP on every port of the name.
        strict_transport: name != "localhost" && name.parse::<std::net::IpAddr>().is_err(),
        header_bytes: config.max_header_bytes,
        started: tokio::time::Instant::now(),
    })
}

/// What somebody has put there for the door, as it is now; none: the door has one of the installation's authority.
fn of_an_operator(config: &GatewayConfig, host: &Host) -> anyhow::Result<Option<Leaf>> {
    if config.certificate_file.as_os_str().is_empty() {
        return host.pki.kept("gateway");
    }
    let read = |path: &std::path::Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(Some(Leaf { chain_pem: read(&config.certificate_file)?, key_pem: read(&config.key_file)? }))
}
