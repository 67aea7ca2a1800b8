//! `billing.v1.Quotas`, for the scheduler.

use std::sync::Arc;

use gantry_auth::peer;
use gantry_contract::proto::billing::quotas_server::Quotas;
use gantry_contract::proto::billing::{Amounts as WireAmounts, ReserveRequest, ReserveResponse};
use gantry_kernel::{Problem, UserId};
use tonic::{Request, Response, Status};

use crate::App;
use crate::domain::amounts::{Amounts, Claim};
use crate::store::reservations::Reservation;

pub struct QuotasApi(pub Arc<App>);

#[tonic::async_trait]
impl Quotas for QuotasApi {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        peer(&request, &["scheduler"])?;
        let request = request.into_inner();
        let check_only = request.check_only;
        let wanted = parse(request)?;
        self.0.reserve(&wanted, check_only).await?;
        Ok(Response::new(ReserveResponse {}))
    }
}

fn parse(request: ReserveRequest) -> Result<Reservation, Problem> {
    let id = |field: &str, text: &str| text.parse().map_err(|_| Problem::invalid(field, "must be a UUID"));
    if request.holder.is_empty() || request.holder.len() > 200 || request.holder.contains('\0') {
        return Err(Problem::invalid("holder", "must have 1 to 200 characters"));
    }
    let user = match request.user.as_str() {
        "" => None,
        // Only people have a quota of their own; a pipeline's robot or a service uses the project's.
        other if !other.starts_with("user:") => None,
        user if user["user:".len()..].parse::<UserId>().is_ok() => Some(user.to_owned()),
        _ => return Err(Problem::invalid("user", "must be \"user:<uuid>\" or empty")),
    };
    Ok(Reservation {
        org: gantry_kernel::OrgId(id("org_id", &request.org_id)?),
        project: gantry_kernel::ProjectId(id("project_id", &request.project_id)?),
        holder: request.holder,
        user,
        claim: Claim { total: amounts(request.total.unwrap_or_default()), largest: amounts(request.largest_container.unwrap_or_default()) },
    })
}

fn amounts(wire: WireAmounts) -> Amounts {
    Amounts { cpu_millis: wire.cpu_millis, memory_bytes: wire.memory_bytes, storage_bytes: wire.storage_bytes, containers: wire.containers.into() }
}
