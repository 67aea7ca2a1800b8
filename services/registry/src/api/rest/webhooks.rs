//! Webhooks of a project: set by its administrators, with the log of what was told, and telling it once more.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::{Caller, ProjectRef};
use gantry_contract::registry::flow::{Happening, Webhook};
use gantry_contract::registry::settings::Change;
use gantry_es::Sealed;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query, with_etag};
use gantry_kernel::{OffsetDateTime, Problem, Role, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::endpoints;
use super::search::cursor;
use super::settings::{change, member, named};
use super::settings_view::SettingsView;
use crate::app::App;
use crate::app::webhooks::{Told, tell};
use crate::domain::settings::flow::KeptWebhook;
use crate::domain::webhook::{Happened, key_of, secret};
use crate::store::webhooks::{self, Delivery};

/// Secrets that are good at once.
const MOST_SECRETS: usize = 2;

/// A webhook and how its receiver is.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookView {
    pub webhook: Webhook,
    /// How many secrets are good now: two while a receiver changes over.
    pub secrets: usize,
    /// Tries in a row that failed.
    pub failures: i32,
    /// Since when nothing is sent because of that; what is to be told waits.
    #[serde(with = "time::serde::rfc3339::option")]
    pub paused_at: Option<OffsetDateTime>,
    pub why: Option<String>,
    pub waiting: i64,
    pub delivered: i64,
    pub dead: i64,
}

/// What was set, and the secret if one was made just now: it is never shown again.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookMade {
    pub webhook: Webhook,
    pub secret: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// `whsec_...`; made if not given.
    pub secret: Option<String>,
    /// The one before is no longer signed with.
    #[serde(default)]
    pub only: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SecretMade {
    /// Shown this once; null if you gave it yourself.
    pub secret: Option<String>,
}

/// One event for one receiver.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Also the id of the event and the header `webhook-id`.
    pub id: Uuid,
    pub webhook: String,
    /// The CloudEvents type.
    pub kind: String,
    /// `waiting`, `delivered` or `dead`.
    pub state: String,
    pub tries: i32,
    /// Of the last try; null when there was no answer.
    pub status: Option<i32>,
    pub error: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it is tried again, if it waits.
    #[serde(with = "time::serde::rfc3339::option")]
    pub due_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// As it was sent; only when one delivery is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The last tries: when, status, error, milliseconds, the beginning of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Value>,
}

impl DeliveryView {
    fn of(d: Delivery, whole: bool) -> Self {
        Self {
            id: d.id,
            webhook: d.webhook,
            kind: d.kind,
            due_at: (d.state == "waiting").then_some(d.due_at),
            state: d.state,
            tries: d.tries,
            status: d.status,
            error: d.error,
            created_at: d.created_at,
            ended_at: d.ended_at,
            body: whole.then(|| serde_json::from_str(&d.body).unwrap_or_else(|_| Value::String(d.body.clone()))),
            log: whole.then_some(d.log),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// 1 to 500; 50 if not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// `waiting`, `delivered` or `dead`.
    pub state: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// `dead` or `delivered`; both if not given.
    pub state: Option<String>,
    /// What happened since then.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    pub events: u64,
}

type Project = Path<(String, String)>;
type Named = Path<(String, String, String)>;
type One = Path<(String, String, Uuid)>;

async fn kept(app: &App, project: &ProjectRef, name: &str) -> Result<KeptWebhook, Problem> {
    let (settings, _) = app.settings_now(project.id).await?;
    settings.webhooks.get(name).cloned().ok_or_else(|| Problem::not_found("webhook", name))
}

/// The project's webhooks, and how their receivers are.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Page<WebhookView>), (status = 404, description = "no such project, or not a member")))]
pub async fn list(State(app): State<App>, caller: Caller, Path((org, name)): Project) -> ApiResult<Json<Page<WebhookView>>> {
    let project = member(&app, &caller, &org, &name, Role::Viewer)?;
    let (settings, _) = app.settings_now(project.id).await?;
    let (db, mut items) = (&app.host.db().orm, Vec::new());
    for KeptWebhook { webhook, secrets } in settings.webhooks.into_values() {
        let state = webhooks::state(db, project.id.0, &webhook.name).await.map_err(Problem::internal)?;
        let counts = webhooks::counts(db, project.id.0, &webhook.name).await.map_err(Problem::internal)?;
        items.push(WebhookView {
            webhook,
            secrets: secrets.len(),
            failures: state.failures,
            paused_at: state.paused_at,
            why: state.why,
            waiting: counts.waiting,
            delivered: counts.delivered,
            dead: counts.dead,
        });
    }
    Ok(Json(Page::all(items)))
}

async fn sealed(app: &App, project: &ProjectRef, given: Option<String>) -> Result<(Sealed, Option<String>), Problem> {
    if let Some(text) = given {
        key_of(&text).map_err(|fault| Problem::invalid("secret", fault))?;
        return Ok((app.seal(project.id, &text).await?, None));
    }
    let made = secret(app.host.env.random());
    Ok((app.seal(project.id, &made).await?, Some(made)))
}

/// Has somebody told what happens. Deliveries are signed with a secret that is made with the first call and shown in its answer, or given
/// as `secret` beside the other fields.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks/{name}", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = Webhook,
    responses((status = 200, body = WebhookMade), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn set(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, name)): Named,
    expect: IfMatch,
    Json(mut body): Json<Value>,
) -> ApiResult<Response> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let given = match body.as_object_mut().and_then(|map| map.remove("secret")) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(Problem::invalid("secret", "must be a text")),
    };
    let webhook: Webhook = named("name", name, body)?;
    let (settings, _) = app.settings_now(place.id).await?;
    let before = settings.webhooks.get(&webhook.name);
    let allowed = before.is_some_and(|b| b.webhook.allow_private && b.webhook.url == webhook.url);
    endpoints::may_reach_inside(&app, &caller, "allow_private", webhook.allow_private, allowed)?;
    let (secrets, made) = match (before, given) {
        (Some(before), None) => (before.secrets.clone(), None),
        (_, given) => {
            let (secret, made) = sealed(&app, &place, given).await?;
            (vec![secret], made)
        }
    };
    let (_, version) = app.change_settings(&place, Change::WebhookSet { webhook: webhook.clone(), secrets }, caller.meta(None), expect.0).await?;
    Ok(with_etag(version, Json(WebhookMade { webhook, secret: made })))
}

/// Tells nobody any more. What waits is given up.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks/{name}", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn remove(State(app): State<App>, caller: Caller, Path((org, project, name)): Named, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::WebhookRemoved(name)).await
}

/// Signs with a new secret, and with the one before, too, until a call with `only`.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks/{name}/secrets", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = NewSecret,
    responses((status = 200, body = SecretMade), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn new_secret(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, name)): Named,
    expect: IfMatch,
    body: Option<Json<NewSecret>>,
) -> ApiResult<Response> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let body = body.map(|Json(b)| b).unwrap_or_default();
    let before = kept(&app, &place, &name).await?;
    let (secret, made) = sealed(&app, &place, body.secret).await?;
    let mut secrets = vec![secret];
    if !body.only {
        secrets.extend(before.secrets.into_iter().take(MOST_SECRETS - 1));
    }
    let (_, version) = app.change_settings(&place, Change::WebhookSet { webhook: before.webhook, secrets }, caller.meta(None), expect.0).await?;
    Ok(with_etag(version, Json(SecretMade { secret: made })))
}

/// Sends an event that says nothing, now, and shows what came of it.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks/{name}/test", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = DeliveryView), (status = 403, description = "needs admin on the project"), (status = 404), (status = 409, description = "it is paused or switched off")))]
pub async fn test(State(app): State<App>, caller: Caller, Path((org, project, name)): Named) -> ApiResult<Json<DeliveryView>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let webhook = kept(&app, &place, &name).await?.webhook;
    let db = &app.host.db().orm;
    let paused = webhooks::state(db, place.id.0, &name).await.map_err(Problem::internal)?.paused_at.is_some();
    if paused || !webhook.enabled {
        return Err(Problem::conflict("registry.webhook_paused", "the webhook is paused or switched off: resume it, or switch it on, first"));
    }
    let data = json!({ "message": "a test", "by": caller.subject });
    let happened = Happened { happening: Happening::Pushed, what: "webhook.tested", repository: None, tag: None, data };
    let told = Told {
        id: app.host.env.uuid(),
        place: (place.org.id, place.id),
        names: (&org, &project),
        webhook: &webhook,
        happened: &happened,
        at: app.host.env.now(),
    };
    tell(db, &app.host.platform.public_url, &told).await.map_err(Problem::internal)?;
    app.deliver(told.id).await?;
    Ok(Json(DeliveryView::of(delivery(&app, &place, told.id).await?, true)))
}

/// Sends again to a receiver that was paused after too many failures.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks/{name}/resume", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Replayed, description = "how many events are sent now"), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn resume(State(app): State<App>, caller: Caller, Path((org, project, name)): Named) -> ApiResult<Json<Replayed>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    kept(&app, &place, &name).await?;
    let db = &app.host.db().orm;
    webhooks::well(db, place.id.0, &name).await.map_err(Problem::internal)?;
    let events = webhooks::all_due(db, place.id.0, &name, app.host.env.now()).await.map_err(Problem::internal)?;
    Ok(Json(Replayed { events }))
}

/// What a webhook was told, newest first. Deliveries stay for 7 days, what was given up for 30.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks/{name}/deliveries", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), DeliveryQuery),
    responses((status = 200, body = Page<DeliveryView>), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn deliveries(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, name)): Named,
    Query(query): Query<DeliveryQuery>,
) -> ApiResult<Json<Page<DeliveryView>>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    known_state(query.state.as_deref(), &["waiting", "delivered", "dead"])?;
    let limit = PageQuery { limit: query.limit, ..PageQuery::default() }.limit()?;
    let before = cursor::<Uuid>(query.cursor.as_deref())?;
    let rows = webhooks::list(&app.host.db().orm, place.id.0, &name, query.state.as_deref(), before, limit + 1).await.map_err(Problem::internal)?;
    Ok(Json(Page::of(rows.into_iter().map(|d| DeliveryView::of(d, false)).collect(), limit, |d: &DeliveryView| d.id.to_string())))
}

fn known_state(state: Option<&str>, known: &[&str]) -> Result<(), Problem> {
    match state {
        Some(state) if !known.contains(&state) => Err(Problem::invalid("state", format!("must be one of {}", known.join(", ")))),
        _ => Ok(()),
    }
}

/// Tells a webhook once more what it was told, or what was given up. The ids stay: receivers know repetitions by them.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhooks/{name}/replay", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path)), request_body = Replay,
    responses((status = 200, body = Replayed), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn replay(State(app): State<App>, caller: Caller, Path((org, project, name)): Named, body: Option<Json<Replay>>) -> ApiResult<Json<Replayed>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let body = body.map(|Json(b)| b).unwrap_or_default();
    known_state(body.state.as_deref(), &["delivered", "dead"])?;
    kept(&app, &place, &name).await?;
    let replayed = webhooks::replay(&app.host.db().orm, place.id.0, &name, body.state.as_deref(), body.since, app.host.env.now()).await;
    Ok(Json(Replayed { events: replayed.map_err(Problem::internal)? }))
}

async fn delivery(app: &App, project: &ProjectRef, id: Uuid) -> Result<Delivery, Problem> {
    let found = webhooks::find(&app.host.db().orm, Some(project.id.0), id).await.map_err(Problem::internal)?;
    found.ok_or_else(|| Problem::not_found("delivery", id))
}

/// One delivery with its body and its last tries.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhook-deliveries/{delivery}", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("delivery" = Uuid, Path)),
    responses((status = 200, body = DeliveryView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn one(State(app): State<App>, caller: Caller, Path((org, project, id)): One) -> ApiResult<Json<DeliveryView>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    Ok(Json(DeliveryView::of(delivery(&app, &place, id).await?, true)))
}

/// Sends one event once more.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/webhook-deliveries/{delivery}/replay", tag = "registry webhooks",
    params(("org" = String, Path), ("project" = String, Path), ("delivery" = Uuid, Path)),
    responses((status = 200, body = DeliveryView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn replay_one(State(app): State<App>, caller: Caller, Path((org, project, id)): One) -> ApiResult<Json<DeliveryView>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let found = delivery(&app, &place, id).await?;
    webhooks::replay_one(&app.host.db().orm, found.id, app.host.env.now()).await.map_err(Problem::internal)?;
    Ok(Json(DeliveryView::of(delivery(&app, &place, id).await?, false)))
}
