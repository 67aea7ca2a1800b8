//! What a new password must be. Length and guessability count, classes of characters do not (NIST SP 800-63B).

use thiserror::Error;
use zxcvbn::Score;

pub const MIN_LENGTH: usize = 8;
/// Longer ones only cost hashing time.
pub const MAX_LENGTH: usize = 256;

/// Words of this platform that everybody would try first; the person's own come on top.
const HOUSE_WORDS: [&str; 4] = ["gantry", "container", "kubernetes", "docker"];

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Weak {
    #[error("must have {MIN_LENGTH} to {MAX_LENGTH} characters")]
    Length,
    #[error("is too easy to guess; use several unrelated words, and none of your name or e-mail address")]
    Guessable,
}

/// # Errors
/// Why `password` is not good enough for a person known by `words` (name, e-mail address, ...).
pub fn check(password: &str, words: &[&str]) -> Result<(), Weak> {
    let length = password.chars().count();
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) || password.len() > 4 * MAX_LENGTH {
        return Err(Weak::Length);
    }
    let parts = words.iter().flat_map(|w| std::iter::once(*w).chain(w.split(|c: char| !c.is_alphanumeric())));
    let words: Vec<&str> = parts.filter(|w| w.chars().count() > 2).chain(HOUSE_WORDS).collect();
    // zxcvbn takes time quadratic in the length; what is strong after 64 characters is strong enough.
    let head: String = password.chars().take(64).collect();
    if zxcvbn::zxcvbn(&head, &words).score() < Score::Three { Err(Weak::Guessable) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_and_personal_passwords_are_refused() {
        let words = ["ada.lovelace", "ada@analytical-engine.example", "Ada Lovelace"];
        for bad in ["password1", "12345678", "qwertyuiop", "ada.lovelace1", "lovelace2026", "gantry123"] {
            assert_eq!(check(bad, &words), Err(Weak::Guessable), "{bad}");
        }
        assert_eq!(check("x7!kQ", &words), Err(Weak::Length));
        assert_eq!(check(&"x".repeat(257), &words), Err(Weak::Length));
    }

    #[test]
    fn several_words_and_other_scripts_are_fine() {
        for good in ["correct horse battery staple", "tr4ck-Pumice_olive", "夜航西飞与三只灰雁的旅程"] {
            assert_eq!(check(good, &["ada"]), Ok(()), "{good}");
        }
    }
}
