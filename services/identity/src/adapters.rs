//! The outside world: Redis for attempt counters, a mail server for confirmations.

pub mod attempts;
pub mod breached;
pub mod ldap;
pub mod mail;
pub mod outside;
pub mod reach;
pub mod replay;
