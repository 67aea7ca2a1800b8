//! Events of second factors. `Sealed` fields are personal: encrypted under the person's key, readable only by identity.

use gantry_es::{EventData, Sealed};
use gantry_kernel::{UserId, Uuid};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FactorKind {
    /// A code that changes every 30 seconds (RFC 6238).
    Totp,
    /// A key of a device, or synchronised between devices (W3C Web Authentication).
    Passkey,
}

impl FactorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
        }
    }
}

/// Stream `factor-<user>`: all factors of one person beside the password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum FactorEvent {
    /// `secret`: the shared secret of a code generator, or the public key of a passkey.
    #[serde(rename = "factor.added")]
    Added { user: UserId, factor: Uuid, factor_kind: FactorKind, secret: Sealed, label: Sealed },
    #[serde(rename = "factor.removed")]
    Removed { user: UserId, factor: Uuid },
    /// `codes`: keyed hashes as a JSON list; they replace the ones before.
    #[serde(rename = "factor.recovery-codes-made")]
    RecoveryCodesMade { user: UserId, codes: Sealed },
}

impl EventData for FactorEvent {
    const AGGREGATE: &'static str = "factor";
}
