//! What the door answers itself.

pub mod auth;
pub mod console;
pub mod health;
