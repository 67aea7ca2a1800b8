//! The log of a step: as text, or followed while it grows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use gantry_auth::{Caller, ProjectRef};
use gantry_host::{ApiResult, Path, Query, SignIn};
use gantry_kernel::{Problem, Role, RunId};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Api;
use crate::adapters::step_log;

/// How often a growing file is looked at. Files have no better signal that works on every file system.
const LOOK: Duration = Duration::from_millis(200);
const CHUNK: usize = 64 * 1024;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// `true`: server-sent events `line` as they are printed, then `end` with the step's state.
    #[serde(default)]
    pub follow: bool,
}

/// What a step printed. `Last-Event-ID` continues a broken stream.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/runs/{run}/steps/{step}/log", tag = "runs",
    params(("org" = String, Path), ("project" = String, Path), ("run" = RunId, Path), ("step" = String, Path), LogQuery), responses((status = 200, body = String)))]
pub async fn step_log(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project, run, step)): Path<(String, String, RunId, String)>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let project = api.visible(&caller, &org, &project)?;
    let row = api.read(&project, run, 0).await?;
    // Only names that the run has; so the caller's text never becomes a path.
    if !row.steps.iter().any(|s| s.step == step) {
        return Err(Problem::not_found("step", step));
    }
    if query.follow {
        let from = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
        let sign_in = SignIn::followed(&api.cicd.host, &caller);
        let follow = Follow { api, caller, sign_in, project, run, step, offset: from, rest: Vec::new(), lines: Vec::new().into_iter(), ended: false };
        return Ok(Sse::new(follow.events()).keep_alive(KeepAlive::default()).into_response());
    }
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    match File::open(step_log::path(&api.cicd.home, run, &step)).await {
        Ok(file) => Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response()),
        // It has not printed anything yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((headers, Body::empty()).into_response()),
        Err(error) => Err(Problem::internal(error)),
    }
}

struct Follow {
    api: Arc<Api>,
    caller: Caller,
    sign_in: SignIn,
    project: ProjectRef,
    run: RunId,
    step: String,
    /// Of the first byte not read yet.
    offset: u64,
    /// The beginning of a line that has not ended.
    rest: Vec<u8>,
    lines: std::vec::IntoIter<(u64, String)>,
    ended: bool,
}

impl Follow {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, |mut follow| async move {
            let event = follow.next().await?;
            Some((Ok(event), follow))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((offset, text)) = self.lines.next() {
                return Some(Event::default().event("line").id(offset.to_string()).data(text));
            }
            if self.ended || self.api.cicd.host.cancel.is_cancelled() {
                return None;
            }
            // A right that was taken away, or a sign-in that has ended, ends it with the next look.
            let right = self.api.cicd.host.auth.require(&self.caller, Role::Viewer, self.project.scope());
            if let Some(problem) = right.err().or_else(|| self.sign_in.over()) {
                self.ended = true;
                return Some(Event::default().event("problem").data(problem.body().to_string()));
            }
            // The state first: what the step printed before it ended is in the file by now.
            let state = self.state().await;
            self.read().await;
            if self.lines.len() > 0 {
                continue;
            }
            match state {
                Some(state) if !matches!(state.as_str(), "pending" | "running" | "waiting") => {
                    self.ended = true;
                    return Some(Event::default().event("end").data(state));
                }
                Some(_) => tokio::time::sleep(LOOK).await,
                None => return None,
            }
        }
    }

    async fn state(&self) -> Option<String> {
        let row = self.api.read(&self.project, self.run, 0).await.ok()?;
        row.steps.into_iter().find(|s| s.step == self.step).map(|s| s.state)
    }

    /// Takes in what is new, whole lines only.
    async fn read(&mut self) {
        let Ok(mut file) = File::open(step_log::path(&self.api.cicd.home, self.run, &self.step)).await else { return };
        if file.seek(std::io::SeekFrom::Start(self.offset)).await.is_err() {
            return;
        }
        let mut buffer = vec![0; CHUNK];
        let Ok(read) = file.read(&mut buffer).await else { return };
        let mut begin = self.offset - self.rest.len() as u64;
        self.offset += read as u64;
        self.rest.extend_from_slice(&buffer[..read]);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            begin += line.len() as u64;
            // SSE data must not hold a carriage return.
            lines.push((begin, String::from_utf8_lossy(&line).trim_end().replace('\r', " ")));
        }
        self.lines = lines.into_iter();
    }
}
