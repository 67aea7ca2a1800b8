//! Directories and foreign providers that vouch for people: managing them, letting people in by them, keeping in step.

pub mod come_in;
pub mod federate;
pub mod links;
pub mod manage;
pub mod meaning;
pub mod password;
pub mod renew;
pub mod report;
pub mod rooms;
pub mod sync;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gantry_contract::upstream::{Connection, LinkEvent, Settings};
use gantry_es::{Meta, Sealed};
use gantry_es_pg::Store;
use gantry_kernel::{Kind, OffsetDateTime, OrgId, Problem, Secret, UpstreamId, Uuid};

use crate::adapters::ldap::{Directory, Fault};
use crate::adapters::oidc;
use crate::app::App;
use crate::domain::upstream::{self, link};
use crate::error::{fault, unsealed};
use crate::store::upstreams::{self as rows, UpstreamRow};

/// What the verbs here share: aggregates, and connections that remember which server does not answer.
pub struct Upstreams {
    pub store: Store<upstream::Upstream>,
    pub links: Store<link::Link>,
    directories: Mutex<HashMap<Uuid, (i64, Directory)>>,
    providers: Mutex<HashMap<Uuid, (i64, OffsetDateTime, Arc<oidc::Metadata>)>>,
    ways: RwLock<Ways>,
    rooms: rooms::Rooms,
}

impl Upstreams {
    /// `connections`: how many the service has to its database.
    pub fn new(log: &gantry_es_pg::Log, connections: u32) -> Self {
        Self {
            store: Store::new(log.clone()),
            links: Store::new(log.clone()),
            directories: Mutex::default(),
            providers: Mutex::default(),
            ways: RwLock::default(),
            rooms: rooms::Rooms::new(connections),
        }
    }
}

/// The ways to sign in elsewhere that the page offers; looked up by itself every half minute and after each change here.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// The platform's providers: name and what people read.
    pub buttons: Vec<(String, String)>,
    /// Some e-mail domain leads to a provider.
    pub realms: bool,
}

impl Upstreams {
    /// Waits until another synchronisation could be begun.
    pub async fn room(&self) {
        self.rooms.freed().await;
    }

    pub fn ways(&self) -> Ways {
        self.ways.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An upstream as it is now.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub id: UpstreamId,
    pub org: Option<OrgId>,
    pub name: String,
    pub settings: Arc<Settings>,
    secret: Option<Sealed>,
    pub version: i64,
    pub created_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
}

impl Upstream {
    /// The actor of what follows from its word.
    pub fn actor(&self) -> String {
        format!("upstream:{}", self.id)
    }

    pub fn meta(&self, from: Option<&str>) -> Meta {
        Meta { actor: self.actor(), tenant: self.org, from: from.map(str::to_owned), ..Meta::default() }
    }

    pub fn shown(&self) -> &str {
        if self.settings.display_name.is_empty() { &self.name } else { &self.settings.display_name }
    }

    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.settings.connection, Connection::Ldap(_))
    }

    /// The events that link `user` with what is called `subject` there.
    fn linked(&self, link: gantry_kernel::LinkId, user: gantry_kernel::UserId, subject: Sealed, key: String, provisioned: bool) -> LinkEvent {
        LinkEvent::Made { link, user, upstream: self.id, subject, key, provisioned }
    }
}

/// The keyring's subject of an upstream's secret.
fn sealed_for(id: UpstreamId) -> String {
    format!("upstream:{id}")
}

fn opened(row: UpstreamRow) -> Result<Upstream, Problem> {
    Ok(Upstream {
        id: UpstreamId(row.id),
        org: row.org.map(OrgId),
        name: row.name,
        settings: Arc::new(serde_json::from_value(row.settings).map_err(fault)?),
        secret: row.secret.map(Sealed),
        version: row.version,
        created_at: row.created_at,
        changed_at: row.changed_at,
    })
}

/// What an administrator sees when a directory fails; the person who signs in sees less.
pub fn unreachable(upstream: &str, fault: &Fault) -> Problem {
    Problem::new(Kind::Unavailable, "identity.directory_unavailable", format!("the directory `{upstream}` cannot be used right now; try again later"))
        .with_source(std::io::Error::other(fault.to_string()))
        .retry_after(std::time::Duration::from_secs(30))
}

impl App {
    /// All upstreams, directories in the order in which they are asked. One whose settings cannot be read (of a newer version of this
    /// service) is as good as none, and takes none of the others along.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn all_upstreams(&self) -> Result<Vec<Upstream>, Problem> {
        let mut all = Vec::new();
        for row in rows::all(self.pool()).await.map_err(fault)? {
            let name = row.name.clone();
            match opened(row) {
                Ok(upstream) => all.push(upstream),
                Err(problem) => tracing::error!(error = problem.chain(), upstream = name, "the settings of an upstream cannot be read"),
            }
        }
        Ok(all)
    }

    /// Looks up what the sign-in page offers.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn refresh_ways(&self) -> Result<(), Problem> {
        let all: Vec<Upstream> = self.all_upstreams().await?.into_iter().filter(|u| u.settings.enabled && !u.is_directory()).collect();
        let buttons = all.iter().filter(|u| u.org.is_none()).map(|u| (u.name.clone(), u.shown().to_owned())).collect();
        let ways = Ways { buttons, realms: all.iter().any(|u| !u.settings.domains.is_empty()) };
        *self.upstreams.ways.write().unwrap_or_else(PoisonError::into_inner) = ways;
        Ok(())
    }

    /// # Errors
    /// When the database refuses.
    pub async fn upstream(&self, name: &str) -> Result<Option<Upstream>, Problem> {
        rows::by_name(self.pool(), name).await.map_err(fault)?.map(opened).transpose()
    }

    /// # Errors
    /// When it cannot be read.
    pub async fn upstream_secret(&self, of: &Upstream) -> Result<Secret, Problem> {
        match &of.secret {
            Some(sealed) => Ok(Secret::new(self.keyring.open(&sealed_for(of.id), sealed).await.map_err(unsealed)?)),
            None => Ok(Secret::default()),
        }
    }

    /// The directory behind an upstream; `None` if it is none.
    ///
    /// # Errors
    /// When its settings do not make one.
    pub async fn directory(&self, of: &Upstream) -> Result<Option<Directory>, Problem> {
        let Connection::Ldap(ldap) = &of.settings.connection else { return Ok(None) };
        {
            let kept = self.upstreams.directories.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, directory)) = kept.get(&of.id.0).filter(|(version, _)| *version == of.version) {
                return Ok(Some(directory.clone()));
            }
        }
        let secret = self.upstream_secret(of).await?;
        let directory = Directory::new(&of.settings, ldap, secret, self.host.env.clone(), self.host.tracker.clone()).map_err(|f| unreachable(&of.name, &f))?;
        let mut kept = self.upstreams.directories.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(of.id.0, (of.version, directory.clone()));
        Ok(Some(directory))
    }
}
