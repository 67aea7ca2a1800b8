//! Reading from another registry.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde::Deserialize;

use super::{LARGEST_LIST, Remote, RemoteError, Result, Scope};
use crate::domain::challenge::next_page;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::manifest::{DOCKER_LIST, DOCKER_MANIFEST, MAX_BYTES, OCI_INDEX, OCI_MANIFEST};

/// Entries of a list that are taken, and of one page.
const MOST_ENTRIES: usize = 200_000;
const PAGE: usize = 1_000;

/// A manifest as it came. Its digest was computed here.
pub struct Pulled {
    pub media_type: Option<String>,
    pub digest: Digest,
    pub bytes: Bytes,
}

/// What refers to an image, as the list says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pub digest: String,
    #[serde(default)]
    pub media_type: String,
}

#[derive(Default, Deserialize)]
struct Lists {
    repositories: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    manifests: Option<Vec<Listed>>,
}

impl Remote {
    /// The digest that a reference names now; `Some(None)` when the registry does not say it.
    ///
    /// # Errors
    /// Not reached, or refused.
    pub async fn head(&self, repository: &str, reference: &str) -> Result<Option<Option<Digest>>> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        match self.send(&Scope::Pull(repository.into()), Method::HEAD, &path, accepting).await {
            Ok(response) => {
                let digest = response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()).and_then(|d| Digest::parse(d).ok());
                Ok(Some(digest))
            }
            Err(RemoteError::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// # Errors
    /// Not reached, refused, not there, or other content than asked for.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Result<Pulled> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let response = self.send(&Scope::Pull(repository.into()), Method::GET, &path, accepting).await?;
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let bytes = Bytes::from(self.whole(response, MAX_BYTES).await?);
        let wanted = Digest::parse(reference).ok();
        let digest = Digest::of(wanted.as_ref().map_or(Algorithm::Sha256, Digest::algorithm), &bytes);
        if wanted.is_some_and(|w| w != digest) {
            return Err(RemoteError::Answer(self.0.host.clone(), format!("{reference} was asked for, {digest} came")));
        }
        Ok(Pulled { media_type, digest, bytes })
    }

    /// A blob's bytes from `from` on; the answer may begin at 0 all the same, then its status is 200.
    ///
    /// # Errors
    /// Not reached, refused, or not there.
    pub async fn blob(&self, repository: &str, digest: &Digest, from: u64) -> Result<reqwest::Response> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let part = |r: reqwest::RequestBuilder| if from > 0 { r.header(header::RANGE, format!("bytes={from}-")) } else { r };
        self.send(&Scope::Pull(repository.into()), Method::GET, &path, part).await
    }

    /// A blob's size; none when it is not there.
    ///
    /// # Errors
    /// Not reached, or refused.
    pub async fn blob_size(&self, repository: &str, digest: &Digest, scope: &Scope) -> Result<Option<u64>> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        match self.send(scope, Method::HEAD, &path, |r| r).await {
            Ok(response) => Ok(Some(response.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0))),
            Err(RemoteError::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The whole of a blob that is known to be small.
    ///
    /// # Errors
    /// Not reached, refused, not there, or larger than `limit`.
    pub async fn small_blob(&self, repository: &str, digest: &Digest, limit: usize) -> Result<Vec<u8>> {
        let response = self.blob(repository, digest, 0).await?;
        self.whole(response, limit).await
    }

    /// Whether the registry lists referrers itself (distribution-spec, "Listing Referrers").
    ///
    /// # Errors
    /// Not reached, or refused.
    pub async fn has_referrers_api(&self, repository: &str, digest: &Digest) -> Result<bool> {
        match self.send(&Scope::Pull(repository.into()), Method::GET, &format!("/v2/{repository}/referrers/{digest}"), |r| r).await {
            Ok(_) => Ok(true),
            Err(RemoteError::Unknown(_) | RemoteError::Status(_, 400 | 405 | 501, _)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All tags of a repository; none when there is no such repository.
    ///
    /// # Errors
    /// Not reached, or refused.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let first = format!("/v2/{repository}/tags/list?n={PAGE}");
        match self.pages(&Scope::Pull(repository.into()), first, |l| l.tags.unwrap_or_default()).await {
            Err(RemoteError::Unknown(_)) => Ok(Vec::new()),
            other => other,
        }
    }

    /// All repositories that these credentials may list.
    ///
    /// # Errors
    /// Not reached, refused, or the registry has no such list.
    pub async fn catalog(&self) -> Result<Vec<String>> {
        self.pages(&Scope::Catalog, format!("/v2/_catalog?n={PAGE}"), |l| l.repositories.unwrap_or_default()).await
    }

    /// What refers to a manifest: by the referrers API, or by the tag that registries without it have (distribution-spec,
    /// "Referrers Tag Schema").
    ///
    /// # Errors
    /// Not reached, or refused.
    pub async fn referrers(&self, repository: &str, digest: &Digest) -> Result<Vec<Listed>> {
        let scope = Scope::Pull(repository.into());
        match self.pages(&scope, format!("/v2/{repository}/referrers/{digest}"), |l| l.manifests.unwrap_or_default()).await {
            Ok(listed) if !listed.is_empty() => return Ok(listed),
            // Registries that do not know the path answer in many ways.
            Ok(_) | Err(RemoteError::Unknown(_) | RemoteError::Status(_, 400 | 405 | 501, _)) => {}
            Err(error) => return Err(error),
        }
        match self.manifest(repository, &fallback_tag(digest)).await {
            Ok(found) => {
                let lists: Lists = serde_json::from_slice(&found.bytes).unwrap_or_default();
                Ok(lists.manifests.unwrap_or_default())
            }
            Err(RemoteError::Unknown(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn pages<T>(&self, scope: &Scope, first: String, take: impl Fn(Lists) -> Vec<T>) -> Result<Vec<T>> {
        let (mut all, mut next) = (Vec::new(), Some(first));
        while let Some(path) = next.take().filter(|_| all.len() < MOST_ENTRIES) {
            let response = self.send(scope, Method::GET, &path, |r| r).await?;
            // A list that is not there at all is the API's absence for some registries.
            if response.status() == StatusCode::NO_CONTENT {
                break;
            }
            let link = response.headers().get(header::LINK).and_then(|v| v.to_str().ok()).and_then(next_page);
            let body = self.whole(response, LARGEST_LIST).await?;
            let lists = serde_json::from_slice(&body).map_err(|_| RemoteError::Answer(self.0.host.clone(), "it is not a list".into()))?;
            let page = take(lists);
            // One that links to itself with nothing new would never end.
            next = link.filter(|l| !page.is_empty() && *l != path && self.is_own(l));
            all.extend(page);
        }
        Ok(all)
    }

    /// Links of lists stay at the registry.
    fn is_own(&self, link: &str) -> bool {
        self.0.base.join(link).is_ok_and(|url| url.origin() == self.0.base.origin())
    }
}

/// The tag under which registries without the referrers API list what refers to a manifest.
pub fn fallback_tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), &digest.hex()[..64])
}

fn accepting(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header(header::ACCEPT, [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", "))
}
