//! Names that people choose, parsed once at the door.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error("must have 1 to {max} characters")]
    Length { max: usize },
    #[error("may hold only a-z, 0-9 and '-', and must start with a letter and end with a letter or digit")]
    Characters,
    #[error("may hold only a-z, 0-9, '.', '_' and '-', and must start with a letter or digit")]
    UsernameCharacters,
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// # Errors
            /// When `text` breaks the rule above.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                String::json_schema(generator)
            }
        }
    };
}

text_type!(
    /// A DNS label (RFC 1123 section 2.1, lower case, starting with a letter): 1 to 63 of a-z, 0-9, '-'.
    /// Organisations, projects, spaces, applications, workloads and nodes are named so.
    Name,
    check_label
);

text_type!(
    /// What a person types to sign in: 1 to 64 of a-z, 0-9, '.', '_', '-'. Lower case only, so that no two look alike.
    Username,
    check_username
);

fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > 63 {
        return Err(NameError::Length { max: 63 });
    }
    let bytes = text.as_bytes();
    let fits = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if fits && bytes[0].is_ascii_lowercase() && bytes[bytes.len() - 1] != b'-' { Ok(()) } else { Err(NameError::Characters) }
}

fn check_username(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > 64 {
        return Err(NameError::Length { max: 64 });
    }
    let bytes = text.as_bytes();
    let fits = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if fits && bytes[0].is_ascii_alphanumeric() { Ok(()) } else { Err(NameError::UsernameCharacters) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_label_is_a_name() {
        for good in ["a", "shop", "shop-2", &"x".repeat(63)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "2a", "A", "a_b", "a.b", "ä", "../x", &"x".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_name_has_no_upper_case_and_no_lookalikes() {
        assert!(Username::parse("ada.lovelace_1-x").is_ok());
        for bad in ["", "Ada", "аda", "a b", ".a", "a@b"] {
            assert!(Username::parse(bad).is_err(), "{bad}");
        }
    }
}
