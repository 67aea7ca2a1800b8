//! What the metrics store says of the queries that decisions depend on. Decisions never wait for it: they take the latest
//! answer, and a flow (`flows::measure`) asks for what was wanted lately.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gantry_kernel::OffsetDateTime;
use tokio::sync::watch;

/// One query's latest answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub at: OffsetDateTime,
    /// Grows with each answer.
    pub number: u64,
    /// `Ok(None)`: nothing is measured yet.
    pub value: Result<Option<f64>, String>,
}

struct Wanted {
    until: OffsetDateTime,
    answer: Option<Answer>,
}

pub struct Measures {
    queries: Mutex<BTreeMap<String, Wanted>>,
    changed: watch::Sender<u64>,
}

/// What nobody wants for so long is asked no more.
const WANTED_FOR: time::Duration = time::Duration::minutes(2);

impl Default for Measures {
    fn default() -> Self {
        Self { queries: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl Measures {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Wanted>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest answer; from now on it is asked for some time.
    pub fn latest(&self, query: &str, now: OffsetDateTime) -> Option<Answer> {
        let mut queries = self.lock();
        let wanted = queries.entry(query.to_owned()).or_insert(Wanted { until: now, answer: None });
        wanted.until = now + WANTED_FOR;
        wanted.answer.clone()
    }

    /// What is to be asked now.
    pub fn wanted(&self, now: OffsetDateTime) -> Vec<String> {
        let mut queries = self.lock();
        queries.retain(|_, w| w.until > now);
        queries.keys().cloned().collect()
    }

    pub fn answered(&self, query: &str, at: OffsetDateTime, value: Result<Option<f64>, String>) {
        if let Some(wanted) = self.lock().get_mut(query) {
            let number = wanted.answer.as_ref().map_or(1, |a| a.number + 1);
            wanted.answer = Some(Answer { at, number, value });
        }
    }

    /// Moves after each round of answers.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn round(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wants_is_forgotten() {
        let measures = Measures::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(measures.latest("up", now), None);
        assert_eq!(measures.wanted(now + time::Duration::seconds(1)), ["up"]);
        measures.answered("up", now, Ok(Some(1.0)));
        assert_eq!(measures.latest("up", now).unwrap().number, 1);
        assert!(measures.wanted(now + WANTED_FOR).is_empty());
        assert_eq!(measures.latest("up", now), None);
    }
}
