//! `/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps`, `services` and `configs`, `/api/v1/nodes`, `/api/v1/address-pools` and `/api/v1/clusters`.

mod apps;
mod clusters;
mod documents;
mod fleet;
mod kept;
mod nodes;
mod placement;
mod pools;
mod release;
mod scaling;
mod services;
mod sessions;
mod signs;
mod verbs;
mod volumes;

use axum::Router;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Scheduler;

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Gantry scheduler", description = "Applications, their revisions and instances, nodes and clusters."), tags((name = "applications"), (name = "configs"), (name = "services"), (name = "nodes"), (name = "clusters")))]
struct Api;

fn all() -> OpenApiRouter<Scheduler> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(apps::list, apps::deploy))
        .routes(routes!(apps::get, verbs::delete))
        .routes(routes!(apps::instances))
        .routes(routes!(apps::revisions))
        .routes(routes!(apps::why))
        .routes(routes!(signs::list))
        .routes(routes!(signs::of_space))
        .routes(routes!(signs::acknowledge))
        .routes(routes!(documents::check))
        .routes(routes!(documents::export))
        .routes(routes!(documents::difference))
        .routes(routes!(verbs::scale))
        .routes(routes!(verbs::restart))
        .routes(routes!(verbs::stop))
        .routes(routes!(verbs::start))
        .routes(routes!(verbs::rollback))
        .routes(routes!(release::promote))
        .routes(routes!(release::pause))
        .routes(routes!(release::resume))
        .routes(routes!(release::abort))
        .routes(routes!(scaling::list))
        .routes(routes!(scaling::pause))
        .routes(routes!(scaling::resume))
        .routes(routes!(scaling::sizes))
        .routes(routes!(sessions::exec))
        .routes(routes!(sessions::attach))
        .routes(routes!(sessions::forward))
        .routes(routes!(sessions::download))
        .routes(routes!(sessions::upload))
        .routes(routes!(sessions::processes))
        .routes(routes!(sessions::signal))
        .routes(routes!(sessions::migrate))
        .routes(routes!(volumes::list))
        .routes(routes!(volumes::get, volumes::delete))
        .routes(routes!(volumes::snapshot))
        .routes(routes!(volumes::remove_snapshot))
        .routes(routes!(volumes::roll_back))
        .routes(routes!(volumes::copy))
        .routes(routes!(volumes::back_up, volumes::backups))
        .routes(routes!(volumes::restore))
        .routes(routes!(volumes::remove_backup))
        .routes(routes!(placement::get, placement::set))
        .routes(routes!(fleet::get, fleet::set))
        .routes(routes!(services::list))
        .routes(routes!(services::register, services::deregister))
        .routes(routes!(kept::list))
        .routes(routes!(kept::get, kept::set, kept::delete))
        .routes(routes!(kept::versions))
        .routes(routes!(kept::reveal))
        .routes(routes!(kept::roll_back))
        .routes(routes!(kept::rollout))
        .routes(routes!(clusters::list, clusters::add))
        .routes(routes!(clusters::get, clusters::remove))
        .routes(routes!(clusters::access))
        .routes(routes!(clusters::settings))
        .routes(routes!(clusters::test))
        .routes(routes!(clusters::manifest))
        .routes(routes!(pools::list))
        .routes(routes!(pools::set, pools::delete))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::settings, nodes::configure))
        .routes(routes!(nodes::cordon, nodes::preview_cordon))
        .routes(routes!(nodes::uncordon, nodes::preview_uncordon))
        .routes(routes!(nodes::drain, nodes::preview_drain))
        .routes(routes!(nodes::remove))
        .routes(routes!(nodes::admit))
}

pub fn router(s: Scheduler) -> Router {
    all().with_state(s).split_for_parts().0
}

pub fn openapi() -> utoipa::openapi::OpenApi {
    all().split_for_parts().1
}
