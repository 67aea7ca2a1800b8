//! A cluster that was imported before, under another name or by another organisation: what is on it tells by its labels. It is
//! left alone and told, or taken over.

use gantry_auth::Caller;
use gantry_kernel::{OrgId, Problem, Role, Scope, Uuid};
use gantry_kubernetes::Client;

use super::context::Scheduler;
use super::deploy::database;
use crate::store;

/// An import that has left something on the cluster, or still has it.
pub struct Earlier {
    pub scope: Uuid,
    /// Name and organisation; none: of another installation of the platform, or of a time that nobody here remembers.
    pub known: Option<(String, Option<OrgId>)>,
    /// It has not been removed.
    pub still: bool,
}

/// Those on a cluster, without the one that an import of this name by this organisation goes on with.
///
/// # Errors
/// When the cluster or the database does not answer.
pub async fn earlier(s: &Scheduler, client: &Client, name: &str, org: Option<OrgId>) -> Result<Vec<Earlier>, Problem> {
    let found = gantry_kubernetes::scopes(client).await.map_err(|trouble| Problem::unavailable("the cluster").with_source(trouble))?;
    let rows = store::clusters(s.orm()).await.map_err(database)?;
    let mut out = Vec::new();
    for text in found {
        let Ok(scope) = text.parse::<Uuid>() else { continue };
        let known = store::cluster_scope(s.orm(), scope).await.map_err(database)?;
        if known.as_ref().is_some_and(|(n, o)| n == name && *o == org) {
            continue;
        }
        out.push(Earlier { scope, known, still: rows.iter().any(|r| r.scope == scope) });
    }
    Ok(out)
}

/// What those who import it should know.
pub fn remarks(s: &Scheduler, caller: &Caller, earlier: &[Earlier]) -> Vec<String> {
    let one = |e: &Earlier| match &e.known {
        None => "it has objects that another installation of Gantry has made; they are left alone".to_owned(),
        Some((name, org)) if may_know(s, caller, *org) => {
            let state = if e.still { "still imported: remove that first, and then" } else { "not imported any more:" };
            format!(
                "it has objects that were made through the import `{name}`, which is {state} `gantry cluster add --adopt {name}` takes them over. Otherwise they are left alone, and applications that run here are made anew"
            )
        }
        Some(_) => "it has objects that another organisation's import has made; they are left alone".to_owned(),
    };
    earlier.iter().map(one).collect()
}

/// The scope that is taken over.
///
/// # Errors
/// Nothing of that import is there, it is in use, or a right on it is missing.
pub fn adopted(s: &Scheduler, caller: &Caller, name: &str, earlier: &[Earlier]) -> Result<Uuid, Problem> {
    let of = |e: &&Earlier| e.known.as_ref().is_some_and(|(n, org)| n == name && may_know(s, caller, *org));
    let all: Vec<&Earlier> = earlier.iter().filter(of).collect();
    let found = match all[..] {
        [one] => one,
        [] => return Err(Problem::invalid("adopt", format!("nothing on the cluster was made through an import called `{name}`"))),
        _ => {
            return Err(Problem::conflict(
                "scheduler.adoption_unclear",
                format!("imports of several organisations were called `{name}`, and all have left something: remove what is not needed with kubectl"),
            ));
        }
    };
    s.host.auth.require(caller, Role::Admin, scope_of(found.known.as_ref().and_then(|(_, org)| *org)))?;
    if found.still {
        return Err(Problem::conflict(
            "scheduler.still_imported",
            format!("`{name}` is still imported, and two would change the same objects: `gantry cluster remove {name}` first, which touches nothing on it"),
        ));
    }
    Ok(found.scope)
}

fn may_know(s: &Scheduler, caller: &Caller, org: Option<OrgId>) -> bool {
    s.host.auth.require(caller, Role::Viewer, scope_of(org)).is_ok()
}

fn scope_of(org: Option<OrgId>) -> Scope {
    org.map_or(Scope::Platform, Scope::Org)
}
