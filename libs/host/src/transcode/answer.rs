//! Answers of REST as messages, streams of messages, and statuses.

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use gantry_kernel::{Kind, Problem};
use http::{HeaderMap, StatusCode, header};
use prost_reflect::{DynamicMessage, MessageDescriptor, Value as Reflected};
use serde_json::Value;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::json;

/// Larger answers are for streams.
const LARGEST: usize = 16 << 20;
/// Headers of an answer that mean something to a caller.
const KEPT: [&str; 3] = ["etag", "idempotent-replay", "retry-after"];

/// Whether the answer is a file and not a thing.
pub(super) fn is_file(output: &MessageDescriptor) -> bool {
    output.full_name() == "google.api.HttpBody"
}

pub(super) async fn message(response: Response, output: MessageDescriptor) -> Result<tonic::Response<DynamicMessage>, Status> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LARGEST).await.map_err(|error| Status::from(Problem::internal(error)))?;
    let message = if is_file(&output) { file(output, &parts.headers, body) } else { parsed(output, &body)? };
    let mut response = tonic::Response::new(message);
    keep(&parts.headers, response.metadata_mut());
    Ok(response)
}

fn parsed(output: MessageDescriptor, body: &[u8]) -> Result<DynamicMessage, Status> {
    if body.is_empty() {
        return Ok(DynamicMessage::new(output));
    }
    let json: Value = serde_json::from_slice(body).map_err(|error| Status::from(Problem::internal(error)))?;
    Ok(json::to_message(output, json)?)
}

fn file(output: MessageDescriptor, headers: &HeaderMap, data: Bytes) -> DynamicMessage {
    let mut message = DynamicMessage::new(output);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/octet-stream");
    message.set_field_by_name("content_type", Reflected::String(kind.to_owned()));
    message.set_field_by_name("data", Reflected::Bytes(data));
    message
}

fn keep(headers: &HeaderMap, metadata: &mut MetadataMap) {
    for name in KEPT {
        if let Some(value) = headers.get(name).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<MetadataValue<Ascii>>().ok()) {
            metadata.insert(MetadataKey::from_static(name), value);
        }
    }
}

/// A file, as it comes.
pub(super) fn pieces(response: Response, output: MessageDescriptor) -> impl Stream<Item = Result<DynamicMessage, Status>> + Send {
    let (parts, body) = response.into_parts();
    body.into_data_stream().map(move |piece| match piece {
        Ok(data) => Ok(file(output.clone(), &parts.headers, data)),
        Err(error) => Err(Problem::internal(error).into()),
    })
}

/// Server-sent events of a watched list.
pub(super) fn changes(response: Response, output: MessageDescriptor) -> impl Stream<Item = Result<DynamicMessage, Status>> + Send {
    let events = Events { body: response.into_body().into_data_stream(), unread: BytesMut::new() };
    stream::unfold(Some(events), move |events| {
        let output = output.clone();
        async move {
            let mut events = events?;
            match events.next().await? {
                Ok(Event { name, data }) if name == "problem" => Some((Err(told(&data)), None)),
                Ok(event) if is_text(&output) => Some((Ok(text(output, event)), Some(events))),
                Ok(Event { data, .. }) => Some((parsed(output, data.as_bytes()), Some(events))),
                Err(status) => Some((Err(status), None)),
            }
        }
    })
}

/// Whether events are lines of text, of which only the name says what they are.
fn is_text(output: &MessageDescriptor) -> bool {
    output.fields().len() == 2 && ["event", "data"].iter().all(|name| output.get_field_by_name(name).is_some())
}

fn text(output: MessageDescriptor, event: Event) -> DynamicMessage {
    let mut message = DynamicMessage::new(output);
    message.set_field_by_name("event", Reflected::String(event.name));
    message.set_field_by_name("data", Reflected::String(event.data));
    message
}

struct Event {
    name: String,
    data: String,
}

struct Events {
    body: BodyDataStream,
    unread: BytesMut,
}

impl Events {
    /// The next event with data; comments that keep the connection alive are passed over.
    async fn next(&mut self) -> Option<Result<Event, Status>> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|w| w == b"\n\n") {
                let block = self.unread.split_to(end);
                self.unread.advance(2);
                if let Some(event) = read(&String::from_utf8_lossy(&block)) {
                    return Some(Ok(event));
                }
            }
            match self.body.next().await? {
                Ok(data) => self.unread.extend_from_slice(&data),
                Err(error) => return Some(Err(Problem::internal(error).into())),
            }
        }
    }
}

fn read(block: &str) -> Option<Event> {
    let data = values(block, "data");
    (!data.is_empty()).then(|| Event { name: values(block, "event").first().copied().unwrap_or_default().to_owned(), data: data.join("\n") })
}

fn values<'a>(block: &'a str, field: &str) -> Vec<&'a str> {
    let all = block.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    all.map(|text| text.strip_prefix(' ').unwrap_or(text)).collect()
}

/// A refusal as a status: code and text of the problem, and what `google.rpc` has a place for.
pub(super) async fn refusal(response: Response) -> Status {
    let (parts, body) = response.into_parts();
    let body: Value = body_of(body).await;
    let problem = parts.extensions.get::<Problem>();
    let code = problem.map_or_else(|| code_of(parts.status), |p| p.kind.grpc());
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let detail = match problem {
        Some(problem) => problem.detail.clone(),
        None if body["detail"].is_string() => text("detail"),
        None => parts.status.canonical_reason().unwrap_or("refused").to_owned(),
    };
    let mut status = detailed(code, &detail, &body);
    keep(&parts.headers, status.metadata_mut());
    status
}

/// What cannot even be asked.
pub(super) fn unasked(problem: &Problem) -> Status {
    detailed(problem.kind.grpc(), &problem.detail, &problem.body())
}

/// A problem that came as an event.
fn told(data: &str) -> Status {
    let body: Value = serde_json::from_str(data).unwrap_or_default();
    let status = body["status"].as_u64().and_then(|s| u16::try_from(s).ok()).and_then(|s| StatusCode::from_u16(s).ok());
    detailed(code_of(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)), body["detail"].as_str().unwrap_or_default(), &body)
}

fn detailed(code: Code, detail: &str, body: &Value) -> Status {
    let reason = body["code"].as_str().unwrap_or_default();
    let mut details = ErrorDetails::new();
    let trace = body["trace_id"].as_str().map(|trace| ("trace_id".to_owned(), trace.to_owned()));
    details.set_error_info(reason, "gantry", trace.into_iter().collect::<std::collections::HashMap<_, _>>());
    for fault in body["errors"].as_array().into_iter().flatten() {
        details.add_bad_request_violation(fault["field"].as_str().unwrap_or_default(), fault["detail"].as_str().unwrap_or_default());
    }
    let mut status = Status::with_error_details(code, detail, details);
    if let Ok(reason) = reason.parse::<MetadataValue<Ascii>>() {
        status.metadata_mut().insert("gantry-code", reason);
    }
    status
}

async fn body_of(body: Body) -> Value {
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// For answers that are no problem of ours: a layer's.
fn code_of(status: StatusCode) -> Code {
    let kinds = [
        Kind::Invalid,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Stale,
        Kind::TooLarge,
        Kind::QuotaExceeded,
        Kind::TooMany,
        Kind::Unavailable,
    ];
    kinds.into_iter().find(|kind| kind.status() == status).map_or(if status.is_client_error() { Code::InvalidArgument } else { Code::Internal }, Kind::grpc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_passed_over() {
        let event = read("event: change\ndata: {\"a\":\ndata: 1}").expect("an event");
        assert_eq!((event.name.as_str(), event.data.as_str()), ("change", "{\"a\":\n1}"));
        assert!(read(": keep alive").is_none());
    }

    #[test]
    fn a_status_of_some_layer_keeps_its_meaning() {
        let pairs = [(413, Code::OutOfRange), (405, Code::InvalidArgument), (503, Code::Unavailable), (500, Code::Internal), (401, Code::Unauthenticated)];
        for (status, code) in pairs {
            assert_eq!(code_of(StatusCode::from_u16(status).expect("a status")), code);
        }
    }
}
