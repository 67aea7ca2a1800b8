//! Watched lists as server-sent events: the state first, then the list again whenever it changed. They end with the sign-in of whoever
//! watches; with the right they end by `read`, which asks for it each time.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use gantry_auth::Caller;
use gantry_kernel::Problem;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::context::Host;
use crate::sign_in::SignIn;

/// For handlers whose only query parameter is `watch`.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WatchQuery {
    /// `true`: a stream of server-sent events, the whole thing first, then changes.
    #[serde(default)]
    pub watch: bool,
}

/// Changes that come in quick succession are shown as one.
const CALM: Duration = Duration::from_millis(100);

/// Streams what `read` gives: event `state` first, then `change` whenever `moved` moves and the answer differs. The last is `problem` if
/// `read` refuses, or the caller's sign-in has ended.
pub fn watch_list<T, F>(host: &Host, caller: &Caller, mut moved: watch::Receiver<i64>, read: impl Fn() -> F + Send + 'static) -> Response
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let (cancel, mut sign_in) = (host.cancel.clone(), SignIn::followed(host, caller));
    let stream = async_stream_of(move |yielder| async move {
        let mut last = String::new();
        let mut name = "state";
        loop {
            moved.mark_unchanged();
            let answer = match sign_in.over() {
                Some(ended) => Err(ended),
                None => read().await,
            };
            match answer {
                Ok(list) => {
                    let text = serde_json::to_string(&list).unwrap_or_default();
                    if text != last {
                        if yielder.send(Event::default().event(name).data(&text)).await.is_err() {
                            return;
                        }
                        (last, name) = (text, "change");
                    }
                }
                Err(problem) => {
                    let _ = yielder.send(Event::default().event("problem").data(problem.body().to_string())).await;
                    return;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = yielder.closed() => return,
                changed = moved.changed() => if changed.is_err() { return },
                // Told at the beginning of the next round.
                _ = sign_in.ended() => {}
            }
            tokio::time::sleep(CALM).await;
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

/// A bounded channel as a stream; the task ends when the client goes away.
fn async_stream_of<F>(run: impl FnOnce(tokio::sync::mpsc::Sender<Event>) -> F) -> impl Stream<Item = Result<Event, Infallible>>
where
    F: Future<Output = ()> + Send + 'static,
{
    use futures::StreamExt;
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let task = futures::stream::once(run(sender)).filter_map(|()| std::future::ready(None));
    // Polled together: no task outlives the response.
    futures::stream::select(tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok), task)
}
