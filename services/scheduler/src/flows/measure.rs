//! Asks the metrics store what decisions depend on, while this process decides.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;

use crate::app::Scheduler;

const AT_ONCE: usize = 8;

/// Runs until shutdown.
pub async fn run(s: Scheduler) {
    let interval = Duration::from_secs(s.config.measure_interval_seconds.into());
    loop {
        tokio::select! {
            () = s.host.cancel.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if !s.leading.load(Ordering::SeqCst) {
            continue;
        }
        let queries = s.measures.wanted(s.host.env.now());
        if queries.is_empty() {
            continue;
        }
        let s = &s;
        let one = |query: String| async move {
            let value = s.prometheus.number(&query).await;
            s.measures.answered(&query, s.host.env.now(), value);
        };
        futures::stream::iter(queries).for_each_concurrent(AT_ONCE, one).await;
        s.measures.round();
    }
}
