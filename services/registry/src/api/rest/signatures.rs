//! Signatures and attestations of an image, and what the project's policies say of it.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_contract::registry::settings::Moment;
use gantry_host::{ApiResult, Json, Path};
use gantry_kernel::Role;
use serde::Serialize;
use utoipa::ToSchema;

use super::{digest, project, repository};
use crate::app::App;
use crate::app::signatures::Found;
use crate::domain::manifest::Manifest;
use crate::domain::name::Reference;
use crate::domain::policy::{applicable, judge, level};
use crate::error::Error;

/// Who vouches for an image, and whether that is enough.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trust {
    pub name: String,
    pub digest: String,
    pub signatures: Vec<Found>,
    /// SLSA build level of its provenance: 0 none, 1 there, 2 signed by a trusted key, 3 and by a builder that a policy names.
    pub provenance_level: u8,
    /// Why a pull would be refused; empty: it would not.
    pub pull_refused: Vec<String>,
    /// Why a deployment would be refused.
    pub deploy_refused: Vec<String>,
}

/// The signatures of an image, checked with the project's trusted keys.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/signatures", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path)),
    responses((status = 200, body = Trust), (status = 404, description = "no such image, or not visible")))]
pub async fn list(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Path<(String, String, String, String)>) -> ApiResult<Json<Trust>> {
    let found = project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    let digest = digest(&at)?;
    let image = app.manifest(&repository, &Reference::Digest(digest.clone())).await?;
    let settings = app.settings(found.id).await?;
    let manifest = Manifest::parse(Some(&image.row.media_type), &image.bytes).map_err(Error::from)?;
    let signatures = app.signatures(&repository, digest.as_str(), &image.bytes, &settings).await?;
    let facts = app.facts(&repository, &digest, &manifest, &image.bytes, &settings).await?;
    let builders: Vec<String> = settings.policies.values().flat_map(|p| p.builders.clone()).collect();
    let refused = |moment| judge(&applicable(settings.policies.values(), repository.rest(), moment), &facts);
    Ok(Json(Trust {
        name: repository.to_string(),
        digest: digest.to_string(),
        signatures,
        provenance_level: level(&facts, &builders),
        pull_refused: refused(Moment::Pull),
        deploy_refused: refused(Moment::Deploy),
    }))
}
