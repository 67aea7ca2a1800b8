//! `GET|HEAD|PUT|DELETE /v2/<name>/manifests/<tag or digest>`.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderValue, Method, StatusCode, header};

use super::query::Params;
use super::{Answer, Call, access, condition, empty};
use crate::domain::manifest::{MAX_BYTES, ManifestError};
use crate::domain::name::{Reference, ReferenceError, Tag};
use crate::error::{Error, Result};

pub async fn read(call: Call<'_>, reference: &str) -> Answer {
    let reference = parse(reference)?;
    let found = call.app.pull(&call.name, &reference).await?;
    let row = found.row;
    let body = if call.parts.method == Method::HEAD { Body::empty() } else { Body::from(found.bytes) };
    if !access::may_push(call.app, call.who, &call.name) && !call.who.is_scanner() {
        call.app.may_hand_out(&call.name, &row, gantry_contract::registry::settings::Moment::Pull).await?;
    }
    if call.parts.method == Method::GET && !call.who.is_scanner() {
        call.app.pulls.note(call.name.as_str(), &row.digest, call.app.host.env.now());
    }
    if condition::has_it(&call.parts.headers, &row.digest) {
        return Ok(condition::not_modified(&row.digest));
    }
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let etag = condition::tag(&row.digest);
    for (name, value) in [("content-type", row.media_type.as_str()), ("docker-content-digest", row.digest.as_str()), ("etag", etag.as_str())] {
        headers.insert(name, HeaderValue::from_str(value).map_err(|e| Error::Internal(e.into()))?);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(row.size_bytes));
    Ok(response)
}

pub async fn push(call: Call<'_>, reference: &str, body: Body) -> Answer {
    let reference = parse(reference)?;
    let params = Params::of(&call.parts.uri);
    let more: Vec<Tag> = params.all("tag").map(Tag::parse).collect::<Result<_, _>>().map_err(Error::from)?;
    if !more.is_empty() && matches!(reference, Reference::Tag(_)) {
        return Err(Error::BadRequest("`tag` parameters are for pushes by digest".to_owned()).into());
    }
    let bytes = whole(body, call.app.config.patience()).await?;
    let media_type = call.header(header::CONTENT_TYPE);
    let tagged = !more.is_empty();
    let done = call.app.push_manifest(&call.name, &reference, more, media_type, bytes, call.who.meta()).await?;
    let location = format!("/v2/{}/manifests/{}", call.name, done.digest);
    let mut headers = vec![("location", location), ("docker-content-digest", done.digest.to_string())];
    headers.extend(done.subject.map(|s| ("oci-subject", s.to_string())));
    if let Some(first) = done.missing.first() {
        // RFC 7234 section 5.5.7, as distribution-spec "Warnings" wants it.
        let text = format!("299 - \"{} of the layers are not in this repository, the first is {first}: push them before somebody pulls\"", done.missing.len());
        headers.push(("warning", text));
    }
    if tagged {
        headers.extend(done.tags.iter().map(|t| ("oci-tag", t.to_string())));
    }
    Ok(empty(StatusCode::CREATED, &headers))
}

pub async fn delete(call: Call<'_>, reference: &str) -> Answer {
    let reference = parse(reference)?;
    call.app.delete_manifest(&call.name, &reference, call.who.meta()).await?;
    Ok(empty(StatusCode::ACCEPTED, &[]))
}

fn parse(reference: &str) -> Result<Reference> {
    Reference::parse(reference).map_err(|error| match error {
        ReferenceError::Digest => Error::BadDigest(reference.to_owned()),
        ReferenceError::Tag => Error::BadReference(reference.to_owned()),
    })
}

/// The whole body, if it is no longer than a manifest may be. A longer one is read to its end (within reason) all the same:
/// a client that is still sending would see a broken connection instead of the answer.
async fn whole(body: Body, patience: Duration) -> Result<Bytes> {
    let mut pieces = body.into_data_stream();
    let mut kept = BytesMut::new();
    let mut total = 0;
    while let Some(piece) = tokio::time::timeout(patience, pieces.next()).await.map_err(|_| Error::Slow(patience))? {
        let piece = piece.map_err(|_| Error::BadRequest("the body broke off".to_owned()))?;
        total += piece.len();
        if total <= MAX_BYTES {
            kept.extend_from_slice(&piece);
        } else if total > 8 * MAX_BYTES {
            break;
        }
    }
    if total > MAX_BYTES { Err(ManifestError::TooLarge.into()) } else { Ok(kept.freeze()) }
}
