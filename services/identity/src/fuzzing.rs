//! What strangers' bytes meet first, as one function each: for the fuzz targets in `fuzz/` and for the tests that replay
//! their corpus. Each states what must hold whatever comes, and panics if it does not.

use std::sync::LazyLock;

use async_trait::async_trait;
use futures::executor::block_on;
use gantry_auth::{AccessClaims, KeySource, Keys, RegistryClaims, Verifier};
use gantry_kernel::OffsetDateTime;
use http::HeaderMap;
use jsonwebtoken::jwk::JwkSet;
use ldap3::asn1::{ASNTag, PL, StructureTag};
use serde_json::{Value, json};

use crate::api::oauth::client_auth::{Asking, credentials};
use crate::api::oauth::form::Form;
use crate::app::clients::Grant;
use crate::domain::authorize;
use crate::domain::scim::filter;
use crate::domain::upstream::filter::Filter;
use crate::domain::{redirect, registry_scope};

/// The parameters of the token endpoint, read as its handler reads them.
///
/// # Panics
/// When a name stands twice in what was let through, or a client is taken to prove itself in two ways.
pub fn token_form(data: &[u8]) {
    let Ok(form) = Form::parse(data).once() else { return };
    for (name, value) in &form.0 {
        assert!(form.all(name).count() == 1 && (value.is_empty() || form.get(name) == Some(value)), "{name} is read in two ways");
    }
    let _ = form.need("grant_type").map(Grant::parse);
    let granted = authorize::granted_scope(form.get("scope").unwrap_or_default());
    assert!(granted.split(' ').all(|s| s.is_empty() || authorize::SCOPES.contains(&s)), "a scope was made up");
    let _ = registry_scope::parse(form.all("scope"));
    let asking = Asking { headers: HeaderMap::new(), certificate: None, method: http::Method::POST, path: "/oauth2/token".into() };
    if let Ok(shown) = credentials(&asking, &form) {
        assert!(!(shown.secret.is_some() && shown.assertion.is_some()), "two ways at once");
        assert!(form.get("client_id").is_none_or(|id| id == shown.id), "another client than it says");
    }
}

/// The public half of a key nobody has the other half of.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let keys = Keys::new(std::sync::Arc::new(NoKeys));
    let set = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "k1", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "k2", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ]});
    keys.set(&serde_json::from_value(set).expect("a key set"));
    Verifier::new(keys, "https://gantry.test")
});

struct NoKeys;

#[async_trait]
impl KeySource for NoKeys {
    async fn fetch(&self) -> anyhow::Result<JwkSet> {
        Ok(JwkSet { keys: Vec::new() })
    }
}

/// A token where an access token, a registry token, a client's assertion or a proof of possession may stand.
///
/// # Panics
/// When one that nobody signed is believed.
pub fn jwt(data: &[u8]) {
    let Ok(token) = std::str::from_utf8(data) else { return };
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
    assert!(block_on(VERIFIER.access(token, now)).is_err(), "an access token by nobody");
    assert!(block_on(VERIFIER.check::<AccessClaims>(token, "https://gantry.test")).is_err());
    assert!(block_on(VERIFIER.check::<RegistryClaims>(token, "registry")).is_err(), "a registry token by nobody");
    // Whoever has a key may sign a proof with it: here only the way there is walked.
    let _ = gantry_auth::dpop::check(token, "POST", "https://gantry.test/oauth2/token", Some("t"), now);
    let _ = crate::api::oauth::client_auth::issuer_of(token);
    let _ = crate::app::outsiders::unverified_issuer(token);
}

/// A SCIM filter, or the path of a PATCH operation.
///
/// # Panics
/// When one that is too long is read.
pub fn scim_filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(filter) = filter::parse(text) {
        assert!(text.len() <= filter::LONGEST, "a bomb was read");
        let person = json!({
            "userName": "ada", "active": true, "name": {"familyName": "Lovelace"}, "meta": {"lastModified": "2026-01-01T00:00:00Z"},
            "emails": [{"type": "work", "value": "ada@example.org", "primary": true}], "number": 3
        });
        for resource in [person, Value::Null, json!([]), json!({"emails": {"value": 1}})] {
            let _ = filter.fits(&resource);
        }
    }
    let _ = filter::parse_path(text);
}

/// What somebody typed as a user name, on its way to a directory.
///
/// # Panics
/// When it changes the search, or is searched for as something else.
pub fn ldap_filter(data: &[u8]) {
    let typed = String::from_utf8_lossy(data);
    let attributes = ["uid".to_owned(), "mail".to_owned()];
    let text = Filter::person("(objectClass=inetOrgPerson)", &attributes, &typed).to_string();
    let tag = ldap3::parse_filter(&text).unwrap_or_else(|()| panic!("no filter: {text}"));
    let whole = ASNTag::into_structure(tag);
    assert_eq!(parts(&whole).len(), 2, "{text}");
    let either = &parts(&whole)[1];
    assert_eq!(parts(either).len(), attributes.len(), "{text}");
    for (part, attribute) in parts(either).iter().zip(&attributes) {
        assert_eq!((part.id, bytes(&parts(part)[0])), (3, attribute.as_bytes()), "{text}");
        assert_eq!(bytes(&parts(part)[1]), typed.as_bytes(), "{text}");
    }
}

fn parts(tag: &StructureTag) -> &[StructureTag] {
    if let PL::C(parts) = &tag.payload { parts } else { panic!("not constructed: {tag:?}") }
}

fn bytes(tag: &StructureTag) -> &[u8] {
    if let PL::P(bytes) = &tag.payload { bytes } else { panic!("not primitive: {tag:?}") }
}

/// A redirect address that a request asks for.
///
/// # Panics
/// When one goes anywhere but to a registered place.
pub fn redirect(data: &[u8]) {
    const REGISTERED: [&str; 3] = ["https://shop.example/callback", "http://127.0.0.1/callback", "http://[::1]/callback"];
    let Ok(asked) = std::str::from_utf8(data) else { return };
    if !redirect::allowed(&REGISTERED, asked) || REGISTERED.contains(&asked) {
        return;
    }
    let rest = ["http://127.0.0.1:", "http://[::1]:"].iter().find_map(|host| asked.strip_prefix(host)).expect("only loopback differs");
    let port = rest.strip_suffix("/callback").expect("only the port differs");
    assert!(port.parse::<u16>().is_ok_and(|p| p > 0 && p.to_string() == port), "{asked}");
    // Another reader comes to the same place.
    let url = url::Url::parse(asked).expect("an address");
    assert!(url.host_str().is_some_and(|h| h == "127.0.0.1" || h == "[::1]") && url.path() == "/callback" && url.username().is_empty());
}

#[cfg(test)]
mod tests {
    use gantry_testkit::replay;

    #[test]
    fn the_corpus_of_token_forms_is_read_or_refused() {
        replay("identity_token_form", super::token_form);
    }

    #[test]
    fn the_corpus_of_jwts_convinces_nobody() {
        replay("identity_jwt", super::jwt);
    }

    #[test]
    fn the_corpus_of_scim_filters_is_read_within_bounds() {
        replay("identity_scim_filter", super::scim_filter);
    }

    #[test]
    fn the_corpus_of_ldap_values_stays_inside_the_filter() {
        replay("identity_ldap_filter", super::ldap_filter);
    }

    #[test]
    fn the_corpus_of_redirects_leads_nowhere_else() {
        replay("identity_redirect", super::redirect);
    }
}
