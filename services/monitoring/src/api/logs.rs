//! Lines of an application: read, downloaded as text, or followed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, Query, SignIn};
use gantry_kernel::{AppId, InstanceId, OffsetDateTime, Problem, Role, Uuid};
use http::{HeaderMap, header};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::logs::AppPath;
use crate::domain::span;
use crate::store::logs::{self, Filter, Line};

const MOST_LINES: usize = 10_000;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(read))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// RFC 3339, or a span before now such as `15m`, `2h`, `7d`.
    since: Option<String>,
    /// The same; exclusive.
    until: Option<String>,
    /// 1 to 10000 lines, the newest that fit; 500 if not given.
    limit: Option<usize>,
    /// Only this instance.
    instance: Option<Uuid>,
    workload: Option<String>,
    /// Only this start of the container: 0, 1, ...
    attempt: Option<u32>,
    /// `stdout` or `stderr`.
    stream: Option<String>,
    /// Only lines that contain this text.
    q: Option<String>,
    /// `next` of the page before: older lines.
    cursor: Option<String>,
    /// `true`: a stream of server-sent events `line`, the newest lines first, then new ones as they come.
    #[serde(default)]
    follow: bool,
    /// `json` (default) or `text`: one line each, for downloads.
    format: Option<String>,
}

impl LogQuery {
    fn filter(&self, now: OffsetDateTime) -> ApiResult<Filter> {
        let at = |field: &str, text: &Option<String>| text.as_deref().map(|t| span::instant(field, t, now)).transpose();
        let until = match &self.cursor {
            Some(cursor) => Some(OffsetDateTime::parse(cursor, &Rfc3339).map_err(|_| Problem::invalid("cursor", "must be `next` of an earlier answer"))?),
            None => at("until", &self.until)?,
        };
        if self.stream.as_deref().is_some_and(|s| !matches!(s, "stdout" | "stderr")) {
            return Err(Problem::invalid("stream", "must be stdout or stderr"));
        }
        Ok(Filter {
            since: at("since", &self.since)?,
            until,
            instance: self.instance.map(InstanceId),
            workload: self.workload.clone(),
            attempt: self.attempt.map(|a| i32::try_from(a).unwrap_or(i32::MAX)),
            stream: self.stream.clone(),
            contains: self.q.clone().filter(|q| !q.is_empty()),
        })
    }
}

/// The newest lines of an application in order of time, across its instances.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/logs", tag = "logs",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("app" = String, Path), LogQuery),
    responses((status = 200, body = Page<Line>)))]
async fn read(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<AppPath>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let id = app.readable(&caller, &path).await?;
    let filter = query.filter(app.host.env.now())?;
    let limit = query.limit.unwrap_or(500);
    if !(1..=MOST_LINES).contains(&limit) {
        return Err(Problem::invalid("limit", format!("must be 1 to {MOST_LINES}")));
    }
    if query.follow {
        let scope = app.host.auth.space(&path.org, &path.project, &path.space)?.scope();
        let (auth, sign_in) = (app.clone(), SignIn::followed(&app.host, &caller));
        let may = move || auth.host.auth.require(&caller, Role::Viewer, scope);
        let resume = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        return follow(app, sign_in, may, Followed { id, filter, limit, resume }).await;
    }
    let (lines, more) = app.newest_lines(id, &filter, limit).await?;
    match query.format.as_deref() {
        None | Some("json") => {
            let next = lines.first().filter(|_| more).and_then(|l| l.at.format(&Rfc3339).ok());
            Ok(Json(Page { items: lines, next }).into_response())
        }
        Some("text") => {
            let name = format!("attachment; filename=\"{}.log\"", path.app);
            Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)], text(&lines)).into_response())
        }
        Some(_) => Err(Problem::invalid("format", "must be json or text")),
    }
}

fn text(lines: &[Line]) -> String {
    let one = |l: &Line| format!("{} {} {} {}\n", l.at.format(&Rfc3339).unwrap_or_default(), l.instance, l.stream, l.text);
    lines.iter().map(one).collect()
}

struct Followed {
    id: AppId,
    filter: Filter,
    limit: usize,
    /// After this block.
    resume: Option<i64>,
}

/// The id of each event is the number of its block, so a broken stream goes on where it was (`Last-Event-ID`). `may` is asked again
/// before each round: a right that was taken away ends with the next line. The end of the sign-in ends it at once.
async fn follow(app: Arc<App>, mut sign_in: SignIn, may: impl Fn() -> ApiResult<()> + Send + 'static, followed: Followed) -> ApiResult<Response> {
    let Followed { id, filter, limit, resume } = followed;
    let place = app.live_place()?;
    let pool = app.host.db().pool.clone();
    // The head first: a line that comes between the two reads is then sent twice rather than never.
    let (mut reached, first) = match resume {
        Some(seq) => (seq, Vec::new()),
        None => {
            let head = logs::head(&pool).await.map_err(Problem::internal)?;
            let (lines, _) = app.newest_lines(id, &filter, limit).await?;
            (head, lines)
        }
    };
    let mut wake = app.logs_bell.hear();
    let cancel = app.host.cancel.clone();
    let stream = async_stream::stream! {
        let _place = place;
        let event = |line: &Line| Event::default().event("line").data(serde_json::to_string(line).unwrap_or_default());
        for line in &first {
            yield Ok::<_, Infallible>(event(line).id(reached.to_string()));
        }
        loop {
            wake.mark_unchanged();
            if let Some(problem) = may().err().or_else(|| sign_in.over()) {
                yield Ok(Event::default().event("problem").data(problem.body().to_string()));
                break;
            }
            match logs::after(&pool, id, &filter, reached).await {
                Ok((lines, upto)) if upto > reached => {
                    let last = lines.len();
                    for (index, (_, line)) in lines.iter().enumerate() {
                        // Only the last line of a round carries the new number: a break before it repeats the round.
                        let number = if index + 1 == last { upto } else { reached };
                        yield Ok(event(line).id(number.to_string()));
                    }
                    reached = upto;
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "followed logs cannot be read");
                    break;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                changed = wake.changed() => if changed.is_err() { break },
                // Told at the beginning of the next round.
                _ = sign_in.ended() => {}
            }
        }
    };
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}
