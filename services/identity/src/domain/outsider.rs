//! Which outside program is which robot here: a trusted issuer's token, judged by its claims. Everything must fit; what
//! no rule names gets nothing.

use std::collections::BTreeMap;

use gantry_kernel::FieldFault;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const MAX_RULES: usize = 100;
const MAX_CLAIMS: usize = 20;

/// Somebody whose tokens count here: a CI system, a Kubernetes API server, a SPIFFE trust domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// `aud` of tokens that are meant for us; our own address if not given.
    #[serde(default)]
    pub audience: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    #[serde(default)]
    pub jwks_uri: Option<String>,
    pub rules: Vec<Rule>,
}

/// Tokens with all these claims act as this robot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The client whose robot it is, or
    #[serde(default)]
    pub client: Option<String>,
    /// the service account; one of the two, of the same organisation.
    #[serde(default)]
    pub service_account: Option<String>,
    /// Claim to value. A path such as `/kubernetes.io/namespace` reaches into objects; a value may end in `*`.
    pub claims: BTreeMap<String, String>,
}

impl TrustedIssuer {
    pub fn faults(&self) -> Vec<FieldFault> {
        let mut all = Vec::new();
        let mut fault = |field: &str, detail: String| all.push(FieldFault { field: field.into(), detail });
        if self.issuer.is_empty() || self.issuer.len() > 500 || !self.issuer.bytes().all(|b| b.is_ascii_graphic()) {
            fault("issuer", "must have 1 to 500 printable characters without spaces".into());
        }
        if self.audience.as_ref().is_some_and(|a| a.is_empty() || a.len() > 500) {
            fault("audience", "must have 1 to 500 characters".into());
        }
        match (&self.jwks, &self.jwks_uri) {
            (Some(jwks), None) if jwks.get("keys").and_then(Value::as_array).is_some_and(|k| !k.is_empty() && k.len() <= 50) => {}
            (Some(_), None) => fault("jwks", "must be a JWK set with 1 to 50 keys".into()),
            (None, Some(address)) if address.starts_with("https://") && address.len() <= 2_000 && url::Url::parse(address).is_ok() => {}
            (None, Some(_)) => fault("jwks_uri", "must be https".into()),
            _ => fault("jwks", "either jwks or jwks_uri".into()),
        }
        if self.rules.is_empty() || self.rules.len() > MAX_RULES {
            fault("rules", format!("must be 1 to {MAX_RULES}"));
        }
        for rule in self.rules.iter().take(MAX_RULES) {
            let name = rule.name();
            if rule.client.is_some() == rule.service_account.is_some() {
                fault("rules", "either client or service_account".into());
            }
            // `iss` and `aud` say nothing of which program it is: whoever has an account there would be let in.
            let telling = rule.claims.keys().any(|c| !matches!(c.trim_start_matches('/'), "iss" | "aud" | "exp" | "iat" | "nbf" | "jti"));
            if rule.claims.len() > MAX_CLAIMS || !telling {
                fault("rules", format!("{name}: 1 to {MAX_CLAIMS} claims that say which program it is, for example `sub`"));
            }
            if rule.claims.values().any(|v| v.is_empty() || v == "*" || v.trim_end_matches('*').contains('*')) {
                fault("rules", format!("{name}: a value must not be empty or `*` alone, and `*` stands at its end only"));
            }
        }
        all
    }

    /// The rules that the claims fit.
    pub fn fitting<'a>(&'a self, claims: &'a Value) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(|r| r.fits(claims))
    }
}

impl Rule {
    pub fn name(&self) -> &str {
        self.client.as_deref().or(self.service_account.as_deref()).unwrap_or_default()
    }

    fn fits(&self, claims: &Value) -> bool {
        !self.claims.is_empty() && self.claims.iter().all(|(claim, wanted)| value_at(claims, claim).is_some_and(|got| value_fits(wanted, got)))
    }
}

fn value_at<'a>(claims: &'a Value, claim: &str) -> Option<&'a Value> {
    if claim.starts_with('/') { claims.pointer(claim) } else { claims.get(claim) }
}

fn value_fits(wanted: &str, got: &Value) -> bool {
    let text_fits = |got: &str| match wanted.strip_suffix('*') {
        Some(start) => got.starts_with(start),
        None => got == wanted,
    };
    match got {
        Value::String(got) => text_fits(got),
        Value::Bool(got) => wanted == if *got { "true" } else { "false" },
        Value::Number(got) => got.to_string().as_str() == wanted,
        Value::Array(all) => all.iter().any(|v| v.as_str().is_some_and(text_fits)),
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issuer(claims: &[(&str, &str)]) -> TrustedIssuer {
        let claims = claims.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        TrustedIssuer {
            issuer: "https://ci.example".into(),
            audience: None,
            jwks: None,
            jwks_uri: Some("https://ci.example/jwks".into()),
            rules: vec![Rule { client: Some("deployer".into()), service_account: None, claims }],
        }
    }

    #[test]
    fn all_claims_of_a_rule_must_fit() {
        let it = issuer(&[("repository", "acme/shop"), ("ref", "refs/heads/rel-*"), ("/k8s/namespace", "prod")]);
        let good = json!({ "repository": "acme/shop", "ref": "refs/heads/rel-1", "k8s": { "namespace": "prod" } });
        let names = |claims: &Value| it.fitting(claims).map(|r| r.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&good), ["deployer"]);
        for (path, bad) in [("repository", "acme/shop2"), ("ref", "refs/heads/main"), ("ref", "")] {
            let mut claims = good.clone();
            claims[path] = json!(bad);
            assert!(names(&claims).is_empty(), "{claims}");
        }
        assert!(names(&json!({})).is_empty());
    }

    #[test]
    fn rules_that_would_let_everybody_in_are_faults() {
        assert!(issuer(&[("sub", "repo:acme/shop")]).faults().is_empty());
        let both = Rule { service_account: Some("ci".into()), ..issuer(&[("sub", "x")]).rules.remove(0) };
        assert!(!TrustedIssuer { rules: vec![both], ..issuer(&[]) }.faults().is_empty());
        for bad in [&[][..], &[("aud", "x")], &[("sub", "*")], &[("sub", "a*b")], &[("sub", "")]] {
            assert!(!issuer(bad).faults().is_empty(), "{bad:?}");
        }
    }
}
