//! What an event says, as JSON text.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

/// JSON as it is stored and sent: handed on without being parsed or copied, read by whoever needs to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// # Errors
    /// When `value` does not serialise (a map whose keys are no strings, for example).
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self(serde_json::to_string(value)?.into()))
    }

    /// Text from elsewhere.
    ///
    /// # Errors
    /// When it is not UTF-8 or not JSON.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<IgnoredAny>(bytes)?;
        let text = std::str::from_utf8(bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(text.into()))
    }

    /// What somebody wrote who writes nothing but JSON: this program, or a column of that type.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parsed, for those who look at single fields.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// # Errors
    /// When it has another shape.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in [&b"{"[..], b"", b"{} {}", b"\"\xff\""] {
            assert!(Json::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Json::parse(b"{\"a\":1}").unwrap(), Json::from(json!({ "a": 1 })));
    }
}
