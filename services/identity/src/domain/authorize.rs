//! An authorization request, read and judged (OpenID Connect Core 3.1.2, RFC 6749 4.1.1, OAuth 2.1): what is wrong
//! before the redirect address is known to be good is told to the person, everything else to the client.

use std::collections::BTreeSet;

use crate::domain::{pkce, redirect};

/// Longer values are no honest request, and they travel in addresses.
const MAX_VALUE: usize = 2_048;

/// What the provider understands; others are left out of the grant (RFC 6749 section 3.3).
pub const SCOPES: [&str; 6] = ["openid", "profile", "email", "groups", "offline_access", "api"];

/// What the rules need to know of a client.
pub trait ClientFacts {
    fn redirects(&self) -> &[String];
    fn may_use_code(&self) -> bool;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub client_id: String,
    pub redirect_uri: String,
    pub scope: String,
    pub state: Option<String>,
    pub nonce: Option<String>,
    /// S256.
    pub challenge: String,
    pub prompt: Prompt,
    /// Seconds since the sign-in at most.
    pub max_age: Option<i64>,
    pub login_hint: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    #[default]
    AsNeeded,
    /// Never show a page.
    Never,
    /// Sign in again in any case.
    Login,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Shown to the person: nobody may be redirected.
    Page(&'static str),
    /// Told to the client by redirect.
    Redirect { redirect_uri: String, state: Option<String>, error: &'static str, description: &'static str },
}

/// Reads the parameters, looking the client up with `client`.
///
/// # Errors
/// See [`Fault`].
pub fn read<C: ClientFacts>(parameters: &[(String, String)], client: impl FnOnce(&str) -> Option<C>) -> Result<Request, Fault> {
    let mut seen = BTreeSet::new();
    for (name, value) in parameters {
        if !seen.insert(name.as_str()) {
            return Err(Fault::Page("a parameter is there twice"));
        }
        if value.len() > MAX_VALUE {
            return Err(Fault::Page("a parameter is too long"));
        }
    }
    let get = |name: &str| parameters.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str());
    let client_id = get("client_id").ok_or(Fault::Page("client_id is missing"))?;
    let facts = client(client_id).ok_or(Fault::Page("the client is not known"))?;
    let redirect_uri = get("redirect_uri").ok_or(Fault::Page("redirect_uri is missing"))?;
    if !redirect::allowed(facts.redirects(), redirect_uri) {
        return Err(Fault::Page("redirect_uri is not registered for this client"));
    }
    let state = get("state").map(str::to_owned);
    let to_client = |error, description| Fault::Redirect { redirect_uri: redirect_uri.to_owned(), state: state.clone(), error, description };
    if !facts.may_use_code() {
        return Err(to_client("unauthorized_client", "this client may not use the code flow"));
    }
    if get("request").is_some() {
        return Err(to_client("request_not_supported", "request objects are not supported"));
    }
    if get("request_uri").is_some() {
        return Err(to_client("request_uri_not_supported", "request objects are not supported"));
    }
    match get("response_type") {
        Some("code") => {}
        Some(_) => return Err(to_client("unsupported_response_type", "only `code`")),
        None => return Err(to_client("invalid_request", "response_type is missing")),
    }
    if get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(to_client("invalid_request", "response_mode: only `query`"));
    }
    let challenge = get("code_challenge").ok_or_else(|| to_client("invalid_request", "code_challenge is missing: PKCE is required"))?;
    if get("code_challenge_method") != Some("S256") {
        return Err(to_client("invalid_request", "code_challenge_method: only `S256`"));
    }
    if !pkce::is_challenge(challenge) {
        return Err(to_client("invalid_request", "code_challenge is no S256 challenge"));
    }
    let scope = granted_scope(get("scope").unwrap_or("openid"));
    if scope.is_empty() {
        return Err(to_client("invalid_scope", "no known scope is asked for"));
    }
    let max_age = get("max_age").map(str::parse::<u32>).transpose().map_err(|_| to_client("invalid_request", "max_age: seconds"))?;
    Ok(Request {
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        scope,
        nonce: get("nonce").map(str::to_owned),
        challenge: challenge.to_owned(),
        prompt: prompt(get("prompt")).ok_or_else(|| to_client("invalid_request", "prompt: none, or login, consent, select_account"))?,
        max_age: max_age.map(i64::from),
        login_hint: get("login_hint").map(str::to_owned),
        state,
    })
}

/// The known ones of the asked scopes, each once, in our order.
pub fn granted_scope(asked: &str) -> String {
    let asked: BTreeSet<&str> = asked.split_ascii_whitespace().collect();
    SCOPES.iter().copied().filter(|s| asked.contains(s)).collect::<Vec<_>>().join(" ")
}

fn prompt(text: Option<&str>) -> Option<Prompt> {
    let words: BTreeSet<&str> = text.unwrap_or_default().split_ascii_whitespace().collect();
    let known = words.iter().all(|w| matches!(*w, "none" | "login" | "consent" | "select_account"));
    if !known || (words.contains("none") && words.len() > 1) {
        return None;
    }
    Some(if words.contains("none") {
        Prompt::Never
    } else if words.contains("login") || words.contains("select_account") {
        Prompt::Login
    } else {
        Prompt::AsNeeded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shop(Vec<String>);
    impl ClientFacts for Shop {
        fn redirects(&self) -> &[String] {
            &self.0
        }
        fn may_use_code(&self) -> bool {
            true
        }
    }

    const GOOD: [(&str, &str); 8] = [
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", "https://shop.example/cb"),
        ("scope", "email openid unknown"),
        ("state", "s1"),
        ("nonce", "n1"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];

    fn request(changes: &[(&str, &str)]) -> Result<Request, Fault> {
        let mut all: Vec<(String, String)> = GOOD.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        for (name, value) in changes {
            match all.iter_mut().find(|(n, _)| n == name) {
                Some(slot) => slot.1 = (*value).into(),
                None => all.push(((*name).into(), (*value).into())),
            }
        }
        read(&all, |id| (id == "shop").then(|| Shop(vec!["https://shop.example/cb".into()])))
    }

    fn error(changes: &[(&str, &str)]) -> &'static str {
        match request(changes) {
            Err(Fault::Redirect { error, state, .. }) => {
                assert_eq!(state.as_deref(), Some("s1"));
                error
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_request_is_read_and_unknown_scopes_are_dropped() {
        let read = request(&[("max_age", "60"), ("prompt", "login")]).unwrap();
        assert_eq!((read.scope.as_str(), read.max_age, read.prompt), ("openid email", Some(60), Prompt::Login));
        assert_eq!(request(&[("prompt", "none")]).unwrap().prompt, Prompt::Never);
    }

    #[test]
    fn nobody_is_sent_to_an_address_that_is_not_registered() {
        for bad in ["https://evil.example/cb", "https://shop.example/cb?x", ""] {
            assert!(matches!(request(&[("redirect_uri", bad)]), Err(Fault::Page(_))), "{bad}");
        }
        assert!(matches!(request(&[("client_id", "other")]), Err(Fault::Page(_))));
        assert!(matches!(request(&[("state", &"x".repeat(3000))]), Err(Fault::Page(_))));
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let mut all: Vec<(String, String)> = GOOD.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        all.push(("redirect_uri".into(), "https://evil.example".into()));
        assert!(matches!(read(&all, |_| Some(Shop(vec![]))), Err(Fault::Page(_))));
    }

    #[test]
    fn pkce_cannot_be_left_out_or_weakened() {
        assert_eq!(error(&[("code_challenge", "")]), "invalid_request");
        assert_eq!(error(&[("code_challenge_method", "")]), "invalid_request");
        assert_eq!(error(&[("code_challenge_method", "plain")]), "invalid_request");
        assert_eq!(error(&[("code_challenge", "tooshort")]), "invalid_request");
    }

    #[test]
    fn other_flows_and_odd_prompts_are_refused() {
        assert_eq!(error(&[("response_type", "token")]), "unsupported_response_type");
        assert_eq!(error(&[("response_mode", "fragment")]), "invalid_request");
        assert_eq!(error(&[("prompt", "none login")]), "invalid_request");
        assert_eq!(error(&[("prompt", "create")]), "invalid_request");
        assert_eq!(error(&[("scope", "everything")]), "invalid_scope");
        assert_eq!(error(&[("request", "eyJ")]), "request_not_supported");
        assert_eq!(error(&[("max_age", "-1")]), "invalid_request");
    }
}
