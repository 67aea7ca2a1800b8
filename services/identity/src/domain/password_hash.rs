//! Password hashes of other systems that can be taken over: verified as they are, and replaced by ours when their
//! person signs in. What is not known is refused at import, not at the first sign-in.

use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Block};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use thiserror::Error;

/// More would let an imported hash stop the service: one check may cost about a second.
const MOST_PBKDF2: u32 = 2_000_000;
const MOST_BCRYPT: u32 = 14;
const MOST_SCRYPT_LOG_N: u8 = 18;
const MOST_ARGON2_KIB: u32 = 256 * 1024;

#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "must be an argon2 ($argon2id$), bcrypt ($2b$), scrypt ($scrypt$), PBKDF2 ($pbkdf2-sha256$ or Django's pbkdf2_sha256$) or LDAP ({{SSHA}}, {{SSHA256}}, {{SSHA512}}) hash of bearable cost"
)]
pub struct Unknown;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scheme {
    Argon2,
    Bcrypt,
    Scrypt,
    Pbkdf2 { algorithm: Sha, rounds: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    Salted { algorithm: Sha, hash: Vec<u8>, salt: Vec<u8> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sha {
    One,
    Two256,
    Two512,
}

/// A hash that can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    text: &'a str,
    scheme: Scheme,
}

impl<'a> Known<'a> {
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(text: &'a str) -> Result<Self, Unknown> {
        if text.len() > 1024 {
            return Err(Unknown);
        }
        let scheme = if text.starts_with("$argon2") {
            argon2_scheme(text)
        } else if let Some(rest) = ["$2a$", "$2b$", "$2y$"].iter().find_map(|p| text.strip_prefix(p)) {
            let cost: Option<u32> = rest.split('$').next().and_then(|c| c.parse().ok());
            (text.len() == 60 && text.is_ascii() && cost.is_some_and(|c| (4..=MOST_BCRYPT).contains(&c))).then_some(Scheme::Bcrypt)
        } else if text.starts_with("$scrypt$") {
            scrypt_scheme(text)
        } else if text.starts_with('{') {
            salted(text)
        } else {
            pbkdf2_phc(text).or_else(|| pbkdf2_django(text))
        };
        Ok(Self { text, scheme: scheme.ok_or(Unknown)? })
    }

    /// Takes its time: not on a thread that serves requests. `memory` is what argon2 works in, grown where it is too small:
    /// who checks one after the other gives the same again, and the system need not clear 19 MiB each time.
    pub fn fits(&self, password: &[u8], memory: &mut Vec<Block>) -> bool {
        match &self.scheme {
            Scheme::Argon2 => argon2_fits(self.text, password, memory),
            // Bytes past 72 never counted (and a NUL ends it): as the system that made the hash did.
            Scheme::Bcrypt => bcrypt::verify(&password[..password.len().min(72)], self.text).unwrap_or(false),
            Scheme::Scrypt => scrypt_fits(self.text, password),
            Scheme::Pbkdf2 { algorithm, rounds, salt, hash } => pbkdf2::verify(pbkdf2_of(*algorithm), *rounds, salt, password, hash).is_ok(),
            Scheme::Salted { algorithm, hash, salt } => {
                let mut context = digest::Context::new(digest_of(*algorithm));
                context.update(password);
                context.update(salt);
                verify_slices_are_equal(context.finish().as_ref(), hash).is_ok()
            }
        }
    }
}

fn argon2_scheme(text: &str) -> Option<Scheme> {
    let parsed = PasswordHash::new(text).ok()?;
    let params = argon2::Params::try_from(&parsed).ok()?;
    (params.m_cost() <= MOST_ARGON2_KIB && params.t_cost() <= 16 && params.p_cost() <= 16 && parsed.hash.is_some()).then_some(Scheme::Argon2)
}

fn argon2_fits(text: &str, password: &[u8], memory: &mut Vec<Block>) -> bool {
    let Some((hasher, salt, ought)) = argon2_of(text) else { return false };
    let mut is = vec![0; ought.len()];
    computed(&hasher, password, &salt, &mut is, memory) && verify_slices_are_equal(&is, &ought).is_ok()
}

/// How a hash was made: with these parameters, by this salt; and what came out.
fn argon2_of(text: &str) -> Option<(Argon2<'static>, Vec<u8>, Vec<u8>)> {
    let parsed = PasswordHash::new(text).ok()?;
    let version = match parsed.version {
        Some(version) => argon2::Version::try_from(version).ok()?,
        None => argon2::Version::default(),
    };
    let hasher = Argon2::new(argon2::Algorithm::try_from(parsed.algorithm.as_str()).ok()?, version, argon2::Params::try_from(&parsed).ok()?);
    Some((hasher, parsed.salt.as_ref()?.as_ref().to_vec(), parsed.hash.as_ref()?.as_bytes().to_vec()))
}

/// Computes a hash in `memory`.
pub fn computed(hasher: &Argon2<'_>, password: &[u8], salt: &[u8], out: &mut [u8], memory: &mut Vec<Block>) -> bool {
    let needed = hasher.params().block_count();
    if memory.len() < needed {
        memory.resize(needed, Block::default());
    }
    hasher.hash_password_into_with_memory(password, salt, out, &mut memory[..needed]).is_ok()
}

fn scrypt_scheme(text: &str) -> Option<Scheme> {
    let parsed = scrypt::password_hash::PasswordHash::new(text).ok()?;
    let params = scrypt::Params::try_from(&parsed).ok()?;
    (params.log_n() <= MOST_SCRYPT_LOG_N && params.r() <= 16 && params.p() <= 16 && parsed.hash.is_some()).then_some(Scheme::Scrypt)
}

fn scrypt_fits(text: &str, password: &[u8]) -> bool {
    use scrypt::password_hash::PasswordVerifier;
    scrypt::password_hash::PasswordHash::new(text).is_ok_and(|parsed| scrypt::Scrypt.verify_password(password, &parsed).is_ok())
}

fn pbkdf2_of(sha: Sha) -> pbkdf2::Algorithm {
    match sha {
        Sha::One => pbkdf2::PBKDF2_HMAC_SHA1,
        Sha::Two256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Sha::Two512 => pbkdf2::PBKDF2_HMAC_SHA512,
    }
}

fn digest_of(sha: Sha) -> &'static digest::Algorithm {
    match sha {
        Sha::One => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        Sha::Two256 => &digest::SHA256,
        Sha::Two512 => &digest::SHA512,
    }
}

fn rounds(text: &str) -> Option<NonZeroU32> {
    text.parse().ok().filter(|n: &NonZeroU32| n.get() <= MOST_PBKDF2)
}

/// `$pbkdf2-sha256$i=600000,l=32$salt$hash`.
fn pbkdf2_phc(text: &str) -> Option<Scheme> {
    let mut parts = text.strip_prefix("$pbkdf2")?.split('$');
    let algorithm = match parts.next()? {
        "" | "-sha1" => Sha::One,
        "-sha256" => Sha::Two256,
        "-sha512" => Sha::Two512,
        _ => return None,
    };
    let parameters = parts.next()?;
    let rounds = parameters.split(',').find_map(|p| p.strip_prefix("i=")).map_or_else(|| rounds(parameters), rounds)?;
    // Passlib writes `.` for `+`.
    let decode = |text: &str| STANDARD_NO_PAD.decode(text.replace('.', "+")).ok();
    let (salt, hash) = (decode(parts.next()?)?, decode(parts.next()?)?);
    (parts.next().is_none() && hash.len() >= 16).then_some(Scheme::Pbkdf2 { algorithm, rounds, salt, hash })
}

/// `pbkdf2_sha256$600000$salt$hash`, where the salt is plain text.
fn pbkdf2_django(text: &str) -> Option<Scheme> {
    let mut parts = text.split('$');
    let algorithm = match parts.next()? {
        "pbkdf2_sha1" => Sha::One,
        "pbkdf2_sha256" => Sha::Two256,
        _ => return None,
    };
    let rounds = rounds(parts.next()?)?;
    let (salt, hash) = (parts.next()?.as_bytes().to_vec(), STANDARD.decode(parts.next()?).ok()?);
    (parts.next().is_none() && hash.len() >= 16).then_some(Scheme::Pbkdf2 { algorithm, rounds, salt, hash })
}

/// `{SSHA}base64(hash + salt)`.
fn salted(text: &str) -> Option<Scheme> {
    let (name, encoded) = text.strip_prefix('{')?.split_once('}')?;
    let (algorithm, length) = match name.to_ascii_uppercase().as_str() {
        "SSHA" => (Sha::One, 20),
        "SSHA256" => (Sha::Two256, 32),
        "SSHA512" => (Sha::Two512, 64),
        _ => return None,
    };
    let bytes = STANDARD.decode(encoded).ok()?;
    if bytes.len() <= length {
        return None;
    }
    let (hash, salt) = bytes.split_at(length);
    Some(Scheme::Salted { algorithm, hash: hash.to_vec(), salt: salt.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hash: &str, password: &str) {
        let known = Known::parse(hash).unwrap_or_else(|e| panic!("{hash}: {e}"));
        // What another check left in the memory does not matter.
        let mut memory = Vec::new();
        assert!(known.fits(password.as_bytes(), &mut memory), "{hash}");
        assert!(!known.fits(b"wrong", &mut memory), "{hash}");
        assert!(known.fits(password.as_bytes(), &mut memory), "{hash}");
    }

    /// Made by other programs: Python's hashlib and crypt, OpenLDAP's slappasswd, Django's `make_password`.
    #[test]
    fn hashes_of_other_systems_are_verified() {
        for (hash, password) in include_str!("../../tests/hashes.txt").lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(' ')) {
            check(hash, password);
        }
    }

    #[test]
    fn what_is_not_known_or_costs_too_much_is_refused() {
        for bad in [
            "",
            "secret",
            "{MD5}X03MO1qnZdYdgyfeuILPmQ==",
            "{SSHA}AAAA",
            "$1$abc$def",
            "$2b$20$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuabcdefghijklmno",
            "$pbkdf2-sha256$i=999999999$c2FsdA$aGFzaGhhc2hoYXNoaGFzaA",
            "pbkdf2_sha256$0$salt$aGFzaGhhc2hoYXNoaGFzaA==",
            "$scrypt$ln=30,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        ] {
            assert_eq!(Known::parse(bad), Err(Unknown), "{bad}");
        }
    }
}
