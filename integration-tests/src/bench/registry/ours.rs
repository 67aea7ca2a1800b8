//! Our registry in a process of its own, on the real host: with TLS as services reach it, and its routes once more without TLS.
//! Beside it, identity's word about one project, and what only the inside can do: fill it, and collect.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use gantry_auth::{OrgRef, ProjectRef, RegistryAccess, RegistryClaims};
use gantry_contract::registry::RepositoryEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use gantry_host::{Host, Parts, Platform, Running, Service, load, telemetry};
use gantry_kernel::{Env, Role, UserId};
use gantry_registry::adapters::blob_fs::BlobFs;
use gantry_registry::app::App;
use gantry_registry::{Config, Registry};
use gantry_testkit::{Signer, TestIdentity};
use serde::{Deserialize, Serialize};

use super::wire::Door;
use crate::bench::ground::{Ground, runtime};
use crate::bench::http::Process;

/// `<org>/<project>/`
pub const PROJECT: &str = "acme/bench/";
/// Tags of one append.
const STEP: u64 = 500;
const HOUR: i64 = 3600;

/// What the child says once it serves.
#[derive(Serialize, Deserialize)]
struct Said {
    tls: SocketAddr,
    plain: SocketAddr,
    user: UserId,
}

/// What the child is told to do, one line each; it answers with a line.
#[derive(Serialize, Deserialize)]
enum Order {
    /// A token for everything in this repository.
    Token(String),
    /// For the REST API.
    UserToken,
    /// Points so many tags of the repository at a manifest that it has.
    Tags { repository: String, digest: String, count: u64 },
    /// Removes what nobody needs, now.
    Collect,
}

/// The running child.
pub struct Ours {
    process: Mutex<(Process, std::process::ChildStdin, BufReader<std::process::ChildStdout>)>,
    pid: u32,
    pub tls: SocketAddr,
    pub plain: SocketAddr,
}

impl Ours {
    pub fn start(ground: &Ground) -> Result<Self> {
        let log = ground.folder().join("registry.log");
        let mut process = Process::start(&std::env::current_exe()?, &["--registry"], &ground.platform(), &log, &[])?;
        let mut output = BufReader::new(process.stdout().context("its output is ours")?);
        let input = process.stdin().context("its input is ours")?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the registry did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        let Said { tls, plain, .. } = serde_json::from_str(&line)?;
        Ok(Self { pid: process.pid(), process: Mutex::new((process, input, output)), tls, plain })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn door(&self, tls: Option<Arc<rustls::ClientConfig>>) -> Door {
        Door { address: if tls.is_some() { self.tls } else { self.plain }, tls }
    }

    fn order<T: for<'a> Deserialize<'a>>(&self, order: &Order) -> Result<T> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, input, output) = &mut *process;
        writeln!(input, "{}", serde_json::to_string(order)?)?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        let answer: Result<T, String> = serde_json::from_str(&line).context("the registry's process has ended")?;
        answer.map_err(anyhow::Error::msg)
    }

    pub fn token(&self, repository: &str) -> Result<String> {
        self.order(&Order::Token(repository.to_owned()))
    }

    pub fn user_token(&self) -> Result<String> {
        self.order(&Order::UserToken)
    }

    pub fn tags(&self, repository: &str, digest: &str, count: u64) -> Result<()> {
        self.order(&Order::Tags { repository: repository.to_owned(), digest: digest.to_owned(), count })
    }

    /// How many blobs went, and how many seconds it took.
    pub fn collect(&self) -> Result<(u64, f64)> {
        self.order(&Order::Collect)
    }
}

/// The registry, which also opens a door without TLS.
struct Both;

static PLAIN: Mutex<Option<SocketAddr>> = Mutex::new(None);

#[async_trait]
impl Service for Both {
    const NAME: &'static str = Registry::NAME;
    type Config = Config;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        Registry::migrations()
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        Registry::openapi()
    }

    async fn start(config: Config, host: Host) -> Result<Parts> {
        let parts = Registry::start(config, host).await?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        *PLAIN.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener.local_addr()?);
        let router = parts.router.clone();
        tokio::spawn(async move { axum::serve(axum::serve::ListenerExt::tap_io(listener, |s| drop(s.set_nodelay(true))), router).await });
        Ok(parts)
    }
}

struct Inside {
    running: Running,
    host: Host,
    signer: Signer,
    project: ProjectRef,
    user: UserId,
    url: String,
}

/// The child itself: serves until its input ends.
///
/// # Errors
/// When it cannot start.
pub fn serve() -> Result<()> {
    let mut loaded = load(None)?;
    let platform: Platform = loaded.section("platform");
    let url = platform.public_url.clone();
    let runtime = runtime()?;
    let (inside, said) = runtime.block_on(async {
        telemetry::init(&platform)?;
        let running = Running::new(platform, Env::system())?;
        let identity = TestIdentity::start(&running).await?;
        let host = gantry_host::start::<Both>(Config::default(), &running).await?;
        let signer = Signer::new();
        host.auth.verifier.keys().set(&signer.set);
        let org: OrgRef = identity.org("acme").await;
        let project = identity.project(&org, "bench", false).await;
        let user = UserId(running.env.uuid());
        identity.grant(&format!("user:{user}"), Role::Admin, project.scope()).await;
        identity.settle(&host).await;
        let tls = host.url_of(Registry::NAME)?.trim_start_matches("https://").parse()?;
        let plain = PLAIN.lock().unwrap_or_else(PoisonError::into_inner).context("the plain door is open")?;
        let said = Said { tls, plain, user };
        anyhow::Ok((Inside { running, host, signer, project, user, url }, said))
    })?;
    println!("{}", serde_json::to_string(&said)?);
    for line in std::io::stdin().lines() {
        let answer = runtime.block_on(inside.obey(serde_json::from_str(&line?)?));
        println!("{}", serde_json::to_string(&answer.map_err(|e| format!("{e:#}")))?);
    }
    runtime.block_on(inside.running.stop());
    Ok(())
}

impl Inside {
    async fn obey(&self, order: Order) -> Result<serde_json::Value> {
        Ok(match order {
            Order::Token(repository) => self.token(&repository).into(),
            Order::UserToken => self.signer.user(&self.running.env, &self.url, self.user, "ada").into(),
            Order::Tags { repository, digest, count } => {
                self.tags(&repository, &digest, count).await?;
                serde_json::Value::Null
            }
            Order::Collect => {
                let blobs = BlobFs::open(Config::default().storage(&self.host.platform.home))?;
                let config = Config { gc_grace_seconds: 0, ..Config::default() };
                let app = App::new(self.host.clone(), Arc::new(config), blobs);
                let since = Instant::now();
                let freed = app.collect(Duration::ZERO, false, "bench").await?.context("nobody else collects")?;
                serde_json::json!((freed.blobs, since.elapsed().as_secs_f64()))
            }
        })
    }

    fn token(&self, repository: &str) -> String {
        let now = self.running.env.now().unix_timestamp();
        let actions = ["pull", "push", "delete"].map(str::to_owned).to_vec();
        self.signer.sign(&RegistryClaims {
            iss: self.url.clone(),
            sub: format!("user:{}", self.user),
            aud: Config::default().audience,
            exp: now + HOUR,
            iat: now,
            nbf: now,
            jti: self.running.env.uuid().to_string(),
            access: vec![
                RegistryAccess { kind: "repository".into(), name: repository.to_owned(), actions },
                // What is mounted comes from there.
                RegistryAccess { kind: "repository".into(), name: format!("{PROJECT}from"), actions: vec!["pull".into()] },
            ],
        })
    }

    /// As so many pushes would have left it; straight into the log.
    async fn tags(&self, repository: &str, digest: &str, count: u64) -> Result<()> {
        let stream = StreamId::of::<RepositoryEvent>(repository);
        let (org, project) = (self.project.org.id, self.project.id);
        let meta = Meta { tenant: Some(org), ..Meta::system() };
        let mut last = 0;
        for from in (0..count).step_by(usize::try_from(STEP)?) {
            let moved = |n: u64| RepositoryEvent::TagMoved {
                org,
                project,
                repository: repository.to_owned(),
                tag: format!("build-{n:07}-linux"),
                digest: digest.to_owned(),
                from: None,
            };
            let events = (from..count.min(from + STEP)).map(|n| moved(n).encode()).collect();
            last = self.host.log().append(Append::one(stream.clone(), None, events, meta.clone())).await?.position;
        }
        let all = self.host.progress.settled(last, Duration::from_secs(300));
        Ok(all.await?)
    }
}
