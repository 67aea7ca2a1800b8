//! Scopes of personal access tokens: what a token may be used for, at most. The person's own rights still decide.

use std::collections::BTreeSet;

use crate::domain::registry_scope::Action;

/// All there are. `api` is everything the person may do.
pub const ALL: &[(&str, &str)] =
    &[("api", "everything you may do"), ("api:read", "read through the API"), ("registry:pull", "pull images"), ("registry:push", "pull and push images")];

/// In order and once each.
///
/// # Errors
/// The scope that there is not.
pub fn parse(scopes: &[String]) -> Result<String, String> {
    let mut wanted = BTreeSet::new();
    for scope in scopes {
        if !ALL.iter().any(|(name, _)| name == scope) {
            let names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
            return Err(format!("`{scope}`: must be of {}", names.join(", ")));
        }
        wanted.insert(scope.as_str());
    }
    if wanted.is_empty() { Err("at least one scope".to_owned()) } else { Ok(wanted.into_iter().collect::<Vec<_>>().join(" ")) }
}

fn has(scope: &str, one: &str) -> bool {
    scope.split(' ').any(|s| s == one)
}

/// Whether a token may do everything that the person may. Access tokens of our own programs do not need to say so.
pub fn is_whole(scope: &str) -> bool {
    has(scope, "api") || !ALL.iter().any(|(name, _)| has(scope, name))
}

/// What of the registry a token is limited to, beside the person's rights.
pub fn registry_actions(scope: &str) -> BTreeSet<Action> {
    if is_whole(scope) {
        return BTreeSet::from([Action::Pull, Action::Push, Action::Delete]);
    }
    let mut actions = BTreeSet::new();
    if has(scope, "registry:pull") || has(scope, "registry:push") {
        actions.insert(Action::Pull);
    }
    if has(scope, "registry:push") {
        actions.insert(Action::Push);
    }
    actions
}

/// The scope of an access token that a personal one is exchanged for; `None`: it is not for the API.
pub fn api_scope(scope: &str) -> Option<&'static str> {
    ["api", "api:read"].into_iter().find(|one| has(scope, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_known_and_kept_once() {
        let parse = |words: &[&str]| parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&["registry:pull", "api:read", "registry:pull"]).unwrap(), "api:read registry:pull");
        assert!(parse(&["root"]).unwrap_err().contains("`root`"));
        assert!(parse(&[]).is_err() && parse(&["api api:read"]).is_err());
    }

    #[test]
    fn a_token_that_says_how_it_is_limited_is_not_whole() {
        for whole in ["api", "api api:read", "registry:pull api", "openid profile", ""] {
            assert!(is_whole(whole), "{whole}");
        }
        for limited in ["api:read", "registry:pull", "registry:push", "openid api:read", "registry:pull openid"] {
            assert!(!is_whole(limited), "{limited}");
        }
    }

    #[test]
    fn a_narrow_token_gives_the_registry_no_more_than_it_says() {
        assert_eq!(registry_actions("api").len(), 3);
        assert_eq!(registry_actions("openid email api").len(), 3);
        assert_eq!(registry_actions("registry:pull"), BTreeSet::from([Action::Pull]));
        assert_eq!(registry_actions("api:read registry:push"), BTreeSet::from([Action::Pull, Action::Push]));
        assert_eq!(registry_actions("openid api:read"), BTreeSet::new());
        assert_eq!((api_scope("api:read registry:pull"), api_scope("registry:pull"), api_scope("api")), (Some("api:read"), None, Some("api")));
    }
}
