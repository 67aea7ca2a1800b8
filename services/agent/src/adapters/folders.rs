//! Folders and files of the host that containers see: volumes, tmpfs, configs and secrets, the hosts file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use gantry_contract::proto::scheduler::{FileContent, WantedInstance};
use gantry_cri::{Mount, Propagation};
use gantry_kernel::InstanceId;
use tokio::fs;

use super::disk::{put, replace};
use super::live_files::{self, Below};
use super::machine::{self, CommandError};
use super::memory::{self, Room};
use super::network_mounts;
use super::ownership;
use super::sub_paths::{self, SubPathError};
use super::volumes::{Owner, VolumeError, Volumes};
use crate::domain::ephemeral::scratch_folder;

/// Names that an instance can call, and where each leads.
pub type Names = BTreeMap<String, Vec<IpAddr>>;

/// Among an instance's own folders the one that is in memory.
const MEMORY: &str = "memory";

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{what} at {} cannot be made", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("which volumes an instance was given cannot be read from {}", path.display())]
    Unread {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the host folder {0} may not be shown to containers; allow it in the agent's `bind_allowed`")]
    NotAllowed(String),
    #[error("mounts of kind `{0}` are not known")]
    UnknownKind(String),
    #[error("tmpfs")]
    Tmpfs(#[from] CommandError),
    #[error("configs and secrets cannot be kept in memory, which needs the right to mount; with `files_on_disk` the agent keeps them on the node's disk")]
    Memory(#[source] CommandError),
    #[error("the network file system {path} cannot be mounted")]
    Network {
        path: String,
        #[source]
        source: CommandError,
    },
    #[error("the volume at {} cannot be given to the group {group}", path.display())]
    Group {
        path: PathBuf,
        group: u32,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} in a volume cannot be shown")]
    SubPath {
        path: String,
        #[source]
        source: SubPathError,
    },
    #[error("volume")]
    Volume(#[from] VolumeError),
}

/// Where they are on this node.
#[derive(Clone, Debug)]
pub struct Folders {
    pub volumes: Volumes,
    /// One folder per instance; readable by root alone, since it holds secrets.
    pub instances: PathBuf,
    pub logs: PathBuf,
    pub bind_allowed: Vec<PathBuf>,
    /// Configs and secrets lie on the disk, where nothing may be mounted.
    pub files_on_disk: bool,
}

impl Folders {
    pub fn logs_of(&self, id: InstanceId) -> PathBuf {
        self.logs.join(id.to_string())
    }

    fn own(&self, id: InstanceId) -> PathBuf {
        self.instances.join(id.to_string())
    }

    /// Apart from [`Folders::own`], which is removed with all that is in it.
    fn network_mounts(&self, id: InstanceId) -> PathBuf {
        self.instances.with_file_name("network-mounts").join(id.to_string())
    }

    /// Of further containers each has its own numbers: they may want it read-only where another writes.
    fn mounts_of(&self, id: InstanceId, ahead: &str, container: &WantedInstance) -> PathBuf {
        self.network_mounts(id).join(if ahead.is_empty() { "main" } else { container.name.as_str() })
    }

    /// Makes everything an instance wants to see, and tells where it is. Repeating it is harmless.
    ///
    /// # Errors
    /// [`FolderError`] naming what could not be made.
    pub async fn prepare(&self, id: InstanceId, instance: &WantedInstance, hosts: &str) -> Result<Vec<Mount>, FolderError> {
        self.prepare_for(id, instance, instance, hosts).await
    }

    /// The same for one of the instance's further containers, which shares its scratch space by name.
    ///
    /// # Errors
    /// As [`Folders::prepare`].
    pub async fn prepare_for(&self, id: InstanceId, whole: &WantedInstance, instance: &WantedInstance, hosts: &str) -> Result<Vec<Mount>, FolderError> {
        let own = self.own(id);
        make(&own, 0o700, "the instance's folder").await?;
        // What is to be let go when it goes, for an agent that knows nothing more of it then; before it has them, so that
        // nobody else lets them go meanwhile.
        let all = whole.mounts.iter().chain(whole.init.iter().chain(&whole.sidecars).flat_map(|c| &c.mounts));
        let volumes: Vec<&str> = all.filter(|m| m.kind == "volume").map(|m| m.source.as_str()).collect();
        let list = own.join("volumes");
        // As a whole: by half a list, on a full disk, a volume would be let go that is in use. Of an empty one the disk has nothing to keep.
        let written = match volumes.join("\n") {
            none if none.is_empty() => put(&list, b"", 0o600).await,
            some => replace(&list, some.as_bytes(), 0o600).await,
        };
        written.map_err(|source| FolderError::Io { what: "the list of volumes", path: list.clone(), source })?;
        // Of the main container nothing stands before the names.
        let ahead = if std::ptr::eq(whole, instance) { String::new() } else { format!("{}-", instance.name) };
        let mut mounts = vec![Mount { host: self.write_hosts(id, hosts).await?, container: "/etc/hosts".into(), ..Mount::default() }];
        for (index, mount) in instance.mounts.iter().enumerate() {
            let host = match mount.kind.as_str() {
                "volume" => {
                    let of = whole.labels.clone().unwrap_or_default();
                    let owner = Owner {
                        org: of.org,
                        project: of.project,
                        space: of.space,
                        app: of.app,
                        app_id: of.app_id,
                        workload: of.workload,
                        size_bytes: mount.size_bytes,
                    };
                    self.volumes.prepare(&mount.source, &owner).await?
                }
                "tmpfs" => self.tmpfs(&own.join(format!("{ahead}tmpfs-{index}")), mount.size_bytes).await?,
                // Gone with the instance.
                "scratch" => {
                    let path = own.join(scratch_folder(&mount.source));
                    make(&path, 0o777, "scratch space").await?;
                    path
                }
                "bind" => self.allowed(&mount.source)?,
                "nfs" => {
                    let path = &mount.source;
                    let below = self.mounts_of(id, &ahead, instance);
                    let failed = |source| FolderError::Network { path: path.clone(), source };
                    network_mounts::mounted(&below, index, path, mount.read_only).await.map_err(failed)?
                }
                other => return Err(FolderError::UnknownKind(other.into())),
            };
            // Folders of the node and of other servers stay whose they are.
            if let Some(group) = instance.fs_group
                && matches!(mount.kind.as_str(), "volume" | "tmpfs" | "scratch")
            {
                let failed = |source| FolderError::Group { path: host.clone(), group, source };
                ownership::hand_over(host.clone(), group).await.map_err(failed)?;
            }
            let host = if mount.sub_path.is_empty() {
                host
            } else {
                let failed = |source| FolderError::SubPath { path: mount.sub_path.clone(), source };
                sub_paths::shown(&self.mounts_of(id, &ahead, instance), index, host, &mount.sub_path).await.map_err(failed)?
            };
            let propagation = propagation(&mount.propagation);
            mounts.push(Mount { host, container: mount.target.clone(), read_only: mount.read_only, propagation });
        }
        if !instance.files.is_empty() {
            let files = self.place(id, whole).await?.join(format!("{ahead}files"));
            make(&files, 0o700, "the files' folder").await?;
            show(&files, instance, &mut mounts).await?;
        }
        // Of an agent that kept them on the disk; the container that was shown them has ended.
        if !self.files_on_disk {
            let path = own.join(format!("{ahead}files"));
            match fs::remove_dir_all(&path).await {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(FolderError::Io { what: "a folder without old files", path, source });
                }
                _ => {}
            }
        }
        Ok(mounts)
    }

    /// Where the files of all its containers lie.
    async fn place(&self, id: InstanceId, whole: &WantedInstance) -> Result<PathBuf, FolderError> {
        let own = self.own(id);
        if self.files_on_disk {
            return Ok(own);
        }
        let memory = own.join(MEMORY);
        make(&memory, 0o700, "the files' folder").await?;
        memory::ensure(&memory, Room::of(whole)).await.map_err(FolderError::Memory)?;
        Ok(memory)
    }

    /// Gives running containers of an instance the present contents of files that may change. True: something was another before.
    ///
    /// # Errors
    /// [`FolderError::Io`] and [`FolderError::Memory`]; trying again is always right.
    pub async fn refresh(&self, id: InstanceId, whole: &WantedInstance) -> Result<bool, FolderError> {
        let (own, memory) = (self.own(id), self.own(id).join(MEMORY));
        memory::grow(&memory, Room::of(whole)).await.map_err(FolderError::Memory)?;
        // In one of them, by how the agent was set when the container was started.
        Ok(bring_up(&own, whole).await? | bring_up(&memory, whole).await?)
    }

    /// Those it was given; before [`Folders::release`].
    ///
    /// # Errors
    /// [`FolderError::Unread`]: that it has none is not known then.
    pub async fn volumes_of(&self, id: InstanceId) -> Result<Vec<String>, FolderError> {
        let path = self.own(id).join("volumes");
        match fs::read_to_string(&path).await {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(FolderError::Unread { path, source }),
        }
    }

    /// Volumes that instances were given and have not let go. Nothing if it is not known of one of them.
    pub async fn given(&self) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        let mut entries = match fs::read_dir(&self.instances).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(all),
            Err(_) => return None,
        };
        while let Some(entry) = entries.next_entry().await.ok()? {
            if entry.file_name().to_str().is_some_and(|name| name.parse::<InstanceId>().is_ok()) {
                let list = fs::read_to_string(entry.path().join("volumes")).await.ok()?;
                all.extend(list.lines().map(str::to_owned));
            }
        }
        Some(all)
    }

    /// Writes the hosts file in place: a container sees the file it was started with, so it must not be replaced.
    ///
    /// # Errors
    /// [`FolderError::Io`]; what was in it before is in it then.
    pub async fn write_hosts(&self, id: InstanceId, text: &str) -> Result<PathBuf, FolderError> {
        let path = self.own(id).join("hosts");
        let written = match live_files::in_place(&path, text.as_bytes()).await {
            // Nobody sees it yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => put(&path, text.as_bytes(), 0o644).await,
            other => other.map(drop),
        };
        written.map_err(|source| FolderError::Io { what: "the hosts file", path: path.clone(), source })?;
        Ok(path)
    }

    async fn tmpfs(&self, path: &Path, size_bytes: u64) -> Result<PathBuf, FolderError> {
        make(path, 0o777, "a tmpfs").await?;
        let text = path.display().to_string();
        if !memory::is_mounted(path).await {
            let size = if size_bytes == 0 { 64 << 20 } else { size_bytes };
            machine::run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=1777,nosuid,nodev"), "gantry", &text]).await?;
        }
        Ok(path.to_owned())
    }

    fn allowed(&self, source: &str) -> Result<PathBuf, FolderError> {
        let path = PathBuf::from(source);
        let plain = path.is_absolute() && !path.components().any(|c| c == std::path::Component::ParentDir);
        if plain && self.bind_allowed.iter().any(|allowed| path.starts_with(allowed)) {
            return Ok(path);
        }
        Err(FolderError::NotAllowed(source.into()))
    }

    /// Ends what is kept in memory for others than these: of instances whose removal was cut off, or was somebody else's.
    pub async fn forget_others(&self, there: &BTreeSet<InstanceId>) {
        for folder in memory::mounted_as(&self.instances, MEMORY).await {
            let id = folder.file_name().and_then(|name| name.to_str()?.parse::<InstanceId>().ok());
            if id.is_none_or(|id| there.contains(&id)) {
                continue;
            }
            match memory::unmount_below(&folder.join(MEMORY)).await {
                Ok(()) => tracing::info!(path = %folder.display(), "configs and secrets of an instance that is no more were let go"),
                Err(error) => tracing::warn!(path = %folder.display(), %error, "configs and secrets of an instance that is no more stay in memory"),
            }
        }
    }

    /// Instances that have something here, whether they are still there or not.
    pub async fn present(&self) -> BTreeSet<InstanceId> {
        let mut found = BTreeSet::new();
        for folder in [&self.instances, &self.instances.with_file_name("network-mounts")] {
            let Ok(mut entries) = fs::read_dir(folder).await else { continue };
            while let Ok(Some(entry)) = entries.next_entry().await {
                found.extend(entry.file_name().to_str().and_then(|name| name.parse::<InstanceId>().ok()));
            }
        }
        found
    }

    /// Takes away what belonged to the instance alone. Volumes and logs stay.
    pub async fn release(&self, id: InstanceId) {
        let network = self.network_mounts(id);
        if let Ok(mut containers) = fs::read_dir(&network).await {
            while let Ok(Some(container)) = containers.next_entry().await {
                network_mounts::let_go(&container.path()).await;
            }
            let _ = fs::remove_dir(&network).await;
        }
        let own = self.own(id);
        if let Err(error) = memory::unmount_below(&own).await {
            tracing::warn!(%error, "a tmpfs stays mounted");
            return;
        }
        match fs::remove_dir_all(&own).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %own.display(), %error, "an instance's folder cannot be removed"),
        }
    }
}

/// Writes the files of one container and says where it is to see them.
async fn show(files: &Path, instance: &WantedInstance, mounts: &mut Vec<Mount>) -> Result<(), FolderError> {
    for (index, file) in instance.files.iter().enumerate().filter(|(_, f)| f.folder.is_empty()) {
        let path = files.join(index.to_string());
        // The folder above is closed to everybody, so the mode only counts inside the container.
        let mode = mode(file, instance.fs_group);
        let failed = |source| FolderError::Io { what: "a file", path: path.clone(), source };
        replace(&path, &file.content, mode).await.map_err(failed)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).await.map_err(failed)?;
        live_files::give(&path, owner(file, instance.fs_group)).map_err(failed)?;
        mounts.push(Mount { host: path.clone(), container: file.path.clone(), read_only: true, ..Mount::default() });
    }
    for (folder, below) in together(instance) {
        let path = files.join(folder_name(folder));
        live_files::folder(&path, &below).await.map_err(|source| FolderError::Io { what: "a folder of files", path: path.clone(), source })?;
        mounts.push(Mount { host: path, container: folder.to_owned(), read_only: true, ..Mount::default() });
    }
    Ok(())
}

/// Brings files below `at` up to date that were shown before; those that were not are left to [`show`].
async fn bring_up(at: &Path, whole: &WantedInstance) -> Result<bool, FolderError> {
    let beside = whole.init.iter().chain(&whole.sidecars).map(|c| (format!("{}-", c.name), c));
    let mut changed = false;
    for (ahead, container) in std::iter::once((String::new(), whole)).chain(beside) {
        let files = at.join(format!("{ahead}files"));
        for (index, file) in container.files.iter().enumerate().filter(|(_, f)| f.live && f.folder.is_empty()) {
            let path = files.join(index.to_string());
            if fs::metadata(&path).await.is_ok() {
                changed |= live_files::overwrite(&path, &file.content).await.map_err(|source| FolderError::Io { what: "a file", path, source })?;
            }
        }
        for (folder, below) in together(container) {
            let path = files.join(folder_name(folder));
            if fs::metadata(&path).await.is_ok() {
                changed |= live_files::folder(&path, &below).await.map_err(|source| FolderError::Io { what: "a folder of files", path, source })?;
            }
        }
    }
    Ok(changed)
}

fn propagation(word: &str) -> Propagation {
    match word {
        "slave" => Propagation::HostToContainer,
        "shared" => Propagation::Bidirectional,
        _ => Propagation::Private,
    }
}

/// A group that the instance's volumes belong to may read its files, too.
fn mode(file: &FileContent, group: Option<u32>) -> u32 {
    let mode = if file.mode == 0 { 0o444 } else { file.mode & 0o777 };
    if group.is_some() { mode | 0o440 } else { mode }
}

fn owner(file: &FileContent, group: Option<u32>) -> (u32, u32) {
    (file.uid, if file.gid == 0 { group.unwrap_or(0) } else { file.gid })
}

/// Files by the folder that shows them as a whole.
fn together(instance: &WantedInstance) -> BTreeMap<&str, Vec<Below<'_>>> {
    let mut out: BTreeMap<&str, Vec<Below<'_>>> = BTreeMap::new();
    for file in instance.files.iter().filter(|f| !f.folder.is_empty()) {
        let path = file.path.strip_prefix(file.folder.as_str()).unwrap_or(&file.path).trim_start_matches('/');
        out.entry(&file.folder).or_default().push(Below {
            path,
            content: &file.content,
            mode: mode(file, instance.fs_group),
            owner: owner(file, instance.fs_group),
        });
    }
    out
}

/// Of a folder among the instance's own: the same after every start.
fn folder_name(folder: &str) -> String {
    use sha2::{Digest, Sha256};
    format!("folder-{}", hex::encode(&Sha256::digest(folder)[..8]))
}

async fn make(path: &Path, mode: u32, what: &'static str) -> Result<(), FolderError> {
    if fs::metadata(path).await.is_ok() {
        return Ok(());
    }
    let failed = |source| FolderError::Io { what, path: path.to_owned(), source };
    fs::create_dir_all(path).await.map_err(failed)?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).await.map_err(failed)
}

/// The text of a hosts file: the machine itself, then the names of the space.
pub fn hosts_text(own_address: &str, own_name: &str, names: &Names) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    if !own_address.is_empty() {
        text.push_str(&format!("{own_address} {own_name}\n"));
    }
    for (name, addresses) in names {
        addresses.iter().for_each(|address| text.push_str(&format!("{address} {name}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_read_only_for_the_container_and_closed_on_the_host() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let folders = Folders {
            volumes: Volumes::new(at("volumes"), at("state")),
            instances: at("instances"),
            logs: at("logs"),
            bind_allowed: vec![at("shared")],
            files_on_disk: true,
        };
        let id = InstanceId(gantry_kernel::Uuid::from_u128(7));
        let file = gantry_contract::proto::scheduler::FileContent { path: "/etc/app.conf".into(), content: b"secret".to_vec(), ..Default::default() };
        let volume = gantry_contract::proto::scheduler::Mount { kind: "volume".into(), source: "a/b".into(), target: "/data".into(), ..Default::default() };
        let wanted = WantedInstance { files: vec![file], mounts: vec![volume], ..Default::default() };
        let mounts = folders.prepare(id, &wanted, "127.0.0.1 localhost\n").await.unwrap();
        let secret = mounts.iter().find(|m| m.container == "/etc/app.conf").unwrap();
        assert_eq!(folders.volumes_of(id).await.unwrap(), ["a/b"]);
        assert_eq!(folders.given().await, Some(BTreeSet::from(["a/b".to_owned()])));
        let unsaid = at("instances").join(InstanceId(gantry_kernel::Uuid::from_u128(8)).to_string());
        std::fs::create_dir(&unsaid).unwrap();
        assert_eq!(folders.given().await, None, "another may have any");
        std::fs::remove_dir(&unsaid).unwrap();
        // A disk that takes no more of the list leaves it whole.
        std::os::unix::fs::symlink("/dev/full", folders.own(id).join("volumes.new")).unwrap();
        assert!(folders.prepare(id, &wanted, "").await.is_err_and(|error| error.to_string().contains("list of volumes")));
        assert_eq!(folders.volumes_of(id).await.unwrap(), ["a/b"]);
        assert!(secret.read_only && std::fs::read(&secret.host).unwrap() == b"secret");
        assert_eq!(std::fs::metadata(folders.own(id)).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(at("volumes/a/b").is_dir());
        std::fs::create_dir(at("instances/lost+found")).unwrap();
        assert_eq!(folders.present().await, BTreeSet::from([id]));
        folders.release(id).await;
        assert!(!folders.own(id).exists() && at("volumes/a/b").is_dir());
        assert!(folders.present().await.is_empty());
    }

    #[tokio::test]
    async fn files_that_may_change_are_brought_up_to_date_where_they_were_shown() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let folders = Folders {
            volumes: Volumes::new(at("volumes"), at("state")),
            instances: at("instances"),
            logs: at("logs"),
            bind_allowed: Vec::new(),
            files_on_disk: true,
        };
        let id = InstanceId(gantry_kernel::Uuid::from_u128(8));
        let wanted = |content: &str| {
            let file = |path: &str, folder: &str, live: bool| FileContent {
                path: path.into(),
                content: content.into(),
                folder: folder.into(),
                live,
                mode: 0o400,
                ..Default::default()
            };
            WantedInstance {
                files: vec![file("/run/secrets/a", "/run/secrets", true), file("/etc/b", "", true), file("/etc/c", "", false)],
                ..Default::default()
            }
        };
        assert!(!folders.refresh(id, &wanted("0")).await.unwrap(), "not prepared yet");
        let mounts = folders.prepare(id, &wanted("1"), "").await.unwrap();
        let shown = |container: &str, below: &str| {
            let mount = mounts.iter().find(|m| m.container == container).unwrap();
            std::fs::read_to_string(if below.is_empty() { mount.host.clone() } else { mount.host.join(below) }).unwrap()
        };
        assert_eq!(mounts.len(), 4, "the hosts file, a folder, two files");
        assert_eq!((shown("/run/secrets", "a"), shown("/etc/b", "")), ("1".into(), "1".into()));
        assert!(folders.refresh(id, &wanted("2")).await.unwrap());
        assert!(!folders.refresh(id, &wanted("2")).await.unwrap());
        assert_eq!((shown("/run/secrets", "a"), shown("/etc/b", ""), shown("/etc/c", "")), ("2".into(), "2".into(), "1".into()));
    }

    #[test]
    fn files_belong_to_whom_the_document_says_and_to_the_instances_group() {
        let file = |mode: u32, uid: u32, gid: u32| FileContent { mode, uid, gid, ..Default::default() };
        let shown = |file: &FileContent, group: Option<u32>| (mode(file, group), owner(file, group));
        assert_eq!(shown(&file(0o400, 0, 0), None), (0o400, (0, 0)));
        assert_eq!(shown(&file(0o400, 1000, 50), None), (0o400, (1000, 50)));
        assert_eq!(shown(&file(0o400, 0, 0), Some(2000)), (0o440, (0, 2000)));
        assert_eq!(shown(&file(0, 7, 50), Some(2000)), (0o444, (7, 50)));
    }

    #[tokio::test]
    async fn where_nothing_can_be_mounted_secrets_are_refused_and_the_setting_is_named() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mut folders = Folders {
            volumes: Volumes::new(at("volumes"), at("state")),
            instances: at("instances"),
            logs: at("logs"),
            bind_allowed: Vec::new(),
            files_on_disk: false,
        };
        let id = InstanceId(gantry_kernel::Uuid::from_u128(9));
        let file = FileContent { path: "/etc/key".into(), content: b"secret".to_vec(), ..Default::default() };
        let wanted = WantedInstance { files: vec![file], ..Default::default() };
        // Nothing is mounted on a file, by nobody.
        std::fs::create_dir_all(folders.own(id)).unwrap();
        std::fs::write(folders.own(id).join(MEMORY), "").unwrap();
        let refused = folders.prepare(id, &wanted, "").await.unwrap_err();
        assert!(matches!(refused, FolderError::Memory(_)) && refused.to_string().contains("files_on_disk"), "{refused}");
        assert!(!folders.own(id).join("files").exists(), "not on the disk instead");
        // One without files has nothing to keep.
        assert_eq!(folders.prepare(id, &WantedInstance::default(), "").await.unwrap().len(), 1);
        folders.files_on_disk = true;
        let shown = folders.prepare(id, &wanted, "").await.unwrap();
        assert!(shown.iter().any(|m| m.container == "/etc/key" && std::fs::read(&m.host).unwrap() == b"secret"));
    }

    #[tokio::test]
    async fn a_host_folder_that_is_not_allowed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders {
            volumes: Volumes::new(folder.path().into(), folder.path().into()),
            instances: folder.path().into(),
            logs: folder.path().into(),
            bind_allowed: vec!["/srv/shared".into()],
            files_on_disk: true,
        };
        assert!(folders.allowed("/srv/shared/x").is_ok());
        for source in ["/etc", "/srv/shared/../../etc", "srv/shared", "/srv/sharedx"] {
            assert!(folders.allowed(source).is_err(), "{source}");
        }
    }
}
