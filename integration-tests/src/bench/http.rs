//! What one request costs, on the real host: a small service of our own in a process of its own, asked directly, through the
//! gateway (in the same process, and in one of its own) and over gRPC. The anchor is nginx, which answers the same bytes over the
//! same kind of connection and does nothing for them; for reading a row it is pgbench.

mod desk;
pub mod load;
mod nginx;
pub mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_host::{Pki, client_config};
use gantry_servers::{Need, ensure_running, install, stop};

pub use desk::serve;

use self::desk::Desk;
use self::load::{Http, calls};
use self::nginx::Nginx;
pub use self::process::Process;
use self::process::gateway;
use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::{Ground, runtime};
use crate::bench::pgbench::PgBench;
use crate::bench::results::Figures;
use crate::bench::rounds::interleaved;
use crate::bench::usage::cpu_of;

pub const FIGURES: &[&str] = &["http-memory", "http-gateway", "http-gateway-apart", "grpc-unary", "http-row"];
/// Requests under way at once.
const CALLERS: usize = 32;
const UNIT: &str = "us of CPU per request";
const ANCHOR: &str = "nginx, a constant";

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    install::ensure(&[Need::Nginx], &mut |line| eprintln!("bench: {line}"))?;
    let ground = Ground::start()?;
    let pki = Pki::open(&ground.platform().ca_dir)?;
    let leaf = pki.leaf("gateway", &[])?;
    let tls = Arc::new(client_config(&pki, &leaf)?);
    let desk = Desk::start(&ground)?;
    let runtime = runtime()?;
    let http = |address: SocketAddr, paths: &[String]| Http::new(tls.clone(), address, paths, &desk.token);
    let greeting = [desk::GREETING.to_owned()];
    let ours = http(desk.address, &greeting);
    let body = runtime.block_on(ours.body()).context("the service's answer")?;
    let nginx = Nginx::new(ground.folder(), &pki, &body)?;
    ensure_running(&nginx, Duration::from_secs(20))?;
    let constant = http(nginx.address(), &greeting);
    let each = options.round();
    let cost = |pids: &dyn Fn() -> Vec<u32>, load: &Http| -> Result<f64> {
        let before = cpu_of(&pids())?;
        let requests = runtime.block_on(load.run(CALLERS, each))?;
        Ok((cpu_of(&pids())? - before) * 1e6 / requests as f64)
    };
    let anchor = || cost(&|| nginx.processes(), &constant);
    let mut figures = Figures::default();
    let wants = |figure| options.wants("http", figure);
    if wants("http-memory") {
        let rounds = interleaved(options.rounds, || cost(&|| vec![desk.pid()], &ours), anchor)?;
        figures.push(Figure::compared("http-memory", UNIT, ANCHOR, rounds, Goal::AtMost(2.0)));
    }
    if wants("http-gateway") {
        // As on one machine: the gateway and the service are one process.
        let through = http(desk.door, &greeting);
        let rounds = interleaved(options.rounds, || cost(&|| vec![desk.pid()], &through), anchor)?;
        figures.push(Figure::compared("http-gateway", UNIT, ANCHOR, rounds, Goal::AtMost(4.0)));
    }
    if wants("http-gateway-apart") {
        // As past one machine: a process for each, and a connection with certificates between them.
        let door = gateway(&ground, &desk)?;
        let through = http(door.address, &greeting);
        let rounds = interleaved(options.rounds, || cost(&|| vec![desk.pid(), door.pid()], &through), anchor)?;
        figures.push(Figure::compared("http-gateway-apart", UNIT, ANCHOR, rounds, Goal::AtMost(4.0)));
    }
    if wants("grpc-unary") {
        let unary = || -> Result<f64> {
            let before = cpu_of(&[desk.pid()])?;
            let done = runtime.block_on(calls(&pki, &leaf, desk.address, CALLERS, each))?;
            Ok((cpu_of(&[desk.pid()])? - before) * 1e6 / done as f64)
        };
        figures.push(Figure::compared("grpc-unary", UNIT, ANCHOR, interleaved(options.rounds, unary, anchor)?, Goal::AtMost(2.5)));
    }
    if wants("http-row") {
        let row = http(desk.address, &(1..=desk::ROWS).map(desk::row_path).collect::<Vec<_>>());
        let script = format!("\\set id random(1, {})\nselect text from {}.notes where id = :id;\n", desk::ROWS, desk::SERVICE);
        let pgbench = PgBench::new(ground.folder(), "row", &script, &ground.database_url())?;
        let ours = || Ok(runtime.block_on(row.run(CALLERS, each))? as f64 / each.as_secs_f64());
        let rounds = interleaved(options.rounds, ours, || pgbench.rate(each))?;
        figures.push(Figure::compared("http-row", "reads/s", "pgbench, select of a row", rounds, Goal::AtLeast(0.5)));
    }
    stop(&nginx)?;
    figures.all()
}
