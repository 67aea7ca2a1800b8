//! Codes that change every 30 seconds (RFC 6238 with SHA-1, six digits: what every authenticator application speaks).

use aws_lc_rs::hmac;

pub const STEP_SECONDS: i64 = 30;
pub const SECRET_BYTES: usize = 20;
const DIGITS: usize = 6;
/// Steps before and after now that are accepted: clocks differ, and people type slowly (RFC 6238 section 5.2).
const SKEW: i64 = 1;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The code of a step (RFC 4226 section 5.3).
pub fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes[bytes.len() - 1] & 0x0f);
    let number = u32::from_be_bytes([bytes[at] & 0x7f, bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    format!("{:0DIGITS$}", number % 1_000_000)
}

pub fn step_at(unix_seconds: i64) -> i64 {
    unix_seconds.div_euclid(STEP_SECONDS)
}

/// The step that `typed` is the code of, if it is near now. The caller remembers it: a step counts once.
pub fn matching_step(secret: &[u8], typed: &str, unix_seconds: i64) -> Option<i64> {
    let typed: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    if typed.len() != DIGITS {
        return None;
    }
    let now = step_at(unix_seconds);
    let same = |step: &i64| aws_lc_rs::constant_time::verify_slices_are_equal(code(secret, *step).as_bytes(), typed.as_bytes()).is_ok();
    (now - SKEW..=now + SKEW).find(same)
}

/// Base 32 without padding (RFC 4648 section 6).
pub fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut five = [0; 5];
        five[..chunk.len()].copy_from_slice(chunk);
        let bits = five.iter().fold(0u64, |all, byte| (all << 8) | u64::from(*byte));
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let index = usize::try_from((bits >> (35 - 5 * place)) & 31).unwrap_or_default();
            out.push(char::from(ALPHABET[index]));
        }
    }
    out
}

/// What the QR code says (Key URI Format of authenticator applications).
pub fn uri(secret: &[u8], issuer: &str, account: &str) -> String {
    let part = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let (issuer, account) = (part(issuer), part(account));
    format!("otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}", base32(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        let secret = b"12345678901234567890";
        for (time, expected) in [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924"), (2_000_000_000, "279037")] {
            assert_eq!(code(secret, step_at(time)), expected, "{time}");
        }
    }

    #[test]
    fn neighbouring_steps_are_accepted_and_others_are_not() {
        let secret = b"12345678901234567890";
        let now = 1_234_567_890;
        for shift in [-1, 0, 1] {
            let typed = code(secret, step_at(now) + shift);
            assert_eq!(matching_step(secret, &typed, now), Some(step_at(now) + shift));
        }
        for shift in [-3, -2, 2, 3] {
            assert_eq!(matching_step(secret, &code(secret, step_at(now) + shift), now), None);
        }
        assert_eq!(matching_step(secret, " 005 924 ", now), Some(step_at(now)));
        for bad in ["", "5924", "0059244", "００５９２４", "abcdef"] {
            assert_eq!(matching_step(secret, bad, now), None, "{bad}");
        }
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (plain, expected) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(plain.as_bytes()), expected);
        }
        assert_eq!(
            uri(b"foobar", "Gantry", "ada@gantry.test"),
            "otpauth://totp/Gantry:ada%40gantry.test?secret=MZXW6YTBOI&issuer=Gantry&algorithm=SHA1&digits=6&period=30"
        );
    }
}
