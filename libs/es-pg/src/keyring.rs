//! A key per subject (a person, a tenant), wrapped by the master key and kept outside the log. Erasing the key erases
//! what was sealed under it everywhere, the log's past included (crypto-shredding).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gantry_es::Sealed;
use gantry_kernel::Env;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::db::Db;

/// How long an unwrapped key may stay in memory: also how long another replica may still read an erased subject.
const KEPT: Duration = Duration::from_secs(30);
const KEPT_AT_MOST: usize = 10_000;
const NONCE: usize = 12;

#[derive(Debug, Error)]
pub enum KeyringError {
    #[error("the subject's key was erased")]
    Erased,
    #[error("the sealed value was not made for this subject, or was damaged")]
    Damaged,
    #[error("the master key must be 32 bytes")]
    MasterKey,
    #[error("the keys cannot be reached")]
    Sql(#[from] sqlx::Error),
}

type Key = Arc<Zeroizing<Vec<u8>>>;

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Keyring {
    db: Db,
    env: Env,
    master: Key,
    /// None: erased, which is for ever.
    kept: Arc<Mutex<HashMap<String, (Instant, Option<Key>)>>>,
}

impl Keyring {
    /// # Errors
    /// When `master` is not 32 bytes.
    pub fn new(db: Db, env: Env, master: &[u8]) -> Result<Self, KeyringError> {
        if master.len() != AES_256_GCM.key_len() {
            return Err(KeyringError::MasterKey);
        }
        Ok(Self { db, env, master: Arc::new(Zeroizing::new(master.to_vec())), kept: Arc::default() })
    }

    /// Encrypts `plain` under `subject`'s key, which is made if it is the first time.
    ///
    /// # Errors
    /// [`KeyringError::Erased`] for a subject that was erased: it cannot come back.
    pub async fn seal(&self, subject: &str, plain: &str) -> Result<Sealed, KeyringError> {
        let key = self.key(subject, true).await?;
        Ok(Sealed(STANDARD_NO_PAD.encode(encrypt(&key, subject, plain.as_bytes()))))
    }

    /// # Errors
    /// [`KeyringError::Erased`] when the subject was erased, [`KeyringError::Damaged`] for anything not sealed by it.
    pub async fn open(&self, subject: &str, sealed: &Sealed) -> Result<String, KeyringError> {
        let key = self.key(subject, false).await?;
        let bytes = STANDARD_NO_PAD.decode(&sealed.0).map_err(|_| KeyringError::Damaged)?;
        String::from_utf8(decrypt(&key, subject, &bytes)?).map_err(|_| KeyringError::Damaged)
    }

    /// Fetches the keys of many subjects at once, so that opening a page of people asks the database once.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn preload(&self, subjects: &[String]) -> Result<(), KeyringError> {
        let missing: Vec<&String> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            subjects.iter().filter(|s| kept.get(*s).is_none_or(|(since, _)| since.elapsed() >= KEPT)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as("select subject, wrapped from subject_keys where subject = any($1) and wrapped is not null")
            .bind(missing)
            .fetch_all(&self.db.keys)
            .await?;
        for (subject, wrapped) in rows {
            let key: Key = Arc::new(Zeroizing::new(decrypt(&self.master, &subject, &wrapped)?));
            self.keep(&subject, Some(key));
        }
        Ok(())
    }

    fn keep(&self, subject: &str, key: Option<Key>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_AT_MOST {
            kept.clear();
        }
        kept.insert(subject.to_owned(), (Instant::now(), key));
    }

    /// Makes everything sealed for `subject` unreadable, for ever.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn erase(&self, subject: &str) -> Result<(), KeyringError> {
        sqlx::query(
            "insert into subject_keys (subject, wrapped, erased_at) values ($1, null, now())
             on conflict (subject) do update set wrapped = null, erased_at = coalesce(subject_keys.erased_at, now())",
        )
        .bind(subject)
        .execute(&self.db.keys)
        .await?;
        self.keep(subject, None);
        Ok(())
    }

    async fn key(&self, subject: &str, make: bool) -> Result<Key, KeyringError> {
        if let Some((since, key)) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(subject)
            && since.elapsed() < KEPT
        {
            return key.clone().ok_or(KeyringError::Erased);
        }
        if make {
            let fresh = Zeroizing::new(self.env.random::<32>());
            sqlx::query("insert into subject_keys (subject, wrapped) values ($1, $2) on conflict (subject) do nothing")
                .bind(subject)
                .bind(encrypt(&self.master, subject, fresh.as_slice()))
                .execute(&self.db.keys)
                .await?;
        }
        let wrapped: Option<Option<Vec<u8>>> =
            sqlx::query_scalar("select wrapped from subject_keys where subject = $1").bind(subject).fetch_optional(&self.db.keys).await?;
        // One that was never made is not remembered: another replica may make it at any moment, and what it seals must open here.
        let Some(wrapped) = wrapped.ok_or(KeyringError::Erased)? else {
            self.keep(subject, None);
            return Err(KeyringError::Erased);
        };
        let key: Key = Arc::new(Zeroizing::new(decrypt(&self.master, subject, &wrapped)?));
        self.keep(subject, Some(key.clone()));
        Ok(key)
    }
}

/// Nonce, ciphertext and tag; `subject` is bound in, so a value cannot be moved to another.
fn encrypt(key: &[u8], subject: &str, plain: &[u8]) -> Vec<u8> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("keys have 32 bytes: checked where they are made");
    let mut data = plain.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(subject.as_bytes()), &mut data).expect("AES-GCM takes up to 64 GiB");
    let mut out = nonce.as_ref().to_vec();
    out.extend_from_slice(&data);
    out
}

fn decrypt(key: &[u8], subject: &str, sealed: &[u8]) -> Result<Vec<u8>, KeyringError> {
    if sealed.len() < NONCE {
        return Err(KeyringError::Damaged);
    }
    let (nonce, data) = sealed.split_at(NONCE);
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| KeyringError::Damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyringError::Damaged)?;
    let mut data = data.to_vec();
    let plain = key.open_in_place(nonce, Aad::from(subject.as_bytes()), &mut data).map_err(|_| KeyringError::Damaged)?;
    Ok(plain.to_vec())
}
