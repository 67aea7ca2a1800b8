//! What every verb and flow is given.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gantry_es_pg::Store;
use gantry_host::Host;
use gantry_kernel::{Name, OrgId, ProjectId, SpaceId};
use tokio::sync::watch;

use super::cluster_usage::ClusterUsage;
use super::kept::filling::Opened;
use super::measures::Measures;
use super::migration::Moves;
use super::models::Models;
use super::sessions::Sessions;
use super::unreadable::Unreadable;
use crate::adapters::agents::Agents;
use crate::adapters::backups::Backups;
use crate::adapters::clusters::Clusters;
use crate::adapters::credentials::Credentials;
use crate::adapters::prometheus::Prometheus;
use crate::config::Config;
use crate::domain::app::{App, Home};
use crate::store;

/// Cheap to clone; dereferences to what all clones share.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

pub struct Inner {
    pub host: Host,
    pub config: Config,
    pub apps: Store<App>,
    pub agents: Agents,
    /// The Kubernetes clusters, while this process decides.
    pub clusters: Clusters,
    pub models: Models,
    /// Contents of configs and secrets of spaces.
    pub opened: Opened,
    pub credentials: Credentials,
    pub sessions: Sessions,
    /// Live migrations under way.
    pub moves: Moves,
    pub backups: Backups,
    pub measures: Measures,
    /// What is used on the Kubernetes clusters.
    pub usage: ClusterUsage,
    pub prometheus: Prometheus,
    /// Whether this process decides (holds the lease); agents attach only to it.
    pub leading: AtomicBool,
    /// What cannot be read was told.
    pub unreadable: Unreadable,
    /// Moves whenever something that people watch has changed.
    pub moved: watch::Sender<i64>,
}

impl Deref for Scheduler {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Scheduler {
    pub fn new(host: Host, config: Config, backups: Backups, prometheus: Prometheus) -> Self {
        Self(Arc::new(Inner {
            apps: Store::new(host.log().clone()),
            agents: Agents::new(host.env.clone()),
            clusters: Clusters::default(),
            models: Models::default(),
            opened: Opened::default(),
            credentials: Credentials::new(host.clone(), config.credential_seconds),
            sessions: Sessions::default(),
            moves: Moves::default(),
            backups,
            measures: Measures::default(),
            usage: ClusterUsage::default(),
            prometheus,
            leading: AtomicBool::new(false),
            unreadable: Unreadable::default(),
            moved: watch::channel(0).0,
            config,
            host,
        }))
    }

    pub fn orm(&self) -> &sea_orm::DatabaseConnection {
        &self.host.db().orm
    }
}

/// Where the application of a row lives. Names in rows were names when they were written.
pub fn home(row: &store::app::Model) -> Option<Home> {
    Some(Home {
        org: OrgId(row.org),
        project: ProjectId(row.project),
        space: SpaceId(row.space),
        org_name: Name::parse(&row.org_name).ok()?,
        project_name: Name::parse(&row.project_name).ok()?,
        space_name: Name::parse(&row.space_name).ok()?,
    })
}
