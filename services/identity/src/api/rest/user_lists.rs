//! Lists of users: search, export, import; and what administrators do to one user besides changing it.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query, watch_list};
use gantry_kernel::{OrgId, Problem, Scope, Uuid};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::api::rest::users::{User, visible};
use crate::api::rest::{person, seen};
use crate::app::App;
use crate::app::import::{self, Line, Report};
use crate::app::people::{Person, subject};
use crate::app::secrets::LONGEST_BEGINNING;
use crate::domain::csv;
use crate::error::fault;
use crate::store::directory;
use crate::store::user_search::{self, Filter};

const READ: &str = "identity.users-read";
const WRITE: &str = "identity.users-write";
/// How many pages a search looks through for a long text before it gives what it has.
const MOST_PAGES: usize = 20;
const EXPORT_PAGE: u64 = 500;

#[derive(Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// The beginning of a user name or of a word of the display name, or a whole e-mail address.
    q: Option<String>,
    /// `active` or `suspended`.
    state: Option<String>,
    /// Members of this organisation.
    org: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Format {
    /// `csv` (default) or `json`.
    format: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// Id or name of the account that goes.
    from: String,
    /// Its user name again.
    confirm: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = PasswordResetReason)]
pub struct Because {
    /// What the person is told.
    reason: String,
}

/// What the caller may see of what is asked for.
async fn filter(app: &App, caller: &Caller, search: &Search) -> ApiResult<Filter> {
    let suspended = match search.state.as_deref() {
        None => None,
        Some("active") => Some(false),
        Some("suspended") => Some(true),
        Some(_) => return Err(Problem::invalid("state", "must be active or suspended")),
    };
    let mut filter = Filter { suspended, ..Filter::default() };
    if let Some(q) = search.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        if q.chars().count() > 254 {
            return Err(Problem::invalid("q", "must have at most 254 characters"));
        }
        if q.contains('@') {
            filter.email_key = Some(app.lookup.hash(q));
        } else {
            filter.term = Some(app.lookup.beginning(q));
        }
    }
    if let Some(org) = &search.org {
        filter.org = Some(seen(app, caller, org)?.0);
    } else if app.host.auth.permit(caller, READ, Scope::Platform).is_err() {
        let me = person(caller)?.0;
        let mut ids = directory::colleagues(app.orm(), me).await.map_err(fault)?;
        ids.push(me);
        ids.sort_unstable();
        ids.dedup();
        filter.among = Some(ids);
    }
    Ok(filter)
}

/// A page of people with their values opened; `next` is where the next page starts.
async fn page(app: &App, filter: &Filter, q: Option<&str>, after: Option<Uuid>, limit: u64) -> ApiResult<Page<User>> {
    let long = q.map(str::trim).filter(|q| !q.contains('@') && q.chars().count() > LONGEST_BEGINNING).map(str::to_lowercase);
    let fits = |person: &Person| {
        long.as_ref().is_none_or(|q| {
            let shown = person.display_name.to_lowercase();
            person.username.starts_with(q.as_str()) || shown.match_indices(q.as_str()).any(|(at, _)| at == 0 || shown[..at].ends_with([' ', '.', '-', '_']))
        })
    };
    let mut found = Vec::new();
    let mut after = after;
    for _ in 0..MOST_PAGES {
        let ids = user_search::find(app.pool(), filter, after, limit + 1).await.map_err(fault)?;
        let more = ids.len() as u64 > limit;
        after = ids.last().copied();
        app.keyring.preload(&ids.iter().map(|id| subject((*id).into())).collect::<Vec<_>>()).await.map_err(crate::error::unsealed)?;
        let mut rows = directory::users_by_ids(app.orm(), ids).await.map_err(fault)?;
        rows.sort_unstable_by_key(|r| r.id);
        for row in rows {
            // Erased between the two reads: not there any more.
            let Ok(person) = app.open(row).await else { continue };
            if fits(&person) {
                found.push(User::from(person));
            }
        }
        if !more || found.len() as u64 > limit {
            break;
        }
    }
    Ok(Page::of(found, limit, |u| u.id.to_string()))
}

fn cursor(page: &PageQuery) -> ApiResult<Option<Uuid>> {
    page.cursor.as_deref().map(Uuid::parse_str).transpose().map_err(|_| Problem::invalid("cursor", "must be `next` of a page before"))
}

/// Users that the caller may see: all with `identity.users-read` on the platform, else those of the own organisations.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(Search, PageQuery), responses((status = 200, body = Page<User>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(search): Query<Search>, Query(query): Query<PageQuery>) -> ApiResult<Response> {
    let (limit, after) = (query.limit()?, cursor(&query)?);
    if query.watch {
        let (host, watcher) = (app.host.clone(), caller.clone());
        let moved = host.progress.watch("directory").ok_or_else(|| Problem::unavailable("the list"))?;
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (app, caller, search) = (app.clone(), caller.clone(), search.clone());
            // What may be seen is judged anew each time: rights change while one watches.
            async move { page(&app, &filter(&app, &caller, &search).await?, search.q.as_deref(), after, limit).await }
        }));
    }
    let filter = filter(&app, &caller, &search).await?;
    Ok(Json(page(&app, &filter, search.q.as_deref(), after, limit).await?).into_response())
}

/// Creates many users from CSV (`text/csv`: username, email, display_name, password_hash) or a JSON list. With
/// `dry_run=true` nothing is written and the report says what would happen to each line.
#[utoipa::path(post, path = "/api/v1/users/import", tag = "users", params(DryRun), request_body(content = String, content_type = "text/csv"),
    responses((status = 200, body = Report)))]
pub async fn import(State(app): State<App>, caller: Caller, Query(query): Query<DryRun>, headers: HeaderMap, body: Bytes) -> ApiResult<Json<Report>> {
    app.host.auth.permit(&caller, WRITE, Scope::Platform)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let lines = if kind.starts_with("application/json") {
        let lines: Vec<Line> = serde_json::from_slice(&body).map_err(|e| Problem::invalid("body", e.to_string()))?;
        lines.into_iter().enumerate().map(|(index, line)| (index + 1, line)).collect()
    } else if kind.starts_with("text/csv") {
        let text = std::str::from_utf8(&body).map_err(|e| Problem::invalid("body", format!("is not UTF-8 from byte {} on", e.valid_up_to())))?;
        import::from_csv(text)?
    } else {
        return Err(Problem::invalid("Content-Type", "must be text/csv or application/json"));
    };
    Ok(Json(app.import_users(lines, query.dry_run, &caller.meta(None)).await?))
}

/// All users as CSV or JSON, without secrets.
#[utoipa::path(get, path = "/api/v1/users/export", tag = "users", params(Format), responses((status = 200, body = String, content_type = "text/csv")))]
pub async fn export(State(app): State<App>, caller: Caller, Query(query): Query<Format>) -> ApiResult<Response> {
    app.host.auth.permit(&caller, READ, Scope::Platform)?;
    let json = match query.format.as_deref() {
        None | Some("csv") => false,
        Some("json") => true,
        Some(_) => return Err(Problem::invalid("format", "must be csv or json")),
    };
    let object = "users".to_owned();
    let fact = crate::app::context::Fact {
        actor: &caller.subject,
        action: "users.exported",
        object: &object,
        result: "ok",
        reason: "",
        from: caller.from.as_deref().unwrap_or_default(),
    };
    app.record(fact).await;
    let (head, tail, kind) =
        if json { ("[\n", "\n]\n", "application/json") } else { ("id,username,email,display_name,state,created_at\r\n", "", "text/csv; charset=utf-8") };
    let pages = futures::stream::try_unfold((app, Some(None::<Uuid>), true), move |(app, at, first)| async move {
        let Some(after) = at else { return Ok::<_, Problem>(None) };
        let page = page(&app, &Filter::default(), None, after, EXPORT_PAGE).await?;
        let mut text = String::new();
        for (index, user) in page.items.iter().enumerate() {
            if json {
                text.push_str(if first && index == 0 { "" } else { ",\n" });
                text.push_str(&serde_json::to_string(user).map_err(fault)?);
            } else {
                let created = user.created_at.format(&time::format_description::well_known::Rfc3339).map_err(fault)?;
                text.push_str(&csv::line(&[&user.id.to_string(), &user.username, &user.email, &user.display_name, &user.state, &created]));
            }
        }
        let next = page.next.and_then(|n| Uuid::parse_str(&n).ok()).map(Some);
        Ok(Some((text, (app, next, first && page.items.is_empty()))))
    });
    let body = futures::stream::once(async move { Ok(head.to_owned()) }).chain(pages).chain(futures::stream::once(async move { Ok(tail.to_owned()) }));
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], Body::from_stream(body)).into_response())
}

/// Makes two accounts of one person one: roles, organisations and teams of `from` move here, then `from` is erased.
#[utoipa::path(post, path = "/api/v1/users/{id}/merge", tag = "users", params(("id" = String, Path, description = "the account that stays")),
    request_body = Merge, responses((status = 204)))]
pub async fn merge(State(app): State<App>, caller: Caller, Path(id): Path<String>, Json(body): Json<Merge>) -> ApiResult<StatusCode> {
    app.host.auth.permit(&caller, WRITE, Scope::Platform)?;
    let into = visible(&app, &caller, &id).await?;
    let from = visible(&app, &caller, &body.from).await.map_err(|_| Problem::invalid("from", "there is no such user"))?;
    if body.confirm != from.username {
        return Err(Problem::invalid("confirm", "must be the user name of the account that goes"));
    }
    // The one that stays gets all that the other has: so the caller must have that.
    app.refuse_subject_beyond(&caller, &subject(from.id))?;
    app.merge_users(&into, &from, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The person must choose a new password at the next sign-in; all sessions end now.
#[utoipa::path(post, path = "/api/v1/users/{id}/require-password-reset", tag = "users", params(("id" = String, Path)), request_body = Because,
    responses((status = 204)))]
pub async fn require_password_reset(State(app): State<App>, caller: Caller, Path(id): Path<String>, Json(body): Json<Because>) -> ApiResult<StatusCode> {
    app.host.auth.permit(&caller, WRITE, Scope::Platform)?;
    let target = visible(&app, &caller, &id).await?;
    app.refuse_subject_beyond(&caller, &subject(target.id))?;
    app.require_password_reset(&target, &body.reason, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What deleting an organisation takes along.
#[derive(serde::Serialize, ToSchema)]
pub struct Deletion {
    projects: Vec<String>,
    spaces: usize,
    members: i64,
    teams: i64,
    roles: i64,
    service_accounts: i64,
    /// Roles given in the organisation, its projects and spaces.
    bindings: usize,
    /// How to go on.
    confirm: String,
}

/// Says what a deletion would take along; deletes nothing.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/deletion", tag = "organisations", params(("org" = String, Path)), responses((status = 200, body = Deletion)))]
pub async fn deletion(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Json<Deletion>> {
    let org: OrgId = crate::api::rest::permitted(&app, &caller, &name, "identity.org-delete")?;
    let (projects, spaces, scopes) = app.host.auth.read(|rights| {
        let projects: Vec<_> = rights.projects().filter(|p| p.org.id == org).cloned().collect();
        let spaces: Vec<_> = projects.iter().flat_map(|p| rights.spaces_of(p.id)).collect();
        let scopes: Vec<String> =
            std::iter::once(Scope::Org(org)).chain(projects.iter().map(|p| p.scope())).chain(spaces.iter().copied()).map(|s| s.to_string()).collect();
        let mut names: Vec<_> = projects.iter().map(|p| p.name.to_string()).collect();
        names.sort();
        (names, spaces.len(), scopes)
    });
    let (teams, roles, service_accounts, members) = crate::store::groups::counts(app.pool(), org).await.map_err(fault)?;
    let bindings = directory::bindings_at(app.orm(), scopes, None, 100_000).await.map_err(fault)?.len();
    let confirm = format!("DELETE /api/v1/orgs/{name}?confirm={name}");
    Ok(Json(Deletion { projects, spaces, members, teams, roles, service_accounts, bindings, confirm }))
}
