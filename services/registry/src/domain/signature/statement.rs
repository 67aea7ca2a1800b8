//! cosign's simple signing payload, DSSE envelopes and in-toto statements, and what a SLSA provenance in one says.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;
use serde_json::Value;

use super::Fault;
use super::key::{PublicKey, Scheme};

pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// How the kind of every version of a statement begins.
const STATEMENT_PREFIX: &str = "https://in-toto.io/Statement/";
/// Annotation of a layer that holds the signature over the layer's bytes (cosign, SIGNATURE_SPEC.md).
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What cosign puts into a bundle when it signs an image.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// A trusted key by its name.
pub type Named = (String, PublicKey);

/// Base64 of either alphabet: signers differ.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// The name of the key that signed the payload about `digest`.
///
/// # Errors
/// Not such a payload, about another image, or nobody's signature.
pub fn simple(payload: &[u8], signature: &str, digest: &str, keys: &[Named]) -> Result<String, Fault> {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Deserialize)]
    struct Image {
        #[serde(rename = "docker-manifest-digest")]
        digest: String,
    }
    let read: Payload = serde_json::from_slice(payload).map_err(Fault::form)?;
    if !matches!(read.critical.kind.as_str(), "cosign container image signature" | "atomic container signature") {
        return Err(Fault::Unknown(read.critical.kind.chars().take(100).collect()));
    }
    if read.critical.image.digest != digest {
        return Err(Fault::OtherImage(read.critical.image.digest.chars().take(100).collect()));
    }
    let signature = base64(signature).ok_or_else(|| Fault::form("the signature is not base64"))?;
    let by = keys.iter().find(|(_, key)| key.verifies(Scheme::Usual, payload, &signature));
    by.map(|(name, _)| name.clone()).ok_or(Fault::Untrusted)
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    pub payload: String,
    pub payload_type: String,
    #[serde(default)]
    pub signatures: Vec<EnvelopeSignature>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct EnvelopeSignature {
    pub sig: String,
}

/// An in-toto statement (v0.1 and v1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type", default)]
    pub kind: String,
    #[serde(default)]
    pub subject: Vec<Subject>,
    pub predicate_type: String,
    #[serde(default)]
    pub predicate: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Subject {
    #[serde(default)]
    pub digest: std::collections::BTreeMap<String, String>,
}

/// What DSSE signs: "DSSEv1" and both parts with their lengths (dsse, protocol.md).
pub fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    text.extend_from_slice(payload);
    text
}

/// The statement in an envelope, and the trusted key that signed it, if one did.
///
/// # Errors
/// Not an envelope with a statement, or about another image.
pub fn attested(envelope: &Envelope, digest: &str, keys: &[Named]) -> Result<(Statement, Option<String>), Fault> {
    if envelope.payload_type != IN_TOTO {
        return Err(Fault::Unknown(envelope.payload_type.chars().take(100).collect()));
    }
    let payload = base64(&envelope.payload).ok_or_else(|| Fault::form("the payload is not base64"))?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(Fault::form)?;
    // in-toto attestation, spec/v1/statement.md: a document of another kind says something else with the same words.
    if !statement.kind.starts_with(STATEMENT_PREFIX) {
        return Err(Fault::Unknown(statement.kind.chars().take(100).collect()));
    }
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
    if !statement.subject.iter().any(|s| s.digest.get(algorithm).is_some_and(|h| h == hex)) {
        return Err(Fault::OtherImage(statement.subject.iter().filter_map(|s| s.digest.values().next()).take(3).cloned().collect::<Vec<_>>().join(", ")));
    }
    let message = pae(&envelope.payload_type, &payload);
    let signatures: Vec<Vec<u8>> = envelope.signatures.iter().take(20).filter_map(|s| base64(&s.sig)).collect();
    let by = keys.iter().find(|(_, key)| signatures.iter().any(|s| key.verifies(Scheme::Usual, &message, s)));
    Ok((statement, by.map(|(name, _)| name.clone())))
}

/// Who built it, if the statement is a SLSA provenance (v0.2 or v1).
pub fn builder(statement: &Statement) -> Option<String> {
    let at = |path: &str| statement.predicate.pointer(path).and_then(Value::as_str).map(|t| t.chars().take(500).collect());
    if statement.predicate_type.starts_with("https://slsa.dev/provenance/v1") {
        return Some(at("/runDetails/builder/id").unwrap_or_default());
    }
    statement.predicate_type.starts_with("https://slsa.dev/provenance/").then(|| at("/builder/id").unwrap_or_default())
}

/// Where the sources came from, as the provenance says.
pub fn materials(statement: &Statement) -> Vec<String> {
    let lists = ["/buildDefinition/resolvedDependencies", "/materials"];
    let found = lists.iter().filter_map(|p| statement.predicate.pointer(p)?.as_array()).flatten();
    found.filter_map(|m| m["uri"].as_str()).take(50).map(|u| u.chars().take(500).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_published_example_of_pre_authentication_encoding() {
        // dsse, protocol.md, "Test Vectors".
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn builders_are_read_from_both_versions() {
        let statement = |kind: &str, predicate: Value| Statement { kind: String::new(), subject: vec![], predicate_type: kind.into(), predicate };
        let v1 = statement(
            "https://slsa.dev/provenance/v1",
            json!({"runDetails": {"builder": {"id": "b1"}}, "buildDefinition": {"resolvedDependencies": [{"uri": "git+https://x"}]}}),
        );
        assert_eq!((builder(&v1).as_deref(), materials(&v1)), (Some("b1"), vec!["git+https://x".to_owned()]));
        let old = statement("https://slsa.dev/provenance/v0.2", json!({"builder": {"id": "b0"}, "materials": [{"uri": "git+https://y"}]}));
        assert_eq!((builder(&old).as_deref(), materials(&old).len()), (Some("b0"), 1));
        assert_eq!(builder(&statement("https://cyclonedx.org/bom", json!({}))), None);
    }

    #[test]
    fn only_statements_of_in_toto_are_statements() {
        let envelope = |kind: &str| {
            let statement = json!({ "_type": kind, "predicateType": "x", "subject": [{ "digest": { "sha256": "aa" } }] });
            Envelope { payload: STANDARD.encode(statement.to_string()), payload_type: IN_TOTO.into(), signatures: vec![] }
        };
        for kind in ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"] {
            assert!(attested(&envelope(kind), "sha256:aa", &[]).is_ok(), "{kind}");
        }
        for other in ["", "https://in-toto.io/Link/v1", "link"] {
            assert!(matches!(attested(&envelope(other), "sha256:aa", &[]), Err(Fault::Unknown(_))), "{other}");
        }
        assert!(matches!(attested(&envelope("https://in-toto.io/Statement/v1"), "sha256:bb", &[]), Err(Fault::OtherImage(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,40}") {
            let _ = simple(&bytes, &text, "sha256:x", &[]);
            let envelope = Envelope { payload: text.clone(), payload_type: IN_TOTO.into(), signatures: vec![EnvelopeSignature { sig: text }] };
            let _ = attested(&envelope, "sha256:x", &[]);
        }
    }
}
