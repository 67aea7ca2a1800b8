//! Filters and paths as text, read within bounds: a filter is text from outside.

use serde_json::Value;

use super::{DEEPEST, Filter, FilterError, LONGEST, MOST_TERMS, Operator, PatchPath, Path};

/// # Errors
/// Where the text is no filter, or too much of one.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser::new(text)?;
    let filter = parser.or(0)?;
    parser.spaces();
    if parser.at == text.len() { Ok(filter) } else { Err(parser.fault("something is left over")) }
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
            if !self.take(']') {
                return Err(self.fault("`]` is missing"));
            }
            // Directories go on with a part of the element, which the grammar has in paths only.
            let inner = if self.take('.') {
                let part = Path { attribute: self.name()?, sub: None };
                Filter::And(vec![inner, self.condition(part)?])
            } else {
                inner
            };
            return Ok(Filter::Element(path, Box::new(inner)));
        }
        self.condition(path)
    }

    /// What is said of `path`: that it is there, or how it compares.
    fn condition(&mut self, path: Path) -> Result<Filter, FilterError> {
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
        if super::is_urn(head) {
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
            // The words of the grammar are of whatever case (RFC 5234 section 2.3).
            let lower = word.to_ascii_lowercase();
            let read = if matches!(lower.as_str(), "true" | "false" | "null") { lower.as_str() } else { word };
            (serde_json::from_str(read).ok(), word.len())
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
