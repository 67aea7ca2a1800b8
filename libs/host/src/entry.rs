//! Starting services: each as an entry of one process, with shared configuration, certificates and shutdown.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use anyhow::Context;
use async_trait::async_trait;
use axum::routing::get;
use gantry_kernel::Env;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Loaded, Platform};
use crate::context::{Addresses, Host, Needs, Surroundings};
use crate::grpc::OnePort;
use crate::pki::{Pki, sync_folder};
use crate::serve::Doors;
use crate::service::{Parts, Service};
use crate::shown::Shown;
use crate::transcode::{Rest, Transcoder};
use crate::{health, layers, serve, telemetry, tls};

/// A service as the process sees it.
#[async_trait]
pub trait Entry: Send + Sync {
    fn name(&self) -> &'static str;
    fn openapi(&self) -> utoipa::openapi::OpenApi;
    /// Reads and checks its section.
    fn configure(&mut self, from: &mut Loaded);
    /// Its section as it will be used, secrets masked.
    fn print(&self) -> anyhow::Result<toml::Value>;
    /// # Errors
    /// When it cannot start.
    async fn start(&self, running: &Running) -> anyhow::Result<Host>;
    /// Its database alone, for administration.
    ///
    /// # Errors
    /// When it has none, or it cannot be reached.
    async fn administer(&self, running: &Running) -> anyhow::Result<gantry_es_pg::Log>;
}

/// How often certificates of programs outside are looked at.
const KEPT: std::time::Duration = std::time::Duration::from_secs(3_600);

struct Of<S: Service>(S::Config);

/// The entry of service `S`.
pub fn entry<S: Service>() -> Box<dyn Entry> {
    Box::new(Of::<S>(S::Config::default()))
}

/// What the services of one process share.
#[derive(Clone)]
pub struct Running {
    pub platform: Platform,
    pub env: Env,
    pub cancel: CancellationToken,
    pub tracker: TaskTracker,
    pub doors: Doors,
    pki: Arc<Pki>,
    addresses: Addresses,
}

impl Running {
    /// # Errors
    /// When the certificate authority cannot be opened.
    pub fn new(platform: Platform, env: Env) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pki = Arc::new(Pki::open(&platform.ca_dir)?);
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        let doors = Doors::new(cancel.clone(), tracker.clone());
        Ok(Self { platform, env, cancel, tracker, doors, pki, addresses: Addresses::default() })
    }

    /// Where a service listens that is asked over a connection, whatever else runs in this process.
    pub fn set_address(&self, service: &str, url: String) {
        self.addresses.set(service, url, Weak::new());
    }

    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Renews the certificate of a program outside ([`Pki::write_leaf`]) while this process runs. Where there is none, none is made.
    pub fn keep_leaf(&self, name: &'static str) {
        let (pki, env, cancel) = (self.pki.clone(), self.env.clone(), self.cancel.clone());
        gantry_es_pg::endless(format!("certificate {name}"), &self.tracker, &self.cancel, async move {
            loop {
                let there = pki.kept(name);
                match there.and_then(|there| if there.is_some() { pki.write_leaf(name, env.now()) } else { Ok(false) }) {
                    Ok(true) => tracing::info!(certificate = name, "a certificate was renewed"),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::error!(certificate = name, error = format!("{error:#}"), "a certificate could not be renewed and will be tried again")
                    }
                }
                tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(KEPT) => {} }
            }
        });
    }

    /// Answers what has been asked, the public first, each at most 10 s; then ends everything and waits for it, at most 15 s.
    pub async fn stop(&self) {
        self.doors.close().await;
        self.cancel.cancel();
        self.tracker.close();
        if tokio::time::timeout(std::time::Duration::from_secs(15), self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "some tasks did not end in time");
        }
    }

    fn around(&self) -> Surroundings {
        Surroundings {
            env: self.env.clone(),
            platform: self.platform.clone(),
            pki: self.pki.clone(),
            addresses: self.addresses.clone(),
            cancel: self.cancel.clone(),
            tracker: self.tracker.clone(),
            public: self.doors.public.clone(),
        }
    }
}

#[async_trait]
impl<S: Service> Entry for Of<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        S::openapi()
    }

    fn configure(&mut self, from: &mut Loaded) {
        self.0 = from.section(S::NAME);
    }

    fn print(&self) -> anyhow::Result<toml::Value> {
        Ok(toml::Value::try_from(&self.0)?)
    }

    async fn start(&self, running: &Running) -> anyhow::Result<Host> {
        start::<S>(self.0.clone(), running).await.with_context(|| format!("{} cannot start", S::NAME))
    }

    async fn administer(&self, running: &Running) -> anyhow::Result<gantry_es_pg::Log> {
        anyhow::ensure!(S::DATABASE, "{} has no event log", S::NAME);
        let platform = &running.platform;
        let settings = gantry_es_pg::Settings { url: platform.database_url.expose().to_owned(), schema: platform.schema(S::NAME), max_connections: 2 };
        let db = gantry_es_pg::Db::open(&settings, S::migrations()).await?;
        Ok(gantry_es_pg::Log::open(db, S::NAME, running.env.clone(), &running.cancel, &running.tracker).await?)
    }
}

/// Starts one service with this configuration.
///
/// # Errors
/// When something it cannot be without is missing.
pub async fn start<S: Service>(config: S::Config, running: &Running) -> anyhow::Result<Host> {
    let host = Host::connect(S::NAME, Needs { database: S::DATABASE, bus: S::BUS }, S::migrations(), running.around()).await?;
    let parts = S::start(config, host.clone()).await?;
    let address = parts.public.unwrap_or_else(|| SocketAddr::new(host.platform.listen, host.platform.port_of(S::NAME)));
    let mutual = parts.public.is_none();
    let public_name = host.platform.public_host().split(':').next().unwrap_or("localhost").to_owned();
    let tls = if mutual {
        tls::shown_server_config(host.trusted.clone(), host.shown.clone())
    } else {
        let of_an_operator = host.pki.kept(S::NAME)?.is_some();
        tls::door_config(if of_an_operator { host.shown.clone() } else { Shown::new(host.pki.leaf(S::NAME, &[&public_name])?)? })
    };
    let app = assemble::<S>(parts, &host).await?;
    let port = Arc::new(app.clone());
    let listening = serve::serve(address, tls, app, &running.doors).await?;
    running.addresses.set(S::NAME, format!("https://{}", listening.address), Arc::downgrade(&port));
    // As long as it may be asked: nobody else holds it but for the length of a request.
    let cancel = running.cancel.clone();
    running.tracker.spawn(async move {
        cancel.cancelled().await;
        drop(port);
    });
    tracing::info!(service = S::NAME, address = %listening.address, "service listens");
    Ok(host)
}

async fn assemble<S: Service>(parts: Parts, host: &Host) -> anyhow::Result<OnePort> {
    let mut ready = health::standard(host);
    ready.extend(parts.ready);
    let ready = Arc::new(ready);
    let openapi = S::openapi().to_json()?;
    let more = parts.metrics;
    let mut rest = layers::wrap(parts.router, host, parts.max_body_bytes.unwrap_or(host.platform.max_body_bytes));
    if parts.public.is_none() {
        // The gateway has its own, public ones. Beside the others, so that no router has to be asked before theirs; nothing surrounds these.
        rest = rest
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(move || health::readyz(ready.clone())))
            .route("/metrics", get(move || metrics(more.clone())))
            .route("/openapi.json", get(move || async move { ([("content-type", "application/json")], openapi.clone()) }));
    }
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in parts.grpc_names.iter().chain(parts.transcoded).copied() {
        reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(gantry_contract::proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut grpc = parts.grpc.unwrap_or_default().add_service(health).add_service(reflection).into_axum_router();
    if !parts.transcoded.is_empty() {
        let transcoder = Transcoder::new(parts.transcoded, rest.clone())?;
        for name in parts.transcoded {
            grpc = grpc.route_service(&format!("/{name}/{{method}}"), transcoder.clone());
        }
    }
    let grpc = grpc.layer(axum::Extension(Rest::new(rest.clone())));
    Ok(OnePort::new(rest, grpc, host))
}

async fn metrics(more: Option<crate::MoreMetrics>) -> impl axum::response::IntoResponse {
    let mut text = telemetry::render_metrics();
    if let Some(more) = more {
        text.push_str(&more().await);
    }
    ([("content-type", "text/plain; version=0.0.4")], text)
}

/// The master key: 32 bytes, made on first start.
pub(crate) fn master_key(platform: &Platform, env: &Env) -> anyhow::Result<Vec<u8>> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = &platform.master_key_file;
    if !path.exists() {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let draft = path.with_extension(format!("{}", env.uuid()));
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft).with_context(|| draft.display().to_string())?;
        file.write_all(&env.random::<32>())?;
        file.sync_all()?;
        // Whoever links first wins; all then read the same.
        let _ = std::fs::hard_link(&draft, path);
        std::fs::remove_file(&draft)?;
        // Before anything is sealed with it: what the database then has on its disk could not be opened with another one.
        sync_folder(path);
    }
    let key = std::fs::read(path).with_context(|| format!("cannot read the master key {}", path.display()))?;
    anyhow::ensure!(key.len() == 32, "the master key {} must have 32 bytes, it has {}", path.display(), key.len());
    Ok(key)
}
