//! What a provider says about somebody between two sign-ins: asked with the refresh token that it gave at the last one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_contract::upstream::Oidc;
use gantry_kernel::Secret;
use http::{Method, header};
use openidconnect::core::CoreGenderClaim;
use openidconnect::{Nonce, OAuth2TokenResponse, SubjectIdentifier, TokenResponse, UserInfoClaims};
use serde_json::Value;

use super::super::provider::{Http, ProviderError};
use super::{Any, Metadata, Tokens, answer, chain, party, person, verifier};
use crate::domain::upstream::person::External;

/// What became of the question.
pub enum Renewed {
    /// The account is there: the next token if the provider gave another one, which is to be kept even where what is said about the account
    /// cannot be had.
    Still { external: Box<Result<External, ProviderError>>, refresh: Option<Secret> },
    /// `invalid_grant` (RFC 6749 section 5.2): the account or what it allowed us is gone.
    Gone,
}

/// Asks for new tokens and what the provider says about `subject` now (OpenID Connect Core 1.0 section 12).
///
/// # Errors
/// When the provider cannot be reached, or refuses us rather than the person.
pub async fn renew(http: &Http, metadata: &Metadata, oidc: &Oidc, secret: &Secret, refresh: &Secret, subject: &str) -> Result<Renewed, ProviderError> {
    let endpoint = metadata.token_endpoint().ok_or_else(|| answer("there is no token endpoint"))?;
    let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", refresh.expose())];
    let mut request = http.request(Method::POST, endpoint.as_str());
    if secret.is_empty() || oidc.secret_in_body {
        fields.push(("client_id", &oidc.client_id));
        fields.extend((!secret.is_empty()).then(|| ("client_secret", secret.expose())));
    } else {
        // Both parts are form-encoded first (RFC 6749 section 2.3.1).
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", encoded(&oidc.client_id), encoded(secret.expose())));
        request = request.header(header::AUTHORIZATION, format!("Basic {basic}"));
    }
    let tokens = match http.json(request.form(&fields)).await {
        Err(ProviderError::Status { text, .. }) if text == "invalid_grant" => return Ok(Renewed::Gone),
        other => serde_json::from_value::<Tokens>(other?).map_err(answer)?,
    };
    let refresh = tokens.refresh_token().map(|t| Secret::new(t.secret().as_str()));
    let external = Box::new(told(http, metadata, oidc, secret, &tokens, subject).await);
    Ok(Renewed::Still { external, refresh })
}

/// What the ID token and the UserInfo endpoint say.
async fn told(http: &Http, metadata: &Metadata, oidc: &Oidc, secret: &Secret, tokens: &Tokens, subject: &str) -> Result<External, ProviderError> {
    let client = party(metadata, oidc, secret, "https://unused.invalid")?;
    let mut all = Value::Object(serde_json::Map::new());
    if let Some(id_token) = tokens.id_token() {
        // There was no question of ours that a nonce could belong to.
        let claims = id_token.claims(&verifier(&client), |_: Option<&Nonce>| Ok(())).map_err(answer)?;
        if claims.subject().as_str() != subject {
            return Err(answer("the ID token is somebody else's"));
        }
        all = serde_json::to_value(claims).map_err(answer)?;
    }
    if let Ok(request) = client.user_info(tokens.access_token().clone(), Some(SubjectIdentifier::new(subject.to_owned()))) {
        let more: UserInfoClaims<Any, CoreGenderClaim> = request.request_async(http).await.map_err(|e| answer(chain(&e)))?;
        if let (Value::Object(all), Value::Object(more)) = (&mut all, serde_json::to_value(&more).map_err(answer)?) {
            // What is asked now is newer than what a token may repeat of the sign-in.
            all.extend(more);
        }
    }
    let mut external = person(oidc, subject, &all);
    let name = if oidc.claims.display_name.is_empty() { "name" } else { oidc.claims.display_name.as_str() };
    if all.get(name).is_none_or(Value::is_null) {
        // At a sign-in the subject does for a name; here it would take the place of the one that was said then.
        external.display_name = String::new();
    }
    Ok(external)
}
