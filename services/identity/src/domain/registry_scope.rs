//! Scopes of the Docker token specification: `repository:<name>:<action>[,<action>]`, and which of the asked actions
//! a role allows.

use std::collections::BTreeSet;

use gantry_kernel::{Name, Role};
use serde::{Deserialize, Serialize};

/// More in one request is no honest client.
const MAX_SCOPES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    /// The published permission that allows it.
    pub fn permission(self) -> &'static str {
        match self {
            Self::Pull => "images.pull",
            Self::Push => "images.push",
            Self::Delete => "images.delete",
        }
    }

    /// The least role that allows it on the repository's project.
    pub fn needs(self) -> Role {
        match self {
            Self::Pull => Role::Viewer,
            Self::Push => Role::Editor,
            Self::Delete => Role::Admin,
        }
    }
}

/// One asked scope whose shape is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `<org>/<project>/<repository>`.
    pub name: String,
    pub actions: BTreeSet<Action>,
}

impl Asked {
    /// The organisation and project of the repository, if its name has both and a rest.
    pub fn project(&self) -> Option<(Name, Name)> {
        let mut parts = self.name.splitn(3, '/');
        let org = Name::parse(parts.next()?).ok()?;
        let project = Name::parse(parts.next()?).ok()?;
        parts.next().filter(|rest| !rest.is_empty()).map(|_| (org, project))
    }
}

/// One granted entry of the token's `access` claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<Action>,
}

/// The scopes of a request; several may stand in one parameter, separated by spaces. What is not of a repository, or
/// not well formed, is left out: the specification asks to grant less, not to fail.
pub fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    for text in scopes.into_iter().flat_map(str::split_ascii_whitespace).take(MAX_SCOPES) {
        let Some(one) = parse_one(text) else { continue };
        match asked.iter_mut().find(|a| a.name == one.name) {
            Some(known) => known.actions.extend(one.actions),
            None => asked.push(one),
        }
    }
    asked
}

/// Whether the list of repositories is asked for. Everybody may ask: the token says what is to be shown.
pub fn asks_for_catalog<'a>(scopes: impl IntoIterator<Item = &'a str>) -> bool {
    scopes.into_iter().flat_map(str::split_ascii_whitespace).take(MAX_SCOPES).any(|s| s == "registry:catalog:*")
}

fn parse_one(text: &str) -> Option<Asked> {
    let (kind, rest) = text.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    if kind != "repository" || !is_repository(name) {
        return None;
    }
    let known = actions.split(',').filter_map(|a| match a {
        "pull" => Some(vec![Action::Pull]),
        "push" => Some(vec![Action::Push]),
        "delete" => Some(vec![Action::Delete]),
        "*" => Some(vec![Action::Pull, Action::Push, Action::Delete]),
        _ => None,
    });
    Some(Asked { name: name.to_owned(), actions: known.flatten().collect() })
}

/// The grammar of repository names in the OCI distribution specification, at most 255 characters.
fn is_repository(name: &str) -> bool {
    let component = |c: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inner = c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        edge(c.bytes().next()) && edge(c.bytes().last()) && inner && !c.contains("..")
    };
    name.len() <= 255 && name.split('/').all(component)
}

/// What of `asked` a caller gets whose greatest role on the project is `role`; on a public project everybody may pull.
pub fn grant(asked: &Asked, role: Option<Role>, public: bool) -> Access {
    let allowed = |a: &Action| role.is_some_and(|r| r >= a.needs()) || (public && *a == Action::Pull);
    let actions = asked.actions.iter().copied().filter(allowed).collect();
    Access { kind: "repository".into(), name: asked.name.clone(), actions }
}

/// A grant of a service credential: a repository name, or a prefix that ends with `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    pub pattern: String,
    pub actions: BTreeSet<Action>,
}

/// What of `asked` the patterns of a service credential allow.
pub fn grant_by_patterns(asked: &Asked, patterns: &[Pattern]) -> Access {
    let matches = |p: &Pattern| match p.pattern.strip_suffix('*') {
        Some(prefix) => asked.name.starts_with(prefix),
        None => asked.name == p.pattern,
    };
    let allowed: BTreeSet<Action> = patterns.iter().filter(|p| matches(p)).flat_map(|p| p.actions.iter().copied()).collect();
    Access { kind: "repository".into(), name: asked.name.clone(), actions: asked.actions.intersection(&allowed).copied().collect() }
}

/// The patterns whose repositories their holder may see in a list.
pub fn listed(patterns: &[Pattern]) -> impl Iterator<Item = &str> {
    patterns.iter().filter(|p| p.actions.contains(&Action::Pull)).map(|p| p.pattern.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Asked {
        parse([text]).pop().unwrap()
    }

    #[test]
    fn the_catalogue_is_asked_for_by_its_whole_scope() {
        assert!(asks_for_catalog(["repository:a/b/c:pull registry:catalog:*"]));
        assert!(!asks_for_catalog(["registry:catalog:pull", "registry:catalog", "repository:catalog:*"]));
    }

    #[test]
    fn scopes_are_read_merged_and_the_malformed_left_out() {
        let asked = parse(["repository:acme/shop/web:pull repository:acme/shop/web:push,pull", "registry:catalog:*", "repository:../x:pull", "x"]);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].actions, BTreeSet::from([Action::Pull, Action::Push]));
        assert_eq!(asked[0].project().map(|(o, p)| (o.to_string(), p.to_string())), Some(("acme".into(), "shop".into())));
        assert_eq!(one("repository:acme/shop:pull").project(), None);
        assert!(parse(["repository:Acme/x/y:pull", "repository:a//b:pull", "repository:a/b/-c:pull"]).is_empty());
    }

    #[test]
    fn a_role_gives_what_it_may_and_no_more() {
        let asked = one("repository:acme/shop/web:*");
        let actions = |role, public| grant(&asked, role, public).actions;
        assert_eq!(actions(None, false), []);
        assert_eq!(actions(None, true), [Action::Pull]);
        assert_eq!(actions(Some(Role::Viewer), false), [Action::Pull]);
        assert_eq!(actions(Some(Role::Editor), false), [Action::Pull, Action::Push]);
        assert_eq!(actions(Some(Role::Admin), true), [Action::Pull, Action::Push, Action::Delete]);
        assert_eq!(grant(&one("repository:a/b/c:pull"), Some(Role::Admin), false).actions, [Action::Pull]);
    }

    #[test]
    fn a_pattern_holds_for_its_prefix_only() {
        let push = |pattern: &str| Pattern { pattern: pattern.into(), actions: BTreeSet::from([Action::Push]) };
        let asked = one("repository:acme/shop/web:push,pull");
        assert_eq!(grant_by_patterns(&asked, &[push("acme/shop/*")]).actions, [Action::Push]);
        assert_eq!(grant_by_patterns(&asked, &[push("acme/shop/web")]).actions, [Action::Push]);
        assert!(grant_by_patterns(&asked, &[push("acme/shop")]).actions.is_empty());
        assert!(grant_by_patterns(&asked, &[push("acme/shopping/*")]).actions.is_empty());
    }

    #[test]
    fn who_may_pull_by_a_pattern_sees_what_is_there() {
        let pattern = |pattern: &str, action| Pattern { pattern: pattern.into(), actions: BTreeSet::from([action]) };
        let patterns = [pattern("acme/shop/*", Action::Pull), pattern("acme/other/web", Action::Push)];
        assert_eq!(listed(&patterns).collect::<Vec<_>>(), ["acme/shop/*"]);
    }
}
