//! Documents: check, convert, export, compare.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path, Query};
use gantry_kernel::Role;
use serde::{Deserialize, Serialize};

use super::apps::{AppPath, SpacePath, compose, readable};
use crate::app::documents::{self, Checked, Export, Source};
use crate::app::{Scheduler, kept, space_rules};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentBody {
    /// The application's name in what it is turned into.
    #[serde(default)]
    name: String,
    /// compose | kubernetes | gantry
    #[serde(default = "compose")]
    format: String,
    document: String,
    /// Documents that are laid over the first one, in this order.
    #[serde(default)]
    overrides: Vec<String>,
    /// Files that lie beside the document, by their path from its folder.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Files that are no text, as base64.
    #[serde(default)]
    binary_files: BTreeMap<String, String>,
    /// Values for `${...}` in the document.
    #[serde(default)]
    values: BTreeMap<String, String>,
    /// Images for services that are built elsewhere, by service.
    #[serde(default)]
    images: BTreeMap<String, String>,
    /// Which optional parts are wanted.
    #[serde(default)]
    profiles: BTreeSet<String>,
    /// Turn it into: compose | kubernetes | gantry
    #[serde(default)]
    to: Option<String>,
}

/// Checks a document as it would be deployed here, and turns it into another format if asked. Nothing is written.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/documents", tag = "applications", params(SpacePath), request_body = DocumentBody, responses((status = 200, body = Checked)))]
pub async fn check(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>, Json(body): Json<DocumentBody>) -> ApiResult<Json<Checked>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    // It costs work, so it is for those who may deploy.
    s.host.auth.require(&caller, Role::Editor, space.scope())?;
    let to = body.to.as_deref().map(documents::format).transpose()?;
    let source = Source {
        format: body.format,
        document: body.document,
        overrides: body.overrides,
        files: documents::files(body.files, body.binary_files)?,
        values: body.values,
        images: body.images,
        profiles: body.profiles,
        kept: kept::using::known(&s, &space).await?,
    };
    let name = if body.name.is_empty() { "app" } else { &body.name };
    let engine = space_rules::engine(&s, &space).await?;
    Ok(Json(documents::check(&s, &source, name, to, engine)?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// compose | kubernetes | gantry
    #[serde(default = "gantry")]
    format: String,
    /// The one at work if none is named.
    #[serde(default)]
    revision: Option<u64>,
    /// With the contents of secrets; needs the right to administer the space, and is recorded.
    #[serde(default)]
    secrets: bool,
}

fn gantry() -> String {
    "gantry".into()
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Exported {
    format: String,
    document: String,
}

/// An application as a document of any format. Without `secrets`, values stand for the contents of secrets.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/export", tag = "applications", params(AppPath, ExportQuery), responses((status = 200, body = Exported)))]
pub async fn export(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(query): Query<ExportQuery>) -> ApiResult<Json<Exported>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let format = documents::format(&query.format)?;
    let from = caller.from.clone().unwrap_or_default();
    let request = Export { space, app: at.app, format, revision: query.revision, secrets: query.secrets, subject: caller.subject.clone(), from };
    Ok(Json(Exported { document: documents::export(&s, request).await?, format: query.format }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DiffQuery {
    from: u64,
    /// The one at work if none is named.
    #[serde(default)]
    to: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Difference {
    /// One line each; values and contents are not shown.
    diff: Vec<String>,
}

/// What differs between two revisions.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/diff", tag = "applications", params(AppPath, DiffQuery), responses((status = 200, body = Difference)))]
pub async fn difference(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(query): Query<DiffQuery>) -> ApiResult<Json<Difference>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(Difference { diff: documents::difference(&s, &space, &at.app, query.from, query.to).await? }))
}
