//! Cached content that nobody pulled for the days its upstream's settings name goes.

use std::collections::HashMap;
use std::time::Duration;

use gantry_contract::registry::flow::Upstream;
use gantry_es::Meta;
use gantry_kernel::ProjectId;

use super::App;
use super::retention::gone_is_fine;
use crate::domain::digest::Digest;
use crate::domain::idle::{Item, plan};
use crate::domain::name::{RepositoryName, Tag};
use crate::domain::settings::flow::below;
use crate::error::{Error, Result};
use crate::store::{cache, images, lineage, pulls};

/// Repositories looked at together.
const BATCH: u64 = 100;

impl App {
    /// Removes what nobody pulled for `upstream.keep_days`; how many images went.
    ///
    /// # Errors
    /// The store. What was deleted before stays deleted; repeating goes on.
    pub async fn evict(&self, project: ProjectId, upstream: &Upstream) -> Result<usize> {
        let Some(days) = upstream.keep_days else { return Ok(0) };
        let before = self.host.env.now() - Duration::from_secs(u64::from(days) * 24 * 3600);
        let settings = self.settings(project).await?;
        let db = &self.host.db().orm;
        let noted = self.pulls.write(db).await?;
        self.announce_pulls(&noted).await;
        let (mut last, mut gone) = (None::<String>, 0);
        loop {
            let repositories = images::repositories_of(db, project, last.as_deref(), BATCH).await?;
            let Some(end) = repositories.last() else { return Ok(gone) };
            last = Some(end.name.clone());
            for repository in &repositories {
                let Ok(name) = RepositoryName::parse(&repository.name) else { continue };
                let own =
                    below(&upstream.prefix, name.rest()).is_some() && settings.upstream_of(name.rest()).is_some_and(|(k, _)| k.upstream.name == upstream.name);
                if own {
                    gone += self.evict_from(&name, before).await?;
                }
            }
        }
    }

    async fn evict_from(&self, name: &RepositoryName, before: gantry_kernel::OffsetDateTime) -> Result<usize> {
        let db = &self.host.db().orm;
        let names = [name.to_string()];
        let pulled: HashMap<String, _> = pulls::of(db, &names).await?.into_iter().map(|p| (p.digest, p.last)).collect();
        let mut items = Vec::new();
        for row in images::manifests_of(db, &names).await? {
            let Ok(digest) = Digest::parse(&row.digest) else { continue };
            let used = pulled.get(&row.digest).map_or(row.pushed_at, |pull| row.pushed_at.max(*pull));
            items.push(Item { children: lineage::children(db, name, &digest).await?, digest: row.digest, used, subject: row.subject });
        }
        let idle = plan(&items, before);
        if idle.is_empty() {
            return Ok(0);
        }
        let tags = images::tags_of(db, &names).await?;
        let mut gone = 0;
        for digest in idle {
            let own = tags.iter().filter(|t| t.digest == digest).filter_map(|t| Tag::parse(&t.tag).ok());
            let own: Vec<Tag> = own.collect();
            let Ok(parsed) = Digest::parse(&digest) else { continue };
            let mut held = false;
            for tag in &own {
                match gone_is_fine(self.delete_tag_of(name, tag, &parsed, Meta::system()).await) {
                    Ok(()) => {}
                    // An immutable tag keeps its image.
                    Err(Error::Denied(_)) => held = true,
                    Err(error) => return Err(error),
                }
            }
            if held {
                continue;
            }
            self.delete_unnamed(name, &parsed, &Meta::system()).await?;
            let references: Vec<String> = own.iter().map(Tag::to_string).chain([digest.clone(), format!("referrers {digest}")]).collect();
            cache::forget(db, name.as_str(), &references).await?;
            gone += 1;
        }
        Ok(gone)
    }
}
