//! Instances that are stopped because they showed signs of an intrusion, on disk too: an agent that starts anew must not start them again.

use std::collections::BTreeSet;

use gantry_kernel::InstanceId;

use super::keeper::Shared;
use crate::adapters::disk::Disk;

const FILE: &str = "halted.json";

pub struct Halting {
    shared: Shared,
    disk: Disk,
}

impl Halting {
    /// Takes up what an agent before this one has stopped.
    pub async fn open(shared: Shared, disk: Disk) -> Self {
        shared.halted.send_replace(disk.load(FILE).await);
        Self { shared, disk }
    }

    pub async fn halt(&self, instance: InstanceId) {
        let new = self.shared.halted.send_if_modified(|all| all.insert(instance));
        if new {
            self.save().await;
        }
    }

    /// Those that are not wanted any more: what comes in their place is another instance.
    pub async fn forget_others(&self, wanted: &BTreeSet<InstanceId>) {
        let gone = self.shared.halted.borrow().iter().any(|id| !wanted.contains(id));
        if gone {
            self.shared.halted.send_modify(|all| all.retain(|id| wanted.contains(id)));
            self.save().await;
        }
    }

    async fn save(&self) {
        let halted = self.shared.halted.borrow().clone();
        if let Err(error) = self.disk.save(FILE, &halted).await {
            tracing::error!(%error, "which instances are stopped because of signs of an intrusion cannot be saved: the next agent would start them");
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_was_stopped_stays_so_for_the_next_agent_as_long_as_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).await.unwrap();
        let [one, other] = [1, 2].map(|n| InstanceId(Uuid::from_u128(n)));
        let first = Halting::open(Shared::new(None), disk.clone()).await;
        first.halt(one).await;
        first.halt(other).await;
        first.forget_others(&BTreeSet::from([one])).await;
        let next = Shared::new(None);
        let halting = Halting::open(next.clone(), disk.clone()).await;
        assert_eq!(*next.halted.borrow(), BTreeSet::from([one]));
        halting.forget_others(&BTreeSet::new()).await;
        let last = Shared::new(None);
        Halting::open(last.clone(), disk).await;
        assert!(last.halted.borrow().is_empty());
    }
}
