//! An answer as a file: written beside the wanted one, which it takes the place of once all is there. A part is never taken for the whole.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

/// How many bytes the file has.
///
/// # Errors
/// An answer that breaks off, or a file that cannot be written; nothing of it stays.
pub async fn save(answer: reqwest::Response, file: &Path) -> Result<u64> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let size = write(answer, part).await;
    if size.is_err() {
        // What is left helps nobody; that it cannot be removed is not the failure to tell of.
        let _ = tokio::fs::remove_file(part).await;
    }
    let size = size?;
    tokio::fs::rename(part, file).await.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(size)
}

async fn write(answer: reqwest::Response, part: &Path) -> Result<u64> {
    let expected = answer.content_length();
    let mut to = tokio::fs::File::create(part).await.with_context(|| format!("cannot write {}", part.display()))?;
    let mut size = 0_u64;
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.context("the answer broke off and nothing of it is kept; run it again")?;
        size += piece.len() as u64;
        to.write_all(&piece).await.with_context(|| format!("cannot write {}", part.display()))?;
    }
    if let Some(expected) = expected.filter(|expected| *expected != size) {
        bail!("the answer has {size} bytes instead of {expected} and nothing of it is kept; run it again");
    }
    // What is written is handed to another thread: that the disk is full is said here, and not by `sync_all`.
    to.flush().await.with_context(|| format!("cannot write {}", part.display()))?;
    to.sync_all().await.with_context(|| format!("cannot write {}", part.display()))?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_told_of_and_the_old_file_stays() {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_string("new")).mount(&server).await;
        let folder = tempfile::tempdir().unwrap();
        let (file, part) = (folder.path().join("trail.csv"), folder.path().join("trail.csv.part"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("/dev/full", &part).unwrap();
        let error = save(reqwest::get(server.uri()).await.unwrap(), &file).await.unwrap_err();
        let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        assert_eq!(kind, Some(std::io::ErrorKind::StorageFull), "{error:#}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
        assert!(std::fs::symlink_metadata(&part).is_err(), "what is half is not left");
        assert_eq!(save(reqwest::get(server.uri()).await.unwrap(), &file).await.unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    }
}
