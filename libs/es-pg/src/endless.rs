//! Tasks that go on until shutdown, and panics. The runtime keeps a panic to the task that it met: a loop would be over unseen, while its
//! process says that it is ready and does half of its work. Whoever starts one does it here.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What was done has panicked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it panicked: {0}")]
pub struct Panicked(String);

impl Panicked {
    /// Of what a panic has thrown.
    pub fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Self(text.unwrap_or("without a word").to_owned())
    }

    /// What it said.
    pub fn words(&self) -> &str {
        &self.0
    }
}

/// Runs `work` to its end, or to its panic. Nobody may go on with what it was changing at that moment.
///
/// # Errors
/// When it panics.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| Panicked::of(&*panic))
}

/// The same for what may fail by itself: a panic is one more way.
///
/// # Errors
/// When it fails or panics.
pub(crate) async fn tried(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    caught(work).await?
}

/// Starts a task that goes on until `cancel`. Should it panic, that is told, and `cancel` ends everything else, too: whoever watches the
/// process starts it anew, as after a crash, which everything here is made for (DESIGN.md section 9).
pub fn endless(name: impl Into<String>, tasks: &TaskTracker, cancel: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    let (name, cancel) = (name.into(), cancel.clone());
    tasks.spawn(async move {
        if let Err(panic) = caught(task).await {
            tracing::error!(task = name, error = %panic, "a task that never ends has ended; the process ends with it, to be started anew");
            cancel.cancel();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_with_its_words() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        for (panicked, words) in [
            (caught(async { panic!("short") }).await, "it panicked: short"),
            (caught(async { panic!("number {}", 13) }).await, "it panicked: number 13"),
            (caught(async { std::panic::panic_any(13) }).await, "it panicked: without a word"),
        ] {
            let panicked: Result<(), Panicked> = panicked;
            let panicked = panicked.unwrap_err();
            assert_eq!((panicked.to_string().as_str(), panicked.words()), (words, words.trim_start_matches("it panicked: ")));
        }
        assert_eq!(tried(async { panic!("worse") }).await.unwrap_err().to_string(), "it panicked: worse");
        assert_eq!(tried(async { anyhow::bail!("bad") }).await.unwrap_err().to_string(), "bad");
    }

    #[tokio::test]
    async fn a_loop_that_panics_ends_everything_and_one_that_ends_does_not() {
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        tasks.close();
        endless("over", &tasks, &cancel, async {});
        tasks.wait().await;
        assert!(!cancel.is_cancelled());
        endless("broken", &tasks, &cancel, async { panic!("it cannot go on") });
        let other = cancel.clone();
        endless("other", &tasks, &cancel, async move { other.cancelled().await });
        tasks.wait().await;
        assert!(cancel.is_cancelled());
    }
}
