//! `/api/v1/orgs/{org}/projects/{project}/{images,registry}`: what people and programs see of a project's images.
//! `{repo}` is the part after the project, with `/` written as `%2F`.

mod bodies;
mod care;
mod endpoints;
mod history;
mod images;
mod layers;
mod origin;
mod platforms;
mod replications;
mod retention;
mod scanners;
mod scans;
mod search;
mod settings;
mod settings_view;
mod signatures;
mod upstreams;
mod webhooks;

use gantry_auth::{Caller, ProjectRef};
use gantry_kernel::{Problem, Role};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(images::list))
        .routes(routes!(images::tags))
        .routes(routes!(images::delete_tag))
        .routes(routes!(images::delete_image))
        .routes(routes!(history::history))
        .routes(routes!(history::restore))
        .routes(routes!(care::collect, care::collections))
        .routes(routes!(care::check))
        .routes(routes!(care::damage))
        .routes(routes!(layers::layers))
        .routes(routes!(search::search))
        .routes(routes!(platforms::platforms))
        .routes(routes!(platforms::export))
        .routes(routes!(origin::origin))
        .routes(routes!(origin::derived))
        .routes(routes!(scans::report, scanners::again))
        .routes(routes!(scanners::states))
        .routes(routes!(scanners::list))
        .routes(routes!(scanners::set, scanners::remove))
        .routes(routes!(scanners::test))
        .routes(routes!(scans::sbom))
        .routes(routes!(signatures::list))
        .routes(routes!(settings::show))
        .routes(routes!(settings::usage))
        .routes(routes!(settings::quota))
        .routes(routes!(settings::immutability))
        .routes(routes!(settings::retention))
        .routes(routes!(settings::scanning))
        .routes(routes!(settings::platforms))
        .routes(routes!(retention::simulate))
        .routes(routes!(retention::run))
        .routes(routes!(settings::trust, settings::distrust))
        .routes(routes!(settings::set_policy, settings::remove_policy))
        .routes(routes!(settings::allow, settings::disallow))
        .routes(routes!(upstreams::list))
        .routes(routes!(upstreams::set, upstreams::remove))
        .routes(routes!(upstreams::test))
        .routes(routes!(upstreams::contents))
        .routes(routes!(replications::targets))
        .routes(routes!(replications::set_target, replications::remove_target))
        .routes(routes!(replications::test_target))
        .routes(routes!(replications::list))
        .routes(routes!(replications::set, replications::remove))
        .routes(routes!(replications::begin, replications::runs))
        .routes(routes!(replications::run))
        .routes(routes!(replications::items))
        .routes(routes!(replications::cancel))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::set, webhooks::remove))
        .routes(routes!(webhooks::new_secret))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::resume))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::replay))
        .routes(routes!(webhooks::one))
        .routes(routes!(webhooks::replay_one))
}

/// The project, if the caller has `role` there. Anybody may read a public one.
fn project(app: &App, caller: &Caller, org: &str, project: &str, role: Role) -> Result<ProjectRef, Problem> {
    let found = app.host.auth.project(org, project)?;
    if found.public && role == Role::Viewer {
        return Ok(found);
    }
    // Who may not know the project is answered as if there were none.
    app.host.auth.require(caller, role, found.scope()).map_err(|problem| match problem.kind {
        gantry_kernel::Kind::NotFound => Problem::not_found("project", format_args!("{org}/{project}")),
        _ => problem,
    })?;
    Ok(found)
}

fn repository(org: &str, project: &str, repo: &str) -> Result<RepositoryName, Problem> {
    RepositoryName::of(org, project, repo).map_err(|e| Problem::invalid("repo", e.to_string()))
}

fn digest(text: &str) -> Result<Digest, Problem> {
    Digest::parse(text).map_err(|e| Problem::invalid("digest", e.to_string()))
}
