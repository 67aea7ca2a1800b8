//! `git http-backend` as a CGI program: the smart HTTP protocol of git itself, streamed both ways.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::oneshot;

use super::git::{self, GitError};

/// A push or fetch that takes longer is cut off.
const LIMIT: Duration = Duration::from_secs(3600);
/// A CGI header longer than this is not git's.
const MAX_HEADER_LINE: u64 = 8 * 1024;
const CHUNK: usize = 64 * 1024;

/// One request for the backend; everything in it has been checked.
pub struct GitRequest {
    /// Folder of the project's repositories.
    pub project_root: PathBuf,
    /// `/<name>.git/info/refs` and the like.
    pub path_info: String,
    pub query: String,
    pub method: &'static str,
    pub headers: HeaderMap,
    /// Shown in the reflog only.
    pub user: String,
    pub max_push_bytes: u64,
}

/// A running backend: feed it, and answer with what it says.
pub struct Backend {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// Copies the request's body to the backend and waits for its end. Must be driven beside the response.
pub struct Feed {
    child: Child,
    stdin: ChildStdin,
}

impl Backend {
    /// # Errors
    /// When git cannot be started.
    pub fn start(request: &GitRequest) -> Result<Self, GitError> {
        let limit = request.max_push_bytes.to_string();
        let mut command = git::command(&[("receive.maxInputSize", &limit)]);
        command.arg("http-backend");
        command.env("GIT_PROJECT_ROOT", &request.project_root).env("GIT_HTTP_EXPORT_ALL", "1");
        command.env("PATH_INFO", &request.path_info).env("QUERY_STRING", &request.query).env("REQUEST_METHOD", request.method);
        command.env("REMOTE_USER", &request.user).env("REMOTE_ADDR", "").env("GATEWAY_INTERFACE", "CGI/1.1").env("SERVER_PROTOCOL", "HTTP/1.1");
        // Git unpacks gzip itself. A length is passed on only if there is one: without it, it reads to the end.
        for (name, variable) in [
            (header::CONTENT_TYPE, "CONTENT_TYPE"),
            (header::CONTENT_LENGTH, "CONTENT_LENGTH"),
            (header::CONTENT_ENCODING, "HTTP_CONTENT_ENCODING"),
            (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL"),
        ] {
            if let Some(value) = request.headers.get(&name).and_then(|v| v.to_str().ok()) {
                command.env(variable, value);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(GitError::Start)?;
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::with_capacity(CHUNK, child.stdout.take().expect("piped"));
        Ok(Self { child, stdin, stdout })
    }

    /// Splits into the side that takes the request and the side that answers.
    pub fn split(self) -> (Feed, BufReader<ChildStdout>) {
        (Feed { child: self.child, stdin: self.stdin }, self.stdout)
    }
}

impl Feed {
    /// Copies `body` in and waits until git has ended. A client that goes away ends git's input, and git then gives up itself.
    pub async fn run<S, E>(mut self, body: S) -> bool
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
    {
        let work = async {
            let mut body = body;
            while let Some(Ok(chunk)) = body.next().await {
                // Git may have answered already and stopped reading: no fault.
                if self.stdin.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            drop(self.stdin);
            self.child.wait().await.is_ok_and(|status| status.success())
        };
        tokio::time::timeout(LIMIT, work).await.unwrap_or(false)
    }
}

/// Reads the CGI headers, then streams the rest. The answer ends only after `done` has: what follows a push is then
/// in place before the client hears of its success.
///
/// # Errors
/// When git ends without an answer.
pub async fn answer(mut stdout: BufReader<ChildStdout>, done: oneshot::Receiver<()>) -> Result<Response<Body>, GitError> {
    let mut response = Response::new(Body::empty());
    loop {
        let mut line = Vec::new();
        (&mut stdout).take(MAX_HEADER_LINE).read_until(b'\n', &mut line).await.map_err(GitError::Start)?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            if line.is_empty() {
                return Err(GitError::Failed { command: "http-backend".into(), message: "it ended without an answer".into() });
            }
            break;
        }
        let Some((name, value)) = text.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|c| c.parse::<u16>().ok());
            *response.status_mut() = code.and_then(|c| StatusCode::from_u16(c).ok()).unwrap_or(StatusCode::BAD_GATEWAY);
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    let chunks = futures::stream::unfold((stdout, Some(done)), |(mut stdout, mut done)| async move {
        let mut buffer = vec![0; CHUNK];
        match stdout.read(&mut buffer).await {
            Ok(0) => {
                if let Some(done) = done.take() {
                    let _ = done.await;
                }
                None
            }
            Ok(read) => {
                buffer.truncate(read);
                Some((Ok(Bytes::from(buffer)), (stdout, done)))
            }
            Err(error) => Some((Err(error), (stdout, done))),
        }
    });
    *response.body_mut() = Body::from_stream(chunks);
    Ok(response)
}
