//! What the watches tell goes into the cache, and wakes whoever it concerns.

use std::collections::BTreeSet;

use super::{Shared, State};
use crate::cache;
use crate::kinds::{ACCOUNT, KINDS, Kind, POD};
use crate::pod;
use crate::trouble::Trouble;
use crate::watch::{Seen, Sink};

impl Sink for Shared {
    fn asked(&self, kind: &Kind) {
        self.lock().cache.asked(kind.rank());
    }

    fn see(&self, kind: &Kind, seen: Seen) {
        let rank = kind.rank();
        let mut state = self.lock();
        let owners: BTreeSet<String> = if *kind == POD {
            let owners: BTreeSet<String> = match seen {
                Seen::All(objects) => state.cache.replace_pods(objects.iter().filter_map(pod::read).collect()),
                Seen::There(object) => pod::read(&object).and_then(|p| state.cache.put_pod(p)).into_iter().collect(),
                Seen::Gone(object) => {
                    let metadata = &object["metadata"];
                    let text = |key: &str| metadata[key].as_str().unwrap_or_default();
                    state.cache.remove_pod(text("namespace"), text("name"), text("uid")).into_iter().collect()
                }
            };
            state.moved.extend(owners.iter().cloned());
            // Pods outlive their workload by their grace: an owner is gone with the last of them.
            for owner in &owners {
                if state.unwanted.contains(owner) {
                    state.dirty.insert(owner.clone());
                }
            }
            owners
        } else {
            let owners: BTreeSet<String> = match seen {
                Seen::All(objects) => {
                    let owners = state.cache.replace(rank, objects);
                    // Of some nobody has told that they are gone.
                    let State { cache, going, .. } = &mut *state;
                    let there: BTreeSet<&str> = cache.uids().collect();
                    going.retain(|uid| there.contains(uid.as_str()));
                    owners
                }
                Seen::There(object) => state.cache.put(rank, object).into_iter().collect(),
                Seen::Gone(object) => {
                    if let Some(uid) = object["metadata"]["uid"].as_str() {
                        state.going.remove(uid);
                    }
                    if let Some(key) = cache::key_of(rank, &object) {
                        state.settled.remove(&key);
                        state.warned.remove(&key);
                        if kind.kind == ACCOUNT {
                            // It went with the application that had made it, and others name it, too.
                            let others: Vec<String> = state.wanted.iter().filter(|(_, wanted)| wanted.has(&key)).map(|(owner, _)| owner.clone()).collect();
                            state.dirty.extend(others);
                        }
                    }
                    state.cache.remove(rank, &object).into_iter().collect()
                }
            };
            for owner in &owners {
                state.dirty.insert(owner.clone());
            }
            owners
        };
        let first = KINDS.iter().chain([&POD]).find(|k| *k == kind).is_some_and(|k| state.listed.insert(k.plural)) && state.synced();
        if first {
            // Whatever was asked for meanwhile is looked at now.
            let all: Vec<String> = state.wanted.keys().chain(&state.unwanted).cloned().collect();
            state.dirty.extend(all);
        }
        drop(state);
        if first || !owners.is_empty() {
            self.wake.notify_one();
            self.bump();
        }
    }

    fn trouble(&self, kind: &Kind, trouble: Option<&Trouble>) {
        let Some(kind) = KINDS.iter().chain([&POD]).find(|k| *k == kind) else { return };
        if kind.optional && matches!(trouble, Some(Trouble::NotFound(_))) {
            self.look.notify_one();
        }
        let mut state = self.lock();
        let changed = match trouble {
            Some(trouble) => {
                let told = format!("{}: {trouble}", kind.plural);
                let before = state.troubles.insert(kind.plural, told.clone());
                if before.as_ref() != Some(&told) {
                    tracing::warn!(server = self.client.server(), kind = kind.plural, error = %trouble, "a kind cannot be watched now and will be tried again");
                }
                before.is_none()
            }
            None => state.troubles.remove(kind.plural).is_some(),
        };
        drop(state);
        if changed {
            self.bump();
        }
    }
}
