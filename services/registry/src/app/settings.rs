//! Reading and changing what a project wants of its part of the registry, and holding pushes to it.

use std::sync::Arc;
use std::time::Duration;

use gantry_auth::ProjectRef;
use gantry_contract::registry::flow::Happening;
use gantry_contract::registry::settings::{Change, SettingsEvent};
use gantry_es::{DecodeError, Meta, StreamId};
use gantry_es_pg::{ExecuteError, Expect, Options, Performed};
use gantry_kernel::{Kind, Problem, ProjectId, Uuid};
use tokio::time::Instant;

use super::App;
use crate::domain::digest::Digest;
use crate::domain::manifest::Manifest;
use crate::domain::name::RepositoryName;
use crate::domain::repository::{Command as RepositoryCommand, Place, Refusal as RepositoryRefusal};
use crate::domain::settings::{Command, Refusal, Settings};
use crate::domain::signature::key;
use crate::domain::webhook::Happened;
use crate::error::{Error, Result};
use crate::store::bookings::{self, Asked, Booked};
use crate::store::settings::Known;
use crate::store::unplaced::{self, Taken};
use crate::store::usage;

/// How long a push has its room in the quota if nobody says that it is over: longer than an append may wait for a database that is away.
const BOOKED: Duration = Duration::from_secs(120);
/// How long a push waits for those that have booked what it needs.
const TURN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of manifests that belong to no image (they were refused), beyond what there may be of other content.
const FOR_MANIFESTS: u64 = 64 << 20;

/// A project's storage quota.
pub(super) struct Quota {
    pub project: ProjectId,
    pub limit: u64,
    /// Bytes that the project keeps.
    pub used: u64,
}

impl Quota {
    /// Bytes that one blob can have: what is larger is neither kept already, nor can it ever be.
    pub fn largest(&self) -> u64 {
        self.limit.max(self.used)
    }
}

impl App {
    /// # Errors
    /// The log.
    pub async fn settings(&self, project: ProjectId) -> Result<Arc<Settings>> {
        Ok(self.known_settings(project).await?.settings)
    }

    /// The same with the version that they are of: another replica may have changed them a moment ago.
    ///
    /// # Errors
    /// The log.
    pub(super) async fn known_settings(&self, project: ProjectId) -> Result<Known> {
        self.shelf.get(self.host.log(), project).await.map_err(|error| match error.downcast::<DecodeError>() {
            Ok(newer) if newer.is_newer() => Error::Denied(gantry_host::from_decode(newer)),
            Ok(damaged) => Error::Internal(damaged.into()),
            Err(other) => Error::Internal(other),
        })
    }

    /// Carries out a command on a repository under the project's immutable tags. The append itself checks that they are those of `known`, and
    /// where another replica has changed them meanwhile the command is decided anew: so no push that ends after a rule was set is against it.
    ///
    /// # Errors
    /// As [`gantry_es_pg::Store::perform`].
    pub(super) async fn perform_by_rules(
        &self,
        name: &RepositoryName,
        project: ProjectId,
        mut known: Known,
        command: RepositoryCommand,
        meta: Meta,
    ) -> Result<Performed, ExecuteError<RepositoryRefusal>> {
        loop {
            let given = vec![(StreamId::of::<SettingsEvent>(project), known.version)];
            let options = Options { meta: meta.clone(), given, ..Options::default() };
            let command = command.clone().under(known.settings.frozen(name.rest()));
            let doubtful = match self.repositories.perform(name, command, options).await {
                // A tag may not be immutable any more.
                Err(error @ (ExecuteError::Stale { .. } | ExecuteError::Refused(RepositoryRefusal::ImmutableTag(_)))) => error,
                done => return done,
            };
            self.shelf.forget(project);
            match self.known_settings(project).await {
                Ok(now) if now.version != known.version => known = now,
                Ok(_) => return Err(doubtful),
                Err(error) => {
                    tracing::warn!(repository = %name, error = %error, "the project's settings could not be read again for a push");
                    return Err(doubtful);
                }
            }
        }
    }

    /// The settings with the version of their stream, straight from the log.
    ///
    /// # Errors
    /// The log.
    pub async fn settings_now(&self, project: ProjectId) -> Result<(Settings, i64), Problem> {
        let loaded = self.project_settings.load(project).await.map_err(gantry_host::from_execute)?;
        Ok((loaded.state, loaded.version))
    }

    /// # Errors
    /// A change that makes no sense, or one for another version.
    pub async fn change_settings(&self, project: &ProjectRef, change: Change, meta: Meta, expect: Expect) -> Result<(Settings, i64), Problem> {
        if let Change::KeyTrusted(trusted) = &change {
            key::parse(&trusted.pem).map_err(|fault| Problem::invalid("pem", fault))?;
        }
        let command = Command { org: project.org.id, project: project.id, change };
        let options = Options { meta: meta.tenant(project.org.id), expect, ..Options::default() };
        let done = self.project_settings.execute(project.id, command, options).await.map_err(gantry_host::from_execute)?;
        self.host.settled(done.position).await;
        self.shelf.forget(project.id);
        Ok((done.state, done.version))
    }

    /// Books room for a push in the project's storage quota, or refuses it; none where there is no quota. It is given back when the push is
    /// over. A lock held meanwhile would not do: its connection may be lost while the append goes on by another.
    ///
    /// # Errors
    /// The quota, or the database.
    pub(super) async fn book(&self, settings: &Settings, project: ProjectId, digest: &Digest, manifest: &Manifest, size: u64) -> Result<Option<Uuid>> {
        let Some(limit) = settings.quota_bytes else { return Ok(None) };
        let mut content: Vec<(String, u64)> = manifest.blobs().iter().map(|d| (d.digest.to_string(), d.size)).collect();
        content.push((digest.to_string(), size));
        let asked = Asked { project, content: &content, limit };
        let deadline = Instant::now() + TURN;
        loop {
            let (id, now) = (self.host.env.uuid(), self.host.env.now());
            match bookings::book(&self.host.db().pool, &asked, id, now, now + BOOKED).await.map_err(anyhow::Error::from)? {
                Booked::Room => return Ok(Some(id)),
                Booked::Full { used, more } => return Err(self.full(project, used, more, limit).await),
                // Those who are before it may be refused yet.
                Booked::Awaited if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                Booked::Awaited => return Err(Error::Denied(Problem::unavailable("the room in the project's quota that other pushes have asked for"))),
            }
        }
    }

    /// Lets one more blob into the project, if it can belong to an image there and not too much lies there that belongs to none: a client should hear
    /// it before it sends the rest.
    ///
    /// # Errors
    /// The quota, or the database.
    pub(super) async fn blob_may_come(&self, name: &RepositoryName, digest: &Digest, size: u64) -> Result<()> {
        self.may_come(name, digest, size, 0).await
    }

    /// The same for a manifest: of blobs there may lie so much that only manifests help.
    ///
    /// # Errors
    /// The quota, or the database.
    pub(super) async fn manifest_may_come(&self, name: &RepositoryName, digest: &Digest, size: u64) -> Result<()> {
        self.may_come(name, digest, size, FOR_MANIFESTS).await
    }

    async fn may_come(&self, name: &RepositoryName, digest: &Digest, size: u64, beyond: u64) -> Result<()> {
        let Place { project, .. } = self.place(name).await?;
        let Some(limit) = self.settings(project).await?.quota_bytes else { return Ok(()) };
        let now = self.host.env.now();
        let since = now - Duration::from_secs(self.config.gc_grace_seconds);
        let most_unplaced = limit.saturating_add(beyond);
        let asked = unplaced::Asked { project, digest: digest.as_str(), size_bytes: size, limit, most_unplaced };
        match unplaced::take(&self.host.db().pool, &asked, now, since).await.map_err(anyhow::Error::from)? {
            Taken::Room => Ok(()),
            Taken::Full { used } => Err(self.full(project, used, size, limit).await),
            Taken::Littered { unplaced } => Err(Error::Denied(littered(unplaced, size, most_unplaced, self.config.gc_grace_seconds))),
        }
    }

    /// The project's quota, if it has one, with what is used of it.
    ///
    /// # Errors
    /// No such project, or the database.
    pub(super) async fn quota(&self, name: &RepositoryName) -> Result<Option<Quota>> {
        let Place { project, .. } = self.place(name).await?;
        let Some(limit) = self.settings(project).await?.quota_bytes else { return Ok(None) };
        let used = usage::of(&self.host.db().orm, project).await?.unique_bytes.unsigned_abs();
        Ok(Some(Quota { project, limit, used }))
    }

    /// Says that a project is full, to who asks and to those who follow it.
    pub(super) async fn full(&self, project: ProjectId, used: u64, more: u64, limit: u64) -> Error {
        self.announce_full(project, used, more, limit).await;
        Error::Denied(over_quota(used, more, limit))
    }

    /// At most once an hour: a client that tries again and again is one piece of news.
    async fn announce_full(&self, project: ProjectId, used: u64, more: u64, limit: u64) {
        let data = serde_json::json!({ "used_bytes": used, "asked_bytes": more, "quota_bytes": limit });
        let happened = Happened { happening: Happening::Quota, what: "quota.exceeded", repository: None, tag: None, data };
        let hour = self.host.env.now().unix_timestamp() / 3600;
        self.announce(project, &happened, Some(&format!("quota {hour}"))).await;
    }
}

/// A newer replica has written what decides this; that one can tell.
pub(super) fn beyond(what: &str) -> Error {
    let detail = format!("a newer version of this service has changed {what}; try again, that version will answer");
    Error::Denied(Problem::new(Kind::Unavailable, "request.older_than_log", detail).retry_after(Duration::from_secs(2)))
}

fn over_quota(used: u64, more: u64, limit: u64) -> Problem {
    let detail = format!(
        "the project's storage quota is {limit} bytes; {used} are used and this needs {more} more. Delete images nobody needs \
         (`gantry registry retention run` finds them) or ask an administrator of the project for a larger quota"
    );
    Problem::new(Kind::QuotaExceeded, "registry.quota_exceeded", detail)
}

fn littered(unplaced: u64, more: u64, most: u64, grace_seconds: u64) -> Problem {
    let detail = format!(
        "{unplaced} bytes were uploaded to the project that belong to no image, and this would be {more} more; there may be {most}, by the storage quota. \
         Push the manifests of the images that they are of; what belongs to none goes {} minutes after it was uploaded",
        grace_seconds.div_ceil(60)
    );
    Problem::new(Kind::QuotaExceeded, "registry.quota_exceeded", detail)
}

impl gantry_host::AsProblem for Refusal {
    fn as_problem(&self) -> Problem {
        match self {
            Self::Invalid { field, detail } => Problem::invalid(field.clone(), detail.clone()),
            Self::NoSuch { what, name } => Problem::not_found(what, name),
            Self::TooMany => Problem::conflict("registry.too_many", self.to_string()),
            Self::KeyInUse(_) => Problem::conflict("registry.key_in_use", self.to_string()),
            Self::TargetInUse(_) => Problem::conflict("registry.target_in_use", self.to_string()),
        }
    }
}
