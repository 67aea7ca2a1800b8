//! Signatures of images and what they are worth: keys a project trusts, cosign's forms, in-toto statements, Notation's envelope.

pub mod bundle;
pub mod cose;
pub mod key;
pub mod notation;
pub mod statement;

use serde::Serialize;

/// How something was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// cosign's simple signing payload.
    Cosign,
    /// A Sigstore bundle with a message or a statement.
    SigstoreBundle,
    /// An in-toto attestation in a DSSE envelope.
    Attestation,
    /// Notation, JWS or COSE envelope.
    Notation,
}

/// Why a signature does not count. Shown to people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it is not in the form its media type says: {0}")]
    Form(String),
    #[error("it is about another image ({0})")]
    OtherImage(String),
    #[error("no trusted key or certificate of the project verifies it")]
    Untrusted,
    #[error("it expired")]
    Expired,
    #[error("the signer's certificate is not one for signing content (key usage, extended key usage)")]
    Purpose,
    #[error("it asks for something this program does not know: {0}")]
    Unknown(String),
}

impl Fault {
    pub fn form(error: impl std::fmt::Display) -> Self {
        Self::Form(error.to_string().chars().take(200).collect())
    }
}
