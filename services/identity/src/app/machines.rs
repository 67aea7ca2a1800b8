//! Tokens without a browser: a client's own (RFC 6749 section 4.4) and a personal access token exchanged for a short
//! one (RFC 8693), so that scripts use the same API as people.

use crate::app::App;
use crate::app::clients::Client;
use crate::app::context::Fact;
use crate::app::issue::{Source, Tokens};
use crate::app::people::subject;
use crate::app::robots::KEY_PREFIX;
use crate::app::signin::Origin;
use crate::domain::token_scope;
use crate::error::OAuthError;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl App {
    /// A token whose subject is the client's robot: it may do what bindings of that robot allow.
    ///
    /// # Errors
    /// When there is no signing key.
    pub async fn client_credentials(&self, client: &Client, origin: &Origin) -> Result<Tokens, OAuthError> {
        let source = Source { client_id: client.id.clone(), scope: "api".into(), session: None, family: None, auth_time: self.now(), amr: String::new() };
        let robot = format!("robot:{}", client.robot());
        let access_token = self.access_token(&robot, Some(&client.id), &source)?;
        let object = format!("client:{}", client.id);
        self.record(Fact { actor: &robot, action: "token.issued", object: &object, result: "ok", reason: "client_credentials", from: &origin.address }).await;
        Ok(self.bare(access_token, source.scope))
    }

    /// # Errors
    /// `invalid_request` for other token types, `invalid_grant` for a token that does not count.
    pub async fn exchange_token(&self, client: &Client, token: &str, token_type: &str, origin: &Origin) -> Result<Tokens, OAuthError> {
        if token_type != ACCESS_TOKEN {
            return Err(OAuthError::invalid_request("subject_token_type: only access tokens"));
        }
        if token.starts_with(KEY_PREFIX) {
            return self.exchange_robot_key(client, token, origin).await;
        }
        let verified = self.verify_personal_token(token, origin).await;
        let (person, kept) = verified.map_err(|_| OAuthError::invalid_grant("subject_token is not valid"))?;
        let scope = token_scope::api_scope(&kept.scope).ok_or_else(|| OAuthError::new("invalid_scope", "this token is not for the API"))?;
        let source = Source { client_id: client.id.clone(), scope: scope.into(), session: None, family: None, auth_time: self.now(), amr: "pop".into() };
        let actor = subject(person.id);
        let access_token = self.access_token(&actor, Some(&person.username), &source)?;
        let object = format!("client:{}", client.id);
        self.record(Fact { actor: &actor, action: "token.issued", object: &object, result: "ok", reason: "personal token", from: &origin.address }).await;
        Ok(Tokens { issued_token_type: Some(ACCESS_TOKEN.into()), ..self.bare(access_token, source.scope) })
    }

    async fn exchange_robot_key(&self, client: &Client, key: &str, origin: &Origin) -> Result<Tokens, OAuthError> {
        let row = self.verify_robot_key(key, origin).await.map_err(|_| OAuthError::invalid_grant("subject_token is not valid"))?;
        let source = Source { client_id: client.id.clone(), scope: "api".into(), session: None, family: None, auth_time: self.now(), amr: "pop".into() };
        let actor = format!("robot:{}", row.id);
        let access_token = self.access_token(&actor, Some(&row.name), &source)?;
        let object = format!("client:{}", client.id);
        self.record(Fact { actor: &actor, action: "token.issued", object: &object, result: "ok", reason: "service account key", from: &origin.address }).await;
        Ok(Tokens { issued_token_type: Some(ACCESS_TOKEN.into()), ..self.bare(access_token, source.scope) })
    }

    fn bare(&self, access_token: String, scope: String) -> Tokens {
        Tokens {
            access_token,
            token_type: "Bearer".into(),
            expires_in: self.config.access_token_seconds,
            scope,
            refresh_token: None,
            id_token: None,
            issued_token_type: None,
        }
    }
}
