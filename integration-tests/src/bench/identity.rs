//! Identity under load, as it is deployed: tokens, sign-ins, checks in other services, a long log with many people,
//! and directories.

mod argon;
mod ask;
pub mod checks;
pub mod directory;
mod oidc_provider;
mod people;
pub mod scale;
mod seed;
mod served;
pub mod sign_in;
mod steady;
pub mod tokens;
