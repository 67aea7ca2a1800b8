//! The real `git` on bare repositories and workspaces, in an environment that no configuration, hook or helper of this
//! machine or of a pushed repository can reach into.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gantry_kernel::{Name, ProjectId};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// Longer than any clone we allow.
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Error)]
pub enum GitError {
    #[error("git cannot be started")]
    Start(#[source] std::io::Error),
    #[error("`git {command}` failed: {message}")]
    Failed { command: String, message: String },
    #[error("`git {0}` took too long")]
    TimedOut(String),
    #[error("`{path}` has more than {limit} bytes")]
    TooLarge { path: String, limit: usize },
}

/// All repositories, at `<root>/<project id>/<name>.git`. By id: a project that is made anew under an old name must not
/// find the old one's code.
#[derive(Clone)]
pub struct Git {
    root: PathBuf,
}

impl Git {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder that `git http-backend` may serve for one project.
    pub fn project_root(&self, project: ProjectId) -> PathBuf {
        self.root.join(project.to_string())
    }

    /// Names are DNS labels, so the path cannot leave the root.
    pub fn path(&self, project: ProjectId, name: &Name) -> PathBuf {
        self.project_root(project).join(format!("{name}.git"))
    }

    /// Makes the bare repository, if it is not there. Appears whole or not at all.
    ///
    /// # Errors
    /// When git or the file system refuses.
    pub async fn create(&self, repository: &Path) -> Result<(), GitError> {
        if repository.join("HEAD").exists() {
            return Ok(());
        }
        let making = repository.with_extension("making");
        let _ = tokio::fs::remove_dir_all(&making).await;
        tokio::fs::create_dir_all(&making).await.map_err(GitError::Start)?;
        run(&making, &["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."]).await?;
        tokio::fs::rename(&making, repository).await.map_err(GitError::Start)
    }

    /// Branches and tags with the commit or object each names now.
    ///
    /// # Errors
    /// When git refuses.
    pub async fn refs(&self, repository: &Path) -> Result<BTreeMap<String, String>, GitError> {
        let text = run(repository, &["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"]).await?;
        Ok(String::from_utf8_lossy(&text).lines().filter_map(|l| l.split_once(' ')).map(|(id, name)| (name.to_owned(), id.to_owned())).collect())
    }

    /// The commit that a branch, tag or commit id names; `None` when there is none.
    ///
    /// # Errors
    /// When git cannot be run.
    pub async fn resolve(&self, repository: &Path, revision: &str) -> Result<Option<String>, GitError> {
        let wanted = format!("{revision}^{{commit}}");
        match run(repository, &["rev-parse", "--quiet", "--verify", "--end-of-options", &wanted]).await {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// First line of the commit's message.
    ///
    /// # Errors
    /// When git refuses.
    pub async fn subject(&self, repository: &Path, commit: &str) -> Result<String, GitError> {
        let text = run(repository, &["log", "-1", "--format=%s", "--end-of-options", commit]).await?;
        Ok(String::from_utf8_lossy(&text).trim().chars().take(200).collect())
    }

    /// One file of a commit; `None` when the commit has none of that name.
    ///
    /// # Errors
    /// When git refuses or the file is larger than `limit` bytes.
    pub async fn file(&self, repository: &Path, commit: &str, path: &str, limit: usize) -> Result<Option<Vec<u8>>, GitError> {
        let object = format!("{commit}:{path}");
        let size = match run(repository, &["cat-file", "-s", &object]).await {
            Ok(text) => String::from_utf8_lossy(&text).trim().parse::<usize>().unwrap_or(usize::MAX),
            Err(GitError::Failed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if size > limit {
            return Err(GitError::TooLarge { path: path.to_owned(), limit });
        }
        run(repository, &["cat-file", "blob", &object]).await.map(Some)
    }

    /// A fresh work tree of `commit` in `workspace`, which must not exist.
    ///
    /// # Errors
    /// When git refuses, for instance because the commit is gone.
    pub async fn checkout(&self, repository: &Path, commit: &str, workspace: &Path) -> Result<(), GitError> {
        let (from, to) = (repository.to_string_lossy(), workspace.to_string_lossy());
        run(&self.root, &["clone", "--quiet", "--no-hardlinks", "--no-checkout", "--template=", "--", &from, &to]).await?;
        run(workspace, &["checkout", "--quiet", "--detach", "--end-of-options", commit]).await.map(|_| ())
    }

    /// # Errors
    /// When the file system refuses.
    pub async fn delete(&self, repository: &Path) -> std::io::Result<()> {
        match tokio::fs::remove_dir_all(repository).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The settings every git process gets, from us alone. By variables and not by `-c`, so that children of git keep them.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("safe.directory", "*"),
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("http.receivepack", "true"),
    ("receive.fsckObjects", "true"),
    ("receive.denyDeleteCurrent", "ignore"),
    ("receive.autogc", "false"),
    ("transfer.hideRefs", "refs/gantry"),
];

/// A git command in our environment; `more` settings come last and win.
pub fn command(more: &[(&str, &str)]) -> Command {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    let settings: Vec<_> = SETTINGS.iter().chain(more).collect();
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (index, (key, value)) in settings.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command.kill_on_drop(true);
    command
}

async fn run(folder: &Path, args: &[&str]) -> Result<Vec<u8>, GitError> {
    let name = args.first().copied().unwrap_or_default().to_owned();
    let mut child =
        command(&[]).args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(GitError::Start)?;
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let work = async {
        tokio::try_join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err))?;
        child.wait().await
    };
    let status = tokio::time::timeout(LIMIT, work).await.map_err(|_| GitError::TimedOut(name.clone()))?.map_err(GitError::Start)?;
    if status.success() {
        return Ok(out);
    }
    let message = String::from_utf8_lossy(&err).trim().chars().take(500).collect();
    Err(GitError::Failed { command: name, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn repository() -> (tempfile::TempDir, Git, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let git = Git::new(home.path().to_owned());
        let path = git.path(ProjectId(gantry_kernel::Uuid::from_u128(1)), &Name::parse("web").unwrap());
        git.create(&path).await.unwrap();
        git.create(&path).await.unwrap();
        (home, git, path)
    }

    /// A commit made with plumbing: no work tree, no user configuration.
    async fn commit(path: &Path, file: &str, text: &str) -> String {
        let script = format!(
            "b=$(printf '%s' '{text}' | git hash-object -w --stdin); t=$(printf '100644 blob %s\t{file}\n' $b | git mktree); \
             c=$(git -c user.name=t -c user.email=t@t commit-tree -m 'first line' $t); git update-ref refs/heads/main $c; echo $c"
        );
        let out = std::process::Command::new("sh").args(["-ec", &script]).current_dir(path).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    #[tokio::test]
    async fn a_repository_is_made_read_and_checked_out() {
        let (home, git, path) = repository().await;
        assert_eq!(git.refs(&path).await.unwrap(), BTreeMap::new());
        let id = commit(&path, "a.txt", "hello").await;
        assert_eq!(git.refs(&path).await.unwrap(), BTreeMap::from([("refs/heads/main".to_owned(), id.clone())]));
        assert_eq!(git.resolve(&path, "refs/heads/main").await.unwrap().as_deref(), Some(id.as_str()));
        assert_eq!(git.resolve(&path, "nothing").await.unwrap(), None);
        assert_eq!(git.resolve(&path, "--output=/tmp/x").await.unwrap(), None);
        assert_eq!(git.subject(&path, &id).await.unwrap(), "first line");
        assert_eq!(git.file(&path, &id, "a.txt", 10).await.unwrap().as_deref(), Some(b"hello".as_slice()));
        assert_eq!(git.file(&path, &id, "b.txt", 10).await.unwrap(), None);
        assert!(matches!(git.file(&path, &id, "a.txt", 4).await, Err(GitError::TooLarge { .. })));
        let workspace = home.path().join("ws");
        git.checkout(&path, &id, &workspace).await.unwrap();
        assert_eq!(std::fs::read_to_string(workspace.join("a.txt")).unwrap(), "hello");
    }

    #[tokio::test]
    async fn hooks_of_a_repository_never_run() {
        let (home, git, path) = repository().await;
        let id = commit(&path, "a.txt", "hello").await;
        let marker = home.path().join("ran");
        std::fs::create_dir_all(path.join("hooks")).unwrap();
        for hook in ["post-checkout", "post-receive", "pre-receive"] {
            use std::os::unix::fs::PermissionsExt;
            let file = path.join("hooks").join(hook);
            std::fs::write(&file, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        git.checkout(&path, &id, &home.path().join("ws")).await.unwrap();
        assert!(!marker.exists());
    }
}
