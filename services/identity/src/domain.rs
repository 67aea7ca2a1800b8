//! The rules of identity as pure functions: aggregates (user, organisation, binding) and the protocol decisions
//! (redirects, PKCE, codes, refresh tokens, device codes, registry scopes). No I/O, no clock, no randomness.

pub mod assurance;
pub mod authorize;
pub mod binding;
pub mod branding;
pub mod captcha;
pub mod certificate;
pub mod claims;
pub mod client;
pub mod client_settings;
pub mod config_set;
pub mod csv;
pub mod device;
pub mod factor;
pub mod language;
pub mod membership;
pub mod org;
pub mod outsider;
pub mod password;
pub mod password_hash;
pub mod pkce;
pub mod policy;
pub mod redirect;
pub mod refresh;
pub mod registry_scope;
pub mod remains;
pub mod robot;
pub mod role;
pub mod scim;
pub mod signing;
pub mod teams;
pub mod token_scope;
pub mod totp;
pub mod upstream;
pub mod user;
