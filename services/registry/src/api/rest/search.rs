//! `GET /api/v1/images`: images of all projects that the caller may see.

use std::str::FromStr;

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, PageQuery, Query};
use gantry_kernel::Problem;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::app::search::FoundImage;
use crate::domain::search::Asked;

/// Everything that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Part of a repository's name, `name:start-of-tag`, or the start of a digest.
    q: Option<String>,
    /// `linux/arm64`, `linux/arm/v7`, or only an operating system or an architecture.
    platform: Option<String>,
    /// Of the config or the manifest's annotations: `name`, or `name=value`.
    label: Option<String>,
    /// A package that is installed, by its own name or that of its source: `name`, or `name@version`.
    package: Option<String>,
    /// A finding by its id or an alias: `CVE-2026-1`.
    finding: Option<String>,
    /// A digest, or its start with at least 6 digits.
    digest: Option<String>,
    /// `image`, `index` or `artifact`.
    kind: Option<String>,
    /// 1 to 500; 50 if not given.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Images of all projects that the caller may see, the newest first.
#[utoipa::path(get, path = "/api/v1/images", tag = "images", params(SearchQuery),
    responses((status = 200, body = Page<FoundImage>), (status = 400, description = "a question that cannot be meant")))]
pub async fn search(State(app): State<App>, caller: Caller, Query(query): Query<SearchQuery>) -> ApiResult<Json<Page<FoundImage>>> {
    let limit = PageQuery { limit: query.limit, ..PageQuery::default() }.limit()?;
    let before = cursor::<i64>(query.cursor.as_deref())?;
    let labels: Vec<String> = query.label.into_iter().collect();
    let asked = Asked {
        text: query.q.as_deref(),
        platform: query.platform.as_deref(),
        labels: &labels,
        package: query.package.as_deref(),
        finding: query.finding.as_deref(),
        digest: query.digest.as_deref(),
        kind: query.kind.as_deref(),
    };
    let found = app.search(&caller, &asked, before, limit + 1).await?;
    Ok(Json(numbered(found, limit)))
}

/// # Errors
/// One that no page gave out.
pub(super) fn cursor<T: FromStr>(text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(|t| t.parse().map_err(|_| Problem::invalid("cursor", "must be `next` of the page before"))).transpose()
}

/// A page whose items have numbers to go on from.
pub(super) fn numbered<T>(found: Vec<(i64, T)>, limit: u64) -> Page<T> {
    let page = Page::of(found, limit, |(number, _)| number.to_string());
    Page { items: page.items.into_iter().map(|(_, item)| item).collect(), next: page.next }
}
