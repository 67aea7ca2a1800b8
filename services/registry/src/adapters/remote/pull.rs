//! Reading from another registry.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::{LARGEST_LIST, Remote, RemoteError, Result, Scope};
use crate::domain::challenge::next_page;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::manifest::{DOCKER_LIST, DOCKER_MANIFEST, MAX_BYTES, OCI_INDEX, OCI_MANIFEST};

/// Entries and pages of a list that are taken, and entries asked for in one page.
const MOST_ENTRIES: usize = 1_000_000;
const MOST_PAGES: usize = 20_000;
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

    /// All pages of a list. What is not all of it is an error: whoever compares it with another list would take what is missing for deleted.
    async fn pages<T>(&self, scope: &Scope, first: String, take: impl Fn(Lists) -> Vec<T>) -> Result<Vec<T>> {
        let (mut all, mut next) = (Vec::new(), Some(self.url(&first)?));
        let mut seen = HashSet::new();
        while let Some(url) = next.take() {
            let (path, page) = (url.to_string(), seen.len() + 1);
            let bad = |why: &str| RemoteError::Answer(self.0.host.clone(), format!("page {page} of its list: {why}"));
            let response = match self.send(scope, Method::GET, &path, |r| r).await {
                // Only where it begins does that say that there is no such list.
                Err(RemoteError::Unknown(_)) if page > 1 => return Err(bad("it is not there any more (404)")),
                other => other?,
            };
            // A list that is not there at all is the API's absence for some registries.
            if response.status() == StatusCode::NO_CONTENT {
                if page > 1 {
                    return Err(bad("it is not there any more (204)"));
                }
                break;
            }
            let link = response.headers().get_all(header::LINK).iter().filter_map(|v| v.to_str().ok()).find_map(next_page);
            let body = self.whole(response, LARGEST_LIST).await?;
            let lists = serde_json::from_slice(&body).map_err(|_| bad("it is not a list"))?;
            all.extend(take(lists));
            if all.len() > MOST_ENTRIES {
                return Err(bad(&format!("there are more than {MOST_ENTRIES} entries")));
            }
            if let Some(link) = link {
                let link = self.own(&link, &url).ok_or_else(|| bad("the next one is said to be at another registry"))?;
                seen.insert(path);
                // One that leads back would never end.
                if seen.contains(link.as_str()) || seen.len() >= MOST_PAGES {
                    return Err(bad("its links do not come to an end"));
                }
                next = Some(link);
            }
        }
        Ok(all)
    }

    /// Where a link of the page at `from` leads, as long as that is at this registry. What stands before a registry may change scheme and port,
    /// and many write those that they have themselves: the endpoint's count.
    fn own(&self, link: &str, from: &Url) -> Option<Url> {
        let there = from.join(link).ok().filter(|there| there.host_str() == self.0.base.host_str())?;
        let mut own = self.0.base.clone();
        own.set_path(there.path());
        own.set_query(there.query());
        Some(own)
    }
}

/// The tag under which registries without the referrers API list what refers to a manifest.
pub fn fallback_tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), &digest.hex()[..64])
}

fn accepting(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header(header::ACCEPT, [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", "))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::Query;
    use axum::response::{IntoResponse, Response};
    use gantry_contract::registry::flow::Endpoint;

    use super::*;

    /// A registry whose repository `ends` has a page of tags, and a second one behind `link`.
    async fn registry(link: &'static str, second: fn() -> Response) -> Remote {
        let tags = move |Query(asked): Query<std::collections::HashMap<String, String>>| async move {
            if asked.contains_key("last") { second() } else { ([(header::LINK, link)], r#"{"tags":["a","b"]}"#).into_response() }
        };
        let app = Router::new().route("/v2/some/thing/tags/list", axum::routing::get(tags));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Remote::new(&Endpoint { url, username: String::new(), ca_pem: None, allow_private: true }, None).unwrap()
    }

    const NEXT: &str = "</v2/some/thing/tags/list?n=2&last=b>; rel=\"next\"";

    #[tokio::test]
    async fn a_list_of_several_pages_is_read_to_its_end() {
        let last: fn() -> Response = || r#"{"tags":["c"]}"#.into_response();
        // Relative, as the specification has it; to the same registry as it sees itself behind something else.
        for link in [NEXT, "<?last=b>; rel=\"next\"", "<https://127.0.0.1:5000/v2/some/thing/tags/list?last=b>; rel=\"next\""] {
            assert_eq!(registry(link, last).await.tags("some/thing").await.unwrap(), ["a", "b", "c"], "{link}");
        }
        assert_eq!(registry(NEXT, last).await.tags("some/other").await.unwrap(), Vec::<String>::new(), "there is no such repository");
        let empty: fn() -> Response = || ([(header::LINK, "<?last=c&n=1>; rel=\"next\"")], r#"{"tags":null}"#).into_response();
        let error = registry(NEXT, empty).await.tags("some/thing").await.unwrap_err().to_string();
        assert!(error.contains("do not come to an end"), "{error}");
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_is_no_list() {
        let gone: fn() -> Response = || StatusCode::NOT_FOUND.into_response();
        let nothing: fn() -> Response = || StatusCode::NO_CONTENT.into_response();
        let other: fn() -> Response = || "a login page".into_response();
        for (link, second, why) in [
            (NEXT, gone, "page 2 of its list: it is not there any more (404)"),
            (NEXT, nothing, "(204)"),
            (NEXT, other, "it is not a list"),
            ("</v2/some/thing/tags/list?n=1000>; rel=\"next\"", gone, "do not come to an end"),
            ("<https://elsewhere.example/v2/some/thing/tags/list?last=b>; rel=\"next\"", gone, "at another registry"),
        ] {
            let error = registry(link, second).await.tags("some/thing").await.unwrap_err();
            assert!(error.to_string().contains(why) && !error.is_final(), "{link}: {error}");
        }
    }
}
