//! What a run is to do: every tag the rule wants, compared with the other end.

use std::collections::BTreeMap;

use gantry_contract::registry::flow::Direction;
use gantry_kernel::ProjectId;
use serde_json::Value;

use super::{Fault, Running};
use crate::app::App;
use crate::app::manifests::strings;
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, Manifest, config_platform};
use crate::domain::name::{Reference, RepositoryName, Tag};
use crate::domain::replication::{Action, action, asks_for_facts, only_source, other_end, surplus, wants_image, wants_tag};
use crate::store::images;
use crate::store::replications::{self, Item};

/// Repositories and tags read together.
const BATCH: u64 = 500;

/// A plan in the making.
#[derive(Default)]
struct Plan {
    items: Vec<Item>,
    same: i64,
}

impl Plan {
    fn add(&mut self, (repository, other, tag): (&str, &str, &str), digest: Option<String>, action: Action) {
        let state = match action {
            Action::Same => {
                self.same += 1;
                return;
            }
            Action::Differs => "skipped",
            Action::Copy | Action::Delete => "waiting",
        };
        self.items.push(Item {
            number: i32::try_from(self.items.len()).unwrap_or(i32::MAX),
            repository: repository.into(),
            other: other.into(),
            tag: tag.into(),
            digest,
            action: action.as_str().into(),
            state: state.into(),
            tries: 0,
            error: None,
            bytes: 0,
            blobs: 0,
            blobs_there: 0,
            finished_at: None,
        });
    }
}

impl App {
    pub(super) async fn plan_replication(&self, running: &Running) -> Result<(), Fault> {
        let mut plan = Plan::default();
        match (running.rule.direction, &running.run.only_repository, &running.run.only_tag) {
            (Direction::Push, Some(repository), Some(tag)) => self.plan_one(running, repository, tag, &mut plan).await?,
            (Direction::Push, ..) => self.plan_push(running, &mut plan).await?,
            (Direction::Pull, ..) => self.plan_pull(running, &mut plan).await?,
        }
        replications::planned(&self.host.db().orm, running.run.id, &plan.items, plan.same).await?;
        Ok(())
    }

    /// What an event asks for.
    async fn plan_one(&self, running: &Running, repository: &str, tag: &str, plan: &mut Plan) -> Result<(), Fault> {
        let Some(other) = other_end(&running.rule, repository).filter(|_| wants_tag(&running.rule, tag)) else { return Ok(()) };
        let name = running.ours(repository)?;
        let row = images::manifest(&self.host.db().orm, &name, &Reference::Tag(Tag::parse(tag)?)).await?;
        match row {
            Some(row) => self.plan_tag(running, (&name, &other), tag, &row.digest, plan).await,
            None if running.run.gone && running.rule.deletions => {
                plan.add((repository, &other, tag), None, Action::Delete);
                Ok(())
            }
            // It moved on; another event says where to.
            None => Ok(()),
        }
    }

    async fn plan_push(&self, running: &Running, plan: &mut Plan) -> Result<(), Fault> {
        let db = &self.host.db().orm;
        let mut last: Option<String> = None;
        loop {
            let repositories = images::repositories_of(db, ProjectId(running.run.project), last.as_deref(), BATCH).await?;
            let Some(end) = repositories.last() else { return Ok(()) };
            last = Some(end.name.clone());
            for row in &repositories {
                let Ok(name) = RepositoryName::parse(&row.name) else { continue };
                let Some(other) = other_end(&running.rule, name.rest()) else { continue };
                let mut tags = Vec::new();
                loop {
                    let page = images::tags(db, &name, tags.last().map(|(t, _): &(String, String)| t.as_str()), BATCH).await?;
                    if page.is_empty() {
                        break;
                    }
                    tags.extend(page.into_iter().map(|t| (t.tag, t.digest)));
                }
                for (tag, digest) in tags.iter().filter(|(t, _)| wants_tag(&running.rule, t)) {
                    self.plan_tag(running, (&name, &other), tag, digest, plan).await?;
                }
                if running.rule.deletions {
                    let there = running.remote.tags(&other).await?;
                    let here: Vec<String> = tags.into_iter().map(|(t, _)| t).collect();
                    for tag in surplus(&running.rule, &here, &there) {
                        plan.add((name.rest(), &other, tag), None, Action::Delete);
                    }
                }
            }
        }
    }

    async fn plan_tag(&self, running: &Running, (name, other): (&RepositoryName, &str), tag: &str, digest: &str, plan: &mut Plan) -> Result<(), Fault> {
        if asks_for_facts(&running.rule) {
            let Some(row) = images::manifest(&self.host.db().orm, name, &Reference::Tag(Tag::parse(tag)?)).await? else { return Ok(()) };
            if !wants_image(&running.rule, &self.labels(&row).await?, &strings(&row.platforms)) {
                return Ok(());
            }
        }
        let there = running.remote.head(other, tag).await?;
        // A registry that does not say the digest has another one, for all we know.
        let there = there.map(|d| d.map_or_else(|| "unknown".to_owned(), String::from));
        plan.add((name.rest(), other, tag), Some(digest.to_owned()), action(&running.rule, digest, there.as_deref()));
        Ok(())
    }

    async fn plan_pull(&self, running: &Running, plan: &mut Plan) -> Result<(), Fault> {
        let db = &self.host.db().orm;
        let sources = match only_source(&running.rule) {
            Some(one) => vec![one],
            None => running.remote.catalog().await?,
        };
        for source in sources {
            let Some(rest) = other_end(&running.rule, &source) else { continue };
            // Names that are none here stay where they are.
            let Ok(name) = running.ours(&rest) else { continue };
            let tags = running.remote.tags(&source).await?;
            for tag in tags.iter().filter(|t| wants_tag(&running.rule, t)) {
                let Ok(parsed) = Tag::parse(tag) else { continue };
                let Some(found) = running.remote.head(&source, tag).await? else { continue };
                let digest = match found {
                    Some(digest) => digest,
                    None => running.remote.manifest(&source, tag).await?.digest,
                };
                if asks_for_facts(&running.rule) && !self.wants_theirs(running, &source, &digest).await? {
                    continue;
                }
                let here = images::manifest(db, &name, &Reference::Tag(parsed)).await?.map(|r| r.digest);
                plan.add((&source, &rest, tag), Some(digest.to_string()), action(&running.rule, digest.as_str(), here.as_deref()));
            }
            if running.rule.deletions {
                let rows = images::tags_of(db, &[name.to_string()]).await?;
                let (here, digests): (Vec<String>, Vec<String>) = rows.into_iter().map(|t| (t.tag, t.digest)).unzip();
                let digests: BTreeMap<&String, String> = here.iter().zip(digests).collect();
                for tag in surplus(&running.rule, &tags, &here) {
                    plan.add((&source, &rest, tag), digests.get(tag).cloned(), Action::Delete);
                }
            }
        }
        Ok(())
    }

    /// Whether an image there has the labels and platforms that the rule wants.
    async fn wants_theirs(&self, running: &Running, source: &str, digest: &Digest) -> Result<bool, Fault> {
        let pulled = running.remote.manifest(source, digest.as_str()).await?;
        let Ok(manifest) = Manifest::parse(pulled.media_type.as_deref(), &pulled.bytes) else { return Ok(false) };
        let (mut labels, mut platforms): (BTreeMap<_, _>, _) = (manifest.annotations.clone(), manifest.index_platforms());
        if let Some(config) = manifest.image_config().filter(|c| c.size <= MAX_BYTES as u64) {
            let bytes = running.remote.small_blob(source, &config.digest, MAX_BYTES).await?;
            platforms.extend(config_platform(&bytes));
            let config: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let own = config["config"]["Labels"].as_object().into_iter().flatten();
            labels.extend(own.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))));
        }
        Ok(wants_image(&running.rule, &labels, &platforms))
    }
}
