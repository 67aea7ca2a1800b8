//! What a replication is about: names on both sides, filters, and what becomes of a tag. Pure: a dry run is the truth.

use std::collections::BTreeMap;

use gantry_contract::registry::flow::{Direction, Replication};

use super::pattern;
use super::retention::is_attached;
use super::settings::flow::{below, joined};

/// What becomes of a tag at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Copy,
    Delete,
    /// It points at the same there.
    Same,
    /// It points at something else there, and the rule does not overwrite.
    Differs,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::Same => "same",
            Self::Differs => "differs",
        }
    }
}

/// The repository at the other end of one at the source, if the rule is about it. Names are without the project on our side.
pub fn other_end(rule: &Replication, source: &str) -> Option<String> {
    let (source_prefix, prefix) = match rule.direction {
        Direction::Push => (&rule.local_prefix, &rule.remote_prefix),
        Direction::Pull => (&rule.remote_prefix, &rule.local_prefix),
    };
    let rest = below(source_prefix, source)?;
    pattern::matches(&rule.repositories, rest).then(|| joined(prefix, rest))
}

/// The only repository at the source that the rule can be about, when its pattern is a name.
pub fn only_source(rule: &Replication) -> Option<String> {
    let prefix = match rule.direction {
        Direction::Push => &rule.local_prefix,
        Direction::Pull => &rule.remote_prefix,
    };
    (!rule.repositories.contains(['*', '?', '{'])).then(|| joined(prefix, &rule.repositories))
}

/// Whether a tag is one of those that go. What is about an image goes with the image.
pub fn wants_tag(rule: &Replication, tag: &str) -> bool {
    !is_attached(tag) && !is_list_of_referrers(tag) && pattern::matches(&rule.tags, tag)
}

/// The tag under which registries without the referrers API list what refers to an image.
fn is_list_of_referrers(tag: &str) -> bool {
    tag.strip_prefix("sha256-").or_else(|| tag.strip_prefix("sha512-")).is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether the rule must know more of an image than its name.
pub fn asks_for_facts(rule: &Replication) -> bool {
    !rule.labels.is_empty() || !rule.platforms.is_empty()
}

/// Whether an image with these labels (of its config and its manifest) for these platforms goes.
pub fn wants_image(rule: &Replication, labels: &BTreeMap<String, String>, platforms: &[String]) -> bool {
    let labelled = |label: &String| match label.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|v| v == value),
        None => labels.contains_key(label),
    };
    let fits =
        |wanted: &String| platforms.iter().any(|p| pattern::matches(wanted, p) || p.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('/')));
    rule.labels.iter().all(labelled) && (rule.platforms.is_empty() || rule.platforms.iter().any(fits))
}

/// What becomes of a tag that the source has at `source` and the other end at `there`.
pub fn action(rule: &Replication, source: &str, there: Option<&str>) -> Action {
    match there {
        Some(digest) if digest == source => Action::Same,
        Some(_) if !rule.overwrite => Action::Differs,
        Some(_) | None => Action::Copy,
    }
}

/// Tags that the other end has and the source does not, if the rule removes those. A source without any tag removes nothing: that is more
/// likely a fault than a wish.
pub fn surplus<'a>(rule: &Replication, source: &[String], there: &'a [String]) -> Vec<&'a String> {
    if !rule.deletions || source.is_empty() {
        return Vec::new();
    }
    there.iter().filter(|t| wants_tag(rule, t) && !source.contains(t)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(more: &str) -> Replication {
        let text = format!(r#"{{"name":"r","direction":"push","target":"t"{more}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn names_change_their_prefix() {
        let away = rule(r#","repositories":"web*","remote_prefix":"backup/shop""#);
        assert_eq!(other_end(&away, "web/api").as_deref(), Some("backup/shop/web/api"));
        assert_eq!(other_end(&away, "db"), None);
        let home = Replication { direction: Direction::Pull, remote_prefix: "library".into(), local_prefix: "mirror".into(), ..rule("") };
        assert_eq!(other_end(&home, "library/nginx").as_deref(), Some("mirror/nginx"));
        assert_eq!(other_end(&home, "other/nginx"), None);
        assert_eq!(only_source(&home), None);
        assert_eq!(only_source(&Replication { repositories: "nginx".into(), ..home }).as_deref(), Some("library/nginx"));
    }

    #[test]
    fn filters_by_tag_label_and_platform() {
        let filtered = rule(r#","tags":"v*","labels":["team=shop","release"],"platforms":["linux/arm64","windows/*"]"#);
        assert!(wants_tag(&filtered, "v1") && !wants_tag(&filtered, "latest"));
        let any = rule("");
        assert!(!wants_tag(&any, &format!("sha256-{}.sig", "a".repeat(64))) && !wants_tag(&any, &format!("sha256-{}", "a".repeat(64))));
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
        let both = labels(&[("team", "shop"), ("release", "")]);
        assert!(wants_image(&filtered, &both, &["linux/amd64".into(), "linux/arm64/v8".into()]));
        assert!(!wants_image(&filtered, &both, &["linux/amd64".into()]));
        assert!(!wants_image(&filtered, &labels(&[("team", "shop")]), &["linux/arm64".into()]));
        assert!(wants_image(&any, &BTreeMap::new(), &[]));
    }

    #[test]
    fn what_is_there_decides_what_happens() {
        let (over, careful) = (rule(""), rule(r#","overwrite":false"#));
        assert_eq!(action(&over, "a", None), Action::Copy);
        assert_eq!(action(&over, "a", Some("a")), Action::Same);
        assert_eq!(action(&over, "a", Some("b")), Action::Copy);
        assert_eq!(action(&careful, "a", Some("b")), Action::Differs);
        let names = |t: &[&str]| t.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let mirror = rule(r#","deletions":true,"tags":"v*""#);
        assert_eq!(surplus(&mirror, &names(&["v1"]), &names(&["v1", "v0", "latest"])), ["v0"]);
        assert!(surplus(&mirror, &[], &names(&["v1"])).is_empty() && surplus(&over, &names(&["v1"]), &names(&["v0"])).is_empty());
    }

    proptest! {
        /// There and back again is where it was, and a narrower filter never wants more.
        #[test]
        fn filters_only_ever_take_away(
            tag in "[a-z0-9.]{1,8}", tags in "[a-z0-9*?]{1,6}", name in "[a-z]{1,4}(/[a-z]{1,4}){0,2}", repositories in "[a-z*?/]{1,6}",
            labels in proptest::collection::vec("[ab](=[01])?", 0..3), platforms in proptest::collection::vec("linux/(amd64|arm64|\\*)", 0..3),
            has in proptest::collection::btree_map("[ab]", "[01]", 0..3), of in proptest::collection::vec("linux/(amd64|arm64)", 0..3),
        ) {
            let any = Replication { remote_prefix: "there".into(), local_prefix: "here".into(), ..rule("") };
            let narrow = Replication { tags, repositories, labels: labels.clone(), platforms: platforms.clone(), ..any.clone() };
            prop_assert!(wants_tag(&any, &tag) && wants_image(&any, &has, &of));
            let here = format!("here/{name}");
            if let Some(there) = other_end(&narrow, &here) {
                prop_assert_eq!(other_end(&any, &here), Some(there.clone()));
                let back = Replication { direction: Direction::Pull, ..narrow.clone() };
                prop_assert_eq!(other_end(&back, &there), Some(here));
            }
            let fewer = Replication { labels: Vec::new(), ..narrow.clone() };
            prop_assert!(!wants_image(&narrow, &has, &of) || wants_image(&fewer, &has, &of));
        }
    }
}
