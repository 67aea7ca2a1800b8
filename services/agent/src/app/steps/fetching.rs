//! Images that take long to come, by the instance that waits for one: a registry that is slow, or does not answer at all, would look like an
//! instance that starts and does nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::InstanceId;
use tokio::sync::Notify;

/// What comes sooner is not worth a word.
const LONG: Duration = Duration::from_secs(2);

/// Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Fetching(Arc<Mutex<BTreeMap<InstanceId, String>>>);

/// It is waited for until this is dropped.
struct Waits<'a> {
    all: &'a Fetching,
    id: InstanceId,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

impl Fetching {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `fetched`, and shows that, if it takes long, until it has come or is not waited for any more. `wake`: somebody tells of it.
    pub async fn during<T>(&self, id: InstanceId, image: &str, wake: &Notify, fetched: impl Future<Output = T>) -> T {
        tokio::pin!(fetched);
        if let Ok(soon) = tokio::time::timeout(LONG, &mut fetched).await {
            return soon;
        }
        let _waits = Waits { all: self, id };
        self.lock().insert(id, image.to_owned());
        wake.notify_one();
        fetched.await
    }

    /// Adds it to what is told of instances that start, where nothing else is said.
    pub fn tell(&self, mut all: Vec<wire::InstanceStatus>) -> Vec<wire::InstanceStatus> {
        let waiting = self.lock();
        for (id, image) in waiting.iter() {
            let id = id.to_string();
            for status in all.iter_mut().filter(|s| s.instance_id == id && s.state == "starting" && s.reason.is_empty()) {
                status.reason = format!("image {image} is being fetched");
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_image_that_takes_long_to_come_is_told_of_as_long_as_it_does() {
        let (fetching, wake) = (Fetching::default(), Notify::new());
        let ids = [1, 2].map(|n| InstanceId(Uuid::from_u128(n)));
        let status = |id: InstanceId, state: &str, reason: &str| wire::InstanceStatus {
            instance_id: id.to_string(),
            state: state.into(),
            reason: reason.into(),
            ..Default::default()
        };
        let told = || {
            let all = fetching.tell(vec![status(ids[0], "starting", ""), status(ids[1], "starting", ""), status(ids[0], "failed", "before")]);
            all.into_iter().map(|s| s.reason).collect::<Vec<_>>()
        };
        {
            let never = std::future::pending::<()>();
            let showing = fetching.during(ids[0], "shop/web:1", &wake, never);
            tokio::pin!(showing);
            assert!(tokio::time::timeout(LONG / 2, &mut showing).await.is_err());
            assert_eq!(told(), ["", "", "before"]);
            assert!(tokio::time::timeout(LONG, &mut showing).await.is_err());
            assert_eq!(told(), ["image shop/web:1 is being fetched", "", "before"]);
            tokio::time::timeout(LONG, wake.notified()).await.expect("it is told");
        }
        assert_eq!(told(), ["", "", "before"]);
        assert_eq!(fetching.during(ids[0], "shop/web:1", &wake, async { 7 }).await, 7);
    }
}
