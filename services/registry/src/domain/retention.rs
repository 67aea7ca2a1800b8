//! Which tags a project's rules keep and which may go. Pure: the same facts give the same plan, so a simulation is the truth.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_contract::registry::settings::{Keep, Retention, RetentionRule};
use gantry_kernel::OffsetDateTime;
use serde::{Deserialize, Serialize};

use super::pattern;

/// A tag and what rules can ask of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// After the project.
    pub repository: String,
    pub tag: String,
    pub digest: String,
    /// When the tag was last moved.
    pub pushed_at: OffsetDateTime,
    pub pulled_at: Option<OffsetDateTime>,
    /// Labels of the config and annotations of the manifest.
    pub labels: BTreeMap<String, String>,
    /// A rule of the project forbids to delete it.
    pub immutable: bool,
}

/// What becomes of a tag, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verdict {
    pub repository: String,
    /// Empty: an image without one.
    pub tag: String,
    pub digest: String,
    pub keep: bool,
    pub reason: String,
}

/// A tag that is about an image rather than one: it goes with the image.
pub fn is_attached(tag: &str) -> bool {
    let Some((digest, suffix)) = tag.rsplit_once('.') else { return false };
    let hex = digest.strip_prefix("sha256-").is_some_and(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
    hex && matches!(suffix, "sig" | "att" | "sbom")
}

/// A verdict for each tag, in the order given; those that are attached to images are left out.
pub fn plan(retention: &Retention, tags: &[Candidate], now: OffsetDateTime) -> Vec<Verdict> {
    let tags: Vec<&Candidate> = tags.iter().filter(|t| !is_attached(&t.tag)).collect();
    let mut reasons: Vec<Option<String>> = vec![None; tags.len()];
    for (n, rule) in retention.rules.iter().enumerate() {
        let mut matching: Vec<usize> = (0..tags.len()).filter(|i| speaks_of(rule, tags[*i])).collect();
        // Newest first, in each repository for itself.
        matching.sort_by(|a, b| {
            tags[*a].repository.cmp(&tags[*b].repository).then(tags[*b].pushed_at.cmp(&tags[*a].pushed_at)).then(tags[*a].tag.cmp(&tags[*b].tag))
        });
        let mut place: (&str, u32) = ("", 0);
        for i in matching {
            place = if place.0 == tags[i].repository { (place.0, place.1 + 1) } else { (&tags[i].repository, 1) };
            let within = |at: OffsetDateTime, days: u32| at >= now - Duration::from_secs(u64::from(days) * 24 * 3600);
            let why = match rule.keep {
                Keep::All => Some("kept by its name".to_owned()),
                Keep::Newest(most) => (place.1 <= most).then(|| format!("number {} of the {most} newest", place.1)),
                Keep::PushedWithinDays(days) => within(tags[i].pushed_at, days).then(|| format!("pushed within {days} days")),
                Keep::PulledWithinDays(days) => {
                    within(tags[i].pulled_at.unwrap_or(tags[i].pushed_at), days).then(|| format!("pulled or pushed within {days} days"))
                }
            };
            if let (Some(why), None) = (why, &reasons[i]) {
                reasons[i] = Some(format!("rule {}: {why}", n + 1));
            }
        }
    }
    let verdict = |(tag, why): (&Candidate, Option<String>)| {
        let named = retention.rules.iter().any(|r| pattern::matches(&r.repositories, &tag.repository));
        let (keep, reason) = match why {
            Some(why) => (true, why),
            None if tag.immutable => (true, "the tag is immutable".to_owned()),
            None if !named => (true, "no rule names this repository".to_owned()),
            None => (false, "no rule keeps it".to_owned()),
        };
        Verdict { repository: tag.repository.clone(), tag: tag.tag.clone(), digest: tag.digest.clone(), keep, reason }
    };
    tags.into_iter().zip(reasons).map(verdict).collect()
}

/// An image that nothing names, and when somebody last had to do with it: a push, a pull, or a tag that pointed at it.
#[derive(Clone, Debug)]
pub struct Untagged {
    /// After the project.
    pub repository: String,
    pub digest: String,
    pub used_at: OffsetDateTime,
}

/// A verdict for each of these images, in the order given; none where the rules say nothing of such.
pub fn plan_untagged(retention: &Retention, images: &[Untagged], now: OffsetDateTime) -> Vec<Verdict> {
    let Some(days) = retention.untagged_days else { return Vec::new() };
    let since = now - Duration::from_secs(u64::from(days) * 24 * 3600);
    let verdict = |image: &Untagged| {
        let keep = image.used_at >= since;
        let reason = if keep { format!("without a tag, and used within {days} days") } else { format!("without a tag, and not used for {days} days") };
        Verdict { repository: image.repository.clone(), tag: String::new(), digest: image.digest.clone(), keep, reason }
    };
    images.iter().map(verdict).collect()
}

fn speaks_of(rule: &RetentionRule, tag: &Candidate) -> bool {
    let labelled = rule.label.as_deref().is_none_or(|label| match label.split_once('=') {
        Some((name, value)) => tag.labels.get(name).is_some_and(|v| v == value),
        None => tag.labels.contains_key(label),
    });
    labelled && pattern::matches(&rule.repositories, &tag.repository) && pattern::matches(&rule.tags, &tag.tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(n: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs((n * 24 * 3600).unsigned_abs())
    }

    fn tag(repository: &str, tag: &str, pushed: i64, pulled: Option<i64>) -> Candidate {
        Candidate {
            repository: repository.into(),
            tag: tag.into(),
            digest: format!("sha256:{tag}"),
            pushed_at: day(pushed),
            pulled_at: pulled.map(day),
            labels: BTreeMap::new(),
            immutable: false,
        }
    }

    fn rule(repositories: &str, tags: &str, keep: Keep) -> RetentionRule {
        RetentionRule { repositories: repositories.into(), tags: tags.into(), label: None, keep }
    }

    fn kept(rules: Vec<RetentionRule>, tags: &[Candidate]) -> Vec<String> {
        let plan = plan(&Retention { rules, ..Retention::default() }, tags, day(100));
        plan.into_iter().filter(|v| v.keep).map(|v| v.tag).collect()
    }

    #[test]
    fn the_newest_of_each_repository_stay() {
        let tags = [tag("web", "v1", 1, None), tag("web", "v2", 2, None), tag("web", "v3", 3, None), tag("db", "d1", 1, None)];
        assert_eq!(kept(vec![rule("*", "*", Keep::Newest(1))], &tags), ["v3", "d1"]);
        assert_eq!(kept(vec![rule("web", "*", Keep::Newest(2))], &tags), ["v2", "v3", "d1"], "no rule names db");
        assert_eq!(kept(vec![rule("web", "v1", Keep::All), rule("web", "*", Keep::Newest(1))], &tags), ["v1", "v3", "d1"]);
        assert_eq!(kept(vec![], &tags).len(), 4);
    }

    #[test]
    fn times_count_from_push_or_pull() {
        let tags = [tag("web", "old", 10, Some(95)), tag("web", "unused", 10, None), tag("web", "fresh", 99, None)];
        assert_eq!(kept(vec![rule("*", "*", Keep::PulledWithinDays(7))], &tags), ["old", "fresh"]);
        assert_eq!(kept(vec![rule("*", "*", Keep::PushedWithinDays(7))], &tags), ["fresh"]);
    }

    #[test]
    fn labels_immutability_and_signatures() {
        let mut tags =
            [tag("web", "a", 1, None), tag("web", "b", 2, None), tag("web", "c", 3, None), tag("web", &format!("sha256-{}.sig", "a".repeat(64)), 1, None)];
        tags[0].labels.insert("keep".into(), "yes".into());
        tags[1].immutable = true;
        let labelled = RetentionRule { label: Some("keep=yes".into()), ..rule("*", "*", Keep::All) };
        let plan = plan(&Retention { rules: vec![labelled], ..Retention::default() }, &tags, day(100));
        assert_eq!(plan.iter().map(|v| v.keep).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(plan[1].reason, "the tag is immutable");
    }

    #[test]
    fn images_without_a_tag_go_when_nobody_has_used_them_for_the_days_that_are_given() {
        let image = |digest: &str, used: i64| Untagged { repository: "web".into(), digest: digest.into(), used_at: day(used) };
        let images = [image("a", 92), image("b", 93), image("c", 100)];
        assert!(plan_untagged(&Retention::default(), &images, day(100)).is_empty(), "nothing is said of them");
        let week = Retention { untagged_days: Some(7), ..Retention::default() };
        let found = plan_untagged(&week, &images, day(100));
        assert_eq!(found.iter().map(|v| (v.digest.as_str(), v.keep)).collect::<Vec<_>>(), [("a", false), ("b", true), ("c", true)]);
        assert!(found.iter().all(|v| v.tag.is_empty() && v.reason.contains("7 days")));
    }

    proptest! {
        /// More rules never keep less, and newest N keeps at most N of a repository.
        #[test]
        fn rules_only_ever_keep(days in proptest::collection::vec(0_i64..100, 0..30), most in 1_u32..10) {
            let tags: Vec<_> = days.iter().enumerate().map(|(i, d)| tag("web", &format!("t{i}"), *d, None)).collect();
            let one = kept(vec![rule("*", "*", Keep::Newest(most))], &tags);
            prop_assert_eq!(one.len(), tags.len().min(most as usize));
            let two = kept(vec![rule("*", "*", Keep::Newest(most)), rule("*", "t1*", Keep::All)], &tags);
            prop_assert!(one.iter().all(|t| two.contains(t)));
        }
    }
}
