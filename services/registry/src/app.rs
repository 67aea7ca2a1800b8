//! What the registry can do, one file per family of verbs. Doors parse and render; everything between is here.

use std::sync::Arc;
use std::time::Duration;

use gantry_es_pg::{Loader, Store};
use gantry_host::Host;
use tokio::sync::Notify;

use crate::adapters::blob_store::BlobStore;
use crate::adapters::blobs::Blobs;
use crate::app::arrivals::Arrivals;
use crate::app::cache::{ManifestCache, Tokens};
use crate::config::Config;
use crate::domain::name::RepositoryName;
use crate::domain::repository::{Place, Repository};
use crate::domain::settings::ProjectSettings;
use crate::error::{Error, Result};
use crate::store::blobs::{self as blob_rows, Readable, Wanted};
use crate::store::content::{self, Mount, Mounted};
use crate::store::pulls::Pulls;
use crate::store::settings::Shelf;

pub mod arrivals;
pub mod awaited;
pub mod blobs;
pub mod cache;
pub mod cached;
pub mod care;
pub mod evict;
pub mod export;
pub mod fetch;
pub mod fill;
pub mod history;
pub mod index;
pub mod layers;
pub mod listing;
pub mod manifests;
pub mod origin;
pub mod platforms;
pub mod policy;
pub mod remotes;
pub mod remove;
pub mod replicate;
pub mod retention;
pub mod rush;
pub mod scan;
pub mod scanners;
pub mod search;
pub mod settings;
pub mod signatures;
pub mod stacks;
pub mod uploads;
pub mod webhooks;

/// What every verb needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub host: Host,
    pub config: Arc<Config>,
    pub repositories: Store<Repository>,
    pub project_settings: Store<ProjectSettings>,
    pub shelf: Shelf,
    pub pulls: Pulls,
    pub blobs: Blobs,
    /// Clients ask for many blobs at once.
    pub readable: Loader<Wanted, Readable>,
    pub arrivals: Arrivals,
    /// A push of an image of known layers asks for a mount of each.
    pub mounts: Loader<Mount, Mounted>,
    pub manifests: ManifestCache,
    pub tokens: Tokens,
    /// Wakes the check of kept content.
    pub scrub: Arc<Notify>,
    pub flow: Flow,
    pub rush: rush::Rush,
}

/// What is remembered of other registries. Cheap to clone.
#[derive(Clone, Default)]
pub struct Flow {
    pub remotes: remotes::Remotes,
    pub fetches: fetch::Fetches,
    pub turns: remotes::Turns,
    pub checked: cached::Checked,
    pub receivers: crate::adapters::receiver::Receivers,
}

/// Identity's events arrive in milliseconds, but a client may use a project right after it was made.
const CATCH_UP: Duration = Duration::from_secs(2);
const CATCH_UP_STEP: Duration = Duration::from_millis(40);

impl App {
    /// The verbs on this host, with content in `store`. Starts the tasks that publish uploads.
    pub fn new(host: Host, config: Arc<Config>, store: impl BlobStore) -> Self {
        let blobs = Blobs::new(store, host.db().pool.clone(), config.inline_bytes);
        let log = host.log().clone();
        let arrivals = Arrivals::start(&host, &blobs);
        let orm = host.db().orm.clone();
        let readable = Loader::new(move |wanted| {
            let orm = orm.clone();
            async move { blob_rows::readable_of(&orm, wanted).await }
        });
        let (pool, env, fresh) = (host.db().pool.clone(), host.env.clone(), config.fresh());
        let mounts = Loader::new(move |asked: Vec<Mount>| {
            let (pool, now) = (pool.clone(), env.now());
            async move { content::mount(&pool, &asked, now, fresh).await }
        });
        Self {
            host,
            config,
            repositories: Store::new(log.clone()),
            project_settings: Store::new(log),
            shelf: Shelf::default(),
            pulls: Pulls::default(),
            blobs,
            readable,
            arrivals,
            mounts,
            manifests: ManifestCache::default(),
            tokens: Tokens::default(),
            scrub: Arc::default(),
            flow: Flow::default(),
            rush: rush::Rush::default(),
        }
    }

    /// Organisation and project of a repository.
    ///
    /// # Errors
    /// When there is no such project.
    pub async fn place(&self, name: &RepositoryName) -> Result<Place> {
        let found = self.caught_up(|| self.host.auth.project(name.org().as_str(), name.project().as_str()).ok()).await;
        let project = found.ok_or_else(|| Error::UnknownRepository(name.to_string()))?;
        Ok(Place { org: project.org.id, project: project.id, name: name.clone() })
    }

    /// Looks, and looks again for a moment if there is nothing yet: what is asked for may be on its way from identity.
    pub async fn caught_up<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            if waited >= CATCH_UP {
                return None;
            }
            tokio::time::sleep(CATCH_UP_STEP).await;
            waited += CATCH_UP_STEP;
        }
    }
}
