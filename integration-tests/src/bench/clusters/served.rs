//! The scheduler in a process of its own, on the real host, with identity's word about one project and a billing that allows
//! everything: what the process takes is what the scheduler takes.

use std::io::{BufRead, BufReader, Write};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use gantry_contract::proto::billing::quotas_server::{Quotas, QuotasServer};
use gantry_contract::proto::billing::{ReserveRequest, ReserveResponse};
use gantry_host::config::Nothing;
use gantry_host::{Host, Parts, Platform, Running, Service, load, telemetry};
use gantry_kernel::{Env, Role, Scope, UserId};
use gantry_scheduler::{Config, Scheduler};
use gantry_testkit::{Signer, TestIdentity};
use tonic::{Request, Response, Status};

use crate::bench::ground::{Ground, runtime};
use crate::bench::http::Process;

/// Spaces of the one project `acme/bench`: applications are spread over them, as they are over teams.
pub const SPACES: usize = 10;

pub fn space(n: usize) -> String {
    format!("s{n}")
}

/// The running child.
pub struct Served {
    process: Mutex<(Process, std::process::ChildStdin, BufReader<std::process::ChildStdout>)>,
    pid: u32,
    /// `https://127.0.0.1:<port>`
    pub url: String,
}

impl Served {
    pub fn start(ground: &Ground) -> Result<Self> {
        let log = ground.folder().join("scheduler.log");
        let mut process = Process::start(&std::env::current_exe()?, &["--clusters"], &ground.platform(), &log, &[])?;
        let mut output = BufReader::new(process.stdout().context("its output is ours")?);
        let input = process.stdin().context("its input is ours")?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the scheduler did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        Ok(Self { pid: process.pid(), process: Mutex::new((process, input, output)), url: line.trim().to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Of the administrator, good for ten minutes.
    pub fn token(&self) -> Result<String> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, input, output) = &mut *process;
        writeln!(input, "token")?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the scheduler's process has ended");
        Ok(line.trim().to_owned())
    }
}

/// Allows everything.
struct Billing;
struct Everything;

#[tonic::async_trait]
impl Quotas for Everything {
    async fn reserve(&self, _: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        Ok(Response::new(ReserveResponse {}))
    }
}

#[async_trait]
impl Service for Billing {
    const NAME: &'static str = "billing";
    const DATABASE: bool = false;
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(_: Nothing, _: Host) -> Result<Parts> {
        let mut grpc = tonic::service::Routes::builder();
        grpc.add_service(QuotasServer::new(Everything));
        Ok(Parts { grpc: Some(grpc.routes()), ..Parts::default() })
    }
}

/// The child itself: serves until its input ends; each line that comes is answered with a new token.
///
/// # Errors
/// When it cannot start.
pub fn serve() -> Result<()> {
    let mut loaded = load(None)?;
    let platform: Platform = loaded.section("platform");
    let issuer = platform.public_url.clone();
    let runtime = runtime()?;
    let (running, signer, user, url) = runtime.block_on(async {
        telemetry::init(&platform)?;
        let running = Running::new(platform, Env::system())?;
        let identity = TestIdentity::start(&running).await?;
        gantry_host::start::<Billing>(Nothing {}, &running).await?;
        let host = gantry_host::start::<Scheduler>(Config::default(), &running).await?;
        let signer = Signer::new();
        host.auth.verifier.keys().set(&signer.set);
        let org = identity.org("acme").await;
        let project = identity.project(&org, "bench", false).await;
        for n in 0..SPACES {
            identity.space(&project, &space(n)).await;
        }
        let user = UserId(running.env.uuid());
        for scope in [Scope::Platform, Scope::Org(org.id)] {
            identity.grant(&format!("user:{user}"), Role::Admin, scope).await;
        }
        identity.settle(&host).await;
        let url = host.url_of(Scheduler::NAME)?;
        anyhow::Ok((running, signer, user, url))
    })?;
    println!("{url}");
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", signer.user(&running.env, &issuer, user, "ada"));
    }
    runtime.block_on(running.stop());
    Ok(())
}
