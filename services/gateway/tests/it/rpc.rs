//! gRPC through the door: HTTP/2 to the service, trailers back, refusals as statuses.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use futures::{StreamExt, stream};
use gantry_client::identity::account_client::AccountClient;
use gantry_client::identity::teams_client::TeamsClient;
use gantry_client::identity::{ListTeamsRequest, Me};
use gantry_client::scheduler::sessions_client::SessionsClient;
use gantry_client::scheduler::{ExecInput, exec_input, session_output};
use gantry_gateway::GatewayConfig;
use http::HeaderMap;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::world::{Door, door};

/// Answers every call with a message whose bytes are these, `times` over, and then a status in the trailers.
fn answering(message: Vec<u8>, times: usize, status: &'static str) -> Router {
    Router::new().fallback(any(move |request: Request| {
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(&message);
        async move {
            assert_eq!((request.version(), &request.headers()["te"]), (http::Version::HTTP_2, &http::HeaderValue::from_static("trailers")));
            assert_eq!(request.headers()["x-forwarded-for"], "127.0.0.1");
            assert!(request.headers().get("cookie").is_none() && request.headers().get("x-gantry-peer").is_none());
            let signed_in = request.headers().get("authorization").is_some_and(|v| v == "Bearer t");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", if signed_in { status } else { "16" }.parse().unwrap());
            let framed = Bytes::from(framed);
            let data = (0..if signed_in { times } else { 0 }).map(|_| Ok::<_, std::io::Error>(Frame::data(framed.clone())));
            let frames: Vec<_> = data.chain([Ok(Frame::trailers(trailers))]).collect();
            Response::builder().header("content-type", "application/grpc").body(Body::new(StreamBody::new(stream::iter(frames)))).unwrap()
        }
    }))
}

/// Answers at once, and sends back what comes as it comes.
fn echoing() -> Router {
    Router::new().fallback(any(|request: Request| async move {
        let data = request.into_body().into_data_stream().map(|piece| piece.map(Frame::data));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = data.chain(stream::iter([Ok(Frame::trailers(trailers))]));
        Response::builder().header("content-type", "application/grpc").body(Body::new(StreamBody::new(frames))).unwrap()
    }))
}

async fn channel(door: &Door) -> Channel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&door.world.running.pki().ca_pem));
    Endpoint::from_shared(door.url.clone()).unwrap().tls_config(tls).unwrap().connect().await.expect("a connection")
}

fn signed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer t".parse().unwrap());
    request.metadata_mut().insert("x-gantry-peer", "scheduler".parse().unwrap());
    request.metadata_mut().insert("cookie", "__Host-gantry=stolen".parse().unwrap());
    request
}

#[tokio::test]
async fn a_call_goes_through_with_its_headers_and_comes_back_with_its_trailers() {
    let me = Me { username: "ada".into(), ..Default::default() };
    let door = door(vec![("identity", answering(prost::Message::encode_to_vec(&me), 1, "0"))], GatewayConfig::default()).await;
    let mut account = AccountClient::new(channel(&door).await);
    assert_eq!(account.get_me(signed(())).await.expect("an answer").into_inner().username, "ada");
    // The browser's cookie is no sign-in here: nothing checks from which page it came.
    assert_eq!(account.get_me(()).await.expect_err("refused").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_stream_of_messages_goes_through_to_its_end() {
    let door = door(vec![("identity", answering(Vec::new(), 3, "0"))], GatewayConfig::default()).await;
    let mut teams = TeamsClient::new(channel(&door).await);
    let mut stream = teams.watch_teams(signed(ListTeamsRequest::default())).await.expect("a stream").into_inner();
    let mut seen = 0;
    while stream.message().await.expect("whole").is_some() {
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn what_the_door_refuses_itself_is_a_status_too() {
    let door = door(vec![], GatewayConfig::default()).await;
    let channel = channel(&door).await;
    let away = AccountClient::new(channel.clone()).get_me(signed(())).await.expect_err("nobody there");
    assert!(away.code() == Code::Unavailable && away.message().contains("identity"), "{away:?}");
    let mut tokens = gantry_client::identity::tokens_client::TokensClient::new(channel);
    let inside = tokens.issue_registry_credential(signed(gantry_client::identity::IssueRegistryCredentialRequest::default())).await;
    assert_eq!(inside.expect_err("not for everybody").code(), Code::NotFound);
}

#[tokio::test]
async fn messages_go_both_ways_at_once() {
    let door = door(vec![("scheduler", echoing())], GatewayConfig::default()).await;
    let mut sessions = SessionsClient::new(channel(&door).await);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let messages = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let say = |text: &str| ExecInput { input: Some(exec_input::Input::Data(text.into())) };
    sender.send(say("one")).await.unwrap();
    let mut heard = sessions.exec(signed(messages)).await.expect("an answer before the caller is done").into_inner();
    for (text, next) in [("one", "two"), ("two", "three")] {
        // What is said has the number of the standard error of an answer.
        let output = heard.message().await.expect("it goes on").expect("an answer").output;
        assert_eq!(output, Some(session_output::Output::Stderr(text.into())));
        sender.send(say(next)).await.unwrap();
    }
    drop(sender);
    assert!(heard.message().await.expect("it goes on").is_some());
    assert!(heard.message().await.expect("whole").is_none());
}
