//! Reserving an application's share of its project's quota, at billing.

use std::time::Duration;

use gantry_contract::proto::billing::quotas_client::QuotasClient;
use gantry_contract::proto::billing::{Amounts, ReserveRequest};
use gantry_host::Host;
use gantry_kernel::{AppId, Kind, OrgId, Problem, ProjectId};

use crate::domain::model::Demand;

/// As billing refuses what fits only when others have given something back.
pub const FULL: &str = "billing.quota_exceeded";

/// With these words it says that it is the quota of a single person; that of a project or an organisation is everybody's.
const OF_PERSON: &str = "the quota of user ";

/// Is this the refusal of the quota of whoever asked, and not of all?
pub fn is_of_person(problem: &Problem) -> bool {
    problem.detail.starts_with(OF_PERSON)
}

/// As it refuses what can never fit.
const TOO_SMALL: &str = "billing.quota_too_small";

/// Sets what the application reserves, as a whole; so a repetition is harmless.
///
/// # Errors
/// Billing's refusal with its text, or that it is away: without its word nothing is accepted.
pub async fn reserve(host: &Host, org: OrgId, project: ProjectId, app: AppId, user: &str, demand: &Demand) -> Result<(), Problem> {
    ask(host, org, project, app, user, demand, false).await
}

/// Whether it would be granted; nothing is reserved.
///
/// # Errors
/// As [`reserve`].
pub async fn check(host: &Host, org: OrgId, project: ProjectId, app: AppId, user: &str, demand: &Demand) -> Result<(), Problem> {
    ask(host, org, project, app, user, demand, true).await
}

async fn ask(host: &Host, org: OrgId, project: ProjectId, app: AppId, user: &str, demand: &Demand, check_only: bool) -> Result<(), Problem> {
    let total =
        Amounts { cpu_millis: demand.cpu_millis, memory_bytes: demand.memory_bytes, storage_bytes: demand.storage_bytes, containers: demand.containers };
    let largest = Amounts {
        cpu_millis: demand.largest.cpu_millis.into(),
        memory_bytes: demand.largest.memory_bytes,
        storage_bytes: demand.largest.storage_bytes,
        containers: u32::from(demand.containers > 0),
    };
    let mut request = tonic::Request::new(ReserveRequest {
        org_id: org.to_string(),
        project_id: project.to_string(),
        holder: format!("app:{app}"),
        user: if user.starts_with("user:") { user.to_owned() } else { String::new() },
        total: Some(total),
        largest_container: Some(largest),
        check_only,
    });
    request.set_timeout(Duration::from_secs(5));
    QuotasClient::new(host.channel("billing")?).reserve(request).await.map_err(|status| match status.code() {
        // Too many requests are told by the same code; only billing's own words are about the quota.
        tonic::Code::ResourceExhausted => {
            let says = |code: &str| status.metadata().get("gantry-code").is_some_and(|c| c.as_bytes() == code.as_bytes());
            match [FULL, TOO_SMALL].into_iter().find(|code| says(code)) {
                Some(code) => Problem::new(Kind::QuotaExceeded, code, status.message().to_owned()),
                None => Problem::unavailable("billing").with_source(std::io::Error::other(status.message().to_owned())),
            }
        }
        _ => Problem::from(status),
    })?;
    Ok(())
}
