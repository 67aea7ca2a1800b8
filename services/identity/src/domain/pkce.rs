//! Proof key for code exchange (RFC 7636), method S256 only: `plain` protects nothing that S256 does not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Whether `challenge` can be the S256 of anything: 32 bytes in base64url.
pub fn is_challenge(challenge: &str) -> bool {
    URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether `verifier` is what `challenge` was made from (section 4.6).
pub fn proves(challenge: &str, verifier: &str) -> bool {
    let shape = (43..=128).contains(&verifier.len()) && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    let made = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    shape && aws_lc_rs::constant_time::verify_slices_are_equal(made.as_bytes(), challenge.as_bytes()).is_ok()
}

/// The same where the request may have had no challenge: then there is no verifier either, so that nobody takes a challenge away
/// (RFC 9700 section 2.1.1).
pub fn fits(challenge: &str, verifier: Option<&str>) -> bool {
    verifier.map_or(challenge.is_empty(), |verifier| proves(challenge, verifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_holds() {
        assert!(is_challenge(CHALLENGE));
        assert!(proves(CHALLENGE, VERIFIER));
    }

    #[test]
    fn a_verifier_comes_with_a_challenge_and_only_with_one() {
        assert!(fits(CHALLENGE, Some(VERIFIER)) && fits("", None));
        assert!(!fits(CHALLENGE, None) && !fits("", Some(VERIFIER)));
    }

    #[test]
    fn another_a_short_or_a_plain_verifier_does_not() {
        assert!(!proves(CHALLENGE, &VERIFIER.replace('d', "e")));
        assert!(!proves(CHALLENGE, CHALLENGE), "the challenge itself is the `plain` downgrade");
        assert!(!proves(CHALLENGE, ""));
        assert!(!proves("", ""));
        assert!(!is_challenge("short"));
        assert!(!is_challenge(&format!("{CHALLENGE}=")));
    }
}
