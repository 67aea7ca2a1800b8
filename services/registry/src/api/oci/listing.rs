//! Tags, referrers, and the catalogue of repositories the caller may see.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header, request::Parts};
use serde_json::{Map, Value, json};

use super::access;
use super::query::Params;
use super::{Answer, Call};
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::manifest::{MAX_BYTES, OCI_INDEX};
use crate::error::{Error, Result};
use crate::store::images;

/// Most entries in one answer; more are on the next page.
const MOST: u64 = 10_000;
const MOST_REFERRERS: u64 = 1_000;

struct Page {
    n: u64,
    last: Option<String>,
}

fn page(params: &Params) -> Result<Page> {
    let n = match params.get("n") {
        None => MOST,
        Some(text) => text.parse::<u64>().map_err(|_| Error::BadRequest(format!("n = {text}: must be a number")))?.min(MOST),
    };
    Ok(Page { n, last: text(params, "last")?.map(str::to_owned) })
}

/// A parameter that is compared in the database, which keeps no U+0000 in texts.
fn text<'a>(params: &'a Params, name: &str) -> Result<Option<&'a str>> {
    match params.get(name).filter(|t| !t.is_empty()) {
        Some(odd) if odd.contains('\0') => Err(Error::BadRequest(format!("{name} must not have U+0000 in it"))),
        other => Ok(other),
    }
}

/// Cuts the surplus entry off and links to the next page if there was one.
fn paged(mut items: Vec<String>, n: u64, path: &str, body: impl FnOnce(&[String]) -> Value) -> Response {
    let more = items.len() as u64 > n;
    items.truncate(usize::try_from(n).unwrap_or(usize::MAX));
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body(&items).to_string()).into_response();
    if let (true, Some(last)) = (more, items.last())
        && let Ok(link) = HeaderValue::try_from(format!("<{path}?n={n}&last={last}>; rel=\"next\""))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

pub async fn tags(call: Call<'_>) -> Answer {
    let page = page(&Params::of(&call.parts.uri))?;
    let db = &call.app.host.db().orm;
    if images::repository(db, &call.name).await?.is_none() {
        return Err(Error::UnknownRepository(call.name.to_string()).into());
    }
    let wanted = images::Wanted { last: page.last.as_deref(), ..images::Wanted::default() };
    let tags = images::tag_names(db, &call.name, &wanted, page.n + 1).await?;
    let path = format!("/v2/{}/tags/list", call.name);
    Ok(paged(tags, page.n, &path, |tags| json!({ "name": call.name.as_str(), "tags": tags })))
}

pub async fn referrers(call: Call<'_>, digest: &str) -> Answer {
    let digest = Digest::parse(digest).map_err(|_| Error::BadDigest(digest.to_owned()))?;
    let params = Params::of(&call.parts.uri);
    let wanted = text(&params, "artifactType")?;
    let page = page(&params)?;
    let n = page.n.clamp(1, MOST_REFERRERS);
    call.app.refresh_referrers(&call.name, &digest).await;
    let rows = images::referrers(&call.app.host.db().orm, &call.name, &digest, wanted, page.last.as_deref(), n + 1).await?;
    let found = rows.len();
    let mut manifests = Vec::with_capacity(found);
    let (mut bytes, mut last) = (0, String::new());
    for row in rows.into_iter().take(usize::try_from(n).unwrap_or(usize::MAX)) {
        let annotations = call.app.annotations(&row).await?;
        bytes += annotations.iter().map(|(k, v)| k.len() + v.len() + 8).sum::<usize>() + 512;
        // A client reads an answer like a manifest: as much as a manifest may have.
        if bytes > MAX_BYTES && !manifests.is_empty() {
            break;
        }
        last.clone_from(&row.digest);
        let mut descriptor = Map::new();
        descriptor.insert("mediaType".into(), row.media_type.into());
        descriptor.insert("digest".into(), row.digest.into());
        descriptor.insert("size".into(), row.size_bytes.into());
        if let Some(artifact_type) = row.artifact_type {
            descriptor.insert("artifactType".into(), artifact_type.into());
        }
        if !annotations.is_empty() {
            descriptor.insert("annotations".into(), json!(annotations));
        }
        manifests.push(Value::Object(descriptor));
    }
    let more = manifests.len() < found;
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let mut response = ([(header::CONTENT_TYPE, OCI_INDEX)], index.to_string()).into_response();
    if more {
        let filter = wanted.map(|w| format!("&artifactType={}", url::form_urlencoded::byte_serialize(w.as_bytes()).collect::<String>())).unwrap_or_default();
        let next = format!("</v2/{}/referrers/{digest}?n={n}&last={last}{filter}>; rel=\"next\"", call.name);
        response.headers_mut().insert(header::LINK, HeaderValue::try_from(next).map_err(|e| Error::Internal(e.into()))?);
    }
    if wanted.is_some() {
        response.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

pub async fn catalog(app: &App, parts: &Parts) -> Answer {
    let who = access::authenticate(app, parts, &[]).await?;
    let Some(shown) = who.catalogue() else { return Err(access::ask_for_catalog(app)) };
    let page = page(&Params::of(&parts.uri))?;
    let projects = if shown.by_rights { app.visible_projects(&who.subject) } else { Vec::new() };
    let names = images::catalog(&app.host.db().orm, &projects, &shown.patterns, page.last.as_deref(), page.n + 1).await?;
    Ok(paged(names, page.n, "/v2/_catalog", |names| json!({ "repositories": names })))
}
