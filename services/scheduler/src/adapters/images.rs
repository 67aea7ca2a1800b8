//! Image references: which are our registry's, and what they name now.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_contract::proto::registry::ResolveRequest;
use gantry_contract::proto::registry::images_client::ImagesClient;
use gantry_host::Host;
use gantry_kernel::{Kind, Problem};

/// A reference taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `<org>/<project>/<repository>[:tag|@digest]` at our registry.
    Ours(String),
    /// With its host, as the node has to ask for it.
    Foreign(String),
}

/// What an image is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What the node pulls.
    pub pinned: String,
    /// Empty if not known.
    pub architectures: BTreeSet<String>,
}

/// The first part is a host if it has a dot or a colon or is `localhost` (as docker reads it). Without a host, three parts
/// are a project's image and fewer are Docker Hub's.
pub fn parse(text: &str, registry: &str) -> Reference {
    let (first, rest) = text.split_once('/').unwrap_or(("", text));
    if first == registry {
        return Reference::Ours(rest.to_owned());
    }
    if first.contains(['.', ':']) || first == "localhost" {
        return Reference::Foreign(text.to_owned());
    }
    match text.matches('/').count() {
        0 => Reference::Foreign(format!("docker.io/library/{text}")),
        1 => Reference::Foreign(format!("docker.io/{text}")),
        _ => Reference::Ours(text.to_owned()),
    }
}

/// The repository of a pinned image of ours.
pub fn repository<'a>(pinned: &'a str, registry: &str) -> Option<&'a str> {
    let rest = pinned.strip_prefix(registry)?.strip_prefix('/')?;
    Some(rest.split_once('@').map_or(rest, |(repository, _)| repository))
}

/// # Errors
/// Not valid, not there, or the registry is away.
pub async fn resolve(host: &Host, text: &str) -> Result<Resolved, Problem> {
    let registry = host.platform.public_host();
    let ours = match parse(text, registry) {
        Reference::Foreign(reference) => return Ok(Resolved { pinned: reference, architectures: BTreeSet::new() }),
        Reference::Ours(ours) => ours,
    };
    let mut request = tonic::Request::new(ResolveRequest { reference: ours });
    request.set_timeout(Duration::from_secs(5));
    let answer = ImagesClient::new(host.channel("registry")?).resolve(request).await.map_err(|status| match status.code() {
        tonic::Code::NotFound => Problem::new(Kind::Invalid, "scheduler.no_such_image", format!("the registry has no image `{text}`: push it first")),
        _ => Problem::from(status),
    })?;
    let answer = answer.into_inner();
    let architectures = answer.platforms.into_iter().map(|p| p.architecture).filter(|a| !a.is_empty() && a != "unknown").collect();
    Ok(Resolved { pinned: format!("{registry}/{}@{}", answer.repository, answer.digest), architectures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_short_names_are_told_apart() {
        let ours = |t: &str| Reference::Ours(t.into());
        let foreign = |t: &str| Reference::Foreign(t.into());
        for (text, expected) in [
            ("localhost:7443/acme/shop/web:1", ours("acme/shop/web:1")),
            ("acme/shop/web@sha256:00", ours("acme/shop/web@sha256:00")),
            ("nginx", foreign("docker.io/library/nginx")),
            ("gitea/gitea:latest", foreign("docker.io/gitea/gitea:latest")),
            ("quay.io/a/b:1", foreign("quay.io/a/b:1")),
            ("localhost/a/b/c", foreign("localhost/a/b/c")),
        ] {
            assert_eq!(parse(text, "localhost:7443"), expected, "{text}");
        }
        assert_eq!(repository("localhost:7443/acme/shop/web@sha256:00", "localhost:7443"), Some("acme/shop/web"));
        assert_eq!(repository("docker.io/library/nginx", "localhost:7443"), None);
    }
}
