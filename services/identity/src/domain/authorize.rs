//! An authorization request, read and judged (OpenID Connect Core 3.1.2, RFC 6749 4.1.1, OAuth 2.1): what is wrong
//! before the redirect address is known to be good is told to the person, everything else to the client.

use std::collections::BTreeSet;

use crate::domain::claims::ClaimsRequest;
use crate::domain::{pkce, redirect};

/// Longer values are no honest request, and they travel in addresses. An ID token hint with many groups may be longer.
const MAX_VALUE: usize = 2_048;
const MAX_HINT: usize = 16_384;

/// What the provider understands; others are left out of the grant (RFC 6749 section 3.3).
pub const SCOPES: [&str; 7] = ["openid", "profile", "email", "groups", "roles", "offline_access", "api"];

/// What the rules need to know of a client.
pub trait ClientFacts {
    fn redirects(&self) -> &[String];
    fn may_use_code(&self) -> bool;
    /// The asked scopes that it may have.
    fn scope(&self, asked: &str) -> String;
    /// It may leave PKCE out.
    fn pkce_optional(&self) -> bool {
        false
    }
    /// It only takes pushed requests (RFC 9126).
    fn wants_pushed(&self) -> bool {
        false
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub client_id: String,
    pub redirect_uri: String,
    pub response_mode: ResponseMode,
    pub scope: String,
    pub state: Option<String>,
    pub nonce: Option<String>,
    /// S256; empty where the client goes without PKCE.
    pub challenge: String,
    pub prompt: Prompt,
    /// Seconds since the sign-in at most.
    pub max_age: Option<i64>,
    pub login_hint: Option<String>,
    pub id_token_hint: Option<String>,
    /// In the order of preference.
    pub acr_values: Vec<String>,
    pub claims: ClaimsRequest,
    /// The key that the code will be bound to (RFC 9449 section 10).
    pub dpop_jkt: Option<String>,
}

/// How the answer travels (OAuth 2.0 Multiple Response Types, Form Post Response Mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseMode {
    #[default]
    Query,
    FormPost,
}

/// What the person must be shown in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Never show a page.
    pub none: bool,
    /// Sign in again (`login`, `select_account`).
    pub login: bool,
    /// Ask again what the client may have.
    pub consent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Shown to the person: nobody may be redirected.
    Page(&'static str),
    /// Told to the client.
    Redirect { redirect_uri: String, response_mode: ResponseMode, state: Option<String>, error: &'static str, description: &'static str },
}

/// Reads the parameters of a request by `client` (none: not known). `pushed`: they came by RFC 9126, from the authenticated client.
///
/// # Errors
/// See [`Fault`].
pub fn read<C: ClientFacts>(parameters: &[(String, String)], client: Option<C>, pushed: bool) -> Result<Request, Fault> {
    let mut seen = BTreeSet::new();
    for (name, value) in parameters {
        if !seen.insert(name.as_str()) {
            return Err(Fault::Page("a parameter is there twice"));
        }
        if value.len() > if name == "id_token_hint" { MAX_HINT } else { MAX_VALUE } {
            return Err(Fault::Page("a parameter is too long"));
        }
    }
    let get = |name: &str| parameters.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str());
    let client_id = get("client_id").ok_or(Fault::Page("client_id is missing"))?;
    let facts = client.ok_or(Fault::Page("the client is not known"))?;
    let redirect_uri = get("redirect_uri").ok_or(Fault::Page("redirect_uri is missing"))?;
    if !redirect::allowed(facts.redirects(), redirect_uri) {
        return Err(Fault::Page("redirect_uri is not registered for this client"));
    }
    let state = get("state").map(str::to_owned);
    let asked_mode = get("response_mode");
    let response_mode = if asked_mode == Some("form_post") { ResponseMode::FormPost } else { ResponseMode::Query };
    let to_client = |error, description| Fault::Redirect { redirect_uri: redirect_uri.to_owned(), response_mode, state: state.clone(), error, description };
    if !facts.may_use_code() {
        return Err(to_client("unauthorized_client", "this client may not use the code flow"));
    }
    if get("request").is_some() {
        return Err(to_client("request_not_supported", "request objects are not supported: push the request (RFC 9126)"));
    }
    if get("request_uri").is_some() {
        return Err(to_client("request_uri_not_supported", "only addresses that the pushed request endpoint gave (RFC 9126)"));
    }
    if get("registration").is_some() {
        return Err(to_client("registration_not_supported", "clients are registered before (RFC 7591)"));
    }
    if facts.wants_pushed() && !pushed {
        return Err(to_client("invalid_request", "this client must push its requests (RFC 9126)"));
    }
    match get("response_type") {
        Some("code") => {}
        Some(_) => return Err(to_client("unsupported_response_type", "only `code`")),
        None => return Err(to_client("invalid_request", "response_type is missing")),
    }
    if asked_mode.is_some_and(|mode| !matches!(mode, "query" | "form_post")) {
        return Err(to_client("invalid_request", "response_mode: `query` or `form_post`"));
    }
    let challenge = match (get("code_challenge"), get("code_challenge_method")) {
        (None, None) if facts.pkce_optional() => "",
        (None, _) => return Err(to_client("invalid_request", "code_challenge is missing: PKCE is required")),
        (Some(challenge), Some("S256")) if pkce::is_challenge(challenge) => challenge,
        (Some(_), Some("S256")) => return Err(to_client("invalid_request", "code_challenge is no S256 challenge")),
        (Some(_), _) => return Err(to_client("invalid_request", "code_challenge_method: only `S256`")),
    };
    let scope = facts.scope(get("scope").unwrap_or("openid"));
    if scope.is_empty() {
        return Err(to_client("invalid_scope", "no scope is asked for that this client may have"));
    }
    let dpop_jkt = get("dpop_jkt").map(str::to_owned);
    if dpop_jkt.as_deref().is_some_and(|jkt| !pkce::is_challenge(jkt)) {
        return Err(to_client("invalid_request", "dpop_jkt is no SHA-256 thumbprint"));
    }
    let max_age = get("max_age").map(str::parse::<u32>).transpose().map_err(|_| to_client("invalid_request", "max_age: seconds"))?;
    let mut claims = ClaimsRequest::parse(get("claims")).map_err(|why| to_client("invalid_request", why))?;
    let mut acr_values: Vec<String> = get("acr_values").unwrap_or_default().split_ascii_whitespace().take(10).map(str::to_owned).collect();
    // A voluntary claim asks for what the parameter asks for.
    if acr_values.is_empty() && claims.acr.is_empty() {
        acr_values.clone_from(&claims.named_acr);
    } else {
        claims.named_acr.extend(acr_values.iter().cloned());
    }
    Ok(Request {
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        response_mode,
        claims: claims.within(&scope, |s| !facts.scope(s).is_empty()),
        scope,
        nonce: get("nonce").map(str::to_owned),
        challenge: challenge.to_owned(),
        prompt: prompt(get("prompt")).ok_or_else(|| to_client("invalid_request", "prompt: none, or login, consent, select_account"))?,
        max_age: max_age.map(i64::from),
        login_hint: get("login_hint").map(str::to_owned),
        id_token_hint: get("id_token_hint").map(str::to_owned),
        acr_values,
        dpop_jkt,
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
    let login = words.contains("login") || words.contains("select_account");
    Some(Prompt { none: words.contains("none"), login, consent: words.contains("consent") })
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
        fn scope(&self, asked: &str) -> String {
            granted_scope(asked)
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
        let known = all.iter().any(|(n, v)| n == "client_id" && v == "shop");
        read(&all, known.then(|| Shop(vec!["https://shop.example/cb".into()])), false)
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
        assert_eq!((read.scope.as_str(), read.max_age, read.prompt.login), ("openid email", Some(60), true));
        assert_eq!(request(&[("prompt", "none")]).unwrap().prompt, Prompt { none: true, ..Prompt::default() });
        assert_eq!(request(&[("prompt", "consent select_account")]).unwrap().prompt, Prompt { none: false, login: true, consent: true });
        assert_eq!(request(&[("response_mode", "form_post")]).unwrap().response_mode, ResponseMode::FormPost);
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
        assert!(matches!(read(&all, Some(Shop(vec![])), false), Err(Fault::Page(_))));
    }

    #[test]
    fn pkce_cannot_be_left_out_or_weakened() {
        assert_eq!(error(&[("code_challenge", "")]), "invalid_request");
        assert_eq!(error(&[("code_challenge_method", "")]), "invalid_request");
        assert_eq!(error(&[("code_challenge_method", "plain")]), "invalid_request");
        assert_eq!(error(&[("code_challenge", "tooshort")]), "invalid_request");
    }

    /// A client of which an administrator says that it does not know PKCE.
    struct Old(Shop);
    impl ClientFacts for Old {
        fn redirects(&self) -> &[String] {
            self.0.redirects()
        }
        fn may_use_code(&self) -> bool {
            true
        }
        fn scope(&self, asked: &str) -> String {
            granted_scope(asked)
        }
        fn pkce_optional(&self) -> bool {
            true
        }
    }

    #[test]
    fn who_does_not_know_pkce_may_leave_all_of_it_out_and_no_part() {
        let ask = |changes: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let mut all: Vec<(String, String)> = changes.iter().map(owned).collect();
            for (name, value) in GOOD {
                if !name.starts_with("code_challenge") && !changes.iter().any(|(changed, _)| *changed == name) {
                    all.push((name.to_owned(), value.to_owned()));
                }
            }
            read(&all, Some(Old(Shop(vec!["https://shop.example/cb".into()]))), false)
        };
        assert_eq!(ask(&[]).unwrap().challenge, "");
        let challenge = ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(ask(&[challenge, ("code_challenge_method", "S256")]).unwrap().challenge, challenge.1, "it may know it");
        for bad in [
            &[("code_challenge_method", "S256")][..],
            &[challenge],
            &[challenge, ("code_challenge_method", "plain")],
            &[("code_challenge", "short"), ("code_challenge_method", "S256")],
        ] {
            assert!(matches!(ask(bad), Err(Fault::Redirect { error: "invalid_request", .. })), "{bad:?}");
        }
    }

    #[test]
    fn other_flows_and_odd_prompts_are_refused() {
        assert_eq!(error(&[("response_type", "token")]), "unsupported_response_type");
        assert_eq!(error(&[("response_mode", "fragment")]), "invalid_request");
        assert_eq!(error(&[("prompt", "none login")]), "invalid_request");
        assert_eq!(error(&[("prompt", "create")]), "invalid_request");
        assert_eq!(error(&[("scope", "everything")]), "invalid_scope");
        assert_eq!(error(&[("request", "eyJ")]), "request_not_supported");
        assert_eq!(error(&[("request_uri", "https://evil.example/r.jwt")]), "request_uri_not_supported");
        assert_eq!(error(&[("registration", "{}")]), "registration_not_supported");
        assert_eq!(error(&[("max_age", "-1")]), "invalid_request");
        assert_eq!(error(&[("claims", "[")]), "invalid_request");
        assert_eq!(error(&[("dpop_jkt", "short")]), "invalid_request");
    }
}
