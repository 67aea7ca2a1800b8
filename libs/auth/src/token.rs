//! Tokens by identity: JWT access tokens (RFC 9068) and registry tokens (Docker token specification).

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_kernel::OffsetDateTime;
use jsonwebtoken::get_current_timestamp;
use moka::future::Cache;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::keys::Keys;

/// Clocks may differ by this much.
const LEEWAY_SECS: i64 = 5;

/// Claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    pub iss: String,
    /// "user:<uuid>", "service:<name>", "robot:<uuid>".
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    pub jti: String,
    #[serde(default)]
    pub client_id: String,
    /// Space-separated.
    #[serde(default)]
    pub scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// The session it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Factors used (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Who really acts, when somebody is impersonated (RFC 8693 section 4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<serde_json::Value>,
    /// The key it is bound to (RFC 9449, RFC 8705): without proof of that key it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<serde_json::Value>,
}

/// Claims of a registry token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryClaims {
    pub iss: String,
    /// As in [`AccessClaims`], or "" for anonymous.
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    pub jti: String,
    pub access: Vec<RegistryAccess>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryAccess {
    /// `repository` or `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}

/// What every set of claims has: whoever lacks one of these, or the `sub` that all have, is not read at all.
pub trait Claims: DeserializeOwned {
    fn expires(&self) -> i64;
    fn issuer(&self) -> &str;
    fn audience(&self) -> &str;
    /// Whether the type that a token's header names (empty: none) is one of tokens with these claims.
    fn is_type(typ: &str) -> bool;
}

impl Claims for AccessClaims {
    fn expires(&self) -> i64 {
        self.exp
    }
    fn issuer(&self) -> &str {
        &self.iss
    }
    fn audience(&self) -> &str {
        &self.aud
    }
    /// RFC 9068 section 4: a token of any other type is refused, whatever its claims look like.
    fn is_type(typ: &str) -> bool {
        typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
    }
}

impl Claims for RegistryClaims {
    fn expires(&self) -> i64 {
        self.exp
    }
    fn issuer(&self) -> &str {
        &self.iss
    }
    fn audience(&self) -> &str {
        &self.aud
    }
    /// The Docker token specification names none.
    fn is_type(_: &str) -> bool {
        true
    }
}

/// What counts of a token's header (RFC 7515 section 4.1).
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
    #[serde(borrow, default)]
    typ: Cow<'a, str>,
    /// Names of extensions that must be understood: we know none.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// When a token begins to count, if it says so.
#[derive(Deserialize)]
struct Begins {
    #[serde(default)]
    nbf: i64,
}

#[derive(Debug, Error)]
pub enum TokenError {
    #[error("the token is not one of ours")]
    Foreign,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid here: {0}")]
    Invalid(String),
}

/// The last bytes of a token, which belong to its signature: enough to find it again, and quicker than a hash of all of it.
/// Whether it is the same token is decided by its whole text.
type Tail = [u8; 32];

/// A token that was found good, and what it says.
struct Verified {
    text: Box<str>,
    claims: Arc<AccessClaims>,
}

/// Verifies tokens for one audience. Cheap to clone: every request has one.
#[derive(Clone)]
pub struct Verifier(Arc<Shared>);

struct Shared {
    keys: Keys,
    issuer: Arc<str>,
    verified: Cache<Tail, Arc<Verified>>,
    /// Proofs seen, for as long as they would count.
    proofs: Cache<(String, String), ()>,
}

impl Verifier {
    pub fn new(keys: Keys, issuer: &str) -> Self {
        Self(Arc::new(Shared {
            keys,
            issuer: issuer.into(),
            verified: Cache::builder().max_capacity(50_000).time_to_live(std::time::Duration::from_secs(60)).build(),
            proofs: Cache::builder().max_capacity(200_000).time_to_live(std::time::Duration::from_secs(130)).build(),
        }))
    }

    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Checks an access token that is shown as a bearer token: one that is bound to a key does not count.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn access(&self, token: &str, now: OffsetDateTime) -> Result<Arc<AccessClaims>, TokenError> {
        let claims = self.bound_or_bearer(token, now).await?;
        if claims.cnf.is_none() { Ok(claims) } else { Err(TokenError::Invalid("it is bound to a key".into())) }
    }

    /// Checks an access token whose audience is this installation; whether its key is there is for the caller to see
    /// (`cnf`). The outcome is kept for a minute at most.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub(crate) async fn bound_or_bearer(&self, token: &str, now: OffsetDateTime) -> Result<Arc<AccessClaims>, TokenError> {
        let tail = *token.as_bytes().last_chunk::<32>().ok_or(TokenError::Foreign)?;
        if let Some(known) = self.0.verified.get(&tail).await
            && *known.text == *token
        {
            let alive = known.claims.exp + LEEWAY_SECS >= now.unix_timestamp();
            return if alive { Ok(known.claims.clone()) } else { Err(TokenError::Expired) };
        }
        let claims: Arc<AccessClaims> = Arc::new(self.check(token, &self.0.issuer).await?);
        self.0.verified.insert(tail, Arc::new(Verified { text: token.into(), claims: claims.clone() })).await;
        Ok(claims)
    }

    /// Whether a proof (RFC 9449) comes for the first time here.
    pub async fn first_time(&self, proof: &crate::dpop::Proof) -> bool {
        self.0.proofs.entry((proof.jkt.clone(), proof.jti.clone())).or_insert(()).await.is_fresh()
    }

    /// Checks any token of ours for `audience`.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn check<C: Claims>(&self, token: &str, audience: &str) -> Result<C, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Foreign)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Foreign)?;
        let header = decoded(header).ok_or(TokenError::Foreign)?;
        let header: Head<'_> = serde_json::from_slice(&header).map_err(|_| TokenError::Foreign)?;
        let key = self.0.keys.get(&header.kid).await.filter(|_| header.crit.is_none()).ok_or(TokenError::Foreign)?;
        if header.alg != key.algorithm {
            return Err(invalid("its algorithm is not the key's"));
        }
        let signature = decoded(signature).ok_or(TokenError::Foreign)?;
        // Before anything that it says is read.
        key.public.verify_sig(signed.as_bytes(), &signature).map_err(|_| TokenError::Foreign)?;
        if !C::is_type(&header.typ) {
            return Err(invalid("it is of another type"));
        }
        let payload = decoded(payload).ok_or_else(|| invalid("its claims cannot be read"))?;
        let claims: C = serde_json::from_slice(&payload).map_err(|e| invalid(&e.to_string()))?;
        let Begins { nbf } = serde_json::from_slice(&payload).map_err(|e| invalid(&e.to_string()))?;
        let now = i64::try_from(get_current_timestamp()).unwrap_or(i64::MAX);
        if claims.expires() < now - LEEWAY_SECS {
            return Err(TokenError::Expired);
        }
        if nbf > now + LEEWAY_SECS {
            return Err(invalid("it does not count yet"));
        }
        if claims.issuer() != &*self.0.issuer {
            return Err(invalid("it is by another issuer"));
        }
        if claims.audience() != audience {
            return Err(invalid("it is for another audience"));
        }
        Ok(claims)
    }
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn invalid(why: &str) -> TokenError {
    TokenError::Invalid(why.to_owned())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::KeySource;

    struct NoSource;

    #[async_trait]
    impl KeySource for NoSource {
        async fn fetch(&self) -> anyhow::Result<JwkSet> {
            anyhow::bail!("none")
        }
    }

    const ISSUER: &str = "https://gantry.test";

    fn trusting(jwk: &Jwk) -> Verifier {
        let keys = Keys::new(Arc::new(NoSource));
        keys.set(&JwkSet { keys: vec![jwk.clone()] });
        Verifier::new(keys, ISSUER)
    }

    fn good(now: i64) -> Value {
        json!({ "iss": ISSUER, "aud": ISSUER, "sub": "user:a", "jti": "1", "iat": now, "exp": now + 60 })
    }

    type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

    /// A key as identity makes one of this algorithm: what signs, and the JWK.
    fn made(algorithm: &str) -> (Sign, Jwk) {
        let random = SystemRandom::new();
        let part = crate::dpop::encode;
        let (sign, jwk) = if algorithm == "ES256" {
            let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref()).unwrap();
            let point = pair.public_key().as_ref();
            let jwk = json!({ "kty": "EC", "crv": "P-256", "x": part(&point[1..33]), "y": part(&point[33..65]), "kid": "k" });
            let sign: Sign = Box::new(move |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec());
            (sign, jwk)
        } else {
            let private = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": part(pair.public_key().as_ref()), "kid": "k" });
            let sign: Sign = Box::new(move |message: &[u8]| pair.sign(message).as_ref().to_vec());
            (sign, jwk)
        };
        (sign, serde_json::from_value(jwk).unwrap())
    }

    fn signed(header: &Value, claims: &Value, sign: &Sign) -> String {
        let message = [header, claims].map(|part| crate::dpop::encode(part.to_string().as_bytes())).join(".");
        let signature = crate::dpop::encode(&sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    #[tokio::test]
    async fn a_token_counts_by_the_key_it_names_and_by_that_keys_algorithm_alone() {
        let now = gantry_kernel::Env::system().now();
        for (name, other) in [("ES256", "EdDSA"), ("EdDSA", "ES256")] {
            let (sign, jwk) = made(name);
            let verifier = trusting(&jwk);
            let claims = good(now.unix_timestamp());
            let token = |header: Value| signed(&header, &claims, &sign);
            assert_eq!(verifier.access(&token(json!({ "alg": name, "kid": "k", "typ": "at+jwt" })), now).await.unwrap().sub, "user:a");
            for bad in [
                json!({ "alg": other, "kid": "k", "typ": "at+jwt" }),
                json!({ "alg": "none", "kid": "k", "typ": "at+jwt" }),
                json!({ "alg": "HS256", "kid": "k", "typ": "at+jwt" }),
                json!({ "alg": name, "kid": "l", "typ": "at+jwt" }),
                json!({ "alg": name, "typ": "at+jwt" }),
                json!({ "alg": name, "kid": "k", "typ": "at+jwt", "crit": ["b64"] }),
                json!({ "alg": name, "kid": "k", "typ": "JWT" }),
                json!({ "alg": name, "kid": "k", "typ": "logout+jwt" }),
                json!({ "alg": name, "kid": "k" }),
            ] {
                let refused = verifier.access(&token(bad.clone()), now).await;
                assert!(matches!(refused, Err(TokenError::Foreign | TokenError::Invalid(_))), "{bad}: {refused:?}");
            }
            // Somebody else's key under the same name.
            let (stranger, _) = made(name);
            let forged = verifier.access(&signed(&json!({ "alg": name, "kid": "k" }), &claims, &stranger), now).await;
            assert!(matches!(forged, Err(TokenError::Foreign)), "{forged:?}");
        }
    }

    #[tokio::test]
    async fn what_a_token_says_of_itself_must_fit() {
        let (sign, jwk) = made("ES256");
        let verifier = trusting(&jwk);
        let now = gantry_kernel::Env::system().now();
        let at = now.unix_timestamp();
        let outcome = async |change: Value| {
            let mut claims = good(at);
            let all = claims.as_object_mut().unwrap();
            all.extend(change.as_object().unwrap().clone());
            all.retain(|_, value| *value != "gone");
            let token = signed(&json!({ "alg": "ES256", "kid": "k", "typ": "application/at+jwt" }), &claims, &sign);
            verifier.access(&token, now).await.map(|claims| claims.sub.clone())
        };
        assert_eq!(outcome(json!({ "nbf": at })).await.unwrap(), "user:a");
        for late in [at - 60, 0, -1] {
            let refused = outcome(json!({ "exp": late })).await;
            assert!(matches!(refused, Err(TokenError::Expired)), "{late}: {refused:?}");
        }
        for bad in [
            json!({ "nbf": at + 60 }),
            json!({ "nbf": "soon" }),
            json!({ "nbf": null }),
            json!({ "exp": "gone" }),
            json!({ "exp": "9999999999" }),
            json!({ "sub": "gone" }),
            json!({ "iss": "https://evil.example" }),
            json!({ "iss": "gone" }),
            json!({ "aud": "https://other.example" }),
            json!({ "aud": [ISSUER] }),
            json!({ "aud": "gone" }),
        ] {
            let refused = outcome(bad.clone()).await;
            assert!(matches!(refused, Err(TokenError::Invalid(_))), "{bad}: {refused:?}");
        }
        for garbage in ["", ".", "..", "a.b.c", "e30.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(verifier.access(garbage, now).await.is_err(), "{garbage}");
        }
    }

    #[tokio::test]
    async fn a_token_with_the_ending_of_a_known_one_is_checked_by_itself() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_der(pair.serialized_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("k".into());
        let keys = Keys::new(Arc::new(NoSource));
        keys.set(&JwkSet { keys: vec![jwk] });
        let verifier = Verifier::new(keys, "https://gantry.test");
        let now = gantry_kernel::Env::system().now();
        let claims = serde_json::json!({ "iss": "https://gantry.test", "aud": "https://gantry.test", "sub": "user:a", "jti": "1",
            "iat": now.unix_timestamp(), "exp": now.unix_timestamp() + 60 });
        let good = jsonwebtoken::encode(&Header { kid: Some("k".into()), typ: Some("at+jwt".into()), ..Header::new(Algorithm::ES256) }, &claims, &key).unwrap();
        for _ in 0..2 {
            assert_eq!(verifier.access(&good, now).await.unwrap().sub, "user:a");
        }
        // Another payload under the same signature.
        let (head, rest) = good.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let other = crate::dpop::encode(claims.to_string().replace("user:a", "user:b").as_bytes());
        let forged = verifier.access(&format!("{head}.{other}.{signature}"), now).await;
        assert!(matches!(forged, Err(TokenError::Foreign)), "{forged:?}");
        let late = verifier.access(&good, now + time::Duration::seconds(90)).await;
        assert!(matches!(late, Err(TokenError::Expired)), "{late:?}");
    }
}
