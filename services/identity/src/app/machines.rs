//! Tokens without a browser: a client's own (RFC 6749 section 4.4).

use serde_json::Value;

use crate::app::App;
use crate::app::clients::Client;
use crate::app::context::Fact;
use crate::app::issue::{Source, Tokens};
use crate::app::signin::Origin;
use crate::error::OAuthError;

impl App {
    /// A token whose subject is the client's robot: it may do what bindings of that robot allow.
    ///
    /// # Errors
    /// `invalid_scope`, or when there is no signing key.
    pub async fn client_credentials(&self, client: &Client, scope: Option<&str>, bound: Option<Value>, origin: &Origin) -> Result<Tokens, OAuthError> {
        // With an audience of its own it calls somebody else's service, otherwise our API.
        let asked = scope.unwrap_or_default();
        let api = asked.split_ascii_whitespace().any(|s| s == "api");
        let scope = match (&client.settings.audience, asked.trim().is_empty()) {
            (None, whole) if whole || api => "api".to_owned(),
            (Some(_), true) => String::new(),
            (Some(_), false) if api => return Err(OAuthError::new("invalid_scope", "this client's tokens are for its own audience")),
            _ => {
                let may = client.scope(asked);
                if may.is_empty() {
                    return Err(OAuthError::new("invalid_scope", "no scope is asked for that this client may have"));
                }
                may.split(' ').filter(|s| *s != "openid" && *s != "offline_access").collect::<Vec<_>>().join(" ")
            }
        };
        let source = Source { cnf: bound, ..Source::machine(&scope, self.now()) };
        let robot = format!("robot:{}", client.robot());
        let mut claims = self.access_for(client, &robot, &source);
        claims.preferred_username = Some(client.id.clone());
        let tokens = self.signed(&claims)?;
        let object = format!("client:{}", client.id);
        self.record(Fact { actor: &robot, action: "token.issued", object: &object, result: "ok", reason: "client_credentials", from: &origin.address }).await;
        Ok(tokens)
    }
}
