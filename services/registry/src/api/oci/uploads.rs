//! `/v2/<name>/blobs/uploads/`: in one piece, in many, or by mounting what is there already.

use axum::body::{Body, Bytes};
use http::{StatusCode, header};
use uuid::Uuid;

use super::access;
use super::failure::Failure;
use super::query::Params;
use super::{Answer, Call, empty};
use crate::adapters::blob_store::UploadError;
use crate::app::App;
use crate::domain::access::Action;
use crate::domain::digest::{Algorithm, Digest};
use crate::domain::name::RepositoryName;
use crate::domain::range::ChunkRange;
use crate::error::{Error, Result};

pub async fn start(call: Call<'_>, body: Body) -> Answer {
    let params = Params::of(&call.parts.uri);
    if let Some(mount) = params.get("mount") {
        let digest = parse(mount)?;
        if mounted(&call, &digest, source(&call.parts.uri)).await? {
            return Ok(created(&call.name, &digest));
        }
        // As the specification wants: an ordinary upload begins instead.
    }
    let digest = params.get("digest").map(parse).transpose()?;
    let algorithm = match (&digest, params.get("digest-algorithm")) {
        (Some(digest), _) => digest.algorithm(),
        (None, Some(text)) => Algorithm::parse(text).ok_or_else(|| Error::BadDigest(text.to_owned()))?,
        (None, None) => Algorithm::Sha256,
    };
    let id = call.app.start_upload(&call.name, algorithm).await?;
    let Some(digest) = digest else { return Ok(under_way(StatusCode::ACCEPTED, &call.name, id, 0)) };
    if let Err(error) = at_once(&call, id, &digest, body).await {
        // Nobody was told of this upload, so nobody can go on with it.
        let _ = call.app.cancel_upload(&call.name, id).await;
        return Err(error.into());
    }
    Ok(created(&call.name, &digest))
}

/// An upload that is begun and ended by one request.
async fn at_once(call: &Call<'_>, id: Uuid, digest: &Digest, body: Body) -> Result<()> {
    let body = match rest(call, body).await? {
        Rest::Whole(bytes) => {
            if call.app.finish_whole(&call.name, id, digest, &bytes).await? {
                return Ok(());
            }
            bytes.into()
        }
        Rest::Pieces(body) => body,
    };
    take(call, id, body).await?;
    call.app.finish_upload(&call.name, id, digest).await
}

/// Whether the blob is in the repository now, or was made so from one that the caller may read.
async fn mounted(call: &Call<'_>, digest: &Digest, from: Option<RepositoryName>) -> Result<bool> {
    let at_once = from.as_ref().filter(|from| access::may_now(call.app, call.who, from, Action::Pull));
    let tried = at_once.is_some();
    if call.app.mount(&call.name, digest, at_once).await? {
        return Ok(true);
    }
    let from = match from {
        Some(_) if tried => None,
        // The right may be on its way.
        Some(from) => access::may(call.app, call.who, &from, Action::Pull).await.then_some(from),
        // distribution-spec, "Mounting a blob from another repository": without `from` the registry may find one itself.
        None if Params::of(&call.parts.uri).get("from").is_none() => {
            call.app.places_of(digest).await?.into_iter().find(|from| access::may_mount_from(call.app, call.who, &call.name, from))
        }
        None => None,
    };
    match from {
        Some(from) => call.app.mount(&call.name, digest, Some(&from)).await,
        None => Ok(false),
    }
}

/// The repository a blob is to be mounted from, if the request names one.
pub fn source(uri: &http::Uri) -> Option<RepositoryName> {
    let params = Params::of(uri);
    params.get("mount")?;
    RepositoryName::parse(params.get("from")?).ok()
}

pub async fn append(call: Call<'_>, id: &str, body: Body) -> Answer {
    let id = App::upload_id(id)?;
    let offset = match take(&call, id, body).await {
        Ok(offset) => offset,
        Err(error) => return Err(stands(&call, id, error)),
    };
    Ok(under_way(StatusCode::ACCEPTED, &call.name, id, offset))
}

pub async fn finish(call: Call<'_>, id: &str, body: Body) -> Answer {
    let id = App::upload_id(id)?;
    let params = Params::of(&call.parts.uri);
    let digest = parse(params.get("digest").unwrap_or_default())?;
    let body = match rest(&call, body).await? {
        Rest::Whole(bytes) => {
            if call.app.finish_whole(&call.name, id, &digest, &bytes).await? {
                return Ok(created(&call.name, &digest));
            }
            bytes.into()
        }
        Rest::Pieces(body) => body,
    };
    if call.header(header::CONTENT_LENGTH) != Some("0")
        && let Err(error) = take(&call, id, body).await
    {
        return Err(stands(&call, id, error));
    }
    call.app.finish_upload(&call.name, id, &digest).await?;
    Ok(created(&call.name, &digest))
}

/// What comes with the last request of an upload.
enum Rest {
    /// So little that it lives in the database: it is taken as one, and needs no file.
    Whole(Bytes),
    Pieces(Body),
}

async fn rest(call: &Call<'_>, body: Body) -> Result<Rest> {
    let (most, patience) = (call.app.config.inline_bytes, call.app.config.patience());
    let said = call.header(header::CONTENT_LENGTH).and_then(|l| l.parse::<u64>().ok()).filter(|said| (1..=most).contains(said));
    let Some(said) = said.filter(|_| call.header(header::CONTENT_RANGE).is_none()) else { return Ok(Rest::Pieces(body)) };
    let whole = axum::body::to_bytes(body, usize::try_from(said).unwrap_or(usize::MAX));
    match tokio::time::timeout(patience, whole).await {
        Ok(Ok(bytes)) if bytes.len() as u64 == said => Ok(Rest::Whole(bytes)),
        Ok(Ok(bytes)) => Err(Error::Upload(UploadError::Length { said, got: bytes.len() as u64 })),
        Ok(Err(error)) => Err(Error::Upload(UploadError::Broken(error.into()))),
        Err(_) => Err(Error::Upload(UploadError::Slow(patience))),
    }
}

pub async fn status(call: Call<'_>, id: &str) -> Answer {
    let id = App::upload_id(id)?;
    let offset = call.app.upload_offset(&call.name, id).await?;
    Ok(under_way(StatusCode::NO_CONTENT, &call.name, id, offset))
}

pub async fn cancel(call: Call<'_>, id: &str) -> Answer {
    let id = App::upload_id(id)?;
    call.app.cancel_upload(&call.name, id).await?;
    Ok(empty(StatusCode::NO_CONTENT, &[]))
}

/// Appends the body; both ways of saying where it belongs and how long it is must agree.
async fn take(call: &Call<'_>, id: Uuid, body: Body) -> Result<u64> {
    let range = call.header(header::CONTENT_RANGE).map(ChunkRange::parse).transpose().map_err(|e| Error::BadRequest(format!("Content-Range: {e}")))?;
    let length: Option<u64> = call.header(header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
    if let (Some(range), Some(length)) = (range, length)
        && range.bytes() != length
    {
        return Err(Error::BadRequest(format!("Content-Range names {} bytes, Content-Length {length}", range.bytes())));
    }
    let length = range.map(ChunkRange::bytes).or(length);
    call.app.append(&call.name, id, range.map(|r| r.first), length, body.into_data_stream()).await
}

/// A chunk out of order is refused with where the upload stands, so that the client need not ask.
fn stands(call: &Call<'_>, id: Uuid, error: Error) -> Failure {
    let Error::Upload(UploadError::OutOfOrder { at, .. }) = &error else { return error.into() };
    let headers = standing(&call.name, id, *at);
    Failure::from(error).with(headers)
}

fn parse(digest: &str) -> Result<Digest> {
    Digest::parse(digest).map_err(|_| Error::BadDigest(digest.to_owned()))
}

fn created(name: &RepositoryName, digest: &Digest) -> axum::response::Response {
    let location = format!("/v2/{name}/blobs/{digest}");
    empty(StatusCode::CREATED, &[("location", location), ("docker-content-digest", digest.to_string())])
}

fn standing(name: &RepositoryName, id: Uuid, offset: u64) -> Vec<(&'static str, String)> {
    let range = format!("0-{}", offset.saturating_sub(1));
    vec![("location", format!("/v2/{name}/blobs/uploads/{id}")), ("range", range), ("docker-upload-uuid", id.to_string())]
}

fn under_way(status: StatusCode, name: &RepositoryName, id: Uuid, offset: u64) -> axum::response::Response {
    empty(status, &standing(name, id, offset))
}
