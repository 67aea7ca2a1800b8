//! OpenID Connect providers as upstreams: discovery, the authorization request, and the claims behind a code.

mod renew;

use std::time::Duration;

use gantry_contract::upstream::Oidc;
use gantry_kernel::Secret;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim,
    CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode,
    CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse, CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AdditionalProviderMetadata, AuthType, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, ProviderMetadata, RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse, TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::renew::{Renewed, renew};
use super::provider::{Http, ProviderError};
use crate::domain::upstream::person::External;

/// How long discovery and keys are kept. A token signed by a key that is not there makes them be read again.
pub const KEPT: Duration = Duration::from_secs(3_600);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct More {
    /// RFC 9207.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for More {}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Any(Map<String, Value>);

impl AdditionalClaims for Any {}

pub type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Tokens = StandardTokenResponse<
    IdTokenFields<Any, EmptyExtraTokenFields, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>,
    CoreTokenType,
>;

type Party = Client<
    Any,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What an authorization request is made with; kept in the browser's sealed cookie until the answer comes.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub state: &'a str,
    pub nonce: &'a str,
    pub verifier: &'a str,
    pub redirect: &'a str,
    pub hint: Option<&'a str>,
}

fn answer(error: impl std::fmt::Display) -> ProviderError {
    ProviderError::Answer(error.to_string())
}

/// The provider's metadata and keys; its issuer must be the one that was asked (OpenID Connect Discovery 1.0 section 4.3).
///
/// # Errors
/// When it cannot be reached or says something else.
pub async fn discover(http: &Http, oidc: &Oidc) -> Result<Metadata, ProviderError> {
    let issuer = IssuerUrl::new(oidc.issuer.clone()).map_err(answer)?;
    Metadata::discover_async(issuer, http).await.map_err(|e| answer(chain(&e)))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn party(metadata: &Metadata, oidc: &Oidc, secret: &Secret, redirect: &str) -> Result<Party, ProviderError> {
    let secret = (!secret.is_empty()).then(|| ClientSecret::new(secret.expose().to_owned()));
    let auth = if oidc.secret_in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
    let client = Client::from_provider_metadata(metadata.clone(), ClientId::new(oidc.client_id.clone()), secret);
    Ok(client.set_redirect_uri(RedirectUrl::new(redirect.to_owned()).map_err(answer)?).set_auth_type(auth))
}

/// Where the browser is sent: code flow with PKCE.
///
/// # Errors
/// When the redirect address is none.
pub fn authorize(metadata: &Metadata, oidc: &Oidc, asked: &Asked) -> Result<String, ProviderError> {
    let client = party(metadata, oidc, &Secret::default(), asked.redirect)?;
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(asked.verifier.to_owned()));
    let (state, nonce) = (CsrfToken::new(asked.state.to_owned()), Nonce::new(asked.nonce.to_owned()));
    let mut request = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce).set_pkce_challenge(challenge);
    for scope in oidc.scopes.iter().filter(|s| *s != "openid") {
        request = request.add_scope(Scope::new(scope.clone()));
    }
    if let Some(hint) = asked.hint {
        request = request.set_login_hint(openidconnect::LoginHint::new(hint.to_owned()));
    }
    Ok(request.url().0.into())
}

/// Whether the `iss` of an authorization response is this provider's (RFC 9207 section 2.4): an answer of another one
/// is a mix-up.
pub fn is_from(metadata: &Metadata, iss: Option<&str>) -> bool {
    match iss {
        Some(iss) => iss == metadata.issuer().as_str(),
        None => !metadata.additional_metadata().authorization_response_iss_parameter_supported,
    }
}

/// By the keys only: neither `none`, nor a shared secret that anybody with the client's configuration knows.
fn verifier(client: &Party) -> openidconnect::IdTokenVerifier<'_, CoreJsonWebKey> {
    client.id_token_verifier().set_allowed_algs([
        CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
        CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
        CoreJwsSigningAlgorithm::RsaSsaPssSha256,
        CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        CoreJwsSigningAlgorithm::EdDsa,
    ])
}

/// Exchanges the code and checks the ID token: signature, issuer, audience, expiry, nonce, access token hash. What it
/// says about the person, completed by the UserInfo endpoint; and the refresh token, if it gave one.
///
/// # Errors
/// When anything does not fit.
pub async fn claims(
    http: &Http,
    metadata: &Metadata,
    oidc: &Oidc,
    secret: &Secret,
    asked: &Asked<'_>,
    code: &str,
) -> Result<(External, Option<Secret>), ProviderError> {
    let client = party(metadata, oidc, secret, asked.redirect)?;
    let request = client.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(answer)?;
    let tokens = request.set_pkce_verifier(PkceCodeVerifier::new(asked.verifier.to_owned())).request_async(http).await.map_err(|e| answer(chain(&e)))?;
    let id_token = tokens.id_token().ok_or_else(|| answer("there is no ID token"))?;
    let verifier = verifier(&client);
    let claims = id_token.claims(&verifier, &Nonce::new(asked.nonce.to_owned())).map_err(answer)?;
    if let Some(expected) = claims.access_token_hash() {
        let algorithm = id_token.signing_alg().map_err(answer)?;
        let actual = AccessTokenHash::from_token(tokens.access_token(), algorithm, id_token.signing_key(&verifier).map_err(answer)?).map_err(answer)?;
        if actual != *expected {
            return Err(answer("the access token is not the ID token's"));
        }
    }
    let mut all = serde_json::to_value(claims).map_err(answer)?;
    if let Ok(request) = client.user_info(tokens.access_token().clone(), Some(claims.subject().clone())) {
        let more: UserInfoClaims<Any, CoreGenderClaim> = request.request_async(http).await.map_err(|e| answer(chain(&e)))?;
        if let (Value::Object(all), Value::Object(more)) = (&mut all, serde_json::to_value(&more).map_err(answer)?) {
            for (name, value) in more {
                all.entry(name).or_insert(value);
            }
        }
    }
    let refresh = tokens.refresh_token().map(|t| Secret::new(t.secret().as_str()));
    Ok((person(oidc, claims.subject().as_str(), &all), refresh))
}

fn person(oidc: &Oidc, subject: &str, claims: &Value) -> External {
    let named = |given: &str, usual: &str| claims.get(if given.is_empty() { usual } else { given }).cloned().unwrap_or(Value::Null);
    let text = |value: &Value| value.as_str().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
    let email = text(&named(&oidc.claims.email, "email"));
    let username = text(&named(&oidc.claims.username, "preferred_username")).or_else(|| email.clone()).unwrap_or_else(|| subject.to_owned());
    let groups = named(&oidc.claims.groups, "groups");
    External {
        subject: subject.to_owned(),
        display_name: text(&named(&oidc.claims.display_name, "name")).unwrap_or_else(|| username.clone()),
        email_verified: email.is_some() && (claims["email_verified"] == true || claims["email_verified"] == "true"),
        email: email.filter(|e| crate::domain::upstream::person::is_address(e)),
        username,
        groups: match groups {
            Value::Array(all) => Some(all.iter().filter_map(text).collect()),
            Value::String(one) => Some(vec![one]),
            _ => None,
        },
        disabled: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn oidc() -> Oidc {
        Oidc { issuer: "https://id.example.org".into(), client_id: "g".into(), scopes: vec![], claims: Default::default(), secret_in_body: false }
    }

    #[test]
    fn claims_become_a_person() {
        let all = json!({ "preferred_username": "ada", "email": "ada@example.org", "email_verified": true, "name": "Ada", "groups": ["dev", 7] });
        let ada = person(&oidc(), "s1", &all);
        assert_eq!(
            (ada.username.as_str(), ada.email.as_deref(), ada.email_verified, ada.groups),
            ("ada", Some("ada@example.org"), true, Some(vec!["dev".into()]))
        );
        let bare = person(&oidc(), "s1", &json!({ "email": "x", "email_verified": "yes" }));
        assert_eq!((bare.email, bare.email_verified, bare.groups), (None, false, None), "no address, no word on groups");
        let named = Oidc { claims: gantry_contract::upstream::Claims { username: "upn".into(), groups: "roles".into(), ..Default::default() }, ..oidc() };
        let other = person(&named, "s1", &json!({ "upn": "ada@corp", "roles": "admins" }));
        assert_eq!((other.username.as_str(), other.groups), ("ada@corp", Some(vec!["admins".into()])));
    }
}
