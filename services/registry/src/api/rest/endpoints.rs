//! What bodies that name another registry or a receiver have in common: passwords that are sealed and never shown, and
//! addresses inside that only an operator may allow.

use gantry_auth::{Caller, ProjectRef};
use gantry_contract::registry::flow::Endpoint;
use gantry_es::Sealed;
use gantry_kernel::{Problem, Role, Scope};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::settings::named;
use crate::adapters::remote::Remote;
use crate::app::App;
use crate::domain::settings::Settings;

const LONGEST: usize = 10_000;

/// Whether an endpoint answers and takes the credentials.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trial {
    pub ok: bool,
    /// What is wrong, and where.
    pub error: Option<String>,
    pub took_ms: u64,
}

/// What a project has kept: where it leads, and the secret for there.
pub(super) type Kept = (Endpoint, Option<Sealed>);

/// Reads a body that says where something is, with `password` beside it; its name is the last part of the address. `field` is where in it
/// `allow_private` stands, `before` what was kept under that name. The secret that comes back is the one to keep.
pub(super) async fn taken<T: DeserializeOwned>(
    app: &App,
    caller: &Caller,
    place: &ProjectRef,
    (name, mut body): (String, Value),
    field: &str,
    before: impl FnOnce(&Settings, &str) -> Option<Kept>,
    endpoint: impl FnOnce(&T) -> Endpoint,
) -> Result<(T, Option<Sealed>), Problem> {
    let given = password(&mut body)?;
    let item: T = named("name", name.clone(), body)?;
    let (before, now) = (before(&app.settings_now(place.id).await?.0, &name), endpoint(&item));
    let allowed = before.as_ref().is_some_and(|(before, _)| before.allow_private && before.url == now.url);
    may_reach_inside(app, caller, field, now.allow_private, allowed)?;
    let secret = sealed(app, place, given, before.as_ref().map(|(endpoint, secret)| (endpoint, secret.as_ref())), &now).await?;
    Ok((item, secret))
}

/// Takes `password` out of a body: none when it was not given, `Some(None)` for "without".
fn password(body: &mut Value) -> Result<Option<Option<String>>, Problem> {
    match body.as_object_mut().and_then(|map| map.remove("password")) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) if text.len() <= LONGEST => Ok(Some(Some(text).filter(|t| !t.is_empty()))),
        Some(_) => Err(Problem::invalid("password", format!("must be a text of at most {LONGEST} characters, or null"))),
    }
}

/// The secret to keep: the new one sealed, or the one before if it still goes to the same place.
async fn sealed(
    app: &App,
    project: &ProjectRef,
    given: Option<Option<String>>,
    before: Option<(&Endpoint, Option<&Sealed>)>,
    now: &Endpoint,
) -> Result<Option<Sealed>, Problem> {
    match (given, before) {
        (Some(Some(text)), _) => Ok(Some(app.seal(project.id, &text).await?)),
        (Some(None), _) | (None, None | Some((_, None))) => Ok(None),
        // Whoever may change the address must not learn the password by that.
        (None, Some((before, Some(secret)))) if before.url == now.url && before.username == now.username => Ok(Some(secret.clone())),
        (None, Some(_)) => Err(Problem::invalid("password", "the address or the user changed: give the password again, or null for none")),
    }
}

/// Addresses of this machine and of private networks are for operators to allow.
pub(super) fn may_reach_inside(app: &App, caller: &Caller, field: &str, wanted: bool, allowed_before: bool) -> Result<(), Problem> {
    if !wanted || allowed_before || app.config.private_targets {
        return Ok(());
    }
    app.host
        .auth
        .require(caller, Role::Admin, Scope::Platform)
        .map_err(|_| Problem::invalid(field, "only a platform administrator may set this, or `private_targets = true` in [registry] for all projects"))
}

pub(super) async fn tried(app: &App, remote: Remote) -> Trial {
    let begun = app.host.env.now();
    let error = remote.ping().await.err().map(|e| e.to_string());
    let took_ms = u64::try_from((app.host.env.now() - begun).whole_milliseconds()).unwrap_or_default();
    Trial { ok: error.is_none(), error, took_ms }
}
