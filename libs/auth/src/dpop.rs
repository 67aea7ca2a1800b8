//! Proof of possession (RFC 9449): a token bound to a key is worth nothing without a fresh proof signed by that key.

use gantry_kernel::OffsetDateTime;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// A proof counts this long around its time, and its id must be remembered twice as long.
pub const PROOF_LIFE_SECS: i64 = 60;
const MAX_PROOF: usize = 8_192;
const MAX_ID: usize = 256;

/// What the metadata announces.
pub const PROOF_ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "PS256", "RS256"];

#[derive(Debug, Error, PartialEq, Eq)]
#[error("the DPoP proof is not valid: {0}")]
pub struct DpopError(pub &'static str);

/// A good proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// SHA-256 thumbprint of the key (RFC 7638), for `cnf.jkt`.
    pub jkt: String,
    /// To be accepted once.
    pub jti: String,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    ath: Option<String>,
}

/// Checks a proof for a request (section 4.3). Whether `jti` came before is for the caller to know.
///
/// # Errors
/// With the reason.
pub fn check(proof: &str, method: &str, uri: &str, access_token: Option<&str>, now: OffsetDateTime) -> Result<Proof, DpopError> {
    if proof.len() > MAX_PROOF {
        return Err(DpopError("it is too long"));
    }
    let header = jsonwebtoken::decode_header(proof).map_err(|_| DpopError("it is no JWT with a known algorithm"))?;
    if header.typ.as_deref() != Some("dpop+jwt") {
        return Err(DpopError("typ must be dpop+jwt"));
    }
    // RFC 7515 section 4.1.11: nothing that must be understood is.
    if header.crit.is_some() {
        return Err(DpopError("crit names what is not known here"));
    }
    let jwk = header.jwk.ok_or(DpopError("jwk is missing"))?;
    if private(proof) {
        return Err(DpopError("jwk holds a private key"));
    }
    // The key decides what algorithms it may be used with.
    if !algorithms_of(&jwk).contains(&header.alg) {
        return Err(DpopError("alg does not fit the key: ES256, EdDSA, PS256 or RS256"));
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| DpopError("jwk is damaged"))?;
    let mut rules = Validation::new(header.alg);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(proof, &key, &rules).map_err(|_| DpopError("its signature or claims are wrong"))?.claims;
    if claims.jti.is_empty() || claims.jti.len() > MAX_ID {
        return Err(DpopError("jti must have 1 to 256 characters"));
    }
    if claims.htm != method {
        return Err(DpopError("htm is not the request's method"));
    }
    let asked = bare(uri);
    if asked.is_none() || bare(&claims.htu) != asked {
        return Err(DpopError("htu is not the request's address"));
    }
    if (now.unix_timestamp() - claims.iat).abs() > PROOF_LIFE_SECS {
        return Err(DpopError("iat is too old or in the future"));
    }
    if let Some(token) = access_token
        && claims.ath.as_deref() != Some(&hash(token))
    {
        return Err(DpopError("ath is not the access token's hash"));
    }
    let jkt = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| DpopError("jwk is damaged"))?;
    Ok(Proof { jkt, jti: claims.jti })
}

/// SHA-256 in base64url.
pub fn hash(text: &str) -> String {
    encode(&Sha256::digest(text.as_bytes()))
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// The algorithms that this service takes from a key: one, but for RSA keys that do not say themselves what they are for.
pub fn algorithms_of(jwk: &Jwk) -> &'static [Algorithm] {
    match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        AlgorithmParameters::RSA(_) => match &jwk.common.key_algorithm {
            Some(KeyAlgorithm::PS256) => &[Algorithm::PS256],
            Some(KeyAlgorithm::RS256) => &[Algorithm::RS256],
            _ => &[Algorithm::PS256, Algorithm::RS256],
        },
        _ => &[],
    }
}

/// Whether the header's key has a private part, which the parsed key no longer shows.
fn private(proof: &str) -> bool {
    use base64::Engine;
    let header = proof.split('.').next().unwrap_or_default();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap_or_default();
    ["d", "p", "q", "k"].iter().any(|part| header["jwk"].get(part).is_some())
}

/// Without query and fragment, normalised by syntax and scheme (section 4.3, point 9; RFC 3986 sections 6.2.2 and 6.2.3): scheme and host in
/// small letters, the default port left out, letters that need no escape unescaped, no dot segments.
fn bare(uri: &str) -> Option<(String, String, Option<u16>, String)> {
    let uri: http::Uri = uri.split('#').next()?.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().filter(|p| !matches!((scheme.as_str(), p), ("https", 443) | ("http", 80)));
    Some((scheme, uri.host()?.to_ascii_lowercase(), port, without_dots(&unescaped(uri.path()))))
}

/// Escapes of what needs none are undone; the others have capital digits.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.map(char::from) {
            Some(letter) if letter.is_ascii_alphanumeric() || "-._~".contains(letter) => {
                plain.push(letter);
                plain.push_str(&part[2..]);
            }
            Some(_) => {
                plain.push('%');
                plain.push_str(&part[..2].to_ascii_uppercase());
                plain.push_str(&part[2..]);
            }
            None => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            kept.pop();
        }
        if !matches!(segment, "." | "..") {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use rcgen::KeyPair;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const URI: &str = "https://gantry.test/oauth2/token";

    struct Signer {
        key: EncodingKey,
        jwk: Jwk,
    }

    fn signer() -> Signer {
        let key = EncodingKey::from_ec_der(KeyPair::generate().unwrap().serialized_der());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        Signer { key, jwk }
    }

    fn claims() -> Value {
        json!({ "jti": "a", "htm": "POST", "htu": URI, "iat": NOW })
    }

    impl Signer {
        fn proof(&self, claims: &Value) -> String {
            let header = Header { typ: Some("dpop+jwt".into()), jwk: Some(self.jwk.clone()), ..Header::new(Algorithm::ES256) };
            jsonwebtoken::encode(&header, claims, &self.key).unwrap()
        }
    }

    fn at(secs: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(secs).unwrap()
    }

    fn judge(proof: &str) -> Result<Proof, DpopError> {
        check(proof, "POST", URI, None, at(NOW))
    }

    #[test]
    fn a_good_proof_names_its_key() {
        let signer = signer();
        let proof = judge(&signer.proof(&claims())).unwrap();
        assert_eq!(proof, Proof { jkt: signer.jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), jti: "a".into() });
        let upper = json!({ "jti": "a", "htm": "POST", "htu": "HTTPS://GANTRY.test:443/oauth2/token?x=1", "iat": NOW });
        assert!(judge(&signer.proof(&upper)).is_ok());
    }

    #[test]
    fn addresses_are_compared_after_they_were_normalised() {
        for same in ["https://gantry.test/oauth2/%74oken", "https://gantry.test/x/../oauth2/./token", "https://GANTRY.test:443/oauth2/token#x"] {
            assert_eq!(bare(same), bare(URI), "{same}");
        }
        for other in
            ["https://gantry.test/oauth2%2ftoken", "https://gantry.test/oauth2/token/", "https://gantry.test/oauth2//token", "http://gantry.test/oauth2/token"]
        {
            assert_ne!(bare(other), bare(URI), "{other}");
        }
        assert_eq!(bare("https://a/%c3%A4%zz%"), bare("https://a/%C3%a4%zz%"));
        assert_eq!((unescaped("/%7e%2F%zz%4"), without_dots("/a/b/.."), without_dots("/../.")), ("/~%2F%zz%4".into(), "/a/".into(), "/".into()));
        let signer = signer();
        let proof = signer.proof(&json!({ "jti": "a", "htm": "POST", "htu": "no address", "iat": NOW }));
        assert!(check(&proof, "POST", "no address", None, at(NOW)).is_err(), "two that are no address are not the same");
    }

    #[test]
    fn an_rsa_key_signs_by_what_it_says_it_is_for() {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
        use base64::Engine;
        let pair = RsaPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let key = EncodingKey::from_rsa_pem(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n").as_bytes()).unwrap();
        let jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        for (says, with, fits) in [
            (None, Algorithm::PS256, true),
            (None, Algorithm::RS256, true),
            (None, Algorithm::RS512, false),
            (Some(KeyAlgorithm::PS256), Algorithm::PS256, true),
            (Some(KeyAlgorithm::PS256), Algorithm::RS256, false),
            (Some(KeyAlgorithm::RS256), Algorithm::PS256, false),
        ] {
            let mut jwk = jwk.clone();
            jwk.common.key_algorithm = says;
            let header = Header { typ: Some("dpop+jwt".into()), jwk: Some(jwk), ..Header::new(with) };
            assert_eq!(judge(&jsonwebtoken::encode(&header, &claims(), &key).unwrap()).is_ok(), fits, "{says:?} {with:?}");
        }
    }

    #[test]
    fn a_proof_for_something_else_or_another_time_is_refused() {
        let signer = signer();
        for (field, value) in [
            ("htm", json!("GET")),
            ("htu", json!("https://evil.example/oauth2/token")),
            ("htu", json!("https://gantry.test/oauth2/tokens")),
            ("iat", json!(NOW - 61)),
            ("iat", json!(NOW + 61)),
            ("jti", json!("")),
            ("jti", json!("x".repeat(300))),
        ] {
            let mut claims = claims();
            claims[field] = value;
            assert!(judge(&signer.proof(&claims)).is_err(), "{claims}");
        }
        let proof = signer.proof(&claims());
        assert!(check(&proof, "POST", URI, Some("token"), at(NOW)).is_err(), "ath is missing");
        let mut with = claims();
        with["ath"] = json!(hash("token"));
        assert!(check(&signer.proof(&with), "POST", URI, Some("token"), at(NOW)).is_ok());
        assert!(check(&signer.proof(&with), "POST", URI, Some("other"), at(NOW)).is_err());
    }

    #[test]
    fn a_proof_that_is_not_signed_by_its_key_is_refused() {
        let (one, two) = (signer(), signer());
        let mixed = Signer { key: one.key.clone(), jwk: two.jwk };
        assert!(judge(&mixed.proof(&claims())).is_err());
        let plain = Header { typ: Some("JWT".into()), jwk: Some(one.jwk.clone()), ..Header::new(Algorithm::ES256) };
        assert!(judge(&jsonwebtoken::encode(&plain, &claims(), &one.key).unwrap()).is_err(), "typ");
        let none = Header { typ: Some("dpop+jwt".into()), ..Header::new(Algorithm::ES256) };
        assert!(judge(&jsonwebtoken::encode(&none, &claims(), &one.key).unwrap()).is_err(), "no jwk");
        let critical = Header { typ: Some("dpop+jwt".into()), jwk: Some(one.jwk.clone()), crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::ES256) };
        assert!(judge(&jsonwebtoken::encode(&critical, &claims(), &one.key).unwrap()).is_err(), "crit");
        let hmac = Header { typ: Some("dpop+jwt".into()), jwk: Some(one.jwk.clone()), ..Header::new(Algorithm::HS256) };
        assert!(judge(&jsonwebtoken::encode(&hmac, &claims(), &EncodingKey::from_secret(b"x")).unwrap()).is_err(), "a symmetric algorithm");
        let mut leaked = serde_json::to_value(&one.jwk).unwrap();
        leaked["d"] = json!("AAAA");
        let header = encode(json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": leaked }).to_string().as_bytes());
        let good = one.proof(&claims());
        let rest = good.split_once('.').unwrap().1;
        assert_eq!(judge(&format!("{header}.{rest}")), Err(DpopError("jwk holds a private key")));
        for bad in ["", "x", "a.b.c", &"x".repeat(10_000)] {
            assert!(judge(bad).is_err());
        }
    }

    proptest::proptest! {
        /// Whatever is done to a proof, it is refused.
        #[test]
        fn a_changed_proof_is_refused(at in 0usize..600, byte in 33u8..127, cut in proptest::bool::ANY) {
            let good = signer().proof(&claims());
            let mut bytes = good.clone().into_bytes();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let bad = String::from_utf8(bytes).unwrap();
            if bad != good {
                proptest::prop_assert!(judge(&bad).is_err(), "{bad}");
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,300}", dots in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
            proptest::prop_assert!(judge(&text).is_err());
            proptest::prop_assert!(judge(&dots).is_err());
        }
    }
}
