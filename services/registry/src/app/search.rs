//! Finding images in all projects that the caller may see.

use std::collections::HashMap;

use gantry_auth::Caller;
use gantry_kernel::{Problem, Role, Scope, Uuid};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::App;
use super::manifests::strings;
use crate::domain::name::RepositoryName;
use crate::domain::scan::report::ScanSummary;
use crate::domain::search::{Asked, Kind, Wanted};
use crate::store::search::{self, Hit};

/// An image that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundImage {
    /// `<org>/<project>/<repository>`.
    pub name: String,
    pub org: String,
    pub project: String,
    pub repository: String,
    /// What to give to `docker pull`.
    pub reference: String,
    pub digest: String,
    pub kind: Kind,
    pub media_type: String,
    pub artifact_type: Option<String>,
    /// Those that point at it, newest first; at most 20.
    pub tags: Vec<String>,
    /// Those of indexes that list it.
    pub index_tags: Vec<String>,
    pub platforms: Vec<String>,
    pub size_bytes: u64,
    pub pushed_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub pushed_at: OffsetDateTime,
    /// Counts by severity; null until it was scanned.
    pub scan: Option<ScanSummary>,
    /// What of the question it has: versions of packages, values of labels, packages of findings.
    pub matches: Vec<Match>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ImageMatch)]
pub struct Match {
    /// `package`, `label` or `finding`.
    pub what: String,
    pub name: String,
    pub detail: String,
}

impl App {
    /// Projects whose images this caller may see.
    pub fn projects_of(&self, caller: &Caller) -> Vec<Uuid> {
        let all: Vec<(Uuid, bool, Scope)> = self.host.auth.read(|r| r.projects().map(|p| (p.id.0, p.public, p.scope())).collect());
        all.into_iter().filter(|(_, public, scope)| *public || self.host.auth.require(caller, Role::Viewer, *scope).is_ok()).map(|(id, ..)| id).collect()
    }

    /// The newest first, older than `before`. With each its number, to go on from.
    ///
    /// # Errors
    /// A question that cannot be meant, or the store.
    pub async fn search(&self, caller: &Caller, asked: &Asked<'_>, before: Option<i64>, limit: u64) -> Result<Vec<(i64, FoundImage)>, Problem> {
        let wanted = Wanted::parse(asked).map_err(|e| Problem::invalid(e.field, e.detail))?;
        let projects = self.projects_of(caller);
        let pool = &self.host.db().pool;
        let hits = search::find(pool, &projects, &wanted, before, i64::try_from(limit).unwrap_or(i64::MAX)).await.map_err(Problem::internal)?;
        let terms: Vec<String> = wanted.terms.into_iter().map(|(term, _)| term).collect();
        let mut matches: HashMap<i64, Vec<Match>> = HashMap::new();
        if !terms.is_empty() {
            let numbers: Vec<i64> = hits.iter().map(|h| h.image).collect();
            for (image, term, detail) in search::matched(pool, &numbers, &terms).await.map_err(Problem::internal)? {
                let (what, name) = term.split_once(':').unwrap_or_default();
                matches.entry(image).or_default().push(Match { what: what.to_owned(), name: name.to_owned(), detail });
            }
        }
        Ok(hits.into_iter().filter_map(|hit| self.found(hit, &mut matches)).collect())
    }

    fn found(&self, hit: Hit, matches: &mut HashMap<i64, Vec<Match>>) -> Option<(i64, FoundImage)> {
        let name = RepositoryName::parse(&hit.repository).ok()?;
        let host = self.host.platform.public_host();
        let found = FoundImage {
            org: name.org().to_string(),
            project: name.project().to_string(),
            repository: name.rest().to_owned(),
            reference: match hit.tags.first().or(hit.index_tags.first()) {
                Some(tag) => format!("{host}/{name}:{tag}"),
                None => format!("{host}/{name}@{}", hit.digest),
            },
            digest: hit.digest,
            kind: Kind::parse(&hit.kind)?,
            media_type: hit.media_type,
            artifact_type: hit.artifact_type,
            tags: hit.tags,
            index_tags: hit.index_tags,
            platforms: strings(&hit.platforms),
            size_bytes: hit.total_bytes.unsigned_abs(),
            pushed_by: hit.pushed_by,
            pushed_at: hit.pushed_at,
            scan: hit.scan.and_then(|scan| serde_json::from_value(scan).ok()),
            matches: matches.remove(&hit.image).unwrap_or_default(),
            name: hit.repository,
        };
        Some((hit.image, found))
    }
}
