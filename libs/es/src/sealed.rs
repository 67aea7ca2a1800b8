//! A personal value inside an event: ciphertext that becomes unreadable for ever when its subject's key is erased.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Base64 of key version, nonce and AES-256-GCM ciphertext; made and opened by `gantry_es_pg::Keyring` under the key
/// of one subject, which is bound in as associated data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub String);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl schemars::JsonSchema for Sealed {
    fn schema_name() -> Cow<'static, str> {
        "Sealed".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}
