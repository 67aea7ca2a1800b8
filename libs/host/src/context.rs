//! What a service is given: its database, bus, clients, rights, and the tools to run things until shutdown.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use gantry_auth::{Auth, KeySource, Keys, Peer, PeerSerial, RightsProjection, Verifier};
use gantry_bus::Bus;
use gantry_contract::audit::AuditFact;
use gantry_es_pg::{Db, Keyring, Log, Progress, Projection, ProjectionRunner, Settings, TodoHandler, TodoRunner};
use gantry_kernel::{Env, Problem, Uuid};
use jsonwebtoken::jwk::JwkSet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Endpoint;

use crate::channel::Channel;
use crate::config::Platform;
use crate::connect::{patiently, place};
use crate::grpc::OnePort;
use crate::neighbour::Neighbour;
use crate::pki::{Leaf, Pki};
use crate::serve::{Entrance, service_of};
use crate::shown::Shown;
use crate::sign_in::Looks;
use crate::tls::shown_client_config;
use crate::trusted::Trusted;

/// How long an answer waits for its own write to be readable.
const SETTLE: Duration = Duration::from_secs(5);
/// How long rights may be read, and when they are read again after a fault.
const FOLLOWING: Duration = Duration::from_secs(30);
const FOLLOW_AGAIN: Duration = Duration::from_millis(500);
const REDIS: Duration = Duration::from_secs(3);
/// A peer that was cut off is asked after so long whether it is there; half of that later the connection is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Cheap to clone; dereferences to what all clones share.
#[derive(Clone)]
pub struct Host(Arc<HostInner>);

pub struct HostInner {
    /// The service's name.
    pub name: &'static str,
    pub env: Env,
    pub platform: Platform,
    pub bus: Bus,
    pub redis: redis::aio::ConnectionManager,
    pub auth: Auth,
    /// Cancelled at shutdown.
    pub cancel: CancellationToken,
    /// Tasks on it are waited for at shutdown. The one way to start a task that ends by itself; see also [`Host::keep_running`].
    pub tracker: TaskTracker,
    /// For a service that listens for the public itself: when to let nobody in any more.
    pub public: Entrance,
    /// mTLS to other services; trusts only this installation.
    pub http: reqwest::Client,
    pub pki: Arc<Pki>,
    /// As it was at the start.
    pub leaf: Leaf,
    /// As it is now.
    pub shown: Arc<Shown>,
    /// Whose certificates are taken, as it is now; [`Pki::ca_pem`] is as it was at the start.
    pub trusted: Arc<Trusted>,
    pub progress: Progress,
    stored: Option<Stored>,
    addresses: Addresses,
    /// Who it is to those it asks: what its certificate says.
    caller: Option<(Peer, PeerSerial)>,
    channels: Mutex<BTreeMap<&'static str, Channel>>,
    rights_at: OnceLock<watch::Receiver<i64>>,
    /// For streams.
    pub(crate) sign_ins: Looks,
}

struct Stored {
    db: Db,
    log: Log,
    keyring: Keyring,
}

/// Where the services of this process listen, filled as they start; others come from the configuration.
#[derive(Clone, Default)]
pub struct Addresses(Arc<Mutex<BTreeMap<String, Address>>>);

struct Address {
    url: String,
    /// Of a service in this very process. Weak: it holds its host, which holds these.
    port: Weak<OnePort>,
}

impl Addresses {
    /// `port`: as long as somebody holds it, the service can be asked without a connection.
    pub(crate) fn set(&self, service: &str, url: String, port: Weak<OnePort>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned(), Address { url, port });
    }

    fn get(&self, service: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(service).map(|address| address.url.clone())
    }

    fn port(&self, service: &str) -> Option<Arc<OnePort>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(service)?.port.upgrade()
    }
}

impl Deref for Host {
    type Target = HostInner;
    fn deref(&self) -> &HostInner {
        &self.0
    }
}

/// What a service cannot start without.
#[derive(Clone, Copy)]
pub(crate) struct Needs {
    pub database: bool,
    /// NATS and Redis.
    pub bus: bool,
}

/// What [`Host::connect`] needs of the process.
pub(crate) struct Surroundings {
    pub env: Env,
    pub platform: Platform,
    pub pki: Arc<Pki>,
    pub addresses: Addresses,
    pub cancel: CancellationToken,
    pub tracker: TaskTracker,
    pub public: Entrance,
}

impl Host {
    pub(crate) async fn connect(name: &'static str, needs: Needs, migrations: &[(&str, &str)], around: Surroundings) -> anyhow::Result<Self> {
        let Needs { database, bus: wait } = needs;
        let Surroundings { env, platform, pki, addresses, cancel, tracker, public } = around;
        let leaf = pki.leaf(name, &[])?;
        let caller = leaf.der()?.0.first().and_then(|certificate| service_of(certificate));
        let shown = Shown::new(leaf.clone())?;
        let trusted = Trusted::new(&pki.ca_pem)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(shown_client_config(trusted.clone(), shown.clone()))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(30))
            .build()?;
        let patience = Duration::from_secs(platform.server_patience_seconds);
        let url = platform.nats_url.expose();
        let client = format!("gantry {name}");
        let bus = if wait {
            patiently(&place("NATS", url), patience, &cancel, || Bus::connect(url, &platform.prefix, &client)).await?
        } else {
            Bus::when_there(url, &platform.prefix, &client).await?
        };
        let url = platform.redis_url.expose();
        let client = redis::Client::open(url)?;
        let redis = if wait {
            patiently(&place("Redis", url), patience, &cancel, || client.get_connection_manager_with_config(redis_limits())).await?
        } else {
            client.get_connection_manager_lazy(redis_limits())?
        };
        let keys = Keys::new(Arc::new(IdentityKeys { http: http.clone(), addresses: addresses.clone(), platform: platform.clone() }));
        let auth = Auth::of_service(Verifier::new(keys, &platform.public_url), name);
        let stored = if database {
            let settings =
                Settings { url: platform.database_url.expose().to_owned(), schema: platform.schema(name), max_connections: platform.database_connections };
            let db = patiently(&place("Postgres", &settings.url), patience, &cancel, || Db::open(&settings, migrations)).await?;
            let log = Log::open(db.clone(), name, env.clone(), &cancel, &tracker).await?;
            let keyring = Keyring::new(db.clone(), env.clone(), &crate::entry::master_key(&platform, &env)?)?;
            Some(Stored { db, log, keyring })
        } else {
            None
        };
        let host = Self(Arc::new(HostInner {
            name,
            env,
            platform,
            bus,
            redis,
            auth,
            cancel,
            tracker,
            public,
            http,
            pki,
            leaf,
            shown,
            trusted,
            progress: Progress::default(),
            stored,
            addresses,
            caller,
            channels: Mutex::default(),
            rights_at: OnceLock::new(),
            sign_ins: Looks::default(),
        }));
        host.keep_running("certificates", crate::shown::follow(host.clone()));
        if database {
            gantry_bus::start_relay(host.bus.clone(), host.log().clone(), host.cancel.clone(), &host.tracker);
            host.follow_rights().await?;
            host.work(Arc::new(crate::kept::Kept { bus: host.bus.clone(), service: name }));
        }
        Ok(host)
    }

    /// The rights of this service's process: from its own log for identity, from the bus for all others.
    async fn follow_rights(&self) -> anyhow::Result<()> {
        let projection = Arc::new(RightsProjection);
        let mut at = if self.name == "identity" {
            ProjectionRunner::start(self.log(), projection, &self.progress, &self.cancel, &self.tracker).await?;
            self.progress.watch("auth-rights").ok_or_else(|| anyhow::anyhow!("the projection was just started"))?
        } else {
            let at = gantry_bus::subscribe(&self.bus, self.db(), "identity", projection, &self.cancel, &self.tracker).await?;
            self.keep_running("freshness of rights", crate::freshness::watch(self.clone()));
            at
        };
        let (moved, rights_at) = watch::channel(0);
        let mut held = self.auth.follow(self.db(), 0).await?;
        moved.send_replace(*at.borrow());
        let _ = self.rights_at.set(rights_at);
        let host = self.clone();
        self.keep_running("rights", async move {
            loop {
                let reached = *at.borrow_and_update();
                let followed = tokio::time::timeout(FOLLOWING, host.auth.follow(host.db(), held)).await;
                let failed = match followed.map_err(anyhow::Error::from).flatten() {
                    Ok(now) => {
                        held = now;
                        moved.send_replace(reached);
                        false
                    }
                    Err(error) => {
                        tracing::warn!(service = host.name, error = format!("{error:#}"), "rights could not be followed and will be tried again");
                        true
                    }
                };
                tokio::select! {
                    () = host.cancel.cancelled() => return,
                    // What was not taken in counts: nobody says it twice.
                    () = tokio::time::sleep(FOLLOW_AGAIN), if failed => {}
                    changed = at.changed() => if changed.is_err() { return },
                }
            }
        });
        Ok(())
    }

    /// The installation's master key (32 bytes), for services that seal things outside a database.
    ///
    /// # Errors
    /// When the file can neither be read nor made.
    pub fn master_key(&self) -> anyhow::Result<Vec<u8>> {
        crate::entry::master_key(&self.platform, &self.env)
    }

    pub fn has_database(&self) -> bool {
        self.stored.is_some()
    }

    fn stored(&self) -> &Stored {
        self.stored.as_ref().expect("only services with `Service::DATABASE` ask for it")
    }

    pub fn db(&self) -> &Db {
        &self.stored().db
    }

    pub fn log(&self) -> &Log {
        &self.stored().log
    }

    pub fn keyring(&self) -> &Keyring {
        &self.stored().keyring
    }

    /// Keeps `projection` of the own log up to date; answers wait for it through [`Host::settled`].
    ///
    /// # Errors
    /// When its tables cannot be made.
    pub async fn project(&self, projection: Arc<dyn Projection>) -> anyhow::Result<()> {
        ProjectionRunner::start(self.log(), projection, &self.progress, &self.cancel, &self.tracker).await
    }

    /// The same for several that take in an event in one transaction: for those that each answer waits for anyway.
    ///
    /// # Errors
    /// When their tables cannot be made.
    pub async fn project_together(&self, projections: Vec<Arc<dyn Projection>>) -> anyhow::Result<()> {
        ProjectionRunner::start_together(self.log(), projections, &self.progress, &self.cancel, &self.tracker).await
    }

    /// Feeds `projection` from another service's events. The watch says how far it is.
    ///
    /// # Errors
    /// When its tables cannot be made.
    pub async fn subscribe(&self, service: &str, projection: Arc<dyn Projection>) -> anyhow::Result<watch::Receiver<i64>> {
        gantry_bus::subscribe(&self.bus, self.db(), service, projection, &self.cancel, &self.tracker).await
    }

    /// Works on durable tasks of this handler until shutdown.
    pub fn work(&self, handler: Arc<dyn TodoHandler>) {
        TodoRunner::start(self.db().clone(), handler, &self.cancel, &self.tracker);
    }

    /// Starts what goes on until shutdown, under a name for the log. Should it panic, the process ends, so that it is started anew:
    /// otherwise it would say that it is ready, and do no more of this.
    pub fn keep_running(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        gantry_es_pg::endless(format!("{name} of {}", self.name), &self.tracker, &self.cancel, task);
    }

    /// Waits (bounded) until this service's projections have passed `position`, so that a caller reads its own write.
    pub async fn settled(&self, position: i64) {
        if let Err(error) = self.progress.settled(position, SETTLE).await {
            // The write stands; only lists may lag.
            tracing::warn!(service = self.name, error = %error, "an answer did not wait any longer for its projections");
        }
        if self.name == "identity"
            && let Err(error) = self.rights_reached(position).await
        {
            tracing::warn!(error = %error, "an answer did not wait any longer for the rights it changed");
        }
    }

    /// Waits (bounded) until this service decides by identity's events up to `position`.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn rights_reached(&self, position: i64) -> anyhow::Result<()> {
        let mut at = self.rights_at.get().cloned().ok_or_else(|| anyhow::anyhow!("{} follows no rights", self.name))?;
        tokio::time::timeout(SETTLE * 2, at.wait_for(|at| *at >= position)).await??;
        Ok(())
    }

    /// `https://host:port` of another service.
    ///
    /// # Errors
    /// When it neither runs here nor is configured.
    pub fn url_of(&self, service: &str) -> Result<String, Problem> {
        url_of(&self.addresses, &self.platform, service).ok_or_else(|| Problem::unavailable(format_args!("the {service} service")))
    }

    /// Another service of this process, to be asked without a connection. None where it runs elsewhere, has not started yet, or the
    /// configuration names an address for it.
    pub fn neighbour(&self, service: &str) -> Option<Neighbour> {
        if self.platform.peers.contains_key(service) {
            return None;
        }
        Some(Neighbour::new(self.addresses.port(service)?, self.caller.clone()))
    }

    /// A gRPC channel to another service: mTLS, connected lazily, kept. Its calls carry the trace at hand and a deadline.
    ///
    /// # Errors
    /// When its address is unknown.
    pub fn channel(&self, service: &'static str) -> Result<Channel, Problem> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(service) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(self.url_of(service)?)
            .and_then(|e| {
                e.connect_timeout(Duration::from_secs(3))
                    .http2_keep_alive_interval(KEEP_ALIVE)
                    .keep_alive_timeout(KEEP_ALIVE / 2)
                    .keep_alive_while_idle(true)
                    .tls_config(self.grpc_tls(service))
            })
            .map_err(Problem::internal)?;
        let channel = Channel::new(endpoint.connect_lazy(), service);
        channels.insert(service, channel.clone());
        Ok(channel)
    }

    /// From now on new connections show this certificate, those that come in and those that go out.
    ///
    /// # Errors
    /// A damaged certificate, or a key that is another's: the one before is shown still.
    pub fn show(&self, leaf: &Leaf) -> anyhow::Result<()> {
        self.shown.replace(leaf.clone())?;
        // Whoever needs one next dials anew.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// From now on new connections trust these authorities (PEM), those that come in and those that go out.
    ///
    /// # Errors
    /// A damaged certificate, or none: those before are trusted still.
    pub fn trust(&self, ca_pem: &str) -> anyhow::Result<()> {
        self.trusted.replace(ca_pem)?;
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    fn grpc_tls(&self, service: &str) -> tonic::transport::ClientTlsConfig {
        let leaf = self.shown.leaf();
        tonic::transport::ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(self.trusted.pem()))
            .identity(tonic::transport::Identity::from_pem(&leaf.chain_pem, &leaf.key_pem))
            .domain_name(format!("{service}.{}", crate::pki::SERVER_SUFFIX))
    }

    /// Puts a security fact on the audit stream, or in the database until the bus takes it; a failure to do so is logged and does not fail
    /// the request.
    pub async fn audit(&self, fact: AuditFact) {
        let result = async {
            let body: bytes::Bytes = serde_json::to_vec(&fact).unwrap_or_default().into();
            let publish = || gantry_bus::publish(&self.bus, gantry_bus::streams::AUDIT, self.name, fact.id, body.clone());
            if publish().await.is_ok() {
                return Ok(());
            }
            // Most likely there is no stream yet. To ask for it each time would cost more than the fact itself.
            self.bus.sample_stream(gantry_bus::streams::AUDIT).await?;
            publish().await
        };
        let fault = match tokio::time::timeout(Duration::from_secs(5), result).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !self.has_database() {
            tracing::error!(service = self.name, action = fact.action, result = fact.result, error = fault, "an audit record could not be published");
        } else if let Err(error) = crate::kept::keep(self.db(), &fact).await {
            let error = format!("{error:#}");
            tracing::error!(
                service = self.name,
                action = fact.action,
                result = fact.result,
                fault,
                error,
                "an audit record could be neither published nor kept"
            );
        } else {
            tracing::warn!(service = self.name, action = fact.action, result = fact.result, error = fault, "an audit record waits until it can be published");
        }
    }

    /// A fact with id, time and service filled in.
    pub fn fact(&self, actor: impl Into<String>, action: impl Into<String>, object: impl Into<String>, result: &str) -> AuditFact {
        AuditFact {
            id: self.env.uuid(),
            at: self.env.now(),
            service: self.name.into(),
            actor: actor.into(),
            action: action.into(),
            object: object.into(),
            org: None,
            result: result.into(),
            reason: String::new(),
            from: String::new(),
            trace_id: None,
            before: None,
            after: None,
        }
    }

    pub fn uuid(&self) -> Uuid {
        self.env.uuid()
    }
}

/// Redis answers nobody while a busy disk holds up its file (`appendfsync everysec`: for up to two seconds), and is not away then.
fn redis_limits() -> redis::aio::ConnectionManagerConfig {
    redis::aio::ConnectionManagerConfig::new().set_response_timeout(Some(REDIS)).set_connection_timeout(Some(REDIS))
}

fn url_of(addresses: &Addresses, platform: &Platform, service: &str) -> Option<String> {
    if let Some(url) = platform.peers.get(service) {
        return Some(url.clone());
    }
    addresses.get(service).or_else(|| match platform.port_of(service) {
        0 => None,
        port => Some(format!("https://{}:{port}", platform.listen)),
    })
}

/// Identity's key set over mTLS.
struct IdentityKeys {
    http: reqwest::Client,
    addresses: Addresses,
    platform: Platform,
}

#[async_trait]
impl KeySource for IdentityKeys {
    async fn fetch(&self) -> anyhow::Result<JwkSet> {
        let url = url_of(&self.addresses, &self.platform, "identity").ok_or_else(|| anyhow::anyhow!("identity's address is not known"))?;
        Ok(self.http.get(format!("{url}/oauth2/jwks")).timeout(Duration::from_secs(5)).send().await?.error_for_status()?.json().await?)
    }
}
