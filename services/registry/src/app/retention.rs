//! Applying a project's retention: facts, plan, and the deletes it asks for. A simulation is the plan without the deletes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use gantry_contract::registry::settings::Retention;
use gantry_es::Meta;
use gantry_es_pg::Todo;
use gantry_kernel::ProjectId;
use serde::{Deserialize, Serialize};

use super::App;
use super::settings::beyond;
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, Manifest};
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::domain::pattern;
use crate::domain::retention::{Candidate, Untagged, Verdict, is_attached, plan, plan_untagged};
use crate::domain::settings::newer;
use crate::error::{Error, IMAGE_NAMED, Result};
use crate::store::entities::manifests;
use crate::store::{blobs, images, lineage, pulls};

/// Repositories looked at together.
const BATCH: u64 = 100;
/// Verdicts carried out together.
const TOGETHER: usize = 1_000;
/// Name of the work on what a run has left.
pub const LEFT: &str = "retention-left";
/// When that is looked for: long after a run that goes on would have come to it.
const LATER: Duration = Duration::from_secs(600);

/// Images whose tags a run removes. One that is killed between a tag and its image leaves an image that nothing names, and of which no rule
/// speaks any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Repository and digest.
    pub images: Vec<(String, String)>,
    /// When the run was at them, in seconds since 1970: what was pushed later is somebody's.
    pub since: i64,
}

impl App {
    /// What `retention` would keep and let go, for every tag of the project.
    ///
    /// # Errors
    /// The store.
    pub async fn plan_retention(&self, project: ProjectId, retention: &Retention) -> Result<Vec<Verdict>> {
        let db = &self.host.db().orm;
        let noted = self.pulls.write(db).await?;
        self.announce_pulls(&noted).await;
        let settings = self.settings(project).await?;
        let labels = retention.rules.iter().any(|r| r.label.is_some());
        let mut verdicts = Vec::new();
        let mut last: Option<String> = None;
        loop {
            let repositories = images::repositories_of(db, project, last.as_deref(), BATCH).await?;
            let names: Vec<String> = repositories.into_iter().map(|r| r.name).collect();
            let Some(end) = names.last().cloned() else { return Ok(verdicts) };
            last = Some(end);
            let pulled = pulls::last_of(db, &names).await?;
            let rows: HashMap<(String, String), manifests::Model> = if labels {
                images::manifests_of(db, &names).await?.into_iter().map(|m| ((m.repository.clone(), m.digest.clone()), m)).collect()
            } else {
                HashMap::new()
            };
            let mut candidates = Vec::new();
            for tag in images::tags_of(db, &names).await? {
                let Ok(name) = RepositoryName::parse(&tag.repository) else { continue };
                let key = (tag.repository, tag.digest);
                let immutable = settings.frozen(name.rest()).iter().any(|p| pattern::matches(p, &tag.tag));
                let labels = match rows.get(&key) {
                    Some(row) => self.labels(row).await?,
                    None => BTreeMap::new(),
                };
                candidates.push(Candidate {
                    repository: name.rest().to_owned(),
                    tag: tag.tag,
                    pushed_at: tag.moved_at,
                    pulled_at: pulled.get(&key).copied(),
                    digest: key.1,
                    labels,
                    immutable,
                });
            }
            verdicts.extend(plan(retention, &candidates, self.host.env.now()));
            if retention.untagged_days.is_some() {
                let without = images::untagged(db, &names).await?.into_iter().filter_map(|image| {
                    let name = RepositoryName::parse(&image.repository).ok()?;
                    Some(Untagged { repository: name.rest().to_owned(), digest: image.digest, used_at: image.used_at })
                });
                verdicts.extend(plan_untagged(retention, &without.collect::<Vec<_>>(), self.host.env.now()));
            }
        }
    }

    /// Annotations of a manifest and labels of its config.
    pub(super) async fn labels(&self, row: &manifests::Model) -> Result<BTreeMap<String, String>> {
        let Ok(digest) = Digest::parse(&row.digest) else { return Ok(BTreeMap::new()) };
        let bytes = self.blobs.read_small(&digest, MAX_BYTES as u64).await?.unwrap_or_default();
        let Ok(manifest) = Manifest::parse(Some(&row.media_type), &bytes) else { return Ok(BTreeMap::new()) };
        let mut labels = manifest.annotations.clone();
        if let Some(config) = manifest.image_config().filter(|c| c.size <= MAX_BYTES as u64) {
            let bytes = self.blobs.read_small(&config.digest, MAX_BYTES as u64).await?.unwrap_or_default();
            let config: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let own = config["config"]["Labels"].as_object().into_iter().flatten();
            labels.extend(own.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))));
        }
        Ok(labels)
    }

    /// Applies the project's retention: tags that no rule keeps go, with the images that nothing names any more, what those
    /// images list, and the signatures about them.
    ///
    /// # Errors
    /// The store. What was deleted before stays deleted; repeating goes on.
    pub async fn retain(&self, at: (&str, &str), project: ProjectId, meta: &Meta) -> Result<Vec<Verdict>> {
        let settings = self.settings(project).await?;
        // What was left out of its rules may be what keeps an image.
        if settings.beyond.contains(newer::RETENTION) {
            return Err(beyond("the retention rules"));
        }
        let verdicts = self.plan_retention(project, &settings.retention).await?;
        let kept: HashSet<(&str, &str)> = verdicts.iter().filter(|v| v.keep).map(|v| (v.repository.as_str(), v.digest.as_str())).collect();
        let going: Vec<&Verdict> = verdicts.iter().filter(|v| !v.keep).collect();
        for some in going.chunks(TOGETHER) {
            let nameless = some.iter().filter(|v| !kept.contains(&(v.repository.as_str(), v.digest.as_str())));
            let images = nameless.filter_map(|v| Some((RepositoryName::of(at.0, at.1, &v.repository).ok()?.to_string(), v.digest.clone()))).collect();
            let key = self.host.env.uuid().to_string();
            self.leave(&key, &Left { images, since: self.host.env.now().unix_timestamp() }, LATER).await?;
            self.carry_out(at, some, &kept, meta).await?;
            self.leave(&key, &Left::default(), Duration::ZERO).await?;
        }
        Ok(verdicts)
    }

    async fn leave(&self, key: &str, left: &Left, pause: Duration) -> Result<()> {
        let left = serde_json::to_value(left).map_err(anyhow::Error::from)?;
        Ok(Todo::enqueue_after(&self.host.db().orm, LEFT, key, &left, pause).await?)
    }

    async fn carry_out(&self, at: (&str, &str), verdicts: &[&Verdict], kept: &HashSet<(&str, &str)>, meta: &Meta) -> Result<()> {
        for verdict in verdicts {
            let (Ok(name), Ok(digest)) = (RepositoryName::of(at.0, at.1, &verdict.repository), Digest::parse(&verdict.digest)) else { continue };
            // One that became immutable since the plan was made stays; one that was moved is another one.
            if let Ok(tag) = Tag::parse(&verdict.tag)
                && !went(self.delete_tag_of(&name, &tag, &digest, meta.clone()).await)?
            {
                continue;
            }
            if !kept.contains(&(verdict.repository.as_str(), verdict.digest.as_str())) {
                self.delete_unnamed(&name, &digest, meta).await?;
            }
        }
        Ok(())
    }

    /// Deletes what a run has left, unless somebody has pushed or named it since.
    ///
    /// # Errors
    /// The store. Repeating goes on.
    pub async fn delete_left(&self, left: &Left) -> Result<()> {
        for (repository, digest) in &left.images {
            let (Ok(name), Ok(digest)) = (RepositoryName::parse(repository), Digest::parse(digest)) else { continue };
            let touched = blobs::touched_at(&self.host.db().orm, &digest).await?;
            if touched.is_none_or(|at| at.unix_timestamp() > left.since) {
                continue;
            }
            self.delete_unnamed(&name, &digest, &Meta::system()).await?;
        }
        Ok(())
    }

    /// Deletes a manifest that no tag and no index names, and then what only it needed.
    pub(super) async fn delete_unnamed(&self, name: &RepositoryName, digest: &Digest, meta: &Meta) -> Result<()> {
        let db = &self.host.db().orm;
        let mut todo = vec![digest.clone()];
        while let Some(digest) = todo.pop() {
            if !lineage::parents(db, name, &digest).await?.is_empty() || images::is_tagged(db, name, &digest, is_attached).await? {
                continue;
            }
            let children = lineage::children(db, name, &digest).await?;
            let about = images::referrers(db, name, &digest, None, None, 1000).await?;
            for suffix in ["sig", "att", "sbom"] {
                if let Ok(tag) = Tag::parse(&format!("{}.{suffix}", digest.as_str().replace(':', "-")))
                    && let Some(row) = images::manifest(db, name, &Reference::Tag(tag)).await?
                {
                    todo.extend(Digest::parse(&row.digest).ok());
                }
            }
            if !went(self.delete_nameless(name, &digest, meta.clone()).await)? {
                continue;
            }
            todo.extend(children.iter().chain(about.iter().map(|r| &r.digest)).filter_map(|d| Digest::parse(d).ok()));
        }
        Ok(())
    }
}

/// Whether it is gone. What has got a tag or become immutable meanwhile stays.
fn went(done: Result<()>) -> Result<bool> {
    match gone_is_fine(done) {
        Err(Error::Denied(problem)) if matches!(problem.code, IMAGE_NAMED | "registry.tag_immutable") => Ok(false),
        done => done.map(|()| true),
    }
}

pub(super) fn gone_is_fine(done: Result<()>) -> Result<()> {
    match done {
        Err(Error::UnknownManifest(_) | Error::UnknownRepository(_)) => Ok(()),
        other => other,
    }
}
