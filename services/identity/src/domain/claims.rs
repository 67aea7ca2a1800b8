//! The `claims` request parameter (OpenID Connect Core 5.5): single claims beside those that scopes give.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::assurance::{Level, level};

/// Which scope a claim belongs to: a client gets by `claims` no more than its scopes could give it.
const CLAIMS: [(&str, &str); 6] =
    [("preferred_username", "profile"), ("name", "profile"), ("email", "email"), ("email_verified", "email"), ("groups", "groups"), ("roles", "roles")];

/// The claims that can be asked for.
pub fn scope_of(claim: &str) -> Option<&'static str> {
    CLAIMS.iter().find(|(name, _)| *name == claim).map(|(_, scope)| *scope)
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimsRequest {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub id_token: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub userinfo: BTreeSet<String>,
    /// `sub` must be this one.
    #[serde(skip)]
    pub sub: Option<String>,
    /// One of these is essential (section 5.5.1.1).
    #[serde(skip)]
    pub acr: Vec<String>,
    /// Every `acr` that the request names, by this parameter or by `acr_values`: what was asked for is answered in its own words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named_acr: Vec<String>,
}

impl ClaimsRequest {
    /// # Errors
    /// When the text is no such object.
    pub fn parse(text: Option<&str>) -> Result<Self, &'static str> {
        let Some(text) = text else { return Ok(Self::default()) };
        let all: Map<String, Value> = serde_json::from_str(text).map_err(|_| "claims: must be a JSON object")?;
        let mut read = Self::default();
        for (place, wanted) in &all {
            // Unknown members are ignored (section 5.5).
            if !matches!(place.as_str(), "id_token" | "userinfo") {
                continue;
            }
            let wanted = wanted.as_object().ok_or("claims: id_token and userinfo must be objects")?;
            let known = || wanted.keys().filter(|name| scope_of(name).is_some()).cloned().collect();
            if place == "userinfo" {
                read.userinfo = known();
            } else {
                read.id_token = known();
                read.named_acr = named_acr(wanted.get("acr"));
                if wanted.get("acr").and_then(|acr| acr.get("essential")).and_then(Value::as_bool) == Some(true) {
                    read.acr = read.named_acr.clone();
                }
            }
            // Both would say it of the same person.
            let sub = wanted.get("sub").and_then(|s| s.get("value")).and_then(Value::as_str).map(str::to_owned);
            if read.sub.is_some() && sub.is_some() && read.sub != sub {
                return Err("claims: sub is two people");
            }
            read.sub = read.sub.or(sub);
        }
        Ok(read)
    }

    /// Without what the granted scope gives anyway and what the client may not have.
    #[must_use]
    pub fn within(mut self, granted: &str, may: impl Fn(&str) -> bool) -> Self {
        let keep = |claim: &String| scope_of(claim).is_some_and(|s| may(s) && !granted.split(' ').any(|g| g == s));
        self.id_token.retain(&keep);
        self.userinfo.retain(&keep);
        self
    }

    /// The scopes that the asked claims belong to: what a person must agree to.
    pub fn scopes(&self) -> BTreeSet<&'static str> {
        self.id_token.iter().chain(&self.userinfo).filter_map(|c| scope_of(c)).collect()
    }
}

fn named_acr(acr: Option<&Value>) -> Vec<String> {
    let Some(acr) = acr else { return Vec::new() };
    let one = acr.get("value").and_then(Value::as_str);
    let many = acr.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many).take(10).map(str::to_owned).collect()
}

/// How strong a sign-in was, as `acr`.
pub fn acr_of(amr: &str) -> &'static str {
    level(amr).name()
}

/// The same for a request that named some: the strongest of those that the sign-in reaches (OpenID Connect Core 5.5.1.1: the answer is one
/// of the values that were asked for), else what it was.
pub fn acr_for(amr: &str, named: &[String]) -> &'static str {
    let was = level(amr);
    named.iter().filter_map(|name| Level::named(name)).filter(|asked| *asked <= was).max().unwrap_or(was).name()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_PEOPLE: &str = r#"{"id_token":{"sub":{"value":"user:1"}},"userinfo":{"sub":{"value":"user:2"}}}"#;

    #[test]
    fn strength_is_told_in_the_words_of_the_request() {
        let named = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (amr, asked, told) in [
            ("hwk user mfa", &[] as &[&str], "phr"),
            ("hwk user mfa", &["2"], "2"),
            ("hwk user mfa", &["1", "2"], "2"),
            ("hwk user mfa", &["phr", "2"], "phr"),
            ("pwd otp mfa", &["phr"], "2"),
            ("pwd", &["urn:other"], "1"),
        ] {
            assert_eq!(acr_for(amr, &named(asked)), told, "{amr} {asked:?}");
        }
        // What a grant was asked for is kept with it, also of before there was this.
        let kept = ClaimsRequest { named_acr: named(&["2"]), ..ClaimsRequest::default() };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<ClaimsRequest>(&text).unwrap(), kept);
        assert_eq!(serde_json::from_str::<ClaimsRequest>("{}").unwrap(), ClaimsRequest::default());
    }

    #[test]
    fn known_claims_are_read_and_others_ignored() {
        let text = r#"{"id_token":{"email":null,"shoe_size":null,"acr":{"essential":true,"values":["2"]},"sub":{"value":"user:1"}},
                       "userinfo":{"groups":{"essential":true}},"x":{},"y":1}"#;
        let read = ClaimsRequest::parse(Some(text)).unwrap();
        assert_eq!(read.id_token, BTreeSet::from(["email".to_owned()]));
        assert_eq!((read.sub.as_deref(), read.acr.as_slice()), (Some("user:1"), &["2".to_owned()][..]));
        assert_eq!(read.scopes(), BTreeSet::from(["email", "groups"]));
        assert_eq!(read.named_acr, ["2"]);
        let voluntary = ClaimsRequest::parse(Some(r#"{"id_token":{"acr":{"values":["phr","2"]}},"userinfo":{"sub":{"value":"user:2"}}}"#)).unwrap();
        assert_eq!((voluntary.acr.len(), voluntary.named_acr.as_slice()), (0, &["phr".to_owned(), "2".to_owned()][..]));
        assert_eq!(voluntary.sub.as_deref(), Some("user:2"));
        assert_eq!(ClaimsRequest::parse(None).unwrap(), ClaimsRequest::default());
        for bad in ["[]", "x", "{\"id_token\":1}", &"[".repeat(2000), TWO_PEOPLE] {
            assert!(ClaimsRequest::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_client_gets_no_claim_that_its_scopes_could_not_give() {
        let read = || ClaimsRequest::parse(Some(r#"{"id_token":{"email":null,"groups":null}}"#)).unwrap();
        assert_eq!(read().within("openid", |s| s == "email").id_token, BTreeSet::from(["email".to_owned()]));
        assert!(read().within("openid email groups", |_| true).id_token.is_empty(), "they come by the scopes");
    }
}
