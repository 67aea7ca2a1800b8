//! The service's own secrets (not people's): made once, sealed in the database, never shown. Tokens are random text
//! that only their hash is kept of.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_es::Sealed;
use gantry_es_pg::Keyring;
use gantry_kernel::Env;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::store::keys;

/// The keyring subject of everything this service seals for itself.
pub const SUBJECT: &str = "service:identity";

/// A keyed hash for lookups and claims of personal names: equal names, equal hashes, but nobody without the key can
/// test a guess.
#[derive(Clone)]
pub struct Lookup(hmac::Key);

impl Lookup {
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Case and outer spaces do not count.
    pub fn hash(&self, name: &str) -> String {
        let name = name.trim().to_lowercase();
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, name.as_bytes()))
    }
}

/// Beginnings longer than this are not kept: who types more is compared with the opened name.
pub const LONGEST_BEGINNING: usize = 12;

impl Lookup {
    /// A keyed hash of a text as it is.
    pub fn exact(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, format!("exact\n{text}").as_bytes()))
    }

    /// The hash of the beginning of a name's word, for search.
    pub fn beginning(&self, text: &str) -> Vec<u8> {
        let short: String = text.trim().to_lowercase().chars().take(LONGEST_BEGINNING).collect();
        // Another realm than `hash`: a one-letter name must not look like a beginning.
        hmac::sign(&self.0, format!("begins\n{short}").as_bytes()).as_ref()[..16].to_vec()
    }

    /// Hashes of all beginnings of a name and of its words.
    pub fn beginnings(&self, name: &str) -> Vec<Vec<u8>> {
        let name = name.trim().to_lowercase();
        let words = name.split(' ').chain(name.split([' ', '.', '-', '_'])).filter(|w| !w.is_empty());
        let starts = std::iter::once(name.as_str()).chain(words.take(16));
        let of = |word: &str| (1..=word.chars().count().min(LONGEST_BEGINNING)).map(|n| word.chars().take(n).collect::<String>()).collect::<Vec<_>>();
        let mut all: Vec<_> = starts.flat_map(of).collect();
        all.sort();
        all.dedup();
        all.iter().map(|b| self.beginning(b)).collect()
    }
}

/// Ties forms to the browser they were shown to (CSRF).
#[derive(Clone)]
pub struct FormSeal(hmac::Key);

impl FormSeal {
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The hidden field of a form in the browser whose cookie is `cookie`.
    pub fn field(&self, cookie: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, cookie.as_bytes()))
    }

    pub fn fits(&self, cookie: &str, field: &str) -> bool {
        URL_SAFE_NO_PAD.decode(field).is_ok_and(|tag| hmac::verify(&self.0, cookie.as_bytes(), &tag).is_ok())
    }
}

/// Makes the successor of a refresh token. It follows from the predecessor, so a repeated request gets the same one
/// without anything readable being stored.
#[derive(Clone)]
pub struct Succession(hmac::Key);

impl Succession {
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub fn successor(&self, token: &str) -> String {
        format!("gr_{}", URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, token.as_bytes())))
    }
}

/// Reads the secret `name`, making it first if there is none.
///
/// # Errors
/// When the database or the keyring refuses.
pub async fn load(pool: &PgPool, keyring: &Keyring, env: &Env, name: &str) -> anyhow::Result<Vec<u8>> {
    if keys::secret(pool, name).await?.is_none() {
        let fresh = URL_SAFE_NO_PAD.encode(env.random::<32>());
        let sealed = keyring.seal(SUBJECT, &fresh).await?;
        keys::offer_secret(pool, name, &sealed.0).await?;
    }
    let sealed = keys::secret(pool, name).await?.ok_or_else(|| anyhow::anyhow!("the secret `{name}` cannot be read back"))?;
    Ok(URL_SAFE_NO_PAD.decode(keyring.open(SUBJECT, &Sealed(sealed)).await?)?)
}

/// A fresh token of 256 bits with a prefix that tells its kind (and lets scanners find leaked ones).
pub fn fresh(env: &Env, prefix: &str) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(env.random::<32>()))
}

/// What is kept of a token: it is random, so a plain hash cannot be guessed.
pub fn kept(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_hash_alike_under_one_key_only() {
        let (a, b) = (Lookup::new(&[1; 32]), Lookup::new(&[2; 32]));
        assert_eq!(a.hash("Ada@Example.org "), a.hash("ada@example.org"));
        assert_ne!(a.hash("ada"), a.hash("adb"));
        assert_ne!(a.hash("ada"), b.hash("ada"));
    }

    #[test]
    fn a_name_is_found_by_the_beginnings_of_its_words_only() {
        let lookup = Lookup::new(&[1; 32]);
        let kept = lookup.beginnings("Ada King-Lovelace");
        for typed in ["a", "ADA", "ada king", "lovel", "lovelace", "king-l"] {
            assert!(kept.contains(&lookup.beginning(typed)), "{typed}");
        }
        for typed in ["da", "kingx", "ada king-lovelacex", ""] {
            assert_eq!(kept.contains(&lookup.beginning(typed)), typed == "ada king-lovelacex", "{typed}: only the first 12 letters are kept");
        }
        assert!(!kept.contains(&Lookup::new(&[2; 32]).beginning("a")));
    }

    #[test]
    fn a_form_belongs_to_its_browser() {
        let seal = FormSeal::new(&[1; 32]);
        let field = seal.field("cookie-1");
        assert!(seal.fits("cookie-1", &field));
        assert!(!seal.fits("cookie-2", &field));
        assert!(!seal.fits("cookie-1", ""));
        assert!(!FormSeal::new(&[2; 32]).fits("cookie-1", &field));
    }

    #[test]
    fn a_successor_follows_from_its_predecessor() {
        let succession = Succession::new(&[1; 32]);
        assert_eq!(succession.successor("gr_a"), succession.successor("gr_a"));
        assert_ne!(succession.successor("gr_a"), succession.successor("gr_b"));
    }
}
