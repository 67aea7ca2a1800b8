//! Introspection (RFC 7662) and revocation (RFC 7009).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_kernel::{Problem, Uuid};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::api::oauth::client_auth::{Asking, client};
use crate::api::oauth::form::Form;
use crate::app::App;
use crate::app::clients::Client;
use crate::app::issue::{Issued, family_of};
use crate::app::registry_token::CLIENT as REGISTRY;
use crate::app::secrets::kept;
use crate::error::{OAuthError, fault};
use crate::store::{refresh, revoked, sessions};

/// For clients with a secret: whether a token counts right now, its session and its owner included. An organisation's client learns that of
/// tokens of its own organisation's clients and of those that are for it, a third party's of its own and of those that are for it; of others
/// they hear what they hear of tokens that there are not.
pub async fn introspect(State(app): State<App>, asking: Asking, form: Form) -> Result<Response, OAuthError> {
    let form = form.once()?;
    let asker = client(&app, &asking, &form).await?;
    if asker.is_public() {
        return Err(OAuthError::invalid_client());
    }
    let told = about(&app, &asker, form.need("token")?).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

/// Whether a client may hear of a token of another client, for this audience.
async fn may_hear(app: &App, asker: &Client, of: &str, audience: &[String]) -> Result<bool, Problem> {
    if asker.id == of || asker.settings.audience.as_ref().is_some_and(|mine| audience.contains(mine)) {
        return Ok(true);
    }
    // Nobody vouches for it: it may have registered itself.
    if asker.settings.consent_required {
        return Ok(false);
    }
    if asker.org.is_none() {
        return Ok(true);
    }
    Ok(app.clients.get(of).await?.is_some_and(|client| client.org == asker.org))
}

async fn about(app: &App, asker: &Client, token: &str) -> Result<Value, Problem> {
    if let Some(claims) = app.issued_claims(token) {
        if !may_hear(app, asker, &claims.client_id, &claims.aud).await? || !app.counts(&claims).await? {
            return Ok(json!({ "active": false }));
        }
        let mut answer = serde_json::to_value(&claims).map_err(fault)?;
        answer["active"] = json!(true);
        let bound = claims.cnf.as_ref().is_some_and(|c| c.get("jkt").is_some());
        answer["token_type"] = json!(if bound { "DPoP" } else { "Bearer" });
        if let Some(name) = &claims.preferred_username {
            answer["username"] = json!(name);
        }
        return Ok(answer);
    }
    let found = refresh::family_of(app.pool(), &kept(token)).await.map_err(fault)?;
    if let Some((family, ..)) = &found
        && (!may_hear(app, asker, &family.client_id, &[]).await? || (family.client_id != REGISTRY && app.clients.get(&family.client_id).await?.is_none()))
    {
        return Ok(json!({ "active": false }));
    }
    // However often it is renewed, it ends with its family.
    let found = found.map(|(family, expires, used)| (expires.min(family.expires_at), family, used));
    let alive = found.filter(|(expires, family, used)| family.ended_at.is_none() && !used && app.now() < *expires);
    Ok(alive.map_or_else(
        || json!({ "active": false }),
        |(expires, family, _)| {
            json!({
                "active": true, "token_type": "refresh_token", "client_id": family.client_id, "scope": family.scope,
                "sub": format!("user:{}", family.user_id), "exp": expires.unix_timestamp(), "iss": app.issuer,
            })
        },
    ))
}

/// Ends a refresh token's family, or that of an access token. An unknown token is as good as revoked (section 2.2).
pub async fn revoke(State(app): State<App>, asking: Asking, form: Form) -> Result<StatusCode, OAuthError> {
    let form = form.once()?;
    let asker = client(&app, &asking, &form).await?;
    let token = form.need("token")?;
    match what(&app, &asker, token).await? {
        Some(Revoked::Family(family)) => refresh::end(app.pool(), family, "revoked", app.now()).await.map_err(fault)?,
        Some(Revoked::Token(claims)) => revoked::insert(app.pool(), &claims.jti, claims.exp).await.map_err(fault)?,
        None => {}
    }
    Ok(StatusCode::OK)
}

enum Revoked {
    Family(Uuid),
    /// It came from no refresh token.
    Token(Box<Issued>),
}

/// What to end for a token that was issued to this client.
async fn what(app: &App, asker: &Client, token: &str) -> Result<Option<Revoked>, Problem> {
    if let Some((family, _, _)) = refresh::family_of(app.pool(), &kept(token)).await.map_err(fault)? {
        return Ok((family.client_id == asker.id).then_some(Revoked::Family(family.id)));
    }
    let claims = app.issued_claims(token).filter(|c| c.client_id == asker.id);
    // What was lent or handed on ends alone: the sign-in behind it is somebody else's.
    let family = claims.as_ref().filter(|c| c.act.is_none()).and_then(|c| family_of(&c.jti));
    Ok(family.map(Revoked::Family).or_else(|| claims.map(|c| Revoked::Token(Box::new(c)))))
}

impl App {
    /// Whether a valid token's client, family, session, key and owner are still there.
    pub(crate) async fn counts(&self, claims: &Issued) -> Result<bool, Problem> {
        if self.clients.get(&claims.client_id).await?.is_none() {
            return Ok(false);
        }
        if revoked::is(self.pool(), &claims.jti).await.map_err(fault)? {
            return Ok(false);
        }
        let family = family_of(&claims.jti);
        if let Some(family) = family
            && refresh::is_ended(self.pool(), family).await.map_err(fault)?
        {
            return Ok(false);
        }
        // A session that is ended ends its families. One that has run out does not: refresh tokens go on, and so does what they give.
        if family.is_none()
            && let Some(session) = claims.sid.as_deref().and_then(|s| s.parse().ok())
            && !sessions::is_alive(self.pool(), session, self.now()).await.map_err(fault)?
        {
            return Ok(false);
        }
        if !self.ground_counts(&claims.jti, &claims.sub).await? {
            return Ok(false);
        }
        match claims.sub.strip_prefix("user:").and_then(|id| id.parse().ok()) {
            Some(user) => Ok(self.active(user).await?.is_some()),
            None => Ok(true),
        }
    }
}
