//! The keys that sign tokens (ES256), and the signing itself. Private parts are sealed in the database and held in
//! memory only by this process.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_es::Sealed;
use gantry_es_pg::{Keyring, Lease};
use gantry_kernel::{Env, Problem};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgPool;

use crate::app::secrets::SUBJECT;
use crate::domain::signing::{Key, Policy, plan};
use crate::store::keys::{self, SigningKeyRow};

struct Loaded {
    kid: String,
    signer: EncodingKey,
    /// All that verify, the coming one included.
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
        let mut rows = keys::all(&self.pool).await?;
        if needs_change(&rows, self.policy, now)
            && let Some(lease) = Lease::try_acquire(&self.pool, "signing-keys").await?
        {
            // Read again under the lease: another replica may have been faster.
            let changed = self.change(now).await;
            lease.release().await;
            changed?;
        }
        rows = keys::all(&self.pool).await?;
        let planned = plan(&facts(&rows), self.policy, now);
        // On the very first start another replica may hold the lease; it will be there in a moment.
        let kid = planned.current.context("there is no signing key yet")?;
        let row = rows.iter().find(|r| r.kid == kid).context("the planned key is among the rows")?;
        let private = self.keyring.open(SUBJECT, &Sealed(row.private_sealed.clone())).await?;
        let signer = EncodingKey::from_ec_der(&STANDARD.decode(private)?);
        let published = rows.iter().map(|r| serde_json::from_str::<Jwk>(&r.public_jwk)).collect::<Result<_, _>>()?;
        let loaded = Arc::new(Loaded { kid, signer, published: JwkSet { keys: published } });
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        Ok(())
    }

    async fn change(&self, now: gantry_kernel::OffsetDateTime) -> anyhow::Result<()> {
        let rows = keys::all(&self.pool).await?;
        let planned = plan(&facts(&rows), self.policy, now);
        if let Some(active_at) = planned.make {
            let (row, private) = make(now, active_at)?;
            let sealed = self.keyring.seal(SUBJECT, &private).await?;
            keys::insert(&self.pool, &SigningKeyRow { private_sealed: sealed.0, ..row }).await?;
        }
        keys::delete(&self.pool, &planned.drop).await?;
        Ok(())
    }

    fn loaded(&self) -> Result<Arc<Loaded>, Problem> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| Problem::unavailable("the signing key"))
    }

    /// # Errors
    /// 503 before the first key is loaded.
    pub fn jwks(&self) -> Result<JwkSet, Problem> {
        Ok(self.loaded()?.published.clone())
    }

    /// Signs `claims` as a JWT of type `typ`.
    ///
    /// # Errors
    /// 503 before the first key is loaded.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, Problem> {
        let loaded = self.loaded()?;
        let header = Header { typ: Some(typ.to_owned()), kid: Some(loaded.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &loaded.signer).map_err(Problem::internal)
    }

    /// The claims of a token of ours: type, signature, issuer, audience and time are right. The algorithm comes from
    /// our key, never from the token.
    pub fn verify<T: DeserializeOwned>(&self, token: &str, typ: &str, issuer: &str, audience: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.typ.as_deref() != Some(typ) {
            return None;
        }
        let loaded = self.loaded().ok()?;
        let jwk = loaded.published.find(header.kid.as_deref()?)?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.leeway = 5;
        jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk).ok()?, &rules).ok().map(|data| data.claims)
    }
    /// The claims of an ID token of ours as a hint: it may have expired and be for any client.
    pub fn verify_hint<T: DeserializeOwned>(&self, token: &str, issuer: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let loaded = self.loaded().ok()?;
        let jwk = loaded.published.find(header.kid.as_deref()?)?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[issuer]);
        rules.set_required_spec_claims(&["iss", "aud", "sub"]);
        rules.validate_exp = false;
        rules.validate_aud = false;
        jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk).ok()?, &rules).ok().map(|data| data.claims)
    }
}

fn facts(rows: &[SigningKeyRow]) -> Vec<Key> {
    rows.iter().map(|r| Key { kid: r.kid.clone(), active_at: r.active_at }).collect()
}

fn needs_change(rows: &[SigningKeyRow], policy: Policy, now: gantry_kernel::OffsetDateTime) -> bool {
    let planned = plan(&facts(rows), policy, now);
    planned.make.is_some() || !planned.drop.is_empty()
}

/// A new P-256 key: its row without the private part, and that part (PKCS #8, base64).
fn make(now: gantry_kernel::OffsetDateTime, active_at: gantry_kernel::OffsetDateTime) -> anyhow::Result<(SigningKeyRow, String)> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).map_err(|_| anyhow::anyhow!("no key could be made"))?;
    let signer = EncodingKey::from_ec_der(pkcs8.as_ref());
    let mut jwk = Jwk::from_encoding_key(&signer, Algorithm::ES256)?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    jwk.common.key_algorithm = Some(KeyAlgorithm::ES256);
    let row = SigningKeyRow { kid, public_jwk: serde_json::to_string(&jwk)?, private_sealed: String::new(), created_at: now, active_at };
    Ok((row, STANDARD.encode(pkcs8.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_signs_what_its_public_part_verifies() {
        let now = gantry_kernel::OffsetDateTime::UNIX_EPOCH;
        let (row, private) = make(now, now).unwrap();
        assert!(!row.public_jwk.contains("\"d\""), "the private part stays out: {}", row.public_jwk);
        let header = Header { kid: Some(row.kid.clone()), ..Header::new(Algorithm::ES256) };
        let signer = EncodingKey::from_ec_der(&STANDARD.decode(private).unwrap());
        let token = jsonwebtoken::encode(&header, &serde_json::json!({"sub": "x", "exp": 4_000_000_000u64}), &signer).unwrap();
        let jwk: Jwk = serde_json::from_str(&row.public_jwk).unwrap();
        let rules = Validation::new(Algorithm::ES256);
        let data = jsonwebtoken::decode::<serde_json::Value>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &rules).unwrap();
        assert_eq!(data.claims["sub"], "x");
    }
}
