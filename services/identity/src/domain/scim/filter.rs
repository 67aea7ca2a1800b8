//! SCIM filters (RFC 7644 section 3.4.2.2): what they are. `parse` makes them of text, `matching` asks them of a resource.

mod matching;
mod parse;

pub use matching::{attribute, is_urn, truth};
pub use parse::{parse, parse_path};

use serde_json::Value;
use thiserror::Error;

/// Longer filters are no honest client's.
pub const LONGEST: usize = 4_000;
const DEEPEST: usize = 16;
const MOST_TERMS: usize = 100;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    #[error("the filter is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the filter nests deeper than {DEEPEST}, or has more than {MOST_TERMS} terms")]
    TooComplex,
    #[error("at byte {0}: {1}")]
    Syntax(usize, &'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Present(Path),
    Compare(Path, Operator, Value),
    /// `emails[type eq "work" and value co "@example.org"]`: one element fulfils all of it.
    Element(Path, Box<Filter>),
}

/// `userName`, `name.familyName`, with or without the schema's URN before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub attribute: String,
    pub sub: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

/// A path of PATCH: `members[value eq "x"]`, `emails[type eq "work"].value`, `name.familyName`.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchPath {
    pub path: Path,
    pub element: Option<Filter>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ada() -> Value {
        json!({
            "id": "1", "userName": "Ada", "active": true, "name": { "familyName": "King" }, "nickName": "",
            "emails": [{ "value": "ada@example.org", "type": "work" }, { "value": "ada@home.net", "type": "home" }],
            "meta": { "created": "2026-11-22T10:00:00Z" },
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Engines", "manager": { "value": "7" } },
        })
    }

    fn fits(text: &str) -> bool {
        parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).fits(&ada())
    }

    #[test]
    fn every_operator_of_the_specification_works() {
        for yes in [
            r#"userName eq "ada""#,
            r#"USERNAME EQ "ADA""#,
            r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "A""#,
            r#"name.familyName co "in" and name.familyName ew "G""#,
            r#"emails.value co "home""#,
            r#"emails[type eq "work" and value co "@example.org"]"#,
            r#"emails[type eq "work"].value eq "ADA@example.org" and active eq True"#,
            r#"emails[type eq "home"].value pr"#,
            r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "engines" and active eq "True""#,
            r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value pr"#,
            r#"meta.created lt "2026-11-22T09:30:00-01:00" and meta.created eq "2026-11-22T11:00:00.000+01:00""#,
            r#"emails co "example""#,
            "title pr or active eq true",
            "not (title pr)",
            r#"userName ne "bob""#,
            r#"title ne "x""#,
            "title eq null",
            r#"meta.created gt "2026-11-21T00:00:00Z" and meta.created le "2026-11-22T10:00:00Z""#,
            r#"(userName eq "bob" or userName eq "ada") and (active eq true)"#,
            r#"userName eq "bob" or userName eq "ada" and active eq true"#,
        ] {
            assert!(fits(yes), "{yes}");
        }
        for no in [
            r#"emails[type eq "home" and value co "@example.org"]"#,
            r#"emails[type eq "home"].value eq "ada@example.org""#,
            "nickName pr",
            "active eq false",
            r#"active gt true"#,
            r#"not (userName eq "ada")"#,
            r#"id eq "A""#,
            r#"(userName eq "bob" or userName eq "ada") and active eq false"#,
        ] {
            assert!(!fits(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_its_place() {
        for bad in ["", "userName", "userName eq", "userName xx 1", "(a pr", "a[b pr", "a pr b", "eq eq", r#"a eq [1]"#, r#"a eq "x"#, "a.b.c pr", "not a pr"] {
            assert!(matches!(parse(bad), Err(FilterError::Syntax(..))), "{bad}: {:?}", parse(bad));
        }
    }

    #[test]
    fn bombs_are_refused_before_they_cost_anything() {
        assert_eq!(parse(&format!("{}a pr{}", "(".repeat(1_000), ")".repeat(1_000))), Err(FilterError::TooComplex));
        assert_eq!(parse(&format!("{}a pr{}", "a[".repeat(500), "]".repeat(500))), Err(FilterError::TooComplex));
        assert_eq!(parse(&["a pr"; 200].join(" or ")), Err(FilterError::TooComplex));
        assert_eq!(parse(&"x".repeat(LONGEST + 1)), Err(FilterError::TooLong));
    }

    #[test]
    fn a_path_may_select_elements_and_a_part_of_them() {
        let path = parse_path(r#"emails[type eq "work"].value"#).unwrap();
        assert_eq!((path.path.attribute.as_str(), path.path.sub.as_deref(), path.element.is_some()), ("emails", Some("value"), true));
        assert!(parse_path("name.familyName").unwrap().element.is_none());
        assert!(parse_path("urn:ietf:params:scim:schemas:core:2.0:User:name.familyName").unwrap().path.sub.is_some());
        assert!(parse_path("a b").is_err() && parse_path("").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            if let Ok(filter) = parse(&text) {
                let _ = filter.fits(&ada());
            }
            let _ = parse_path(&text);
        }

        #[test]
        fn text_made_of_its_own_words_neither_panics_nor_hangs(
            words in proptest::collection::vec(prop::sample::select(vec!["a", "eq", "and", "or", "not", "(", ")", "[", "]", ".", "\"x\"", "pr", "true", "1", "urn:x:", " "]), 0..60)
        ) {
            let text = words.concat();
            if let Ok(filter) = parse(&text) {
                let _ = filter.fits(&ada());
            }
        }

        #[test]
        fn a_quoted_value_is_taken_as_it_is(value in "\\PC{0,40}") {
            let text = format!("userName eq {}", Value::String(value.clone()));
            let filter = parse(&text).unwrap();
            prop_assert_eq!(filter.must_equal("username"), Some(value.as_str()));
        }
    }
}
