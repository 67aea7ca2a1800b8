//! Search, export and proof of the audit trail.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Query};
use gantry_kernel::{Problem, Role, Scope};
use http::header;
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::domain::{csv, span};
use crate::store::audit::{self, Filter, Record, Sight};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(search)).routes(routes!(verify))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// "user:<uuid>", "service:<name>", "system".
    actor: Option<String>,
    /// `app.revised`, or a beginning with `*`: `app.*`.
    kind: Option<String>,
    /// "app:<uuid>" and the like.
    object: Option<String>,
    /// `ok`, `denied` or `failed`.
    result: Option<String>,
    /// RFC 3339, or a span before now such as `2h`.
    from: Option<String>,
    /// The same; exclusive.
    to: Option<String>,
    /// Only this organisation, by name.
    org: Option<String>,
    /// Text in kind, object, name, reason, actor or content.
    q: Option<String>,
    /// 1 to 500; 50 if not given. Exports ignore it.
    limit: Option<i64>,
    cursor: Option<String>,
    /// `json` (default): a page. `csv` or `jsonl` (a JSON record a line): everything that fits, as a file.
    format: Option<String>,
}

/// The audit trail, the newest first: for administrators of an organisation its own part, for those of the platform all.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery), responses((status = 200, body = Page<Record>)))]
async fn search(State(app): State<Arc<App>>, caller: Caller, Query(query): Query<AuditQuery>) -> ApiResult<Response> {
    let sight = app.audit_sight(&caller)?;
    let filter = filter(&app, &query)?;
    let before =
        query.cursor.as_deref().map(|c| c.parse::<i64>().map_err(|_| Problem::invalid("cursor", "must be `next` of an earlier answer"))).transpose()?;
    match query.format.as_deref() {
        None | Some("json") => {
            let limit = query.limit.unwrap_or(50);
            if !(1..=500).contains(&limit) {
                return Err(Problem::invalid("limit", "must be 1 to 500"));
            }
            let records = app.audit(&sight, &filter, before, limit + 1).await?;
            Ok(Json(Page::of(records, limit.unsigned_abs(), |r| r.seq.to_string())).into_response())
        }
        Some("csv") => Ok(export(app, sight, filter, &CSV)),
        Some("jsonl") => Ok(export(app, sight, filter, &JSON_LINES)),
        Some(_) => Err(Problem::invalid("format", "must be json, csv or jsonl")),
    }
}

fn filter(app: &App, query: &AuditQuery) -> ApiResult<Filter> {
    let now = app.host.env.now();
    let at = |field: &str, text: &Option<String>| text.as_deref().map(|t| span::instant(field, t, now)).transpose();
    if query.result.as_deref().is_some_and(|r| !matches!(r, "ok" | "denied" | "failed")) {
        return Err(Problem::invalid("result", "must be ok, denied or failed"));
    }
    for (field, value) in [("actor", &query.actor), ("kind", &query.kind), ("object", &query.object), ("q", &query.q)] {
        if value.as_deref().is_some_and(|v| v.len() > 300 || v.contains('\0')) {
            return Err(Problem::invalid(field, "must have at most 300 characters"));
        }
    }
    Ok(Filter {
        actor: query.actor.clone(),
        kind: query.kind.clone(),
        object: query.object.clone(),
        result: query.result.clone(),
        from: at("from", &query.from)?,
        to: at("to", &query.to)?,
        // What the caller may not see of it is cut by sight all the same.
        org: query.org.as_deref().map(|name| app.host.auth.org(name).map(|o| o.id.0)).transpose()?,
        text: query.q.clone().filter(|q| !q.is_empty()),
    })
}

/// A form that an export may have.
struct FileForm {
    media_type: &'static str,
    disposition: &'static str,
    head: fn() -> String,
    line: fn(&Record) -> String,
}

const CSV: FileForm = FileForm {
    media_type: "text/csv; charset=utf-8",
    disposition: "attachment; filename=\"audit.csv\"",
    head: || {
        csv::record(["seq", "time", "service", "kind", "actor", "object", "name", "result", "reason", "from", "content", "trace", "before", "state", "ended"])
    },
    line: row,
};

const JSON_LINES: FileForm = FileForm {
    media_type: "application/jsonl; charset=utf-8",
    disposition: "attachment; filename=\"audit.jsonl\"",
    head: String::new,
    line: |record| serde_json::to_string(record).map(|line| line + "\n").unwrap_or_default(),
};

/// Streams page after page, so that an export of any size takes the memory of one.
fn export(app: Arc<App>, sight: Sight, filter: Filter, form: &'static FileForm) -> Response {
    let stream = async_stream::stream! {
        yield Ok::<_, std::io::Error>((form.head)());
        let mut before = None;
        loop {
            let (page, next) = match app.export(&sight, &filter, before).await {
                Ok(page) => page,
                Err(problem) => {
                    // The answer has begun: break it off, so that nobody takes a part for the whole.
                    tracing::error!(error = problem.chain(), "an audit export broke off");
                    yield Err(std::io::Error::other("the export broke off"));
                    return;
                }
            };
            yield Ok(page.iter().map(form.line).collect());
            match next {
                Some(_) => before = next,
                None => return,
            }
        }
    };
    let headers = [(header::CONTENT_TYPE, form.media_type), (header::CONTENT_DISPOSITION, form.disposition)];
    (headers, Body::from_stream(stream)).into_response()
}

fn row(record: &Record) -> String {
    let content = record.content.as_ref().map(ToString::to_string).unwrap_or_default();
    let (seq, at) = (record.seq.to_string(), record.at.format(&Rfc3339).unwrap_or_default());
    let optional = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let (name, from, trace) = (optional(&record.name), optional(&record.from), optional(&record.trace));
    let before = record.before.as_ref().map(ToString::to_string).unwrap_or_default();
    let ended = record.ended_at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    let state = if record.ended_at.is_some() { "ended" } else { "running" };
    csv::record(
        [&seq, &at, &record.service, &record.kind, &record.actor, &record.object, &name, &record.result, &record.reason, &from, &content, &trace, &before]
            .map(String::as_str)
            .into_iter()
            .chain([state, &ended]),
    )
}

/// Whether the trail is as it was written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Proof {
    records: i64,
    whole: bool,
    /// The first record that was changed, or whose predecessor is missing.
    first_bad: Option<i64>,
}

/// Recomputes the hash chain over the whole trail. Platform administrators only.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", responses((status = 200, body = Proof)))]
async fn verify(State(app): State<Arc<App>>, caller: Caller) -> ApiResult<Json<Proof>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let (records, first_bad) = audit::verify(&app.host.db().pool).await.map_err(Problem::internal)?;
    Ok(Json(Proof { records, whole: first_bad.is_none(), first_bad }))
}
