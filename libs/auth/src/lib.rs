//! Who is calling (tokens, certificates of services) and what may they do (role bindings, decided locally from a
//! projection of identity's events). Deny by default.

mod auth;
mod caller;
pub mod conditions;
mod decide;
pub mod dpop;
mod follow;
mod keys;
mod peer;
pub mod permissions;
mod places;
mod projection;
mod rights;
mod token;

pub use auth::{Auth, READ_ONLY};
pub use caller::{Asked, Caller, CallerSlot, Identity, from_of};
pub use conditions::Context;
pub use decide::{DEEPEST_TEAM, Decision, Reason};
pub use keys::{KeySource, Keys};
pub use peer::{CLIENT_CERT, Peer, PeerSerial, certificate_thumbprint, client_certificate, peer};
pub use places::{OrgRef, ProjectRef, SpaceRef};
pub use projection::RightsProjection;
pub use rights::{CustomRole, Grant, Rights, TeamRef};
pub use token::{AccessClaims, Claims, RegistryAccess, RegistryClaims, TokenError, Verifier};
