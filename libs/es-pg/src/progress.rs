//! How far each projection of this process has come, so that an answer can wait for its own write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

#[derive(Debug, Error)]
#[error("the projections have not caught up with position {position} in time")]
pub struct NotSettled {
    pub position: i64,
}

/// Shared by the runners (which report) and the handlers (which wait).
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<HashMap<String, watch::Receiver<i64>>>>);

impl Progress {
    pub(crate) fn register(&self, name: &str, at: i64) -> watch::Sender<i64> {
        let (sender, receiver) = watch::channel(at);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), receiver);
        sender
    }

    /// How far one projection is, as it moves.
    pub fn watch(&self, name: &str) -> Option<watch::Receiver<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Waits until every projection of the own log has passed `position`, at most `limit`.
    ///
    /// # Errors
    /// When one has not by then: the write stands, but a list may not show it yet.
    pub async fn settled(&self, position: i64, limit: Duration) -> Result<(), NotSettled> {
        let waiting: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let all = async {
            for mut receiver in waiting {
                // A closed channel means that the runner stopped: nothing more will come.
                let _ = receiver.wait_for(|at| *at >= position).await;
            }
        };
        tokio::time::timeout(limit, all).await.map_err(|_| NotSettled { position })
    }
}
