//! Reading and changing what a project wants of its part of the registry, and holding pushes to it.

use std::sync::Arc;

use gantry_auth::ProjectRef;
use gantry_contract::registry::flow::Happening;
use gantry_contract::registry::settings::Change;
use gantry_es::Meta;
use gantry_es_pg::{Expect, Options};
use gantry_kernel::{Kind, Problem, ProjectId};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, TransactionTrait};

use super::App;
use crate::domain::digest::Digest;
use crate::domain::manifest::Manifest;
use crate::domain::name::RepositoryName;
use crate::domain::settings::{Command, Refusal, Settings};
use crate::domain::signature::key;
use crate::domain::webhook::Happened;
use crate::error::{Error, Result};
use crate::store::{scanner_reports, usage};

impl App {
    /// # Errors
    /// Database.
    pub async fn settings(&self, project: ProjectId) -> Result<Arc<Settings>> {
        Ok(self.shelf.get(self.host.db(), project).await?)
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
        let pool = &self.host.db().pool;
        // What another scanner of this name said (one that was removed, or the platform's) is not this one's word.
        if let Change::ScannerSet { scanner, .. } = &change
            && !self.settings_now(project.id).await?.0.scanners.contains_key(&scanner.name)
        {
            scanner_reports::forget_scanner(pool, project.id, &scanner.name).await.map_err(Problem::internal)?;
        }
        let gone = if let Change::ScannerRemoved(name) = &change { Some(name.clone()) } else { None };
        let command = Command { org: project.org.id, project: project.id, change };
        let options = Options { meta: meta.tenant(project.org.id), expect, ..Options::default() };
        let done = self.project_settings.execute(project.id, command, options).await.map_err(gantry_host::from_execute)?;
        self.host.settled(done.position).await;
        self.shelf.forget(project.id);
        if let Some(scanner) = gone {
            scanner_reports::forget_scanner(pool, project.id, &scanner).await.map_err(Problem::internal)?;
        }
        Ok((done.state, done.version))
    }

    /// Refuses a push that would exceed the project's storage quota. The transaction it returns orders the pushes of one
    /// project that has a quota: hold it until the push is in the log and the count has seen it.
    ///
    /// # Errors
    /// The quota, or the database.
    pub(super) async fn within_quota(
        &self,
        settings: &Settings,
        project: ProjectId,
        digest: &Digest,
        manifest: &Manifest,
        size: u64,
    ) -> Result<Option<DatabaseTransaction>> {
        let Some(limit) = settings.quota_bytes else { return Ok(None) };
        let tx = self.host.db().orm.begin().await?;
        let sql = "select pg_advisory_xact_lock(hashtextextended('registry-quota' || $1::text, 0))";
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [project.0.into()])).await?;
        let mut sizes: Vec<(String, u64)> = manifest.blobs().iter().map(|d| (d.digest.to_string(), d.size)).collect();
        sizes.push((digest.to_string(), size));
        let new = usage::new_to(&tx, project, &sizes.iter().map(|(d, _)| d.clone()).collect::<Vec<_>>()).await?;
        let more: u64 = sizes.iter().filter(|(d, _)| new.contains(d)).map(|(_, s)| s).fold(0, |sum, s| sum.saturating_add(*s));
        let used = usage::of(&tx, project).await?.unique_bytes.unsigned_abs();
        if more > 0 && used.saturating_add(more) > limit {
            self.announce_full(project, used, more, limit).await;
            return Err(Error::Denied(over_quota(used, more, limit)));
        }
        Ok(Some(tx))
    }

    /// Whether one more blob of this size can ever fit: a client should hear it before it sends the rest.
    ///
    /// # Errors
    /// The quota, or the database.
    pub(super) async fn blob_may_fit(&self, name: &RepositoryName, digest: &Digest, size: u64) -> Result<()> {
        let place = self.place(name).await?;
        let Some(limit) = self.settings(place.project).await?.quota_bytes else { return Ok(()) };
        let db = &self.host.db().orm;
        let used = usage::of(db, place.project).await?.unique_bytes.unsigned_abs();
        if used.saturating_add(size) <= limit || usage::new_to(db, place.project, &[digest.to_string()]).await?.is_empty() {
            return Ok(());
        }
        self.announce_full(place.project, used, size, limit).await;
        Err(Error::Denied(over_quota(used, size, limit)))
    }

    /// At most once an hour: a client that tries again and again is one piece of news.
    async fn announce_full(&self, project: ProjectId, used: u64, more: u64, limit: u64) {
        let data = serde_json::json!({ "used_bytes": used, "asked_bytes": more, "quota_bytes": limit });
        let happened = Happened { happening: Happening::Quota, what: "quota.exceeded", repository: None, tag: None, data };
        let hour = self.host.env.now().unix_timestamp() / 3600;
        self.announce(project, &happened, Some(&format!("quota {hour}"))).await;
    }
}

fn over_quota(used: u64, more: u64, limit: u64) -> Problem {
    let detail = format!(
        "the project's storage quota is {limit} bytes; {used} are used and this needs {more} more. Delete images nobody needs \
         (`gantry registry retention run` finds them) or ask an administrator of the project for a larger quota"
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
