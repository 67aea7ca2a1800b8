//! Calls of RPCs by their descriptors, with messages made of JSON: for tables of who may call what.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_host::{Host, Leaf};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::Value;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::World;

/// A refusal comes at once.
const QUIET: Duration = Duration::from_secs(5);

/// A connection to a service as the gateway makes it: with its own certificate, and the callers' headers on each call.
///
/// # Panics
/// When the service does not listen.
pub fn gateway(world: &World, host: &Host) -> Channel {
    channel(world, host, "gateway")
}

/// The same with the certificate of `peer`. The connection is made by the first call.
///
/// # Panics
/// When the service does not listen.
pub fn channel(world: &World, host: &Host, peer: &str) -> Channel {
    channel_of(world, host, &world.running.pki().leaf(peer, &[]).expect("a certificate"))
}

/// The same with this certificate.
///
/// # Panics
/// When the service does not listen.
pub fn channel_of(world: &World, host: &Host, leaf: &Leaf) -> Channel {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&world.running.pki().ca_pem))
        .identity(Identity::from_pem(&leaf.chain_pem, &leaf.key_pem))
        .domain_name(format!("{}.{}", host.name, gantry_host::SERVER_SUFFIX));
    let url = host.url_of(host.name).expect("it listens");
    Endpoint::from_shared(url).expect("an address").tls_config(tls).expect("TLS").connect_lazy()
}

/// The RPCs of these services, by `<service>.<rpc>` without the package.
///
/// # Panics
/// When `schemas/proto` has no such service.
pub fn methods(services: &[&str]) -> BTreeMap<String, MethodDescriptor> {
    let pool = DescriptorPool::decode(gantry_contract::proto::DESCRIPTORS).expect("descriptors");
    let all = services.iter().flat_map(|name| pool.get_service_by_name(name).unwrap_or_else(|| panic!("{name}")).methods().collect::<Vec<_>>());
    all.map(|m| (format!("{}.{}", m.parent_service().name(), m.name()), m)).collect()
}

/// One call; of a stream the first message, or that none comes for a while. A stream of the caller's has this one message, too.
///
/// # Errors
/// What the service answers.
///
/// # Panics
/// When `json` is no message of this RPC.
pub async fn call(channel: Channel, method: &MethodDescriptor, json: Value, token: Option<&str>) -> Result<(), Status> {
    let message = DynamicMessage::deserialize(method.input(), json).unwrap_or_else(|e| panic!("{}: {e}", method.full_name()));
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().expect("a path");
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let codec = Dynamic(method.output());
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => client.unary(maybe_by(token, message), path, codec).await.map(drop),
        (false, true) => first(client.server_streaming(maybe_by(token, message), path, codec).await?.into_inner()).await,
        (true, _) => first(client.streaming(maybe_by(token, futures::stream::iter([message])), path, codec).await?.into_inner()).await,
    }
}

async fn first(mut messages: tonic::Streaming<DynamicMessage>) -> Result<(), Status> {
    match tokio::time::timeout(QUIET, messages.message()).await {
        Ok(message) => message.map(drop),
        Err(_) => Ok(()),
    }
}

/// A request with the token of its caller.
///
/// # Panics
/// When the token fits into no header.
pub fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    request
}

fn maybe_by<T>(token: Option<&str>, message: T) -> Request<T> {
    match token {
        Some(token) => by(token, message),
        None => Request::new(message),
    }
}

struct Dynamic(MessageDescriptor);
struct Write;
struct Read(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Write;
    type Decoder = Read;

    fn encoder(&mut self) -> Write {
        Write
    }

    fn decoder(&mut self) -> Read {
        Read(self.0.clone())
    }
}

impl Encoder for Write {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|e| Status::internal(e.to_string()))
    }
}

impl Decoder for Read {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), buffer).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}
