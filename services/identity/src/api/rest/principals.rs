//! Names for the subjects that stand in events and audit records.

use std::collections::BTreeSet;

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page};
use gantry_kernel::{Problem, Role, Scope, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::fault;
use crate::store::directory;

const MOST: usize = 500;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// `user:<id>` or plain user ids; at most 500.
    ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Principal {
    /// As asked.
    id: String,
    name: String,
}

/// Names of those the caller may know; others, and the erased, are left out.
#[utoipa::path(post, path = "/api/v1/principals/resolve", tag = "rights", request_body = Ids, responses((status = 200, body = Page<Principal>)))]
pub async fn resolve(State(app): State<App>, caller: Caller, Json(body): Json<Ids>) -> ApiResult<Json<Page<Principal>>> {
    if body.ids.len() > MOST {
        return Err(Problem::invalid("ids", format!("at most {MOST}")));
    }
    let everybody = app.may(&caller, Role::Viewer, Scope::Platform);
    let known: BTreeSet<_> = match caller.user_id() {
        Some(me) if !everybody => directory::colleagues(app.orm(), me.0).await.map_err(fault)?.into_iter().chain([me.0]).collect(),
        _ => BTreeSet::new(),
    };
    let mut items = Vec::new();
    for id in body.ids {
        if let Some(service) = id.strip_prefix("service:") {
            items.push(Principal { name: service.to_owned(), id });
            continue;
        }
        let Ok(user) = id.strip_prefix("user:").unwrap_or(&id).parse::<UserId>() else { continue };
        if !everybody && !known.contains(&user.0) {
            continue;
        }
        if let Some(person) = app.person(user).await? {
            items.push(Principal { id, name: person.username });
        }
    }
    Ok(Json(Page::all(items)))
}
