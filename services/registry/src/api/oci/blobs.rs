//! `GET|HEAD|DELETE /v2/<name>/blobs/<digest>`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};

use super::{Answer, Call, condition, empty};
use crate::app::blobs::Kept;
use crate::app::cached::Readable;
use crate::domain::digest::Digest;
use crate::domain::range::{ReadRange, read_range};
use crate::error::Error;

pub async fn read(call: Call<'_>, digest: &str) -> Answer {
    let digest = Digest::parse(digest).map_err(|_| Error::BadDigest(digest.to_owned()))?;
    let head = call.parts.method == Method::HEAD;
    // `Range` is defined for GET only (RFC 9110 section 14.2).
    let asked = call.header(header::RANGE).filter(|_| !head && condition::goes_on(&call.parts.headers, digest.as_str()));
    let found = call.app.pull_blob(&call.name, &digest, head, asked.is_none()).await?;
    if condition::has_it(&call.parts.headers, digest.as_str()) {
        return Ok(condition::not_modified(digest.as_str()));
    }
    match found {
        Readable::Here(blob) => kept(&call, &digest, blob, asked).await,
        Readable::Coming { size, stream } => Ok(answer(&digest, size, Body::from_stream(stream))),
        Readable::There { size } => Ok(answer(&digest, size, Body::empty())),
    }
}

async fn kept(call: &Call<'_>, digest: &Digest, blob: Kept, asked: Option<&str>) -> Answer {
    let range = match read_range(asked, blob.size) {
        ReadRange::Unsatisfiable => {
            let all = format!("bytes */{}", blob.size);
            return Ok(empty(StatusCode::RANGE_NOT_SATISFIABLE, &[("content-range", all)]));
        }
        ReadRange::Part { first, len } => Some((first, len)),
        ReadRange::Whole => None,
    };
    if call.parts.method == Method::GET
        && let Some(there) = call.app.elsewhere(digest, &blob).await?
    {
        let headers = [("location", there.to_string()), ("docker-content-digest", digest.to_string()), ("cache-control", "no-store".to_owned())];
        return Ok(empty(StatusCode::TEMPORARY_REDIRECT, &headers));
    }
    let size = blob.size;
    let (first, len) = range.unwrap_or((0, size));
    let body = if call.parts.method == Method::HEAD { Body::empty() } else { Body::from_stream(call.app.content(digest, blob, (first, len)).await?) };
    let mut response = answer(digest, len, body);
    if range.is_some() {
        response.headers_mut().insert(header::CONTENT_RANGE, text(&format!("bytes {first}-{}/{}", first + len - 1, size)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn answer(digest: &Digest, len: u64, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert("docker-content-digest", text(digest.as_str()));
    headers.insert(header::ETAG, text(&condition::tag(digest.as_str())));
    response
}

pub async fn delete(call: Call<'_>, digest: &str) -> Answer {
    let digest = Digest::parse(digest).map_err(|_| Error::BadDigest(digest.to_owned()))?;
    call.app.delete_blob(&call.name, &digest).await?;
    Ok(empty(StatusCode::ACCEPTED, &[]))
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::try_from(value).expect("digests and numbers are header values")
}
