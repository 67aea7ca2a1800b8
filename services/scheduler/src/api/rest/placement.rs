//! Placement rules of a space.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Path, Query, with_etag};
use gantry_kernel::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::apps::{DryRun, SpacePath, readable};
use crate::app::preview::ChangePreview;
use crate::app::{Scheduler, space_rules};
use crate::domain::placement::SpaceRules;

/// The rules as they are set, or what a dry run says of them.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum RulesSet {
    Done(SpaceRules),
    Preview(ChangePreview),
}

/// What counts for where all workloads of the space run, beside their own rules.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/placement", tag = "applications", params(SpacePath), responses((status = 200, body = SpaceRules)))]
pub async fn get(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let (rules, version) = space_rules::read(&s, &space).await?;
    Ok(with_etag(version, Json(rules)))
}

/// Sets them as a whole; new instances follow them at once, those that stand stay.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/placement", tag = "applications", params(SpacePath, DryRun, IfMatch), request_body = SpaceRules, responses((status = 200, body = RulesSet)))]
pub async fn set(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<SpacePath>,
    Query(dry): Query<DryRun>,
    IfMatch(expect): IfMatch,
    Json(body): Json<Map<String, Value>>,
) -> ApiResult<Response> {
    let rules: SpaceRules = object(body)?;
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    if dry.dry_run {
        let (preview, version) = space_rules::preview(&s, &space, &rules, expect, &caller.subject).await?;
        return Ok(with_etag(version, Json(RulesSet::Preview(preview))));
    }
    let meta = caller.meta(Some(space.org().id));
    let (rules, version) = space_rules::set(&s, &space, rules, expect, &caller.subject, meta).await?;
    Ok(with_etag(version, Json(RulesSet::Done(rules))))
}

/// What is set as a whole comes as an object: every field may be missing, and serde would take a list for its first fields.
pub(super) fn object<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(body)).map_err(|e| Problem::invalid("body", e.to_string()))
}
