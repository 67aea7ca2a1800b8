//! What of a cached repository nobody used for a while. Pure. An index is used when an image that it lists is, and an image
//! goes only with every index that lists it: no index that stays is broken by this.

use std::collections::{HashMap, HashSet};

use gantry_kernel::OffsetDateTime;

/// A manifest and when it was last used: pulled, or taken in.
#[derive(Clone, Debug)]
pub struct Item {
    pub digest: String,
    pub used: OffsetDateTime,
    /// What it lists.
    pub children: Vec<String>,
    /// What it is about: it goes with that.
    pub subject: Option<String>,
}

/// The digests of manifests that may go: those that no other lists, and that nobody used since `before`.
pub fn plan(items: &[Item], before: OffsetDateTime) -> Vec<String> {
    let by_digest: HashMap<&str, &Item> = items.iter().map(|i| (i.digest.as_str(), i)).collect();
    let listed: HashSet<&str> = items.iter().flat_map(|i| i.children.iter().map(String::as_str)).collect();
    let here = |digest: &String| by_digest.contains_key(digest.as_str());
    let roots = items.iter().filter(|i| !listed.contains(i.digest.as_str()) && !i.subject.as_ref().is_some_and(here));
    roots.filter(|root| last_used(root, &by_digest) < before).map(|root| root.digest.clone()).collect()
}

/// Of a manifest or anything below it.
fn last_used(root: &Item, by_digest: &HashMap<&str, &Item>) -> OffsetDateTime {
    let (mut last, mut seen, mut todo) = (root.used, HashSet::from([root.digest.as_str()]), vec![root]);
    while let Some(item) = todo.pop() {
        last = last.max(item.used);
        let below = item.children.iter().filter_map(|c| by_digest.get(c.as_str()));
        todo.extend(below.filter(|c| seen.insert(c.digest.as_str())));
    }
    last
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(n: u64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(n)
    }

    fn item(digest: &str, used: u64, children: &[&str]) -> Item {
        Item { digest: digest.into(), used: at(used), children: children.iter().map(|c| (*c).to_owned()).collect(), subject: None }
    }

    #[test]
    fn an_index_is_used_when_one_of_its_images_is() {
        let items = [item("index", 1, &["amd64", "arm64"]), item("amd64", 50, &[]), item("arm64", 1, &[]), item("old", 2, &[]), item("new", 60, &[])];
        assert_eq!(plan(&items, at(40)), ["old"]);
        assert_eq!(plan(&items, at(55)), ["index", "old"], "its images go with it, never alone");
        let signature = Item { subject: Some("new".into()), ..item("signature", 1, &[]) };
        let lost = Item { subject: Some("elsewhere".into()), ..item("lost", 1, &[]) };
        assert_eq!(plan(&[item("new", 60, &[]), signature, lost], at(40)), ["lost"]);
    }

    proptest! {
        /// What was used since stays, and so does everything that lists it, and nothing that stays loses what it lists.
        #[test]
        fn what_is_used_stays_whole(used in proptest::collection::vec(0u64..100, 1..20), edges in proptest::collection::vec((0usize..20, 0usize..20), 0..30), before in 0u64..100) {
            let name = |n: usize| format!("m{n}");
            let mut items: Vec<Item> = used.iter().enumerate().map(|(n, u)| item(&name(n), *u, &[])).collect();
            // A list is of earlier ones only: content names its parts by digest, so there are no circles.
            for (parent, child) in edges {
                if parent < items.len() && child < parent {
                    items[parent].children.push(name(child));
                }
            }
            let gone: HashSet<String> = plan(&items, at(before)).into_iter().collect();
            for item in &items {
                prop_assert!(item.used < at(before) || !gone.contains(&item.digest));
                prop_assert!(item.children.iter().all(|c| !gone.contains(c)), "a listed one goes only with its index");
            }
        }
    }
}
