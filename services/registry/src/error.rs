//! Everything that can go wrong, mapped once to the OCI error format (docker and friends) and once to problems (REST, gRPC).

use std::io;
use std::time::Duration;

use gantry_es_pg::ExecuteError;
use gantry_kernel::{Kind, Problem};
use http::StatusCode;
use serde_json::{Value, json};
use thiserror::Error;

use crate::adapters::blob_store::UploadError;
use crate::domain::manifest::ManifestError;
use crate::domain::name::NameError;
use crate::domain::repository::Refusal;

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("there is no repository `{0}`, or you may not see it")]
    UnknownRepository(String),
    #[error("`{0}` is not a digest: `sha256:` with 64 or `sha512:` with 128 lower-case hex digits")]
    BadDigest(String),
    #[error("`{0}` is neither a tag nor a digest")]
    BadReference(String),
    #[error("there is no blob `{0}` in this repository")]
    UnknownBlob(String),
    #[error("the manifest `{manifest}` needs this blob; delete that first")]
    BlobInUse { manifest: String },
    #[error("there is no manifest `{0}` in this repository")]
    UnknownManifest(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the manifest refers to content that is not in this repository")]
    MissingContent(Vec<String>),
    #[error("the manifest says that `{digest}` has {said} bytes, it has {has}")]
    WrongSize { digest: String, said: u64, has: u64 },
    #[error("the content has digest `{found}`, the request says `{said}`")]
    WrongDigest { said: String, found: String },
    #[error("no byte of the manifest came for {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Upload(UploadError),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unsupported(&'static str),
    #[error(transparent)]
    Denied(#[from] Problem),
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

/// An image that was to go for want of a tag has one.
pub const IMAGE_NAMED: &str = "registry.image_named";

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Status, code (distribution-spec, "Error Codes") and detail.
    pub fn oci(&self) -> (StatusCode, &'static str, Value) {
        match self {
            Self::Name(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID", Value::Null),
            Self::UnknownRepository(name) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN", json!({ "name": name })),
            Self::BadDigest(digest) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", json!({ "digest": digest })),
            Self::BadReference(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID", Value::Null),
            Self::UnknownBlob(digest) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN", json!({ "digest": digest })),
            Self::BlobInUse { manifest } => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", json!({ "manifest": manifest })),
            Self::UnknownManifest(reference) => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", json!({ "reference": reference })),
            Self::Manifest(ManifestError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", Value::Null),
            Self::Manifest(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID", Value::Null),
            Self::MissingContent(digests) => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", json!({ "digests": digests })),
            Self::WrongSize { digest, said, has } => (StatusCode::BAD_REQUEST, "SIZE_INVALID", json!({ "digest": digest, "said": said, "has": has })),
            Self::WrongDigest { said, found } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", json!({ "said": said, "found": found })),
            Self::Slow(_) => (StatusCode::REQUEST_TIMEOUT, "MANIFEST_INVALID", Value::Null),
            Self::Upload(error) => upload(error),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "UNSUPPORTED", Value::Null),
            Self::Unsupported(_) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", Value::Null),
            // What is away or busy for a while says so by its status.
            Self::Denied(problem) if problem.code.starts_with("registry.") && !matches!(problem.kind, Kind::Unavailable | Kind::TooMany | Kind::NotFound) => {
                (StatusCode::FORBIDDEN, "DENIED", json!({ "reason": problem.code }))
            }
            Self::Denied(problem) => (problem.kind.status(), code_of(problem.kind), Value::Null),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", Value::Null),
        }
    }
}

fn upload(error: &UploadError) -> (StatusCode, &'static str, Value) {
    match error {
        UploadError::Unknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", Value::Null),
        UploadError::Busy => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", Value::Null),
        UploadError::OutOfOrder { at, start } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", json!({ "at": at, "start": start })),
        UploadError::Length { said, got } => (StatusCode::BAD_REQUEST, "SIZE_INVALID", json!({ "said": said, "got": got })),
        UploadError::TooLarge(max) => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", json!({ "max": max })),
        UploadError::Digest { found } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", json!({ "found": found })),
        UploadError::Broken(_) => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", Value::Null),
        UploadError::Slow(_) => (StatusCode::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID", Value::Null),
        UploadError::Io(error) if is_full(error) => (StatusCode::INSUFFICIENT_STORAGE, "UNAVAILABLE", json!("the registry's storage is full")),
        UploadError::Io(error) if is_away(error) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", json!("the registry's storage asks for patience")),
        UploadError::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", Value::Null),
    }
}

fn code_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Unauthenticated => "UNAUTHORIZED",
        Kind::Forbidden | Kind::QuotaExceeded => "DENIED",
        Kind::NotFound => "NAME_UNKNOWN",
        Kind::TooMany => "TOOMANYREQUESTS",
        Kind::Unavailable => "UNAVAILABLE",
        Kind::Invalid | Kind::Conflict | Kind::Stale | Kind::TooLarge => "UNSUPPORTED",
        Kind::Internal => "UNKNOWN",
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the store is away, or asks for patience: the same may work in a moment.
pub fn is_away(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected, ResourceBusy, TimedOut};
    matches!(error.kind(), ResourceBusy | TimedOut | NotConnected | ConnectionRefused | ConnectionReset | ConnectionAborted)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Name(_) => Problem::invalid("repository", text),
            Error::UnknownRepository(name) => Problem::not_found("repository", name),
            Error::BadDigest(_) | Error::WrongDigest { .. } => Problem::invalid("digest", text),
            Error::BadReference(_) => Problem::invalid("reference", text),
            Error::UnknownBlob(digest) => Problem::not_found("blob", digest),
            Error::UnknownManifest(reference) => Problem::not_found("image", reference),
            Error::BlobInUse { .. } => Problem::conflict("registry.blob_in_use", text),
            Error::Manifest(_) | Error::MissingContent(_) | Error::WrongSize { .. } => Problem::invalid("manifest", text),
            Error::BadRequest(_) | Error::Unsupported(_) | Error::Slow(_) => Problem::invalid("request", text),
            Error::Denied(problem) => problem,
            Error::Upload(UploadError::Io(error)) if is_away(&error) => Problem::unavailable("the registry's storage").with_source(error),
            Error::Upload(UploadError::Io(error)) if is_full(&error) => {
                Problem::new(Kind::Unavailable, "registry.storage_full", "the registry's storage is full").with_source(error)
            }
            Error::Upload(UploadError::Io(error)) => Problem::internal(error),
            // The client's doing: so the operator's log and the audit trail say it.
            Error::Upload(
                UploadError::Unknown
                | UploadError::Busy
                | UploadError::OutOfOrder { .. }
                | UploadError::Length { .. }
                | UploadError::TooLarge(_)
                | UploadError::Digest { .. }
                | UploadError::Broken(_)
                | UploadError::Slow(_),
            ) => Problem::invalid("upload", text),
            Error::Internal(error) => Problem::internal(error),
        }
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        Self::Upload(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Upload(UploadError::Io(error))
    }
}

impl From<sea_orm::DbErr> for Error {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Internal(error.into())
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl From<ExecuteError<Refusal>> for Error {
    fn from(error: ExecuteError<Refusal>) -> Self {
        match error {
            ExecuteError::Refused(Refusal::ImmutableTag(tag)) => {
                Self::Denied(Problem::conflict("registry.tag_immutable", Refusal::ImmutableTag(tag).to_string()))
            }
            ExecuteError::Refused(Refusal::Named(tag)) => Self::Denied(Problem::conflict(IMAGE_NAMED, Refusal::Named(tag).to_string())),
            ExecuteError::Refused(Refusal::NoSuchTag(what) | Refusal::NoSuchManifest(what)) => Self::UnknownManifest(what),
            ExecuteError::Stale { .. } => Self::Denied(Problem::unavailable("this much-written repository")),
            ExecuteError::NameTaken { name, .. } => Self::Internal(anyhow::anyhow!("no names are claimed here, but `{name}` is taken")),
            ExecuteError::Log(_) => Self::Denied(Problem::unavailable("the event log").with_source(error)),
            ExecuteError::Decode(error) => Self::Denied(gantry_host::from_decode(error)),
            ExecuteError::Read(_) => Self::Internal(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_does_wrong_with_an_upload_is_no_fault_of_the_operators() {
        for error in [UploadError::Unknown, UploadError::Busy, UploadError::Length { said: 1, got: 2 }, UploadError::Slow(Duration::from_secs(1))] {
            let text = error.to_string();
            let problem = Problem::from(Error::Upload(error));
            assert!(problem.kind == Kind::Invalid && problem.detail.contains(&text), "{text}");
        }
        let broken = Problem::from(Error::Upload(UploadError::Io(io::Error::other("a disk that died"))));
        assert_eq!(broken.kind, Kind::Internal);
        let gone = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Error::Upload(UploadError::Io(gone).or_over()).oci().1, "BLOB_UPLOAD_UNKNOWN");
    }
}
