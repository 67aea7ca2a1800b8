//! Sigstore bundles (protobuf-specs, bundle v0.1 to v0.3, JSON) signed with a key pair.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Fault;
use super::key::Scheme;
use super::statement::{Envelope, Named, Statement, attested, base64};

pub const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(default)]
    media_type: String,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: Option<MessageDigest>,
    signature: String,
}

#[derive(Deserialize)]
struct MessageDigest {
    digest: String,
}

/// What a bundle says about the image.
#[derive(Debug)]
pub enum Says {
    /// Its manifest is signed by this key.
    Signed(String),
    Attested(Box<Statement>, Option<String>),
}

/// `manifest` is the image's manifest, byte for byte: a message signature is over it.
///
/// # Errors
/// Not a bundle, about something else, or nobody's signature.
pub fn read(bytes: &[u8], digest: &str, manifest: &[u8], keys: &[Named]) -> Result<Says, Fault> {
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(Fault::form)?;
    if !bundle.media_type.starts_with(BUNDLE_PREFIX) {
        return Err(Fault::Unknown(bundle.media_type.chars().take(100).collect()));
    }
    if let Some(envelope) = &bundle.dsse_envelope {
        let (statement, key) = attested(envelope, digest, keys)?;
        return Ok(Says::Attested(Box::new(statement), key));
    }
    let message = bundle.message_signature.ok_or_else(|| Fault::form("neither dsseEnvelope nor messageSignature"))?;
    if let Some(said) = &message.message_digest
        && base64(&said.digest).as_deref() != Some(Sha256::digest(manifest).as_slice())
    {
        return Err(Fault::OtherImage(said.digest.chars().take(100).collect()));
    }
    let signature = base64(&message.signature).ok_or_else(|| Fault::form("the signature is not base64"))?;
    let by = keys.iter().find(|(_, key)| key.verifies(Scheme::Usual, manifest, &signature));
    by.map(|(name, _)| Says::Signed(name.clone())).ok_or(Fault::Untrusted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_documents_are_no_bundles() {
        assert!(matches!(read(b"{}", "sha256:x", b"", &[]), Err(Fault::Unknown(_))));
        let empty = br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#;
        assert!(matches!(read(empty, "sha256:x", b"", &[]), Err(Fault::Form(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, "sha256:x", b"m", &[]);
        }
    }
}
