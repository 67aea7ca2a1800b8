//! Which settings a client may have (RFC 7591 section 2, RFC 9700, RFC 8252): checked once at the door, trusted inside.

use gantry_contract::identity::ClientSettings;
use gantry_kernel::FieldFault;
use url::{Host, Url};

use crate::domain::authorize::SCOPES;

pub const AUTH_METHODS: [&str; 6] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"];
pub const ID_TOKEN_ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const GRANTS: [&str; 5] = ["authorization_code", "refresh_token", "client_credentials", DEVICE_CODE, TOKEN_EXCHANGE];

const MAX_ADDRESSES: usize = 50;
const MAX_ADDRESS: usize = 2_000;
const MAX_KEYS: usize = 10;

/// An id: letters, digits and `. _ -`, at most 64; `gantry-` is for our own.
pub fn is_id(id: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(fine) && id.as_bytes()[0].is_ascii_alphanumeric() && !id.starts_with("gantry-")
}

/// Every fault of `settings`, by field. `of_org`: it belongs to an organisation, whose administrators must not be able to
/// make a client that acts for people of the whole platform.
pub fn faults(settings: &ClientSettings, of_org: bool) -> Vec<FieldFault> {
    let mut all = Vec::new();
    let mut fault = |field: &str, detail: String| all.push(FieldFault { field: field.into(), detail });
    let it = settings;
    let name = it.client_name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        fault("client_name", "must have 1 to 100 characters and no control characters".into());
    }
    if !matches!(it.application_type.as_str(), "web" | "native") {
        fault("application_type", "must be web or native".into());
    }
    let native = it.application_type == "native";
    for (field, list) in [("redirect_uris", &it.redirect_uris), ("post_logout_redirect_uris", &it.post_logout_redirect_uris)] {
        if list.len() > MAX_ADDRESSES {
            fault(field, format!("at most {MAX_ADDRESSES}"));
        }
        for address in list.iter().take(MAX_ADDRESSES) {
            if let Err(why) = redirect(address, native) {
                fault(field, format!("`{}`: {why}", address.chars().take(100).collect::<String>()));
            }
        }
    }
    let grants: Vec<&str> = it.grant_types.iter().map(String::as_str).collect();
    for unknown in grants.iter().filter(|g| !GRANTS.contains(g)) {
        fault("grant_types", format!("`{}`: must be one of {}", unknown.chars().take(80).collect::<String>(), GRANTS.join(", ")));
    }
    if grants.is_empty() {
        fault("grant_types", "at least one".into());
    }
    if grants.contains(&"authorization_code") && it.redirect_uris.is_empty() {
        fault("redirect_uris", "the code flow needs at least one".into());
    }
    let method = it.token_endpoint_auth_method.as_str();
    if !AUTH_METHODS.contains(&method) {
        fault("token_endpoint_auth_method", format!("must be one of {}", AUTH_METHODS.join(", ")));
    }
    if method == "none" && grants.contains(&"client_credentials") {
        fault("grant_types", "a public client has no credentials of its own".into());
    }
    if method == "none" && it.pkce_optional {
        fault("pkce_optional", "a client without credentials always uses PKCE".into());
    }
    keys(it, method, &mut fault);
    if !ID_TOKEN_ALGORITHMS.contains(&it.id_token_signed_response_alg.as_str()) {
        fault("id_token_signed_response_alg", format!("must be one of {}", ID_TOKEN_ALGORITHMS.join(", ")));
    }
    for unknown in it.scopes.iter().filter(|s| !SCOPES.contains(&s.as_str())) {
        fault("scopes", format!("`{}`: must be one of {}", unknown.chars().take(80).collect::<String>(), SCOPES.join(", ")));
    }
    if of_org && it.scopes.iter().any(|s| s == "api") {
        fault("scopes", "`api` acts on the whole platform: only a client of the platform may have it".into());
    }
    let mut range = |field: &str, value: Option<u32>, low: u32, high: u32| {
        if value.is_some_and(|v| !(low..=high).contains(&v)) {
            fault(field, format!("must be {low} to {high}"));
        }
    };
    range("access_token_seconds", it.access_token_seconds, 30, 86_400);
    range("refresh_idle_days", it.refresh_idle_days, 1, 365);
    range("refresh_days", it.refresh_days, 1, 365);
    if it.audience.as_ref().is_some_and(|a| a.is_empty() || a.len() > 500 || !a.bytes().all(|b| b.is_ascii_graphic())) {
        fault("audience", "must have 1 to 500 printable characters without spaces".into());
    }
    for (field, address) in
        [("backchannel_logout_uri", &it.backchannel_logout_uri), ("client_uri", &it.client_uri), ("policy_uri", &it.policy_uri), ("tos_uri", &it.tos_uri)]
    {
        if let Some(address) = address
            && let Err(why) = https(address)
        {
            fault(field, why.into());
        }
    }
    all
}

fn keys(it: &ClientSettings, method: &str, fault: &mut impl FnMut(&str, String)) {
    if it.jwks.is_some() && it.jwks_uri.is_some() {
        fault("jwks_uri", "either jwks or jwks_uri".into());
    }
    let needs_keys = matches!(method, "private_key_jwt" | "self_signed_tls_client_auth");
    if needs_keys && it.jwks.is_none() && it.jwks_uri.is_none() {
        fault("jwks", format!("{method} needs jwks or jwks_uri"));
    }
    if let Some(address) = &it.jwks_uri
        && let Err(why) = https(address)
    {
        fault("jwks_uri", why.into());
    }
    if let Some(jwks) = &it.jwks
        && let Err(why) = public_keys(jwks)
    {
        fault("jwks", why);
    }
    let names = [&it.tls_client_auth_subject_dn, &it.tls_client_auth_san_dns, &it.tls_client_auth_san_uri];
    let named = names.iter().filter(|n| n.is_some()).count();
    if method == "tls_client_auth" && named != 1 {
        fault("tls_client_auth_subject_dn", "tls_client_auth needs exactly one of tls_client_auth_subject_dn, _san_dns, _san_uri".into());
    }
    if names.iter().any(|n| n.as_ref().is_some_and(|n| n.trim().is_empty() || n.len() > 1_000)) {
        fault("tls_client_auth_subject_dn", "must have 1 to 1000 characters".into());
    }
}

/// A JWK set of asymmetric public keys: a private part must never get here.
fn public_keys(jwks: &serde_json::Value) -> Result<(), String> {
    let keys = jwks.get("keys").and_then(|k| k.as_array()).ok_or("must be a JWK set: {\"keys\": [...]}")?;
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(format!("must have 1 to {MAX_KEYS} keys"));
    }
    for key in keys {
        if !matches!(key.get("kty").and_then(|k| k.as_str()), Some("RSA" | "EC" | "OKP")) {
            return Err("only keys of kty RSA, EC or OKP".into());
        }
        if ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|private| key.get(private).is_some()) {
            return Err("a private key is in the set: send public ones only, and replace that key".into());
        }
    }
    Ok(())
}

/// Whether `address` may be registered to send people back to.
fn redirect(address: &str, native: bool) -> Result<(), &'static str> {
    if address.len() > MAX_ADDRESS || !address.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must have at most 2000 printable ASCII characters (write unicode host names as xn--, other characters as %XX)");
    }
    if address.contains('*') {
        return Err("wildcards are not allowed: register every address");
    }
    if address.contains('#') {
        return Err("must not have a fragment");
    }
    if address.contains('\\') {
        return Err("must not have a backslash");
    }
    let url = Url::parse(address).map_err(|_| "is no absolute address")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not have a user name or password");
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err("must be https; http only for 127.0.0.1, [::1] and localhost"),
        "javascript" | "data" | "file" | "vbscript" | "blob" | "about" | "ws" | "wss" | "ftp" => Err("this scheme is not allowed"),
        // RFC 8252 section 7.1: a domain of one's own, reversed, so that no two programs share it.
        scheme if native && scheme.contains('.') => Ok(()),
        _ => Err("must be https (native clients: also a reversed domain such as org.example.app:/callback)"),
    }
}

fn https(address: &str) -> Result<(), &'static str> {
    let url = Url::parse(address).map_err(|_| "is no absolute address")?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() == "https" && plain && address.len() <= MAX_ADDRESS { Ok(()) } else { Err("must be https, without user name and fragment") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> ClientSettings {
        ClientSettings { client_name: "Shop".into(), redirect_uris: vec!["https://shop.example/cb".into()], ..ClientSettings::default() }
    }

    fn fields(settings: &ClientSettings) -> Vec<String> {
        faults(settings, false).into_iter().map(|f| f.field).collect()
    }

    #[test]
    fn an_ordinary_client_has_no_fault_and_every_fault_is_named() {
        assert_eq!(fields(&good()), Vec::<String>::new());
        let bad = ClientSettings { client_name: " ".into(), grant_types: vec!["password".into()], scopes: vec!["root".into()], ..good() };
        assert_eq!(fields(&bad), ["client_name", "grant_types", "scopes"]);
    }

    #[test]
    fn redirect_tricks_cannot_be_registered() {
        for bad in [
            "https://*.example/cb",
            "https://shop.example/cb#x",
            "https://user@shop.example/cb",
            "https://user:pw@shop.example/cb",
            "http://shop.example/cb",
            "https://shop。example/cb",
            "https://shop.example\\@evil.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "/cb",
            "",
            "shop:/cb",
        ] {
            let settings = ClientSettings { redirect_uris: vec![bad.into()], application_type: "native".into(), ..good() };
            assert_eq!(fields(&settings), ["redirect_uris"], "{bad}");
        }
        for (address, native) in [("http://127.0.0.1/cb", false), ("http://[::1]/cb", false), ("org.example.app:/cb", true)] {
            assert_eq!(redirect(address, native), Ok(()), "{address}");
        }
        assert!(redirect("org.example.app:/cb", false).is_err(), "schemes are for native clients");
    }

    #[test]
    fn only_a_client_with_credentials_goes_without_pkce() {
        let old = ClientSettings { pkce_optional: true, ..good() };
        assert_eq!(fields(&old), Vec::<String>::new());
        assert_eq!(fields(&ClientSettings { token_endpoint_auth_method: "none".into(), ..old }), ["pkce_optional"]);
    }

    #[test]
    fn keys_are_public_and_there_when_needed() {
        let by_key = |jwks| ClientSettings { token_endpoint_auth_method: "private_key_jwt".into(), jwks, ..good() };
        assert_eq!(fields(&by_key(None)), ["jwks"]);
        assert_eq!(fields(&by_key(Some(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": "a", "y": "b" }] })))), Vec::<String>::new());
        assert_eq!(fields(&by_key(Some(json!({ "keys": [{ "kty": "EC", "d": "secret" }] })))), ["jwks"]);
        assert_eq!(fields(&by_key(Some(json!({ "keys": [{ "kty": "oct", "k": "secret" }] })))), ["jwks"]);
    }

    #[test]
    fn an_organisation_cannot_make_a_client_for_the_whole_platform() {
        let api = ClientSettings { scopes: vec!["openid".into(), "api".into()], ..good() };
        assert!(faults(&api, false).is_empty());
        assert_eq!(faults(&api, true).len(), 1);
    }

    #[test]
    fn ids_are_plain_and_ours_are_ours() {
        for good in ["grafana", "a", "My.App_1-x"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "gantry-console", "-x", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
