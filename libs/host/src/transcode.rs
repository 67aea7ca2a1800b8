//! gRPC for what REST offers: an RPC with the option `google.api.http` *is* the REST call that it names. The message becomes path, query
//! and body, the call goes through the same router (rights, limits, idempotency, audit, all of it), the answer becomes a message and a
//! problem a status. So there is one set of rules, and a service offers an RPC by writing it into `schemas/proto`.
//!
//! Metadata are headers: `authorization`, `if-match`, `idempotency-key` go in, `etag` comes out.

mod answer;
mod json;
mod rest;
mod rule;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use gantry_auth::{Asked, Peer};
use gantry_kernel::Problem;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, header};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

pub use rest::Rest;
use rule::Rule;

/// Read once, whichever services are in the process: it is large.
static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(gantry_contract::proto::DESCRIPTORS).expect("the build has made them of schemas/proto"));

type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

/// The RPCs of some gRPC services, answered by `rest`.
#[derive(Clone)]
pub(crate) struct Transcoder {
    methods: Arc<HashMap<String, Arc<Method>>>,
    rest: Router,
}

struct Method {
    rule: Rule,
    name: String,
    path: String,
    input: MessageDescriptor,
    output: MessageDescriptor,
    streams: bool,
}

impl Method {
    fn of(method: &MethodDescriptor) -> anyhow::Result<Self> {
        let rule = Rule::of(method).with_context(|| format!("{} says no google.api.http", method.full_name()))?;
        anyhow::ensure!(!method.is_client_streaming(), "{}: REST takes no stream of messages", method.full_name());
        Ok(Self {
            rule,
            name: method.name().to_owned(),
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            input: method.input(),
            output: method.output(),
            streams: method.is_server_streaming(),
        })
    }

    /// The query by which the REST call becomes a stream. Those that are called neither `Watch...` nor `Follow...` are streams by
    /// themselves: files that come in pieces, and events. What a dry run answers is another message than what the change does, so it
    /// is an RPC of its own, too.
    fn switch(&self) -> Option<&'static str> {
        let switches = [("Watch", "watch", true), ("Follow", "follow", true), ("DryRun", "dry_run", false)];
        switches.into_iter().find(|(verb, _, streams)| self.streams == *streams && self.name.starts_with(verb)).map(|(_, switch, _)| switch)
    }
}

impl Transcoder {
    /// # Errors
    /// When a service is not in the descriptors, or an RPC names no REST call.
    pub fn new(services: &[&'static str], rest: Router) -> anyhow::Result<Self> {
        let mut methods = HashMap::new();
        for name in services {
            let service = DESCRIPTORS.get_service_by_name(name).with_context(|| format!("schemas/proto has no service {name}"))?;
            for method in service.methods() {
                let method = Method::of(&method)?;
                methods.insert(method.path.clone(), Arc::new(method));
            }
        }
        Ok(Self { methods: Arc::new(methods), rest })
    }

    async fn answer(self, request: Request<Body>) -> Response {
        let Some(method) = self.methods.get(request.uri().path()).cloned() else {
            return Status::unimplemented("there is no such method").into_http();
        };
        let call = Call { rest: self.rest, method: method.clone(), headers: request.headers().clone(), extensions: request.extensions().clone() };
        let mut server = Grpc::new(Dynamic { input: method.input.clone() });
        let response = if method.streams { server.server_streaming(call, request).await } else { server.unary(call, request).await };
        response.map(Body::new)
    }
}

impl Service<Request<Body>> for Transcoder {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

/// One call, as it came.
struct Call {
    rest: Router,
    method: Arc<Method>,
    headers: HeaderMap,
    extensions: Extensions,
}

impl Call {
    /// The REST call that this is.
    fn rewritten(&self, message: &DynamicMessage) -> Result<Request<Body>, Problem> {
        let fields = json::from_message(message)?;
        on_behalf(self.headers.clone(), &self.extensions, &self.method.path, &self.method.rule, fields, self.method.switch())
    }

    async fn ask(self, message: DynamicMessage) -> Result<(Response, MessageDescriptor), Status> {
        let request = self.rewritten(&message).map_err(|problem| answer::unasked(&problem))?;
        let response = match self.rest.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.status().is_success() { Ok((response, self.method.output.clone())) } else { Err(answer::refusal(response).await) }
    }
}

/// The REST call that an RPC of `path` is, with these headers and by whoever made it.
fn on_behalf(
    headers: HeaderMap,
    extensions: &Extensions,
    path: &str,
    rule: &Rule,
    fields: Map<String, Value>,
    switch: Option<&str>,
) -> Result<Request<Body>, Problem> {
    let (uri, body) = rule.call(fields, switch)?;
    let mut request = Request::new(body.as_ref().map_or_else(Body::empty, |json| Body::from(json.to_string())));
    *request.method_mut() = rule.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    // Not those of the router that this call came by: its parameters are none of the next one's.
    if let Some(peer) = extensions.get::<Peer>() {
        request.extensions_mut().insert(peer.clone());
    }
    if let Some(from) = extensions.get::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(*from);
    }
    // A proof of possession (DPoP) is about what the client asked.
    request.extensions_mut().insert(Asked { method: http::Method::POST, path: path.to_owned() });
    let headers = request.headers_mut();
    let ours: Vec<HeaderName> = headers.keys().filter(|name| belongs_to_grpc(name)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    if body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(request)
}

fn belongs_to_grpc(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("grpc-") || ["te", "content-type", "content-length", "content-encoding", "accept", "accept-encoding"].contains(&name)
}

impl UnaryService<DynamicMessage> for Call {
    type Response = DynamicMessage;
    type Future = BoxFuture<'static, Result<tonic::Response<DynamicMessage>, Status>>;

    fn call(&mut self, request: tonic::Request<DynamicMessage>) -> Self::Future {
        let call = self.taken();
        Box::pin(async move {
            let (response, output) = call.ask(request.into_inner()).await?;
            answer::message(response, output).await
        })
    }
}

impl ServerStreamingService<DynamicMessage> for Call {
    type Response = DynamicMessage;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<tonic::Response<Messages>, Status>>;

    fn call(&mut self, request: tonic::Request<DynamicMessage>) -> Self::Future {
        let call = self.taken();
        Box::pin(async move {
            let (response, output) = call.ask(request.into_inner()).await?;
            let messages = if answer::is_file(&output) { answer::pieces(response, output).boxed() } else { answer::changes(response, output).boxed() };
            Ok(tonic::Response::new(messages))
        })
    }
}

impl Call {
    /// tonic lends the call, the work outlives the loan; it is made once.
    fn taken(&mut self) -> Self {
        Self {
            rest: self.rest.clone(),
            method: self.method.clone(),
            headers: std::mem::take(&mut self.headers),
            extensions: std::mem::take(&mut self.extensions),
        }
    }
}

/// Messages of types that only the descriptors know.
struct Dynamic {
    input: MessageDescriptor,
}

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Write;
    type Decoder = Read;

    fn encoder(&mut self) -> Write {
        Write
    }

    fn decoder(&mut self) -> Read {
        Read(self.input.clone())
    }
}

struct Write;

impl Encoder for Write {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::from(Problem::internal(error)))
    }
}

struct Read(MessageDescriptor);

impl Decoder for Read {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), buffer);
        message.map(Some).map_err(|error| Status::new(Code::InvalidArgument, format!("this is no {}: {error}", self.0.full_name())))
    }
}
