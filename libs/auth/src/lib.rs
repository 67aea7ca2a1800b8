//! Who is calling (tokens, certificates of services) and what may they do (role bindings, decided locally from a
//! projection of identity's events). Deny by default.

mod caller;
mod keys;
mod peer;
mod places;
mod projection;
mod rights;
mod token;

pub use caller::{Caller, CallerSlot, Identity};
pub use keys::{KeySource, Keys};
pub use peer::{Peer, peer};
pub use places::{OrgRef, ProjectRef, SpaceRef};
pub use projection::RightsProjection;
pub use rights::{Auth, Rights};
pub use token::{AccessClaims, Claims, RegistryAccess, RegistryClaims, TokenError, Verifier};
