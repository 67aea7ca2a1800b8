//! What is remembered between calls: the platform's address, the place to work in and the tokens, in one file only its
//! owner reads. Refreshing holds a lock: a refresh token is good for one use.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gantry_kernel::OffsetDateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Session {
    pub url: Option<String>,
    pub ca: Option<PathBuf>,
    pub at: Option<String>,
    pub tokens: Option<Tokens>,
}

#[derive(Clone, Serialize, Deserialize, PartialEq)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The file, and the lock beside it.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

impl Store {
    /// `$GANTRY_CONFIG_DIR`, else `$XDG_CONFIG_HOME/gantry`, else `~/.config/gantry`.
    #[allow(clippy::disallowed_methods, reason = "a program for people finds its settings by the environment")]
    pub fn find() -> Result<Self> {
        let var = |key: &str| std::env::var(key).ok().filter(|v| !v.is_empty()).map(PathBuf::from);
        let folder = var("GANTRY_CONFIG_DIR")
            .or_else(|| var("XDG_CONFIG_HOME").map(|d| d.join("gantry")))
            .or_else(|| var("HOME").map(|d| d.join(".config/gantry")))
            .context("HOME is not set; name a folder with GANTRY_CONFIG_DIR")?;
        Ok(Self::in_folder(&folder))
    }

    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("session.json"))
    }

    /// Another file beside it: what the platform at `url` gave to one client for a program that is no part of this one. `id` of letters,
    /// digits, `-`, `_` and `.`; platforms have clients of the same name, so the file's name has a part of the address's hash, too.
    pub fn of_client(&self, id: &str, url: &str) -> Self {
        let platform: String = Sha256::digest(url)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(self.0.with_file_name(format!("credential-{id}@{platform}.json")))
    }

    /// All of these, whichever platform's, with the ids of their clients.
    pub fn of_clients(&self) -> Result<Vec<(String, Self)>> {
        let folder = self.0.parent().context("the file is in a folder")?;
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            if let Some(kept) = name.to_str().and_then(|n| n.strip_prefix("credential-")?.strip_suffix(".json")) {
                let id = kept.rsplit_once('@').map_or(kept, |(id, _)| id).to_owned();
                found.push((id, Self(self.0.with_file_name(&name))));
            }
        }
        Ok(found)
    }

    /// Forgets it.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove {}", self.0.display())),
            _ => Ok(()),
        }
    }

    /// Nothing remembered is an empty session; a damaged file is an error.
    pub fn read(&self) -> Result<Session> {
        match fs::read_to_string(&self.0) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is damaged; remove it and sign in again", self.0.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Session::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.0.display())),
        }
    }

    pub fn write(&self, session: &Session) -> Result<()> {
        self.folder()?;
        let draft = self.0.with_extension(format!("{}", std::process::id()));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(serde_json::to_string_pretty(session)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.0).with_context(|| format!("cannot write {}", self.0.display()))
    }

    /// Held until dropped; other calls of this program wait.
    pub fn lock(&self) -> Result<File> {
        self.folder()?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.0.with_extension("lock"))?;
        file.lock()?;
        Ok(file)
    }

    fn folder(&self) -> Result<()> {
        let folder = self.0.parent().context("the file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_are_kept_for_their_owner_only_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::in_folder(&folder.path().join("deep"));
        assert_eq!(store.read().unwrap(), Session::default());
        let tokens = Tokens { access_token: "secret".into(), refresh_token: None, expires_at: OffsetDateTime::UNIX_EPOCH };
        let session = Session { url: Some("https://x".into()), tokens: Some(tokens), ..Session::default() };
        store.write(&session).unwrap();
        assert_eq!(store.read().unwrap(), session);
        let mode = fs::metadata(folder.path().join("deep/session.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{session:?}").contains("secret"));
    }

    #[test]
    fn what_two_platforms_gave_to_clients_of_one_name_is_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::in_folder(folder.path());
        for url in ["https://one", "https://two"] {
            let own = store.of_client("kubernetes", url);
            assert_eq!(own.read().unwrap(), Session::default());
            own.write(&Session { url: Some(url.into()), ..Session::default() }).unwrap();
        }
        let mut found: Vec<_> = store.of_clients().unwrap().into_iter().map(|(id, own)| (id, own.read().unwrap().url.unwrap())).collect();
        found.sort_unstable();
        assert_eq!(found, [("kubernetes".to_owned(), "https://one".to_owned()), ("kubernetes".to_owned(), "https://two".to_owned())]);
    }
}
