//! Reads of single rows by key that share statements: whoever asks while one is under way goes into the next, all of them
//! together. A lonely read is as fast as its own statement; a hundred at once cost the database hardly more than one.

use std::collections::HashMap;
use std::error::Error;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Statements of one loader under way at a time: one is answered while the next is gathered.
const UNDER_WAY: usize = 2;
/// Keys of one statement at most.
const KEYS: usize = 256;
/// How often everybody else who can run is let run before a statement goes, as long as more questions come of it.
const PATIENCE: usize = 4;
/// Reads that may wait; further ones wait for room.
const WAITING: usize = 4_096;
/// How long a statement may take: one that is never answered must not keep its place.
const LONGEST: Duration = Duration::from_secs(30);

/// Why a row could not be read.
#[derive(Clone, Debug, Error)]
pub enum LoadError {
    /// The statement that the read shared failed; each of those who shared it hears so.
    #[error("the row could not be read")]
    Failed(#[source] Arc<dyn Error + Send + Sync>),
    #[error("the row was not read: the process is stopping")]
    Closed,
}

struct Question<K, V> {
    key: K,
    answer: oneshot::Sender<Result<Option<V>, LoadError>>,
}

/// Reads rows by key. Cheap to clone; ends with its last clone.
pub struct Loader<K, V> {
    ask: mpsc::Sender<Question<K, V>>,
}

impl<K, V> Clone for Loader<K, V> {
    fn clone(&self) -> Self {
        Self { ask: self.ask.clone() }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + 'static> Loader<K, V> {
    /// `fetch` reads the rows of the keys it is given, each of them once, and leaves out those that there are not. What it reads is
    /// never older than the question: it is called after the keys were asked for.
    pub fn new<F, E>(fetch: impl Fn(Vec<K>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<(K, V)>, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        Self::within(LONGEST, fetch)
    }

    fn within<F, E>(longest: Duration, fetch: impl Fn(Vec<K>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<(K, V)>, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let (ask, mut asked) = mpsc::channel::<Question<K, V>>(WAITING);
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(UNDER_WAY));
            while let Ok(place) = places.clone().acquire_owned().await {
                let mut questions = Vec::new();
                if asked.recv_many(&mut questions, KEYS).await == 0 {
                    return;
                }
                // Who can run now is let run first: the first of many would otherwise go alone, and a statement costs far more than a key.
                for _ in 0..PATIENCE {
                    tokio::task::yield_now().await;
                    let before = questions.len();
                    while questions.len() < KEYS
                        && let Ok(question) = asked.try_recv()
                    {
                        questions.push(question);
                    }
                    if questions.len() == before {
                        break;
                    }
                }
                let mut waiting: HashMap<K, Vec<_>> = HashMap::with_capacity(questions.len());
                for Question { key, answer } in questions {
                    waiting.entry(key).or_default().push(answer);
                }
                let fetching = fetch(waiting.keys().cloned().collect());
                tokio::spawn(async move {
                    match timeout(longest, fetching).await {
                        Ok(fetched) => answer(waiting, fetched),
                        Err(late) => answer(waiting, Err(late)),
                    }
                    drop(place);
                });
            }
        });
        Self { ask }
    }

    /// The row of `key`, if there is one.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn get(&self, key: K) -> Result<Option<V>, LoadError> {
        let (answer, answered) = oneshot::channel();
        self.ask.send(Question { key, answer }).await.map_err(|_| LoadError::Closed)?;
        answered.await.map_err(|_| LoadError::Closed)?
    }
}

type Waiting<K, V> = HashMap<K, Vec<oneshot::Sender<Result<Option<V>, LoadError>>>>;

fn answer<K: Eq + Hash, V: Clone>(waiting: Waiting<K, V>, fetched: Result<Vec<(K, V)>, impl Error + Send + Sync + 'static>) {
    // Whoever no longer waits does not hear it.
    match fetched {
        Ok(rows) => {
            let mut rows: HashMap<K, V> = rows.into_iter().collect();
            for (key, mut answers) in waiting {
                let row = rows.remove(&key);
                let last = answers.pop();
                for answer in answers {
                    let _ = answer.send(Ok(row.clone()));
                }
                if let Some(last) = last {
                    let _ = last.send(Ok(row));
                }
            }
        }
        Err(error) => {
            let error: Arc<dyn Error + Send + Sync> = Arc::new(error);
            for answer in waiting.into_values().flatten() {
                let _ = answer.send(Err(LoadError::Failed(error.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::join_all;

    use super::*;

    /// Doubles even keys, knows no odd ones, fails on 13; says what it was asked for, and waits to be let through.
    fn doubling(seen: Arc<Mutex<Vec<Vec<u64>>>>, gate: Arc<Semaphore>) -> Loader<u64, u64> {
        Loader::new(move |keys: Vec<u64>| {
            let gate = gate.clone();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            seen.lock().unwrap().push(sorted);
            async move {
                gate.acquire().await.unwrap().forget();
                if keys.contains(&13) { Err(sqlx::Error::RowNotFound) } else { Ok(keys.into_iter().filter(|k| k % 2 == 0).map(|k| (k, k * 2)).collect()) }
            }
        })
    }

    #[tokio::test]
    async fn reads_that_come_while_others_are_under_way_share_a_statement_and_each_key_is_asked_for_once() {
        let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let loader = doubling(seen.clone(), gate.clone());
        let mut first = Vec::new();
        for key in 0..UNDER_WAY as u64 {
            let mine = loader.clone();
            first.push(tokio::spawn(async move { mine.get(key).await }));
            while seen.lock().unwrap().len() <= usize::try_from(key).unwrap() {
                tokio::task::yield_now().await;
            }
        }
        let ask = |key| {
            let mine = loader.clone();
            tokio::spawn(async move { mine.get(key).await })
        };
        let later = [4, 5, 4, 6].map(ask);
        while loader.ask.capacity() > WAITING - 4 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(3);
        let first: Vec<_> = join_all(first).await.into_iter().map(|a| a.unwrap().unwrap()).collect();
        assert_eq!(first, [Some(0), None]);
        let later: Vec<_> = join_all(later).await.into_iter().map(|a| a.unwrap().unwrap()).collect();
        assert_eq!(later, [Some(8), None, Some(8), Some(12)]);
        assert_eq!(*seen.lock().unwrap(), [vec![0], vec![1], vec![4, 5, 6]]);
    }

    #[tokio::test]
    async fn a_statement_that_fails_is_said_to_those_who_shared_it_and_to_nobody_else() {
        let gate = Arc::new(Semaphore::new(0));
        let loader = doubling(Arc::default(), gate.clone());
        gate.add_permits(1);
        assert!(matches!(loader.get(13).await, Err(LoadError::Failed(_))));
        gate.add_permits(1);
        assert_eq!(loader.get(2).await.unwrap(), Some(4));
    }

    #[tokio::test]
    async fn statements_that_are_never_answered_do_not_keep_their_places() {
        let loader: Loader<u64, u64> = Loader::within(Duration::from_millis(50), |keys: Vec<u64>| async move {
            if keys.contains(&13) {
                std::future::pending::<()>().await;
            }
            Ok::<_, sqlx::Error>(keys.into_iter().map(|k| (k, k)).collect())
        });
        for _ in 0..=UNDER_WAY {
            assert!(matches!(loader.get(13).await, Err(LoadError::Failed(_))));
        }
        assert_eq!(loader.get(2).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn a_read_that_dies_takes_none_of_the_later_ones_along() {
        let loader: Loader<u64, u64> = Loader::new(|keys: Vec<u64>| async move {
            assert!(!keys.contains(&13), "a defect in a reader");
            Ok::<_, sqlx::Error>(keys.into_iter().map(|k| (k, k)).collect())
        });
        assert!(matches!(loader.get(13).await, Err(LoadError::Closed)));
        assert_eq!(loader.get(2).await.unwrap(), Some(2));
    }
}
