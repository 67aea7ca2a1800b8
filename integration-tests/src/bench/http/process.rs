//! Processes being measured: our own programs as children that end with us.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_host::Platform;
use gantry_servers::server::free_port;
use gantry_servers::{PidFile, until};

use super::desk::Desk;
use crate::bench::former;
use crate::bench::ground::Ground;

/// A child that is killed when this is dropped, and by the next run if nobody came to drop it.
pub struct Process {
    child: Child,
    note: PidFile,
}

impl Process {
    fn of(child: Child) -> Self {
        Self { note: former::note(child.id()), child }
    }

    /// Settings of the platform go along in the environment; what it prints goes to `log`.
    pub fn start(program: &Path, args: &[&str], platform: &Platform, log: &Path, more: &[(&str, String)]) -> Result<Self> {
        let mut command = Command::new(program);
        let settings = [
            ("HOME", platform.home.display().to_string()),
            ("PUBLIC_URL", platform.public_url.clone()),
            ("DATABASE_URL", platform.database_url.expose().to_owned()),
            ("NATS_URL", platform.nats_url.expose().to_owned()),
            ("REDIS_URL", platform.redis_url.expose().to_owned()),
            ("CA_DIR", platform.ca_dir.display().to_string()),
            ("MASTER_KEY_FILE", platform.master_key_file.display().to_string()),
            ("PORT_BASE", "0".to_owned()),
        ];
        command.args(args).envs(settings.map(|(key, value)| (format!("GANTRYD__PLATFORM__{key}"), value)));
        command.envs(more.iter().map(|(key, value)| (format!("GANTRYD__{key}"), value)));
        // The line per request that every suite writes is a part of its cost.
        command.env("GANTRYD__PLATFORM__LOG", "info").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        Ok(Self::of(command.spawn().with_context(|| format!("cannot run {}", program.display()))?))
    }

    /// A program that needs no settings of the platform; what it prints goes to `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
        Ok(Self::of(command.spawn().with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has: nobody need wait for it any more.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.note.remove();
    }
}

/// The real gateway in front of the desk.
pub struct Door {
    process: Process,
    pub address: SocketAddr,
}

impl Door {
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

pub fn gateway(ground: &Ground, desk: &Desk) -> Result<Door> {
    let program = std::env::current_exe()?.with_file_name("gantryd");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let more = [
        ("GATEWAY__LISTEN", address.to_string()),
        // One client on one address is all there is here.
        ("GATEWAY__REQUESTS_PER_SECOND", "0".to_owned()),
        ("PLATFORM__PEERS__IDENTITY", format!("https://{}", desk.address)),
    ];
    let process = Process::start(&program, &["--target=gateway"], &ground.platform(), &ground.folder().join("gateway.log"), &more)?;
    until("the gateway", Duration::from_secs(20), || Ok(std::net::TcpStream::connect(address).map(drop)?))?;
    Ok(Door { process, address })
}
