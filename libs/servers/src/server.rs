//! What every server has in common: prepare, start, a real readiness probe, stop.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_kernel::Env;

use crate::need::Need;
use crate::process::{Launch, PidFile, Signal};
use crate::wait::{Hopeless, until};

/// One private instance of a third-party server.
pub trait Server: Send + Sync {
    /// Short and stable; names the pid file and the log.
    fn name(&self) -> &'static str;
    fn needs(&self) -> &'static [Need];
    /// Where pid and log files go.
    fn folders(&self) -> &Folders;
    /// Writes configuration and creates the data folder. Harmless when repeated.
    ///
    /// # Errors
    /// When the disk or the server's own tools refuse.
    fn prepare(&self) -> Result<()>;
    /// # Errors
    /// When the program is not on this machine.
    fn launch(&self) -> Result<Launch>;
    /// Asks the running server itself whether it can work.
    ///
    /// # Errors
    /// Why it cannot.
    fn probe(&self) -> Result<()>;
    /// What has to be done once it answers (create a database, import an image). Harmless when repeated.
    ///
    /// # Errors
    /// When the server refuses.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
    /// Why the running server will not work again before it is started anew, if that is so. What waiting may mend is not meant.
    fn stuck(&self) -> Option<String> {
        None
    }
    fn stop_signal(&self) -> Signal {
        Signal::Term
    }
    /// Where it listens on the loopback interface.
    fn ports(&self) -> Vec<u16> {
        Vec::new()
    }
    fn pid_file(&self) -> PidFile {
        PidFile::new(self.folders().run.join(format!("{}.pid", self.name())))
    }
    fn log_file(&self) -> PathBuf {
        self.folders().log.join(format!("{}.log", self.name()))
    }
}

/// `run` holds pid files, `log` logs; both exist.
#[derive(Clone, Debug)]
pub struct Folders {
    pub run: PathBuf,
    pub log: PathBuf,
}

impl Folders {
    /// # Errors
    /// When the folders cannot be made.
    pub fn below(root: &Path) -> Result<Self> {
        let folders = Self { run: root.join("run"), log: root.join("log") };
        for folder in [&folders.run, &folders.log] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(folders)
    }
}

/// User and password of one server, made once and kept in a file only its owner reads.
#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl Credentials {
    /// # Errors
    /// When the file cannot be read or written.
    pub fn kept_in(file: &Path, user: &str) -> Result<Self> {
        let password = match fs::read_to_string(file) {
            Ok(text) => text.trim().to_owned(),
            // Another one would not be the server's.
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot read {}; was it made by another user?", file.display()));
            }
            Err(_) => {
                let fresh = hex::encode(Env::system().random::<24>());
                write_private(file, &format!("{fresh}\n"))?;
                fresh
            }
        };
        Ok(Self { user: user.to_owned(), password })
    }
}

/// Writes a file that only its owner may read, in one step. It outlives a power cut: a password that was lost is not drawn again.
///
/// # Errors
/// When the disk refuses.
pub fn write_private(file: &Path, text: &str) -> Result<()> {
    let temporary = file.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&temporary, file).with_context(|| format!("cannot write {}", file.display()))?;
    // Its name, too, must be on the disk. There are file systems that cannot do that to a folder.
    if let Some(folder) = file.parent().and_then(|folder| fs::File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Makes a folder only its owner may enter.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    Ok(())
}

/// Starts the server unless it lives already; does not wait. `None` when it was running.
///
/// # Errors
/// When it cannot be prepared or started.
pub fn spawn(server: &dyn Server) -> Result<Option<Child>> {
    if server.pid_file().alive().is_some() {
        return Ok(None);
    }
    server.prepare().with_context(|| format!("preparing {}", server.name()))?;
    Ok(Some(server.launch()?.detach(&server.log_file(), &server.pid_file())?))
}

/// Starts the server unless it lives already, and waits until it answers.
///
/// # Errors
/// When it does not answer in time; names the log.
pub fn ensure_running(server: &dyn Server, limit: Duration) -> Result<()> {
    let mut child = spawn(server)?;
    until(server.name(), limit, || {
        if let Some(status) = child.as_mut().and_then(|c| c.try_wait().transpose()).transpose()? {
            return Err(Hopeless(format!("it ended with {status}")).into());
        }
        server.probe()
    })
    .with_context(|| format!("see {}", server.log_file().display()))?;
    server.settle().with_context(|| format!("setting up {}", server.name()))
}

/// Whether the ports of a server that does not run are free for it. One that has just ended is given a moment to let go of them.
///
/// # Errors
/// Names the port that somebody else listens on.
pub fn ports_are_free(server: &dyn Server, patience: Duration) -> Result<()> {
    if server.pid_file().alive().is_some() {
        return Ok(());
    }
    server.ports().into_iter().try_for_each(|port| {
        until(&format!("port {port} for {}", server.name()), patience, || {
            TcpListener::bind(("127.0.0.1", port)).map(drop).context("another program listens there")
        })
    })
}

/// Stops the instance this pid file names, if any. True if there was one.
///
/// # Errors
/// When it does not go away.
pub fn stop(server: &dyn Server) -> Result<bool> {
    server.pid_file().stop(server.stop_signal(), Duration::from_secs(20)).with_context(|| format!("stopping {}", server.name()))
}

/// One request-answer over plain TCP, for probes.
pub(crate) fn exchange(port: u16, send: &str, done: impl Fn(&str) -> bool) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(send.as_bytes())?;
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let got = stream.read(&mut chunk)?;
        seen.extend_from_slice(&chunk[..got]);
        let text = String::from_utf8_lossy(&seen);
        if got == 0 || done(&text) {
            return Ok(text.into_owned());
        }
    }
}

/// A port of the loopback interface that is free right now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listens(Folders, u16);

    impl Server for Listens {
        fn name(&self) -> &'static str {
            "listens"
        }

        fn needs(&self) -> &'static [Need] {
            &[]
        }

        fn folders(&self) -> &Folders {
            &self.0
        }

        fn prepare(&self) -> Result<()> {
            Ok(())
        }

        fn launch(&self) -> Result<Launch> {
            Ok(Launch::new("sleep", &["600"]))
        }

        fn probe(&self) -> Result<()> {
            Ok(())
        }

        fn ports(&self) -> Vec<u16> {
            vec![self.1]
        }
    }

    #[test]
    fn a_password_that_cannot_be_read_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        let first = Credentials::kept_in(&file, "gantry").expect("made").password;
        assert_eq!(Credentials::kept_in(&file, "gantry").expect("read").password, first);
        // Not readable, whoever asks.
        fs::remove_file(&file).expect("removed");
        fs::create_dir(&file).expect("a folder in its place");
        let error = Credentials::kept_in(&file, "gantry").err().expect("refused");
        assert!(error.to_string().contains("password") && file.is_dir(), "{error:#}");
    }

    #[test]
    fn a_port_that_somebody_else_has_is_named_before_anything_is_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let server = Listens(Folders::below(folder.path()).expect("folders"), other.local_addr().expect("bound").port());
        let error = ports_are_free(&server, Duration::ZERO).expect_err("taken");
        assert!(error.to_string().contains(&format!("port {} for listens", server.1)), "{error}");
        server.pid_file().write(std::process::id()).expect("written");
        ports_are_free(&server, Duration::ZERO).expect("who runs has its ports itself");
        server.pid_file().remove();
        drop(other);
        ports_are_free(&server, Duration::from_secs(5)).expect("free");
    }
}
