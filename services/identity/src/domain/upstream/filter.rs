//! LDAP search filters (RFC 4515), built from parts: a value can only ever be a value. Nothing else puts filters together.

use std::fmt;

/// LDAP_MATCHING_RULE_IN_CHAIN of Active Directory.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// From the settings; checked when they were taken in.
    Given(String),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Equal(String, Vec<u8>),
    AtLeast(String, String),
    InChain(String, String),
}

impl Filter {
    pub fn equal(attribute: &str, value: &str) -> Self {
        Self::Equal(attribute.into(), value.as_bytes().to_vec())
    }

    pub fn given(text: &str) -> Self {
        let text = text.trim();
        Self::Given(if text.starts_with('(') { text.to_owned() } else { format!("({text})") })
    }

    /// Whoever is called `name` by one of `attributes`, of those that `among` lets through.
    pub fn person(among: &str, attributes: &[String], name: &str) -> Self {
        Self::And(vec![Self::given(among), Self::Or(attributes.iter().map(|a| Self::equal(a, name)).collect())])
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, mark: char, parts: &[Filter]| {
            write!(f, "({mark}")?;
            parts.iter().try_for_each(|part| part.fmt(f))?;
            f.write_str(")")
        };
        match self {
            Self::Given(text) => f.write_str(text),
            Self::And(parts) => list(f, '&', parts),
            Self::Or(parts) => list(f, '|', parts),
            Self::Equal(attribute, value) => write!(f, "({attribute}={})", escaped(value)),
            Self::AtLeast(attribute, value) => write!(f, "({attribute}>={})", escaped(value.as_bytes())),
            Self::InChain(attribute, value) => write!(f, "({attribute}:{IN_CHAIN}:={})", escaped(value.as_bytes())),
        }
    }
}

/// RFC 4515 section 3. Everything but letters, digits and a few harmless marks is written in hexadecimal, bytes above
/// 127 too: what no reader has to think about, no reader can misread.
fn escaped(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'@' | b'.' | b'-' | b'_' | b'=' | b',' => out.push(char::from(*byte)),
            other => {
                use fmt::Write;
                let _ = write!(out, "\\{other:02x}");
            }
        }
    }
    out
}

/// Whether `text` is an attribute description (RFC 4512 section 2.5), so that it can stand in a filter.
pub fn is_attribute(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphanumeric()) && text.len() <= 128 && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ';' | '.'))
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::{PL, StructureTag, Tag};
    use proptest::prelude::*;

    use super::*;

    fn parsed(filter: &Filter) -> StructureTag {
        let tag: Tag = ldap3::parse_filter(filter.to_string()).unwrap_or_else(|()| panic!("no filter: {filter}"));
        ldap3::asn1::ASNTag::into_structure(tag)
    }

    fn parts(tag: &StructureTag) -> &[StructureTag] {
        if let PL::C(parts) = &tag.payload { parts } else { panic!("not constructed: {tag:?}") }
    }

    fn bytes(tag: &StructureTag) -> &[u8] {
        if let PL::P(bytes) = &tag.payload { bytes } else { panic!("not primitive: {tag:?}") }
    }

    /// RFC 4511 section 4.5.1: and [0], or [1], equalityMatch [3], greaterOrEqual [5], present [7], extensibleMatch [9].
    const EQUAL: u64 = 3;

    #[test]
    fn injection_stays_inside_the_value() {
        for evil in [
            "*",
            "*)(uid=*",
            "*)(|(uid=*",
            "admin)(&)",
            "a)(objectClass=*",
            "\\2a",
            "\\",
            "(",
            ")",
            "\u{0}",
            "a\u{0}b",
            "x)(!(uid=x)",
            "é",
            "=",
            "~=",
            ">=*",
            "a\nb",
            "𝕏",
            " ",
            "",
        ] {
            let whole = parsed(&Filter::person("(objectClass=inetOrgPerson)", &["uid".into(), "mail".into()], evil));
            assert_eq!((whole.id, parts(&whole).len()), (0, 2), "{evil:?}");
            let either = &parts(&whole)[1];
            assert_eq!((either.id, parts(either).len()), (1, 2), "{evil:?}");
            for (part, attribute) in parts(either).iter().zip(["uid", "mail"]) {
                assert_eq!(part.id, EQUAL, "{evil:?}");
                assert_eq!((bytes(&parts(part)[0]), bytes(&parts(part)[1])), (attribute.as_bytes(), evil.as_bytes()), "{evil:?}");
            }
        }
    }

    #[test]
    fn a_chain_and_a_comparison_hold_their_values_too() {
        let chain = parsed(&Filter::InChain("member".into(), "CN=a)(x=*,DC=b".into()));
        assert_eq!(chain.id, 9);
        assert!(parts(&chain).iter().any(|p| matches!(&p.payload, PL::P(b) if b == b"CN=a)(x=*,DC=b")));
        let least = parsed(&Filter::AtLeast("modifyTimestamp".into(), "2026*)(".into()));
        assert_eq!((least.id, bytes(&parts(&least)[1])), (5, b"2026*)(".as_slice()));
    }

    #[test]
    fn only_attribute_descriptions_name_attributes() {
        for good in ["uid", "mail", "member;range=0-1".split('=').next().unwrap(), "1.2.840.113556.1.4.656", "x-y"] {
            assert!(is_attribute(good), "{good}");
        }
        for bad in ["", "uid)(", "a b", "*", "ü", "-a", "a=b"] {
            assert!(!is_attribute(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_value_is_the_filter_asks_for_exactly_it(value in any::<Vec<u8>>()) {
            let tag = parsed(&Filter::Equal("uid".into(), value.clone()));
            prop_assert_eq!(tag.id, EQUAL);
            prop_assert_eq!(bytes(&parts(&tag)[0]), b"uid");
            prop_assert_eq!(bytes(&parts(&tag)[1]), value.as_slice());
        }

        #[test]
        fn whatever_is_typed_the_shape_of_the_search_stays(name in any::<String>(), lists in 1..5_usize) {
            let attributes: Vec<String> = (0..lists).map(|i| format!("a{i}")).collect();
            let whole = parsed(&Filter::person("(objectClass=person)", &attributes, &name));
            prop_assert_eq!(parts(&whole).len(), 2);
            prop_assert_eq!(parts(&parts(&whole)[1]).len(), lists);
            for part in parts(&parts(&whole)[1]) {
                prop_assert_eq!(part.id, EQUAL);
                prop_assert_eq!(bytes(&parts(part)[1]), name.as_bytes());
            }
        }
    }
}
