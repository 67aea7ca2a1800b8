//! Checkpoints of containers with CRIU through runc: frozen and written down here, gone on from here. containerd's CRI has no words for
//! it (`CheckpointContainer` is unimplemented before 2.0, and nothing restores), so runc is asked beside it, as containerd's own shim
//! does; where a container begins, the program that the runtime starts as runc (`gantry_servers::oci::restoring`) lets it go on. What has come
//! from elsewhere is in `checkpoints/waiting.rs`.

mod waiting;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_cri::Cri;
use gantry_kernel::InstanceId;
use tokio::fs;
use tokio::process::{Child, Command};

use super::disk::replace;
use super::machine::{self, CommandError};
use crate::domain::checkpoint::{About, faults, flags, own_layer, version};

/// containerd's namespace for the CRI.
const NAMESPACE: &str = "k8s.io";
/// CRIU tries out much of the kernel, and a container stands still only when its last process does.
const ASKED_WITHIN: Duration = Duration::from_secs(60);
/// A line of the program that lets containers go on.
const MARK: &str = "goes on from the checkpoint";
/// Connections are closed: the address is another one afterwards, and whoever was connected dials again. Removed files that are still
/// open go along up to a size.
const OPTIONS: &str = "tcp-close\nlink-remap\nghost-limit 67108864\n";
const ABOUT: &str = "about.json";
/// A frozen container that could not be thawed is tried again so often, a second apart; then by the next agent.
const THAW_TRIES: u32 = 10;

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("{0}")]
    Unable(String),
    #[error("it cannot be frozen and written down: {0}")]
    Dump(String),
    #[error("files of a checkpoint")]
    Files(#[from] std::io::Error),
    #[error("a program that is needed")]
    Program(#[from] CommandError),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Checkpoints {
    cri: Cri,
    criu: PathBuf,
    /// Ours: what comes and goes, and which containers are frozen.
    folder: PathBuf,
    /// Those of which something is just coming, however long it takes.
    arriving: Arc<Mutex<BTreeSet<InstanceId>>>,
}

/// How containers are run here, if they can be frozen and go on.
struct Tools {
    runc: PathBuf,
    /// runc's state of the runtime's containers.
    root: PathBuf,
    /// Where the runtime's starter looks for containers that go on.
    restore: PathBuf,
    about: About,
}

/// A container that stands still until it is [`Checkpoints::thaw`]ed, with what was written down of it.
pub struct Frozen {
    container: String,
    /// `image/`, `layer.tar` and `about.json`.
    folder: PathBuf,
}

impl Checkpoints {
    pub fn new(cri: Cri, criu: PathBuf, folder: PathBuf) -> Self {
        Self { cri, criu, folder, arriving: Arc::default() }
    }

    fn arriving(&self) -> MutexGuard<'_, BTreeSet<InstanceId>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Containers that an agent before this one left frozen go on: nobody knows of them any more. What was written down of them goes, and
    /// what came only in part.
    pub async fn recover(&self) {
        if let Ok(mut notes) = fs::read_dir(self.folder.join("frozen")).await {
            while let Ok(Some(note)) = notes.next_entry().await {
                let Ok(container) = note.file_name().into_string() else { continue };
                match self.thaw_noted(&container).await {
                    Ok(()) => tracing::warn!(container, "a container that was left frozen goes on"),
                    Err(error) => tracing::error!(container, %error, "a container that was left frozen does not go on"),
                }
            }
        }
        let _ = fs::remove_dir_all(self.folder.join("taken")).await;
        self.sweep(true).await;
    }

    /// Whether containers of this runtime class can be frozen here and go on here.
    ///
    /// # Errors
    /// [`CheckpointError::Unable`] with the reason.
    pub async fn able(&self, runtime_class: &str) -> Result<(), CheckpointError> {
        self.tools(runtime_class).await.map(drop)
    }

    async fn tools(&self, runtime_class: &str) -> Result<Tools, CheckpointError> {
        let unable = CheckpointError::Unable;
        if !matches!(runtime_class, "" | "runc") {
            return Err(unable(format!("containers of the runtime class {runtime_class} cannot be frozen; those of runc can")));
        }
        let handlers = self.cri.handlers().await.map_err(|error| unable(format!("the container runtime does not say how it runs containers: {error}")))?;
        let handler = handlers.into_iter().find(|h| h.name == "runc");
        let handler = handler.ok_or_else(|| unable("the container runtime has no handler `runc`, or does not tell of it".into()))?;
        let starter = handler.program.filter(|p| p.is_absolute());
        let text = match &starter {
            Some(path) => fs::read(path).await.map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned()).unwrap_or_default(),
            None => String::new(),
        };
        let Some(runc) = starter.filter(|_| text.starts_with("#!") && text.contains(MARK)) else {
            let detail = "its container runtime starts runc itself, which begins every container anew; docs/applications/migration.md says what to set, and CRIU has to be there";
            return Err(unable(detail.into()));
        };
        let criu = self.criu.display().to_string();
        let failed = |error: CommandError| unable(format!("CRIU does not work on this node: {error}"));
        machine::within(ASKED_WITHIN, &criu, &["check"]).await.map_err(failed)?;
        let said = machine::run(&criu, &["--version"]).await.map_err(failed)?;
        let known = version(&said).ok_or_else(|| unable(format!("what {criu} is cannot be found out")))?;
        if !machine::run("tar", &["--version"]).await.map_err(failed)?.contains("GNU tar") {
            return Err(unable("its tar does not keep extended attributes; GNU tar is needed".into()));
        }
        let about = About {
            architecture: std::env::consts::ARCH.to_owned(),
            criu: known.to_owned(),
            processor: flags(&fs::read_to_string("/proc/cpuinfo").await.unwrap_or_default()),
        };
        let restore = runc.parent().unwrap_or(Path::new("/")).join("restore");
        self.write_starter(&restore.join("bin")).await?;
        let root = handler.root.unwrap_or_else(|| PathBuf::from("/run/containerd/runc")).join(NAMESPACE);
        Ok(Tools { runc, root, restore, about })
    }

    /// CRIU as runc calls it: runc names no options of its own.
    async fn write_starter(&self, bin: &Path) -> Result<(), CheckpointError> {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(bin).await?;
        let (options, path, fresh) = (bin.join("criu.conf"), bin.join("criu"), bin.join("criu.new"));
        fs::write(&options, OPTIONS).await?;
        // By its whole path: below the name it would find itself.
        let found = machine::run("sh", &["-c", "command -v \"$0\"", &self.criu.display().to_string()]).await?;
        let text = format!("#!/bin/sh\nexport CRIU_CONFIG_FILE='{}'\nexec '{}' \"$@\"\n", options.display(), found.trim());
        if fs::read_to_string(&path).await.is_ok_and(|old| old == text) {
            return Ok(());
        }
        fs::write(&fresh, text).await?;
        fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).await?;
        Ok(fs::rename(&fresh, &path).await?)
    }

    /// Freezes a container and writes down its processes and what it has changed of its image. Whatever goes wrong, it runs on.
    ///
    /// # Errors
    /// [`CheckpointError`]
    pub async fn freeze(&self, container: &str, process: u32, runtime_class: &str) -> Result<Frozen, CheckpointError> {
        let tools = self.tools(runtime_class).await?;
        let frozen = Frozen { container: container.to_owned(), folder: self.folder.join("taken").join(container) };
        let begun = async {
            self.make_folder().await?;
            for part in ["image", "work"] {
                fs::create_dir_all(frozen.folder.join(part)).await?;
            }
            // First, so that no death of this process leaves it standing.
            fs::create_dir_all(self.folder.join("frozen")).await?;
            let note = format!("{}\n{}", tools.runc.display(), tools.root.display());
            Ok::<(), CheckpointError>(replace(&self.note(container), note.as_bytes(), 0o600).await?)
        };
        if let Err(error) = begun.await {
            self.ended(frozen).await;
            return Err(error);
        }
        match self.write_down(&tools, &frozen, process).await {
            Ok(()) => Ok(frozen),
            Err(error) => {
                self.thaw(frozen).await?;
                Err(error)
            }
        }
    }

    async fn write_down(&self, tools: &Tools, frozen: &Frozen, process: u32) -> Result<(), CheckpointError> {
        let at = |name: &str| frozen.folder.join(name).display().to_string();
        let path = format!("PATH={}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", tools.restore.join("bin").display());
        let (runc, root) = (tools.runc.display().to_string(), tools.root.display().to_string());
        machine::within(ASKED_WITHIN, "env", &[&path, &runc, "--root", &root, "pause", &frozen.container]).await?;
        let (image, work) = (at("image"), at("work"));
        let words = ["checkpoint", "--leave-running", "--manage-cgroups-mode", "soft", "--image-path", &image, "--work-path", &work, &frozen.container];
        if let Err(error) = machine::work("env", &[&[path.as_str(), &runc, "--root", &root][..], &words[..]].concat()).await {
            let log = fs::read_to_string(frozen.folder.join("work/dump.log")).await.unwrap_or_default();
            let why = faults(&log);
            return Err(CheckpointError::Dump(if why.is_empty() { error.to_string() } else { why }));
        }
        let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).await?;
        let layer = own_layer(&mounts).ok_or_else(|| CheckpointError::Unable("its root is no overlay, so what it has changed cannot be told apart".into()))?;
        machine::work("tar", &["-C", layer, "--xattrs", "--xattrs-include=*", "-cpf", &at("layer.tar"), "."]).await?;
        Ok(fs::write(frozen.folder.join(ABOUT), serde_json::to_vec(&tools.about).map_err(std::io::Error::other)?).await?)
    }

    fn note(&self, container: &str) -> PathBuf {
        self.folder.join("frozen").join(container)
    }

    /// It runs on where it stood.
    ///
    /// # Errors
    /// When runc refuses, and the container has not ended meanwhile.
    pub async fn thaw(&self, frozen: Frozen) -> Result<(), CheckpointError> {
        // First: it stands still until then.
        let mut thawed = self.thaw_noted(&frozen.container).await;
        for _ in 1..THAW_TRIES {
            if thawed.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            thawed = self.thaw_noted(&frozen.container).await;
        }
        let _ = fs::remove_dir_all(&frozen.folder).await;
        thawed
    }

    async fn thaw_noted(&self, container: &str) -> Result<(), CheckpointError> {
        let note = fs::read_to_string(self.note(container)).await?;
        // Half a note is of one that had not been frozen yet.
        if let Some((runc, root)) = note.split_once('\n') {
            match machine::run(runc, &["--root", root, "state", container]).await {
                Ok(state) if state.contains("\"paused\"") => drop(machine::run(runc, &["--root", root, "resume", container]).await?),
                Ok(_) => {}
                // It has not been asked: the container may stand all the same.
                Err(error) if error.code().is_none() => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(fs::remove_file(self.note(container)).await?)
    }

    /// It has ended, frozen as it was, or must: no agent lets it go on any more.
    pub async fn ended(&self, frozen: Frozen) {
        let _ = fs::remove_dir_all(&frozen.folder).await;
        let _ = fs::remove_file(self.note(&frozen.container)).await;
    }

    /// Writes what was taken to its standard output, as a tar archive.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn packing(&self, frozen: &Frozen) -> Result<Child, CheckpointError> {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&frozen.folder).args(["-cf", "-", "image", "layer.tar", ABOUT]);
        Ok(tar.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?)
    }

    /// What processes have in memory is nobody's to read.
    async fn make_folder(&self) -> Result<(), CheckpointError> {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(&self.folder).await?;
        Ok(fs::set_permissions(&self.folder, std::fs::Permissions::from_mode(0o700)).await?)
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_an_agent_has_left_in_the_middle_goes_and_what_somebody_waits_for_stays() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(Cri::lazy("/nowhere"), "criu".into(), root.path().join("checkpoints"));
        let [whole, part] = [1, 2].map(|n| InstanceId(Uuid::from_u128(n)));
        let taken = root.path().join("checkpoints/taken/c");
        for folder in [checkpoints.waiting(whole), checkpoints.coming(part), taken.clone()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        checkpoints.recover().await;
        assert!(checkpoints.waits(whole).await && !checkpoints.coming(part).exists() && !taken.exists());
        checkpoints.sweep(false).await;
        assert!(checkpoints.waits(whole).await);
        checkpoints.forget(whole).await;
        assert!(!checkpoints.waits(whole).await);
        // Of one that has nothing here there is nothing to forget.
        checkpoints.forget(part).await;
    }

    #[tokio::test]
    async fn a_note_is_kept_until_it_is_known_what_became_of_the_container() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(Cri::lazy("/nowhere"), "criu".into(), root.path().to_owned());
        std::fs::create_dir_all(root.path().join("frozen")).unwrap();
        let note = |container: &str, runc: &str| std::fs::write(checkpoints.note(container), format!("{runc}\n/r")).unwrap();
        note("unasked", "/nowhere/runc");
        note("unknown", "false");
        std::fs::write(checkpoints.note("half"), "/usr/bin/ru").unwrap();
        checkpoints.recover().await;
        assert!(checkpoints.note("unasked").exists());
        assert!(!checkpoints.note("unknown").exists() && !checkpoints.note("half").exists());
    }
}
