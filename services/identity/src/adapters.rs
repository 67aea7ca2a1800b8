//! The outside world: Redis for attempt counters, a mail server for confirmations.

pub mod attempts;
pub mod breached;
pub mod guarded;
pub mod ldap;
pub mod mail;
pub mod oauth2;
pub mod oidc;
pub mod outside;
pub mod provider;
pub mod replay;
pub mod revocation;
