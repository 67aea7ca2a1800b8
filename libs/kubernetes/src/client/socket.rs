//! Requests that become WebSockets (RFC 6455): opened like every other request, with the same certificates, names and
//! credentials, and refused in plain HTTP.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{Response, StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::Client;
use crate::trouble::Trouble;

/// The API server asks a kubelet before it answers.
const OPENING: Duration = Duration::from_secs(30);

pub struct Socket {
    pub stream: WebSocketStream<Upgraded>,
    /// The one that the server has chosen.
    pub protocol: String,
}

impl Client {
    /// `protocols`: those that are offered, the best first.
    ///
    /// # Errors
    /// What the server refuses, and what no WebSocket server would answer.
    pub async fn socket(&self, path: &str, protocols: &[&str]) -> Result<Socket, Trouble> {
        for last in [false, true] {
            let state = self.credential(last).await?;
            let key = generate_key();
            let mut request = state.http.get(self.url(path)?).header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
            request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key).header(SEC_WEBSOCKET_PROTOCOL, protocols.join(", "));
            if let Some(token) = &state.token {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let slow = || Trouble::Unreachable { server: self.server().to_owned(), reason: "no answer in time".into() };
            let answer = match tokio::time::timeout(OPENING, request.send()).await.map_err(|_| slow())?.map_err(|e| self.unreachable(&e)) {
                Ok(answer) => answer,
                Err(trouble) if !last && self.may_be_renewed(&trouble) => continue,
                Err(trouble) => return Err(trouble),
            };
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                return self.opened(answer, &key, protocols).await;
            }
            let status = answer.status().as_u16();
            if answer.status().is_success() {
                return Err(Trouble::Malformed(
                    "a request for a WebSocket is answered as any other; a proxy before the API server has to let them through".into(),
                ));
            }
            let body = tokio::time::timeout(OPENING, answer.bytes()).await;
            let trouble = Trouble::of(status, None, &body.ok().and_then(Result::ok).unwrap_or_default());
            if matches!(trouble, Trouble::Unauthenticated(_)) && !last && state.until.is_some() {
                continue;
            }
            return Err(trouble);
        }
        Err(Trouble::Unauthenticated(String::new()))
    }

    async fn opened(&self, answer: Response, key: &str, protocols: &[&str]) -> Result<Socket, Trouble> {
        let header = |name: HeaderName| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        if header(SEC_WEBSOCKET_ACCEPT) != derive_accept_key(key.as_bytes()) {
            return Err(Trouble::Malformed("its answer to a request for a WebSocket is of another one".into()));
        }
        let protocol = header(SEC_WEBSOCKET_PROTOCOL);
        if !protocols.contains(&protocol.as_str()) {
            return Err(Trouble::Malformed(format!("it speaks `{protocol}` over WebSockets, not {}", protocols.join(" or "))));
        }
        let upgraded = answer.upgrade().await.map_err(|e| self.unreachable(&e))?;
        Ok(Socket { stream: WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await, protocol })
    }
}
