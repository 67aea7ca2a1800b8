//! Who is in which group of a directory, groups within groups included.

use std::collections::{BTreeSet, HashMap, HashSet};

/// A group as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub dn: String,
    pub name: String,
    /// Distinguished names, or user names.
    pub members: Vec<String>,
}

/// Two distinguished names that mean the same entry have the same key: case and spaces around separators do not count
/// (RFC 4518 for the attribute types that name entries).
pub fn dn_key(dn: &str) -> String {
    let mut parts = Vec::new();
    let (mut part, mut escaped) = (String::new(), false);
    for c in dn.chars() {
        match c {
            _ if escaped => {
                part.push(c);
                escaped = false;
            }
            '\\' => {
                part.push(c);
                escaped = true;
            }
            ',' | ';' => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    let part = |text: &String| match text.split_once('=') {
        Some((kind, value)) => format!("{}={}", kind.trim().to_lowercase(), value.trim().to_lowercase()),
        None => text.trim().to_lowercase(),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

/// Key of a member ([`dn_key`], or a lower-case user name) → the groups it is in, as positions in `groups`.
pub fn memberships(groups: &[Group], by_name: bool, nested: bool) -> HashMap<String, BTreeSet<usize>> {
    let key = |text: &str| if by_name { text.trim().to_lowercase() } else { dn_key(text) };
    let of_group: HashMap<String, usize> = groups.iter().enumerate().map(|(i, g)| (dn_key(&g.dn), i)).collect();
    // The groups that contain each group, directly.
    let mut parents: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
    let mut direct: HashMap<String, BTreeSet<usize>> = HashMap::new();
    for (i, group) in groups.iter().enumerate() {
        for member in &group.members {
            let member = key(member);
            match of_group.get(&member) {
                Some(child) if nested && !by_name => parents[*child].push(i),
                _ => {
                    direct.entry(member).or_default().insert(i);
                }
            }
        }
    }
    let above: Vec<Vec<usize>> = (0..groups.len()).map(|i| reachable(i, &parents)).collect();
    for held in direct.values_mut() {
        let all: Vec<usize> = held.iter().flat_map(|i| above[*i].iter().copied()).collect();
        held.extend(all);
    }
    direct
}

/// `start` and everything above it; circles end where they began.
fn reachable(start: usize, parents: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = HashSet::from([start]);
    let mut todo = vec![start];
    while let Some(next) = todo.pop() {
        todo.extend(parents[next].iter().filter(|p| seen.insert(**p)));
    }
    seen.into_iter().collect()
}

/// Whether `wanted` (a distinguished name or a name) means this group.
pub fn is_called(wanted: &str, dn: &str, name: &str) -> bool {
    wanted.eq_ignore_ascii_case(name) || (wanted.contains('=') && dn_key(wanted) == dn_key(dn))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(name: &str, members: &[&str]) -> Group {
        Group { dn: format!("cn={name},ou=groups"), name: name.into(), members: members.iter().map(|m| (*m).to_owned()).collect() }
    }

    #[test]
    fn spelling_of_a_distinguished_name_does_not_count_but_escapes_do() {
        assert_eq!(dn_key("CN=Ada Lovelace , OU=People,DC=x"), dn_key("cn=ada lovelace,ou=people,dc=X"));
        assert_ne!(dn_key("cn=a\\,ou=x,dc=y"), dn_key("cn=a,ou=x,dc=y"));
        assert!(is_called("cn=Dev, ou=groups", "CN=dev,OU=Groups", "x") && is_called("DEV", "cn=dev", "dev") && !is_called("dev", "cn=dev", "develop"));
    }

    #[test]
    fn groups_in_groups_count_and_circles_end() {
        let groups = [
            group("a", &["uid=ada", "CN=b,OU=groups"]),
            group("b", &["uid=bob", "cn=c,ou=groups"]),
            group("c", &["uid=cyd", "cn=a,ou=groups"]),
            group("d", &["uid=ada"]),
        ];
        let nested = memberships(&groups, false, true);
        assert_eq!(nested["uid=ada"], BTreeSet::from([0, 1, 2, 3]), "a is in c, c in b, b in a");
        assert_eq!(nested["uid=cyd"], BTreeSet::from([0, 1, 2]));
        let flat = memberships(&groups, false, false);
        assert_eq!(flat["uid=cyd"], BTreeSet::from([2]));
    }

    #[test]
    fn members_may_be_user_names() {
        let by_name = memberships(&[group("a", &["Ada", "bob"])], true, true);
        assert_eq!(by_name["ada"], BTreeSet::from([0]));
    }

    proptest! {
        #[test]
        fn any_graph_ends_and_holds_the_direct_groups(edges in proptest::collection::vec((0..8_usize, 0..12_usize), 0..40)) {
            let member = |i: usize| if i < 8 { format!("cn=g{i},ou=groups") } else { format!("uid=u{i}") };
            let mut groups: Vec<Group> = (0..8).map(|i| group(&format!("g{i}"), &[])).collect();
            for (of, who) in &edges {
                groups[*of].members.push(member(*who));
            }
            let all = memberships(&groups, false, true);
            for (of, who) in edges.iter().filter(|(_, who)| *who >= 8) {
                prop_assert!(all[&member(*who)].contains(of));
            }
        }
    }
}
