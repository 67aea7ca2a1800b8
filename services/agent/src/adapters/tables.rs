//! Which pods were given a table of what they may send and take in: an empty file for each. A namespace does not tell cheaply, and an
//! agent that starts anew has to take away what is not wanted any more.

use std::path::PathBuf;

use tokio::fs;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tables {
    folder: PathBuf,
}

impl Tables {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Before it is given one: an agent that is killed in between leaves none unknown.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn note(&self, pod: &str) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder).await?;
        fs::write(self.folder.join(pod), b"").await
    }

    /// What cannot be looked at counts as given.
    pub async fn has(&self, pod: &str) -> bool {
        fs::try_exists(self.folder.join(pod)).await.unwrap_or(true)
    }

    pub async fn forget(&self, pod: &str) {
        match fs::remove_file(self.folder.join(pod)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => tracing::warn!(pod, %error, "that a pod has had a table stays written down"),
            _ => {}
        }
    }

    pub async fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        let Ok(mut entries) = fs::read_dir(&self.folder).await else { return all };
        while let Ok(Some(entry)) = entries.next_entry().await {
            all.extend(entry.file_name().into_string());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_given_is_known_to_the_next_agent() {
        let folder = tempfile::tempdir().unwrap();
        let tables = Tables::new(folder.path().join("tables"));
        assert!(tables.all().await.is_empty() && !tables.has("a").await);
        tables.note("a").await.unwrap();
        tables.note("a").await.unwrap();
        let next = Tables::new(folder.path().join("tables"));
        assert!(next.has("a").await && !next.has("b").await);
        assert_eq!(next.all().await, ["a"]);
        next.forget("a").await;
        next.forget("a").await;
        assert!(!tables.has("a").await);
    }
}
