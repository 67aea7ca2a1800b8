//! Backups of volumes in object storage: `<org>/<project>/<space>/<volume>/<id>.tar`, and beside it `<id>.json`, which is written
//! last and makes it one. A folder of this machine does where no bucket is named.

use std::io;
use std::path::Path as Folder;
use std::sync::Arc;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use gantry_auth::SpaceRef;
use gantry_kernel::{Kind, Problem};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use crate::config::BackupStore;

/// What there is of a volume elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackupBody {
    pub id: String,
    pub volume: String,
    pub app: String,
    pub app_id: String,
    pub workload: String,
    /// The volume's limit; 0 for none.
    pub size_bytes: u64,
    /// Of the archive.
    pub bytes: u64,
    /// Seconds since 1970.
    pub at_unix: i64,
    pub by: String,
}

#[derive(Clone)]
pub struct Backups {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Backups {
    /// # Errors
    /// A folder that cannot be made, settings that are none.
    pub fn open(config: &BackupStore, home: &Folder) -> anyhow::Result<Self> {
        let prefix = Path::parse(&config.prefix).context("backups.prefix")?;
        if config.bucket.is_empty() {
            let folder = if config.folder.as_os_str().is_empty() { home.join("volume-backups") } else { config.folder.clone() };
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
            return Ok(Self { store: Arc::new(LocalFileSystem::new_with_prefix(folder)?), prefix });
        }
        let keyed = !config.access_key_id.is_empty();
        let mut builder = if keyed { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
        builder = builder.with_bucket_name(&config.bucket).with_region(&config.region).with_allow_http(config.allow_http);
        builder = builder.with_client_options(ClientOptions::new().with_allow_http(config.allow_http).with_timeout_disabled());
        if !config.endpoint.is_empty() {
            builder = builder.with_endpoint(&config.endpoint);
        }
        if keyed {
            builder = builder.with_access_key_id(&config.access_key_id).with_secret_access_key(config.secret_access_key.expose());
        }
        Ok(Self { store: Arc::new(builder.build()?), prefix })
    }

    fn space(&self, space: &SpaceRef) -> Path {
        let (org, project) = (space.org().id.to_string(), space.project.id.to_string());
        self.prefix.clone().join(org).join(project).join(space.id.to_string())
    }

    fn at(&self, space: &SpaceRef, volume: &str, id: &str, ending: &str) -> Path {
        self.space(space).join(volume).join(format!("{id}.{ending}"))
    }

    /// Where the archive is to be written; it shows only when it was shut down whole.
    pub fn writer(&self, space: &SpaceRef, volume: &str, id: &str) -> BufWriter {
        BufWriter::new(self.store.clone(), self.at(space, volume, id, "tar"))
    }

    /// Makes a written archive a backup.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn add(&self, space: &SpaceRef, backup: &BackupBody) -> Result<(), Problem> {
        let text = serde_json::to_vec(backup).map_err(Problem::internal)?;
        self.store.put(&self.at(space, &backup.volume, &backup.id, "json"), PutPayload::from(text)).await.map_err(away)?;
        Ok(())
    }

    /// Of one volume, or of all of the space, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self, space: &SpaceRef, volume: Option<&str>) -> Result<Vec<BackupBody>, Problem> {
        let below = match volume {
            Some(volume) => self.space(space).join(volume),
            None => self.space(space),
        };
        let keys: Vec<Path> = self.store.list(Some(&below)).map_ok(|meta| meta.location).try_collect().await.map_err(away)?;
        let mut found = Vec::new();
        for key in keys.iter().filter(|k| k.as_ref().ends_with(".json")) {
            let bytes = self.store.get(key).await.map_err(away)?.bytes().await.map_err(away)?;
            found.extend(serde_json::from_slice::<BackupBody>(&bytes).ok());
        }
        found.sort_by(|a, b| (b.at_unix, &b.id).cmp(&(a.at_unix, &a.id)));
        Ok(found)
    }

    /// # Errors
    /// Not found, or a store that does not answer.
    pub async fn find(&self, space: &SpaceRef, volume: &str, id: &str) -> Result<BackupBody, Problem> {
        let found = self.list(space, Some(volume)).await?.into_iter().find(|b| b.id == id);
        found.ok_or_else(|| Problem::not_found("backup", id))
    }

    /// The archive, as it comes.
    ///
    /// # Errors
    /// As [`Backups::find`].
    pub async fn read(&self, space: &SpaceRef, backup: &BackupBody) -> Result<BoxStream<'static, io::Result<bytes::Bytes>>, Problem> {
        let got = self.store.get(&self.at(space, &backup.volume, &backup.id, "tar")).await.map_err(away)?;
        Ok(got.into_stream().map_err(io::Error::other).boxed())
    }

    /// # Errors
    /// When the store refuses.
    pub async fn remove(&self, space: &SpaceRef, backup: &BackupBody) -> Result<(), Problem> {
        // What made it a backup first: half of one is none.
        for ending in ["json", "tar"] {
            match self.store.delete(&self.at(space, &backup.volume, &backup.id, ending)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(away(error)),
            }
        }
        Ok(())
    }
}

fn away(error: object_store::Error) -> Problem {
    let mut problem = Problem::new(
        Kind::Unavailable,
        "scheduler.backup_store",
        "the store of backups does not answer as it should; its operator finds the reason in the log",
    );
    problem = problem.with_source(error);
    problem
}
