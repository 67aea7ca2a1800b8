//! Turns by name: of each name one has it at a time, and whoever waits for it, or hangs with it, holds up no other name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

#[derive(Debug, Default)]
pub struct Turns(std::sync::Mutex<BTreeMap<String, Weak<Mutex<()>>>>);

impl Turns {
    /// It is one's turn until this is dropped. Those who wait come in their order.
    pub async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
        let own = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turn| turn.strong_count() > 0);
            let own = all.get(name).and_then(Weak::upgrade).unwrap_or_default();
            all.insert(name.to_owned(), Arc::downgrade(&own));
            own
        };
        own.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn whoever_hangs_holds_up_its_own_name_alone_and_nothing_is_kept_of_it() {
        let turns = Turns::default();
        let hangs = turns.take("a").await;
        let next = turns.take("a");
        tokio::pin!(next);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut next).await.is_err(), "its own");
        drop(tokio::time::timeout(Duration::from_secs(30), turns.take("b")).await.expect("another's"));
        drop(hangs);
        drop(tokio::time::timeout(Duration::from_secs(30), next).await.expect("it is over"));
        drop(turns.take("c").await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "the others are forgotten");
    }
}
