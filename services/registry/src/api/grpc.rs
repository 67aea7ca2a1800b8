//! `gantry.registry.v1.Images`, for the scheduler: which manifest a reference names now; and which gRPC services are the REST API itself.

use gantry_auth::peer;
use gantry_contract::proto::registry::images_server::{Images, ImagesServer};
use gantry_contract::proto::registry::{Platform, ResolveRequest, ResolveResponse};
use gantry_kernel::Problem;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::app::manifests::strings;
use crate::domain::name::parse_image;

/// Who may call.
const CALLERS: &[&str] = &["scheduler"];

/// Their RPCs say which REST call they are (`schemas/proto/registry/v1`).
pub const OF_REST: &[&str] = &[
    "gantry.registry.v1.Caches",
    "gantry.registry.v1.Content",
    "gantry.registry.v1.ImageRules",
    "gantry.registry.v1.Replications",
    "gantry.registry.v1.Repositories",
    "gantry.registry.v1.Scanners",
    "gantry.registry.v1.Webhooks",
];

pub struct Door(App);

pub fn routes(app: App) -> tonic::service::Routes {
    tonic::service::Routes::new(ImagesServer::new(Door(app)))
}

pub const NAMES: &[&str] = &["gantry.registry.v1.Images"];

#[tonic::async_trait]
impl Images for Door {
    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveResponse>, Status> {
        peer(&request, CALLERS)?;
        let text = request.into_inner().reference;
        let image = parse_image(&text).map_err(|e| Problem::invalid("reference", format!("`{text}`: {e}")))?;
        if image.host.is_some_and(|host| host != self.0.host.platform.public_host()) {
            return Err(Problem::not_found("image of this registry", &text).into());
        }
        let row = self.0.manifest_row(&image.name, &image.reference).await.map_err(Problem::from)?;
        self.0.may_hand_out(&image.name, &row, gantry_contract::registry::settings::Moment::Deploy).await.map_err(Problem::from)?;
        Ok(Response::new(ResolveResponse {
            repository: image.name.to_string(),
            platforms: strings(&row.platforms).iter().map(|p| platform(p)).collect(),
            digest: row.digest,
            media_type: row.media_type,
            size_bytes: row.total_bytes.unsigned_abs(),
        }))
    }
}

/// `os/architecture[/variant]`
fn platform(text: &str) -> Platform {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Platform { os: next(), architecture: next(), variant: next() }
}
