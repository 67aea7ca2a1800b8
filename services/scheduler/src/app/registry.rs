//! The services of a space: found by name, and registered where what they name runs elsewhere. Such a registration is an application of
//! that name with nothing but the name, so that who registered what and when is kept as of everything that is deployed.

use gantry_auth::SpaceRef;
use gantry_es::Meta;
use gantry_es_pg::Expect;
use gantry_kernel::{Name, Problem, Role};
use serde::Deserialize;
use serde_json::json;

use super::change::{self, Change};
use super::context::Scheduler;
use super::deploy::{self, Deploy, Deployed, database};
use super::documents::Source;
use super::view::{self, ServiceBody};
use crate::domain::app::Command;
use crate::domain::model::Model;
use crate::store;

/// So many applications are read at once.
const PAGE: u64 = 500;

/// What runs elsewhere.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// A host name, which the nodes look up, or an address.
    pub address: String,
    /// For those who look for the service; what is sent to other ports arrives, too.
    #[serde(default)]
    pub ports: Vec<u16>,
    #[serde(default)]
    pub reason: String,
}

/// All services of a space in the order of their keys, after one of them. `name`: only those that are called so.
///
/// # Errors
/// When the database refuses.
pub async fn list(s: &Scheduler, space: &SpaceRef, name: Option<&str>, after: Option<&str>, limit: u64) -> Result<Vec<ServiceBody>, Problem> {
    let reports = view::reports(s);
    let (mut found, mut last) = (Vec::new(), None::<String>);
    loop {
        let rows = store::apps(s.orm(), space.id, last.as_deref(), PAGE).await.map_err(database)?;
        let more = rows.len() as u64 == PAGE;
        last = rows.last().map(|row| row.name.clone());
        for row in rows.into_iter().filter(|row| row.current > 0) {
            found.extend(view::see(s, row, &reports).await?.services(s));
        }
        if !more {
            break;
        }
    }
    if let Some(name) = name {
        found.retain(|service| service.names.iter().any(|known| known == name));
    }
    if let Some(after) = after {
        found.retain(|service| service.key().as_str() > after);
    }
    found.sort_by_cached_key(ServiceBody::key);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// Who registers, and where.
pub struct Registering {
    pub space: SpaceRef,
    pub name: Name,
    pub subject: String,
    pub meta: Meta,
    pub expect: Expect,
}

/// Registers a service that runs elsewhere, or says anew where it is.
///
/// # Errors
/// As [`deploy::deploy`]; and when the name is an application's.
pub async fn register(s: &Scheduler, at: Registering, wanted: Registration) -> Result<Deployed, Problem> {
    let Registering { space, name, subject, meta, expect } = at;
    s.host.auth.require_subject(&subject, Role::Editor, space.scope())?;
    if store::app(s.orm(), space.id, name.as_str()).await.map_err(database)?.is_some() {
        require_registration(s, &space, &name).await?;
    }
    let outside = json!({ name.as_str(): { "address": wanted.address, "ports": wanted.ports } });
    let document = json!({ "apiVersion": "gantry.io/v1", "kind": "Application", "metadata": { "name": name.as_str() }, "spec": { "outside": outside } });
    let source = Source { format: "gantry".into(), document: document.to_string(), ..Source::default() };
    let request = Deploy { space, name, source, allow_unsupported: false, reason: wanted.reason, queue: false, dry_run: false, subject, meta, expect };
    deploy::deploy(s, request).await
}

/// Takes a registration back.
///
/// # Errors
/// Not found, a missing right, or the service is an application's.
pub async fn deregister(s: &Scheduler, at: Registering) -> Result<(), Problem> {
    let Registering { space, name, subject, meta, expect } = at;
    s.host.auth.require_subject(&subject, Role::Editor, space.scope())?;
    require_registration(s, &space, &name).await?;
    let asked = Change { space, app: name.to_string(), command: Command::Delete, subject, meta, expect };
    change::change(s, asked).await.map(drop)
}

/// What applications bring goes with them.
async fn require_registration(s: &Scheduler, space: &SpaceRef, name: &Name) -> Result<(), Problem> {
    let Some(row) = store::app(s.orm(), space.id, name.as_str()).await.map_err(database)? else {
        return Err(Problem::not_found("registered service", format_args!("{}/{name}", space.path())));
    };
    let seen = view::see(s, row, &view::reports(s)).await?;
    if is_registration(seen.outline(), name) {
        return Ok(());
    }
    let detail = format!("`{name}` is an application: what it names elsewhere is changed in its document, under `outside`");
    Err(Problem::conflict("scheduler.service_of_application", detail))
}

fn is_registration(model: &Model, name: &Name) -> bool {
    model.workloads.is_empty() && model.outside.len() == 1 && model.outside.contains_key(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::{Outside, Workload};

    #[test]
    fn a_registration_names_itself_and_runs_nothing() {
        let [bank, mail] = ["bank", "mail"].map(|name| Name::parse(name).unwrap());
        let mut model = Model::default();
        assert!(!is_registration(&model, &bank));
        model.outside.insert(bank.clone(), Outside::default());
        assert!(is_registration(&model, &bank) && !is_registration(&model, &mail));
        let mut runs = model.clone();
        runs.workloads.insert(bank.clone(), Workload::default());
        assert!(!is_registration(&runs, &bank));
        model.outside.insert(mail, Outside::default());
        assert!(!is_registration(&model, &bank), "it names more");
    }
}
