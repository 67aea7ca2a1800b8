//! OAuth clients: the applications and programs that may ask identity for tokens. Names of settings are those of
//! dynamic client registration (RFC 7591, OpenID Connect Registration 1.0) wherever it has one.

use gantry_es::EventData;
use gantry_kernel::OrgId;
use serde::{Deserialize, Serialize};

/// Stream `client-<client id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum ClientEvent {
    #[serde(rename = "client.registered")]
    Registered {
        client: String,
        /// The organisation it belongs to; none: the platform.
        org: Option<OrgId>,
        settings: Box<ClientSettings>,
        /// It registered itself (RFC 7591) instead of being made by an administrator.
        dynamic: bool,
    },
    /// All settings as they are from now on.
    #[serde(rename = "client.changed")]
    Changed { client: String, settings: Box<ClientSettings> },
    #[serde(rename = "client.secret-added")]
    SecretAdded { client: String, secret: ClientSecret },
    #[serde(rename = "client.secret-removed")]
    SecretRemoved { client: String, id: String },
    #[serde(rename = "client.deleted")]
    Deleted { client: String },
}

impl EventData for ClientEvent {
    const AGGREGATE: &'static str = "client";
}

/// What is kept of a client secret. It is 256 random bits, so a plain hash cannot be guessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSecret {
    pub id: String,
    /// SHA-256, base64url.
    pub hash: String,
    /// Its first letters, to tell it from others.
    pub hint: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; none: until it is removed.
    pub expires_at: Option<i64>,
}

/// What a client is and may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientSettings {
    /// Shown to people on the consent page.
    pub client_name: String,
    /// A client that is switched off gets nothing.
    pub enabled: bool,
    /// `web` or `native`. Native ones may register loopback addresses and schemes of their own.
    pub application_type: String,
    /// Compared as text; `http://127.0.0.1/...` and `http://[::1]/...` match with any port.
    pub redirect_uris: Vec<String>,
    pub post_logout_redirect_uris: Vec<String>,
    /// `authorization_code`, `refresh_token`, `client_credentials`, or the URNs of the device flow and token exchange.
    pub grant_types: Vec<String>,
    /// `none`, `client_secret_basic`, `client_secret_post`, `private_key_jwt`, `tls_client_auth`, `self_signed_tls_client_auth`.
    pub token_endpoint_auth_method: String,
    /// Public keys of the client (RFC 7517); instead of `jwks_uri`.
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<serde_json::Value>,
    pub jwks_uri: Option<String>,
    /// RFC 4514, as `openssl x509 -noout -subject -nameopt RFC2253` prints it.
    pub tls_client_auth_subject_dn: Option<String>,
    pub tls_client_auth_san_dns: Option<String>,
    pub tls_client_auth_san_uri: Option<String>,
    /// People are asked before it gets anything (third parties).
    pub consent_required: bool,
    pub backchannel_logout_uri: Option<String>,
    pub backchannel_logout_session_required: bool,
    /// What it may ask for at most.
    pub scopes: Vec<String>,
    /// `aud` of its access tokens; without one they are good for UserInfo only (and, with scope `api`, for this platform's API).
    pub audience: Option<String>,
    pub access_token_seconds: Option<u32>,
    pub refresh_idle_days: Option<u32>,
    pub refresh_days: Option<u32>,
    /// `RS256`, `ES256` or `EdDSA`.
    pub id_token_signed_response_alg: String,
    /// Only requests that were pushed before (RFC 9126).
    pub require_pushed_authorization_requests: bool,
    /// It may leave PKCE out: for applications that do not know it, whose own `state` and `nonce` then have to keep codes of others out. Not for clients without credentials.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pkce_optional: bool,
    /// Only tokens bound to a key (RFC 9449).
    pub dpop_bound_access_tokens: bool,
    /// Only tokens bound to its certificate (RFC 8705).
    pub tls_client_certificate_bound_access_tokens: bool,
    pub client_uri: Option<String>,
    pub policy_uri: Option<String>,
    pub tos_uri: Option<String>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            client_name: String::new(),
            enabled: true,
            application_type: "web".into(),
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            grant_types: vec!["authorization_code".into()],
            token_endpoint_auth_method: "client_secret_basic".into(),
            jwks: None,
            jwks_uri: None,
            tls_client_auth_subject_dn: None,
            tls_client_auth_san_dns: None,
            tls_client_auth_san_uri: None,
            consent_required: false,
            backchannel_logout_uri: None,
            backchannel_logout_session_required: false,
            scopes: ["openid", "profile", "email", "groups", "roles", "offline_access"].map(str::to_owned).to_vec(),
            audience: None,
            access_token_seconds: None,
            refresh_idle_days: None,
            refresh_days: None,
            // What every relying party must understand (OpenID Connect Core 15.1).
            id_token_signed_response_alg: "RS256".into(),
            require_pushed_authorization_requests: false,
            pkce_optional: false,
            dpop_bound_access_tokens: false,
            tls_client_certificate_bound_access_tokens: false,
            client_uri: None,
            policy_uri: None,
            tos_uri: None,
        }
    }
}
