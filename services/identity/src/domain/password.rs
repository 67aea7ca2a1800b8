//! What a new password must be. Length and guessability count, classes of characters do not (NIST SP 800-63B).

use thiserror::Error;
use zxcvbn::Score;

pub const MIN_LENGTH: usize = 8;
/// Longer ones only cost hashing time.
pub const MAX_LENGTH: usize = 256;

/// Words of this platform that everybody would try first; the person's own come on top.
const HOUSE_WORDS: [&str; 4] = ["gantry", "container", "kubernetes", "docker"];
/// Passwords that are common where Chinese is spoken, and that lists of English words do not know.
const COMMON_CHINESE: &str = include_str!("common-chinese.txt");

/// What the policies that hold for a person ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Characters.
    pub min_length: usize,
    /// Guessability by zxcvbn, 3 or 4.
    pub min_score: u8,
}

impl Default for Rules {
    fn default() -> Self {
        Self { min_length: MIN_LENGTH, min_score: 3 }
    }
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Weak {
    #[error("must have {0} to {MAX_LENGTH} characters")]
    Length(usize),
    #[error("is too easy to guess; use several unrelated words, and none of your name or e-mail address")]
    Guessable,
    #[error("is on a list of passwords that became known elsewhere; choose another one")]
    Breached,
    #[error("was used before; choose another one")]
    Used,
}

/// # Errors
/// Why `password` is not good enough for a person known by `words` (name, e-mail address, ...).
pub fn check(password: &str, words: &[&str], rules: Rules) -> Result<(), Weak> {
    let length = password.chars().count();
    if !(rules.min_length..=MAX_LENGTH).contains(&length) || password.len() > 4 * MAX_LENGTH {
        return Err(Weak::Length(rules.min_length));
    }
    if is_common_chinese(password) {
        return Err(Weak::Guessable);
    }
    let parts = words.iter().flat_map(|w| std::iter::once(*w).chain(w.split(|c: char| !c.is_alphanumeric())));
    let words: Vec<&str> = parts.filter(|w| w.chars().count() > 2).chain(HOUSE_WORDS).collect();
    // zxcvbn takes time quadratic in the length; what is strong after 64 characters is strong enough.
    let head: String = password.chars().take(64).collect();
    let needed = if rules.min_score >= 4 { Score::Four } else { Score::Three };
    if zxcvbn::zxcvbn(&head, &words).score() < needed { Err(Weak::Guessable) } else { Ok(()) }
}

/// A common one, or a common one with a few digits or signs around it.
fn is_common_chinese(password: &str) -> bool {
    let lower = password.to_lowercase();
    let core = lower.trim_matches(|c: char| !c.is_alphabetic());
    COMMON_CHINESE.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).any(|known| {
        lower == known
            || core == known
            || (known.len() >= 6 && lower.strip_prefix(known).or_else(|| lower.strip_suffix(known)).is_some_and(|rest| rest.chars().count() <= 4))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(password: &str, words: &[&str]) -> Result<(), Weak> {
        check(password, words, Rules::default())
    }

    #[test]
    fn common_and_personal_passwords_are_refused() {
        let words = ["ada.lovelace", "ada@analytical-engine.example", "Ada Lovelace"];
        for bad in ["password1", "12345678", "qwertyuiop", "ada.lovelace1", "lovelace2026", "gantry123"] {
            assert_eq!(judge(bad, &words), Err(Weak::Guessable), "{bad}");
        }
        assert_eq!(judge("x7!kQ", &words), Err(Weak::Length(8)));
        assert_eq!(judge(&"x".repeat(257), &words), Err(Weak::Length(8)));
    }

    #[test]
    fn what_is_common_in_chinese_is_refused() {
        for bad in ["woaini1314", "5201314520", "woaini520!", "Zhongguo2026", "wangyang123", "1qaz2wsx3edc", "我爱你一生一世1", "nihaoma888"] {
            assert_eq!(judge(bad, &[]), Err(Weak::Guessable), "{bad}");
        }
    }

    #[test]
    fn several_words_and_other_scripts_are_fine() {
        for good in ["correct horse battery staple", "tr4ck-Pumice_olive", "夜航西飞与三只灰雁的旅程"] {
            assert_eq!(judge(good, &["ada"]), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_policy_may_ask_for_more() {
        let rules = Rules { min_length: 20, min_score: 4 };
        assert_eq!(check("tr4ck-Pumice_olive", &[], rules), Err(Weak::Length(20)));
        assert_eq!(check("correct horse battery staple", &[], rules), Ok(()));
    }
}
