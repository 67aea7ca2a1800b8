//! Questions about single pods and containers. One that the runtime does not answer at once holds up nobody for long, and its answer counts
//! whenever it comes: a machine that is slow gets there, too.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use gantry_cri::CriError;
use tokio::task::JoinSet;

/// Asked at the same time.
const AT_ONCE: usize = 16;

/// Each question goes by the id of what it is about.
pub struct Asking<T> {
    told_within: Duration,
    under_way: BTreeSet<String>,
    answers: JoinSet<(String, Result<T, CriError>)>,
}

impl<T: Send + 'static> Asking<T> {
    /// `told_within`: it is waited no longer than this without any answer. Each call has a longer limit of its own.
    pub fn new(told_within: Duration) -> Self {
        Self { told_within, under_way: BTreeSet::new(), answers: JoinSet::new() }
    }

    /// Whether it was asked, and has not answered yet.
    pub fn waits_for(&self, id: &str) -> bool {
        self.under_way.contains(id)
    }

    /// Asks about those that are not asked about already, and gives the answers that there are by now, of whatever was asked. Whoever is not
    /// asked this time, because too many others do not answer, is by a later call.
    pub async fn ask<F>(&mut self, ids: &[String], call: impl Fn(String) -> F) -> Vec<(String, Result<T, CriError>)>
    where
        F: Future<Output = Result<T, CriError>> + Send + 'static,
    {
        if self.answers.is_empty() {
            self.under_way.clear();
        }
        let mut next = ids.iter().filter(|id| !self.waits_for(id)).cloned().collect::<Vec<_>>().into_iter();
        let (mut told, mut new) = (Vec::new(), BTreeSet::new());
        loop {
            while self.answers.len() < AT_ONCE {
                let Some(id) = next.next() else { break };
                self.under_way.insert(id.clone());
                new.insert(id.clone());
                let answer = call(id.clone());
                self.answers.spawn(async move { (id, answer.await) });
            }
            // For those that have not answered before, it is not waited again.
            let answer = if new.is_empty() { Ok(self.answers.try_join_next()) } else { tokio::time::timeout(self.told_within, self.answers.join_next()).await };
            match answer {
                Ok(Some(Ok((id, answer)))) => {
                    self.under_way.remove(&id);
                    new.remove(&id);
                    told.push((id, answer));
                }
                // A call that did not come to its end.
                Ok(Some(Err(_))) => {}
                Ok(None) => return told,
                Err(_) => {
                    tracing::warn!(ids = ?new, "the runtime does not tell about some yet; they wait, the others do not");
                    return told;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_comes_late_counts_and_is_waited_for_once() {
        let mut asking = Asking::new(Duration::from_millis(50));
        let late = Arc::new(Notify::new());
        let call = {
            let late = late.clone();
            move |id: String| {
                let late = late.clone();
                async move {
                    if id == "late" {
                        late.notified().await;
                    }
                    Ok(id.len())
                }
            }
        };
        let ids = ["at once".to_owned(), "late".to_owned()];
        let told = |answers: Vec<(String, Result<usize, CriError>)>| answers.into_iter().map(|(id, n)| (id, n.unwrap())).collect::<Vec<_>>();
        assert_eq!(told(asking.ask(&ids, &call).await), [("at once".to_owned(), 7)]);
        assert!(asking.waits_for("late") && !asking.waits_for("at once"));
        asking.told_within = Duration::from_secs(3600);
        let again = tokio::time::timeout(Duration::from_secs(30), asking.ask(&ids[1..], &call)).await.expect("nobody is asked twice");
        assert!(told(again).is_empty());
        late.notify_one();
        let came = async {
            loop {
                let answers = told(asking.ask(&[], &call).await);
                if !answers.is_empty() {
                    return answers;
                }
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(30), came).await.expect("it is told"), [("late".to_owned(), 4)]);
        assert!(!asking.waits_for("late"));
    }

    #[tokio::test]
    async fn all_are_asked_however_many_they_are() {
        let mut asking = Asking::new(Duration::from_secs(30));
        let ids: Vec<String> = (0..3 * AT_ONCE).map(|n| n.to_string()).collect();
        let answers = asking.ask(&ids, |id| async move { Ok(id) }).await;
        assert_eq!(answers.len(), ids.len());
    }
}
