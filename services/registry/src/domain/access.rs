//! Rights in a registry token: the `access` claim of Docker's token specification, and the challenge that asks for them.

use serde::{Deserialize, Serialize};

use super::name::RepositoryName;

/// What a request wants to do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// The scope to ask for so that one token serves the whole piece of work: a push reads, too.
    fn scope(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

/// One entry of the `access` claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}

/// Whether the claim allows `action` on exactly this repository.
pub fn allows(access: &[Access], name: &RepositoryName, action: Action) -> bool {
    access.iter().filter(|a| a.kind == "repository" && a.name == name.as_str()).any(|a| a.actions.iter().any(|x| x == action.as_str() || x == "*"))
}

/// What of the list of repositories a token shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue<'a> {
    /// All that the subject's rights show.
    pub by_rights: bool,
    /// A repository each, or all that begin with what stands before a `*`.
    pub patterns: Vec<&'a str>,
}

/// None: the token is not for the list.
pub fn catalogue(access: &[Access]) -> Option<Catalogue<'_>> {
    let by_rights = access.iter().any(|a| a.kind == "registry" && a.name == "catalog");
    let may_pull = |a: &&Access| a.kind == "repositories" && a.actions.iter().any(|x| x == Action::Pull.as_str());
    let patterns: Vec<&str> = access.iter().filter(may_pull).map(|a| a.name.as_str()).collect();
    (by_rights || !patterns.is_empty()).then_some(Catalogue { by_rights, patterns })
}

/// The value of `WWW-Authenticate`.
pub fn challenge(realm: &str, service: &str, wanted: &[(&RepositoryName, Action)], error: Option<&str>) -> String {
    let mut text = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
    if !wanted.is_empty() {
        let scopes: Vec<String> = wanted.iter().map(|(name, action)| format!("repository:{name}:{}", action.scope())).collect();
        text.push_str(&format!(",scope=\"{}\"", scopes.join(" ")));
    }
    if let Some(error) = error {
        text.push_str(&format!(",error=\"{error}\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, actions: &[&str]) -> Vec<Access> {
        vec![Access { kind: "repository".into(), name: name.into(), actions: actions.iter().map(|a| (*a).to_owned()).collect() }]
    }

    #[test]
    fn a_token_serves_its_own_repository_and_actions_only() {
        let name = RepositoryName::parse("acme/shop/web").unwrap();
        assert!(allows(&claim("acme/shop/web", &["pull"]), &name, Action::Pull));
        assert!(!allows(&claim("acme/shop/web", &["pull"]), &name, Action::Push));
        assert!(!allows(&claim("acme/shop/web2", &["pull"]), &name, Action::Pull));
        assert!(!allows(&claim("acme/shop", &["pull"]), &name, Action::Pull));
        assert!(allows(&claim("acme/shop/web", &["*"]), &name, Action::Delete));
        let mut other = claim("acme/shop/web", &["pull"]);
        other[0].kind = "registry".into();
        assert!(!allows(&other, &name, Action::Pull));
    }

    #[test]
    fn the_list_shows_what_the_token_says_and_a_token_for_a_repository_is_not_for_the_list() {
        let entry = |kind: &str, name: &str, action: &str| Access { kind: kind.into(), name: name.into(), actions: vec![action.into()] };
        assert_eq!(catalogue(&claim("acme/shop/web", &["pull"])), None);
        assert_eq!(catalogue(&[entry("repositories", "acme/shop/*", "push")]), None);
        let robot = [entry("registry", "catalog", "*"), entry("repositories", "acme/shop/*", "pull")];
        assert_eq!(catalogue(&robot), Some(Catalogue { by_rights: true, patterns: vec!["acme/shop/*"] }));
        assert_eq!(catalogue(&robot[1..]), Some(Catalogue { by_rights: false, patterns: vec!["acme/shop/*"] }));
        assert!(!allows(&robot, &RepositoryName::parse("acme/shop/web").unwrap(), Action::Pull), "seen is not pulled");
    }

    #[test]
    fn the_challenge_asks_for_what_the_request_needs() {
        let name = RepositoryName::parse("acme/shop/web").unwrap();
        assert_eq!(
            challenge("https://h/oauth2/registry-token", "h", &[(&name, Action::Push)], None),
            "Bearer realm=\"https://h/oauth2/registry-token\",service=\"h\",scope=\"repository:acme/shop/web:pull,push\""
        );
        let from = RepositoryName::parse("acme/shop/base").unwrap();
        let mount = challenge("r", "s", &[(&name, Action::Push), (&from, Action::Pull)], None);
        assert!(mount.ends_with("scope=\"repository:acme/shop/web:pull,push repository:acme/shop/base:pull\""), "{mount}");
        assert_eq!(challenge("r", "s", &[], Some("insufficient_scope")), "Bearer realm=\"r\",service=\"s\",error=\"insufficient_scope\"");
    }
}
