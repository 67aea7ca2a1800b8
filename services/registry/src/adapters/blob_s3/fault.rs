//! What the store's errors mean for those who wait: missing, full, busy, or broken.

use std::error::Error as _;
use std::io;

use object_store::Error;

/// As an I/O error: `NotFound`, `StorageFull`, `ResourceBusy` (the same may work in a moment), `InvalidData` (the object is shorter than
/// what was asked of it), or `Other`.
pub fn io(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => kind(&said(&error)),
    };
    io::Error::new(kind, error)
}

/// The store says no more than a status and a code in its answer, and the library hands on no more than their text.
fn kind(text: &str) -> io::ErrorKind {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["507 ", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "StorageFull"]) {
        io::ErrorKind::StorageFull
    } else if says(&["status code: 416", "InvalidRange"]) {
        io::ErrorKind::InvalidData
    } else if says(&["SlowDown", "ServiceUnavailable", "TooManyRequests", "RequestTimeout", "code: 503", "code: 502", "code: 504", "code: 429", "code: 500"])
        || says(&["error sending request", "connection", "Connect", "timed out", "operation timed out", "dns error"])
    {
        io::ErrorKind::ResourceBusy
    } else {
        io::ErrorKind::Other
    }
}

/// The error with everything that caused it.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> io::ErrorKind {
        io(Error::Generic { store: "S3", source: text.into() }).kind()
    }

    #[test]
    fn what_the_store_says_becomes_what_the_client_hears() {
        assert_eq!(of("Server returned non-2xx status code: 503 Service Unavailable: <Code>SlowDown</Code>"), io::ErrorKind::ResourceBusy);
        assert_eq!(of("Server returned non-2xx status code: 429 Too Many Requests: "), io::ErrorKind::ResourceBusy);
        assert_eq!(of("HTTP error: error sending request: connection refused"), io::ErrorKind::ResourceBusy);
        assert_eq!(of("Server returned non-2xx status code: 507 Insufficient Storage: <Code>XMinioStorageFull</Code>"), io::ErrorKind::StorageFull);
        assert_eq!(of("Server returned non-2xx status code: 403: <Code>QuotaExceeded</Code>"), io::ErrorKind::StorageFull);
        assert_eq!(of("Server returned non-2xx status code: 400 Bad Request: <Code>InvalidPart</Code>"), io::ErrorKind::Other);
        assert_eq!(of("Server returned non-2xx status code: 416 Range Not Satisfiable: <Code>InvalidRange</Code>"), io::ErrorKind::InvalidData);
        let gone = Error::NotFound { path: "a".into(), source: "no such key".into() };
        assert_eq!(io(gone).kind(), io::ErrorKind::NotFound);
    }
}
