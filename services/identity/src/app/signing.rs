//! The keys that sign tokens, one line of them per algorithm, and the signing itself. Private parts are sealed in the
//! database and held in memory only by this process.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gantry_es::Sealed;
use gantry_es_pg::{Keyring, Lease};
use gantry_kernel::{Env, OffsetDateTime, Problem};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sqlx::PgPool;
use time::Duration;

use crate::app::secrets::SUBJECT;
use crate::domain::signing::{Algorithm, Key, Policy, plan};
use crate::store::keys::{self, SigningKeyRow};

/// A private key, parsed once: parsing costs more than signing.
enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaPair),
}

struct Loaded {
    signers: BTreeMap<Algorithm, (String, Signer)>,
    /// All that verify, the coming ones included.
    published: JwkSet,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct SigningKeys {
    pool: PgPool,
    keyring: Keyring,
    env: Env,
    policy: Policy,
    loaded: Arc<RwLock<Option<Arc<Loaded>>>>,
}

impl SigningKeys {
    pub fn new(pool: PgPool, keyring: Keyring, env: Env, policy: Policy) -> Self {
        Self { pool, keyring, env, policy, loaded: Arc::default() }
    }

    /// Makes and drops keys as the plan says, then loads what there is. Any replica may call it at any time.
    ///
    /// # Errors
    /// When the database or the keyring refuses.
    pub async fn turn(&self) -> anyhow::Result<()> {
        let now = self.env.now();
        if needs_change(&keys::all(&self.pool).await?, self.policy, now)
            && let Some(lease) = Lease::try_acquire(&self.pool, "signing-keys").await?
        {
            // Read again under the lease: another replica may have been faster.
            let changed = self.change(now).await;
            lease.release().await;
            changed?;
        }
        self.load(now).await
    }

    async fn load(&self, now: OffsetDateTime) -> anyhow::Result<()> {
        let rows = keys::all(&self.pool).await?;
        let mut signers = BTreeMap::new();
        for algorithm in Algorithm::ALL {
            // On the very first start another replica may hold the lease; it will be there in a moment.
            let kid = plan(&facts(&rows, algorithm), self.policy, now).current.with_context(|| format!("there is no {} key yet", algorithm.as_str()))?;
            let row = rows.iter().find(|r| r.kid == kid).context("the planned key is among the rows")?;
            let private = STANDARD.decode(self.keyring.open(SUBJECT, &Sealed(row.private_sealed.clone())).await?)?;
            signers.insert(algorithm, (kid, Signer::open(algorithm, &private)?));
        }
        let published = rows.iter().map(|r| serde_json::from_str::<Jwk>(&r.public_jwk)).collect::<Result<_, _>>()?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Loaded { signers, published: JwkSet { keys: published } }));
        Ok(())
    }

    async fn change(&self, now: OffsetDateTime) -> anyhow::Result<()> {
        let rows = keys::all(&self.pool).await?;
        for algorithm in Algorithm::ALL {
            let planned = plan(&facts(&rows, algorithm), self.policy, now);
            if let Some(active_at) = planned.make {
                self.add(algorithm, now, active_at).await?;
            }
            keys::delete(&self.pool, &planned.drop).await?;
        }
        Ok(())
    }

    async fn add(&self, algorithm: Algorithm, now: OffsetDateTime, active_at: OffsetDateTime) -> anyhow::Result<String> {
        // An RSA key takes a while to find.
        let (row, private) = tokio::task::spawn_blocking(move || make(algorithm, now, active_at)).await??;
        let sealed = self.keyring.seal(SUBJECT, &private).await?;
        let kid = row.kid.clone();
        keys::insert(&self.pool, &SigningKeyRow { private_sealed: sealed.0, ..row }).await?;
        Ok(kid)
    }

    /// A new key by hand: published now, signing after `ahead`. With `compromised` it signs at once and nothing that the
    /// earlier keys of this algorithm signed counts any more.
    ///
    /// # Errors
    /// When the database or the keyring refuses.
    pub async fn rotate(&self, algorithm: Algorithm, ahead: Duration, compromised: bool) -> anyhow::Result<String> {
        let now = self.env.now();
        let before: Vec<String> = keys::all(&self.pool).await?.into_iter().filter(|r| r.alg == algorithm.as_str()).map(|r| r.kid).collect();
        let kid = self.add(algorithm, now, if compromised { now } else { now + ahead }).await?;
        if compromised {
            keys::delete(&self.pool, &before).await?;
        }
        self.load(now).await?;
        Ok(kid)
    }

    /// What there is: public parts only.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list(&self) -> anyhow::Result<Vec<(SigningKeyRow, &'static str)>> {
        let (rows, now) = (keys::all(&self.pool).await?, self.env.now());
        let current: Vec<String> = Algorithm::ALL.into_iter().filter_map(|a| plan(&facts(&rows, a), self.policy, now).current).collect();
        let state = |row: &SigningKeyRow| match (current.contains(&row.kid), row.active_at > now) {
            (true, _) => "signing",
            (false, true) => "coming",
            (false, false) => "verifying",
        };
        Ok(rows.into_iter().map(|row| (SigningKeyRow { private_sealed: String::new(), ..row.clone() }, state(&row))).collect())
    }

    fn loaded(&self) -> Result<Arc<Loaded>, Problem> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| Problem::unavailable("the signing key"))
    }

    /// # Errors
    /// 503 before the first key is loaded.
    pub fn jwks(&self) -> Result<JwkSet, Problem> {
        Ok(self.loaded()?.published.clone())
    }

    /// Signs `claims` as a JWT of type `typ` by ES256.
    ///
    /// # Errors
    /// 503 before the first key is loaded.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, Problem> {
        self.sign_with(Algorithm::Es256, typ, claims)
    }

    /// # Errors
    /// 503 before the first key is loaded.
    pub fn sign_with(&self, algorithm: Algorithm, typ: &str, claims: &impl Serialize) -> Result<String, Problem> {
        let loaded = self.loaded()?;
        let (kid, signer) = loaded.signers.get(&algorithm).ok_or_else(|| Problem::unavailable("the signing key"))?;
        let header = json!({ "alg": algorithm.as_str(), "typ": typ, "kid": kid });
        let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let mut token =
            format!("{}.{}", encode(serde_json::to_vec(&header).map_err(Problem::internal)?), encode(serde_json::to_vec(claims).map_err(Problem::internal)?));
        let signature = signer.sign(token.as_bytes()).map_err(Problem::internal)?;
        token.push('.');
        token.push_str(&encode(signature));
        Ok(token)
    }

    /// The claims of a token of ours: type, signature, issuer, audience and time are right. The algorithm comes from
    /// our key, never from the token.
    pub fn verify<T: DeserializeOwned>(&self, token: &str, typ: &str, issuer: &str, audience: &str) -> Option<T> {
        self.check(token, typ, |rules| {
            rules.set_issuer(&[issuer]);
            rules.set_audience(&[audience]);
        })
    }

    /// The same for whatever audience.
    pub fn verify_any<T: DeserializeOwned>(&self, token: &str, typ: &str, issuer: &str) -> Option<T> {
        self.check(token, typ, |rules| {
            rules.set_issuer(&[issuer]);
            rules.validate_aud = false;
        })
    }

    /// The claims of an ID token of ours as a hint: it may have expired and be for any client.
    pub fn verify_hint<T: DeserializeOwned>(&self, token: &str, issuer: &str) -> Option<T> {
        self.check(token, "JWT", |rules| {
            rules.set_issuer(&[issuer]);
            rules.validate_exp = false;
            rules.validate_aud = false;
        })
    }

    fn check<T: DeserializeOwned>(&self, token: &str, typ: &str, set: impl FnOnce(&mut Validation)) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.typ.as_deref() != Some(typ) {
            return None;
        }
        let loaded = self.loaded().ok()?;
        let jwk = loaded.published.find(header.kid.as_deref()?)?;
        let algorithm = match jwk.common.key_algorithm? {
            KeyAlgorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            KeyAlgorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
            KeyAlgorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            _ => return None,
        };
        let mut rules = Validation::new(algorithm);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.leeway = 5;
        rules.validate_nbf = true;
        set(&mut rules);
        jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk).ok()?, &rules).ok().map(|data| data.claims)
    }
}

fn facts(rows: &[SigningKeyRow], algorithm: Algorithm) -> Vec<Key> {
    rows.iter().filter(|r| r.alg == algorithm.as_str()).map(|r| Key { kid: r.kid.clone(), active_at: r.active_at }).collect()
}

fn needs_change(rows: &[SigningKeyRow], policy: Policy, now: OffsetDateTime) -> bool {
    Algorithm::ALL.into_iter().any(|algorithm| {
        let planned = plan(&facts(rows, algorithm), policy, now);
        planned.make.is_some() || !planned.drop.is_empty()
    })
}

impl Signer {
    /// From PKCS #8.
    fn open(algorithm: Algorithm, private: &[u8]) -> anyhow::Result<Self> {
        Ok(match algorithm {
            Algorithm::Es256 => Self::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private)?),
            Algorithm::EdDsa => Self::Ed(Ed25519KeyPair::from_pkcs8(private)?),
            Algorithm::Rs256 => Self::Rsa(RsaPair::from_pkcs8(private)?),
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        Ok(match self {
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec(),
            Self::Ed(pair) => pair.try_sign(message)?.as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                signature
            }
        })
    }
}

/// A new key: its row without the private part, and that part (PKCS #8, base64).
fn make(algorithm: Algorithm, now: OffsetDateTime, active_at: OffsetDateTime) -> anyhow::Result<(SigningKeyRow, String)> {
    let random = SystemRandom::new();
    let failed = |_| anyhow::anyhow!("no {} key could be made", algorithm.as_str());
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (private, jwk) = match algorithm {
        Algorithm::Es256 => {
            let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?.as_ref().to_vec();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private)?;
            // An uncompressed point: 4, x, y.
            let point = pair.public_key().as_ref();
            let jwk = json!({ "kty": "EC", "crv": "P-256", "x": part(&point[1..33]), "y": part(&point[33..65]) });
            (private, jwk)
        }
        Algorithm::EdDsa => {
            let private = Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?.as_ref().to_vec();
            let pair = Ed25519KeyPair::from_pkcs8(&private)?;
            (private, json!({ "kty": "OKP", "crv": "Ed25519", "x": part(pair.public_key().as_ref()) }))
        }
        Algorithm::Rs256 => {
            let pair = RsaPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?.as_ref().to_vec();
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&private));
            let jwk = Jwk::from_encoding_key(&EncodingKey::from_rsa_pem(pem.as_bytes())?, jsonwebtoken::Algorithm::RS256)?;
            (private, serde_json::to_value(jwk)?)
        }
    };
    let mut jwk: Jwk = serde_json::from_value(jwk)?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    jwk.common.key_algorithm = Some(match algorithm {
        Algorithm::Es256 => KeyAlgorithm::ES256,
        Algorithm::EdDsa => KeyAlgorithm::EdDSA,
        Algorithm::Rs256 => KeyAlgorithm::RS256,
    });
    let row = SigningKeyRow {
        kid,
        alg: algorithm.as_str().to_owned(),
        public_jwk: serde_json::to_string(&jwk)?,
        private_sealed: String::new(),
        created_at: now,
        active_at,
    };
    Ok((row, STANDARD.encode(private)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_of_each_algorithm_signs_what_its_public_part_verifies() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for algorithm in Algorithm::ALL {
            let (row, private) = make(algorithm, now, now).unwrap();
            assert!(!row.public_jwk.contains("\"d\""), "the private part stays out: {}", row.public_jwk);
            let signer = Signer::open(algorithm, &STANDARD.decode(private).unwrap()).unwrap();
            let body = URL_SAFE_NO_PAD.encode(json!({"sub": "x", "exp": 4_000_000_000u64}).to_string());
            let message = format!("{}.{body}", URL_SAFE_NO_PAD.encode(json!({"alg": algorithm.as_str()}).to_string()));
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signer.sign(message.as_bytes()).unwrap()));
            let jwk: Jwk = serde_json::from_str(&row.public_jwk).unwrap();
            assert_eq!(jwk.common.key_id.as_deref(), Some(row.kid.as_str()));
            let rules = Validation::new(algorithm.as_str().parse().unwrap());
            let read = jsonwebtoken::decode::<serde_json::Value>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &rules).unwrap();
            assert_eq!(read.claims["sub"], "x", "{}", algorithm.as_str());
        }
    }
}
