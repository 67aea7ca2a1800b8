//! Writing to another registry.

use std::io;

use bytes::Bytes;
use futures::Stream;
use http::{Method, StatusCode, header};
use url::Url;

use super::{Remote, RemoteError, Result, Scope};
use crate::domain::digest::Digest;

/// How an upload began.
pub enum Begun {
    /// The registry had it in another repository: nothing to send.
    Mounted,
    /// Where to send it.
    At(Url),
}

impl Remote {
    /// Begins an upload, or has the blob mounted, from `from` if that is given.
    ///
    /// # Errors
    /// Not reached, or refused.
    pub async fn begin_upload(&self, repository: &str, digest: &Digest, from: Option<&str>) -> Result<Begun> {
        let scope = Scope::Push(repository.into(), from.map(str::to_owned));
        let source = from.map(|f| format!("&from={f}")).unwrap_or_default();
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}{source}");
        let response = self.send(&scope, Method::POST, &path, |r| r.header(header::CONTENT_LENGTH, 0)).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(Begun::Mounted);
        }
        let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
        let location = location.ok_or_else(|| RemoteError::Answer(self.0.host.clone(), "an upload without a Location".into()))?;
        let mut url = self.url(location)?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        Ok(Begun::At(url))
    }

    /// Sends a blob of `size` bytes to where its upload began.
    ///
    /// # Errors
    /// Not reached, refused, or another digest there.
    pub async fn upload(
        &self,
        repository: &str,
        from: Option<&str>,
        at: Url,
        size: u64,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        gantry_host::reach::check_url(&at, self.0.private)?;
        let scope = Scope::Push(repository.into(), from.map(str::to_owned));
        let request = self.0.http.put(at.clone()).header(header::CONTENT_LENGTH, size).header(header::CONTENT_TYPE, "application/octet-stream");
        let request = self.authorized(&scope, request, &at).body(reqwest::Body::wrap_stream(body));
        let response = self.execute(request).await?;
        self.judge(response).await.map(|_| ())
    }

    /// # Errors
    /// Not reached, or refused.
    pub async fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: Bytes) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let scope = Scope::Push(repository.into(), None);
        self.send(&scope, Method::PUT, &path, |r| r.header(header::CONTENT_TYPE, media_type).body(bytes.clone())).await.map(|_| ())
    }

    /// # Errors
    /// Not reached, or refused; what is not there is fine.
    pub async fn delete(&self, repository: &str, reference: &str) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        match self.send(&Scope::Delete(repository.into()), Method::DELETE, &path, |r| r).await {
            Ok(_) | Err(RemoteError::Unknown(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
