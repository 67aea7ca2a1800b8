//! SCIM filters: parsed within bounds (a filter is text from outside), then asked of one resource at a time.

use std::cmp::Ordering;

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

/// # Errors
/// Where the text is no filter, or too much of one.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser::new(text)?;
    let filter = parser.or(0)?;
    parser.spaces();
    if parser.at == text.len() { Ok(filter) } else { Err(parser.fault("something is left over")) }
}

/// A path of PATCH: `members[value eq "x"]`, `emails[type eq "work"].value`, `name.familyName`.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchPath {
    pub path: Path,
    pub element: Option<Filter>,
}

/// # Errors
/// Where the text is no path.
pub fn parse_path(text: &str) -> Result<PatchPath, FilterError> {
    let mut parser = Parser::new(text)?;
    let mut path = parser.path()?;
    let mut element = None;
    if parser.take('[') {
        element = Some(parser.or(1)?);
        parser.spaces();
        if !parser.take(']') {
            return Err(parser.fault("`]` is missing"));
        }
        if parser.take('.') {
            path.sub = Some(parser.name()?);
        }
    }
    parser.spaces();
    if parser.at == text.len() { Ok(PatchPath { path, element }) } else { Err(parser.fault("something is left over")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, FilterError> {
        if text.len() > LONGEST { Err(FilterError::TooLong) } else { Ok(Self { text, at: 0, terms: 0 }) }
    }

    fn fault(&self, what: &'static str) -> FilterError {
        FilterError::Syntax(self.at, what)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn take(&mut self, letter: char) -> bool {
        let there = self.rest().starts_with(letter);
        if there {
            self.at += letter.len_utf8();
        }
        there
    }

    /// A word followed by a space, a bracket or the end.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let fits = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let ends = rest.as_bytes().get(word.len()).is_none_or(|b| matches!(b, b' ' | b'(' | b')' | b']'));
        if fits && ends {
            self.at += word.len();
        }
        fits && ends
    }

    fn or(&mut self, depth: usize) -> Result<Filter, FilterError> {
        self.list(depth, "or", Self::and, Filter::Or)
    }

    fn and(&mut self, depth: usize) -> Result<Filter, FilterError> {
        self.list(depth, "and", Self::term, Filter::And)
    }

    fn list(
        &mut self,
        depth: usize,
        word: &str,
        part: fn(&mut Self, usize) -> Result<Filter, FilterError>,
        make: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter, FilterError> {
        let mut parts = vec![part(self, depth)?];
        loop {
            let before = self.at;
            self.spaces();
            if self.at == before || !self.word(word) {
                self.at = before;
                break;
            }
            parts.push(part(self, depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { make(parts) })
    }

    fn term(&mut self, depth: usize) -> Result<Filter, FilterError> {
        self.terms += 1;
        if depth > DEEPEST || self.terms > MOST_TERMS {
            return Err(FilterError::TooComplex);
        }
        self.spaces();
        let before = self.at;
        if self.word("not") {
            self.spaces();
            if self.rest().starts_with('(') {
                return Ok(Filter::Not(Box::new(self.group(depth)?)));
            }
            // An attribute may be called so.
            self.at = before;
        }
        if self.rest().starts_with('(') {
            return self.group(depth);
        }
        let path = self.path()?;
        if self.take('[') {
            let inner = self.or(depth + 1)?;
            self.spaces();
            return if self.take(']') { Ok(Filter::Element(path, Box::new(inner))) } else { Err(self.fault("`]` is missing")) };
        }
        self.spaces();
        if self.word("pr") {
            return Ok(Filter::Present(path));
        }
        use Operator::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
        let known = [("eq", Eq), ("ne", Ne), ("co", Co), ("sw", Sw), ("ew", Ew), ("gt", Gt), ("ge", Ge), ("lt", Lt), ("le", Le)];
        let operator = known.into_iter().find(|(word, _)| self.word(word)).map(|(_, operator)| operator);
        let operator = operator.ok_or_else(|| self.fault("must be one of eq ne co sw ew gt ge lt le pr"))?;
        self.spaces();
        Ok(Filter::Compare(path, operator, self.value()?))
    }

    fn group(&mut self, depth: usize) -> Result<Filter, FilterError> {
        self.take('(');
        let inner = self.or(depth + 1)?;
        self.spaces();
        if self.take(')') { Ok(inner) } else { Err(self.fault("`)` is missing")) }
    }

    fn path(&mut self) -> Result<Path, FilterError> {
        self.spaces();
        // A schema's URN ends with the last colon: `urn:ietf:params:scim:schemas:core:2.0:User:userName`.
        let head: &str = self.rest().split([' ', '[', '(', ')', ']']).next().unwrap_or_default();
        if head.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) {
            let colon = head.rfind(':').unwrap_or(0);
            self.at += colon + 1;
        }
        let attribute = self.name()?;
        let sub = if self.take('.') { Some(self.name()?) } else { None };
        Ok(Path { attribute, sub })
    }

    fn name(&mut self) -> Result<String, FilterError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.fault("an attribute's name is expected"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    /// A JSON string, number, true, false or null.
    fn value(&mut self) -> Result<Value, FilterError> {
        let rest = self.rest();
        let (value, length) = if rest.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            (values.next().and_then(Result::ok), values.byte_offset())
        } else {
            let word = rest.split([' ', ')', ']']).next().unwrap_or_default();
            (serde_json::from_str(word).ok(), word.len())
        };
        match value {
            Some(value) if !value.is_array() && !value.is_object() => {
                self.at += length;
                Ok(value)
            }
            _ => Err(self.fault("a value is expected: \"text\", a number, true, false or null")),
        }
    }
}

/// An attribute by its name in any case.
pub fn attribute<'a>(resource: &'a Value, name: &str) -> Option<&'a Value> {
    resource.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).filter(|v| !v.is_null())
}

impl Path {
    /// The values it leads to: of every element, if there are several.
    fn values<'a>(&self, resource: &'a Value) -> Vec<&'a Value> {
        let found = attribute(resource, &self.attribute);
        let elements = elements(found);
        match &self.sub {
            Some(sub) => elements.into_iter().filter_map(|e| attribute(e, sub)).collect(),
            // A complex value stands for its `value`.
            None => elements.into_iter().map(|e| if e.is_object() { attribute(e, "value").unwrap_or(e) } else { e }).collect(),
        }
    }

    fn case_exact(&self) -> bool {
        ["id", "externalId", "value", "$ref"].iter().any(|exact| self.sub.as_ref().unwrap_or(&self.attribute).eq_ignore_ascii_case(exact))
            && !self.attribute.eq_ignore_ascii_case("emails")
    }
}

fn elements(found: Option<&Value>) -> Vec<&Value> {
    match found {
        Some(Value::Array(elements)) => elements.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

impl Filter {
    pub fn fits(&self, resource: &Value) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|p| p.fits(resource)),
            Self::Or(parts) => parts.iter().any(|p| p.fits(resource)),
            Self::Not(inner) => !inner.fits(resource),
            Self::Present(path) => path.values(resource).iter().any(|v| !matches!(v, Value::String(s) if s.is_empty())),
            Self::Compare(path, Operator::Ne, value) => !Self::Compare(path.clone(), Operator::Eq, value.clone()).fits(resource),
            Self::Compare(path, Operator::Eq, Value::Null) => path.values(resource).is_empty(),
            Self::Compare(path, operator, value) => path.values(resource).into_iter().any(|v| compare(v, *operator, value, path.case_exact())),
            Self::Element(path, inner) => elements(attribute(resource, &path.attribute)).into_iter().any(|e| inner.fits(e)),
        }
    }

    /// The value that `attribute` must equal for anything to fit, if the filter says so: a lookup instead of a search.
    pub fn must_equal(&self, attribute: &str) -> Option<&str> {
        match self {
            Self::Compare(path, Operator::Eq, Value::String(value)) if path.sub.is_none() && path.attribute.eq_ignore_ascii_case(attribute) => Some(value),
            Self::And(parts) => parts.iter().find_map(|p| p.must_equal(attribute)),
            _ => None,
        }
    }
}

fn compare(found: &Value, operator: Operator, wanted: &Value, case_exact: bool) -> bool {
    use Operator::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
    let by = |order: Option<Ordering>| match (operator, order) {
        (Eq, Some(Ordering::Equal)) | (Gt, Some(Ordering::Greater)) | (Lt, Some(Ordering::Less)) => true,
        (Ge, Some(order)) => order != Ordering::Less,
        (Le, Some(order)) => order != Ordering::Greater,
        _ => false,
    };
    match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => {
            let fold = |text: &str| if case_exact { text.to_owned() } else { text.to_lowercase() };
            let (found, wanted) = (fold(found), fold(wanted));
            match operator {
                Co => found.contains(&wanted),
                Sw => found.starts_with(&wanted),
                Ew => found.ends_with(&wanted),
                Eq | Ne | Gt | Ge | Lt | Le => by(Some(found.cmp(&wanted))),
            }
        }
        (Value::Number(found), Value::Number(wanted)) => by(found.as_f64().zip(wanted.as_f64()).and_then(|(f, w)| f.partial_cmp(&w))),
        (Value::Bool(found), Value::Bool(wanted)) => operator == Eq && found == wanted,
        _ => false,
    }
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
