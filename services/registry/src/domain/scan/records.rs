//! The records of a file one by one, so that what is wrong with one says nothing about the others: the elements of a JSON array, or lines of
//! JSON. Where a record does not end, the next one is looked for where its line begins in the same way.

/// Times that something is looked for behind a record that is damaged: each may read the rest of the file.
const MOST_RETURNS: usize = 1_000;

/// One record as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The first line is 1.
    pub line: usize,
    pub text: &'a [u8],
    start: usize,
}

/// Goes through the elements of an array.
pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    returns: usize,
    /// Whether the array's end was seen.
    pub whole: bool,
}

impl<'a> Elements<'a> {
    /// None if there is no array.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).filter(|at| bytes[*at] == b'[')?;
        Some(Self { bytes, at: start + 1, line: 1 + lines(&bytes[..start]), returns: 0, whole: false })
    }

    /// Looks once more into a record that could not be read: one that does not end has swallowed those behind it.
    pub fn return_into(&mut self, piece: Piece<'a>) {
        let line_start = self.bytes[..piece.start].iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        // How its line begins: `  {`.
        let head = &self.bytes[line_start..=piece.start];
        if self.returns >= MOST_RETURNS || !head.iter().all(|b| b.is_ascii_whitespace() || *b == b'{') {
            return;
        }
        let mark = [b"\n".as_slice(), head].concat();
        if let Some(next) = piece.text.windows(mark.len()).position(|w| w == mark) {
            self.at = piece.start + next + 1;
            self.line = piece.line + lines(&piece.text[..=next]);
            self.returns += 1;
            self.whole = false;
        }
    }

    /// What follows what was read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn piece(&self, (start, line): (usize, usize), end: usize) -> Piece<'a> {
        Piece { line, text: self.bytes[start..end].trim_ascii_end(), start }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.whole {
            return None;
        }
        let (mut depth, mut quoted, mut escaped, mut begun) = (0_usize, false, false, None);
        while let Some(byte) = self.bytes.get(self.at).copied() {
            let here = (self.at, self.line);
            self.at += 1;
            self.line += usize::from(byte == b'\n');
            if quoted {
                (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
                continue;
            }
            match byte {
                b']' | b',' if depth == 0 => {
                    self.whole = byte == b']';
                    match begun {
                        Some(begun) => return Some(self.piece(begun, here.0)),
                        None if self.whole => return None,
                        None => {}
                    }
                }
                byte if byte.is_ascii_whitespace() => {}
                byte => {
                    begun = begun.or(Some(here));
                    quoted = byte == b'"';
                    match byte {
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
            }
        }
        begun.map(|begun| self.piece(begun, self.bytes.len()))
    }
}

/// A file of which each line is an object; none if it is no such file. The first or the second one must be whole.
pub fn of_lines(bytes: &[u8]) -> Option<Vec<Piece<'_>>> {
    let is_object = |text: &[u8]| text.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    let mut first = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|text| !text.is_empty());
    let (one, two) = (first.next()?, first.next()?);
    if !is_object(one) && !is_object(two) {
        return None;
    }
    let (mut pieces, mut start) = (Vec::new(), 0);
    for (number, text) in bytes.split(|b| *b == b'\n').enumerate() {
        if !text.trim_ascii().is_empty() {
            pieces.push(Piece { line: number + 1, text: text.trim_ascii(), start });
        }
        start += text.len() + 1;
    }
    Some(pieces)
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> (Vec<(usize, &str)>, bool) {
        let mut elements = Elements::of(text.as_bytes()).unwrap();
        let mut found = Vec::new();
        while let Some(piece) = elements.next() {
            let text = std::str::from_utf8(piece.text).unwrap();
            match serde_json::from_slice::<serde_json::Value>(piece.text) {
                Ok(_) => found.push((piece.line, text)),
                Err(_) => elements.return_into(piece),
            }
        }
        (found, elements.whole)
    }

    #[test]
    fn elements_are_told_apart_as_json_has_them() {
        assert_eq!(all("[]"), (vec![], true));
        assert_eq!(all(" [ 1 ,\n{\"a\": \"],\\\"}\"},\n [2, 3] ] "), (vec![(1, "1"), (2, "{\"a\": \"],\\\"}\"}"), (3, "[2, 3]")], true));
        assert!(Elements::of(b"{}").is_none() && Elements::of(b"").is_none());
    }

    #[test]
    fn a_damaged_element_takes_no_other_with_it() {
        assert_eq!(all("[{\"a\":1},{\"b\" 2},{\"c\":3}]"), (vec![(1, "{\"a\":1}"), (1, "{\"c\":3}")], true));
        // One that does not end, in a file of one record a line and in a pretty one.
        assert_eq!(all("[\n{\"a\":{\"x\":1},\n{\"b\":2},\n{\"c\":3}\n]"), (vec![(3, "{\"b\":2}"), (4, "{\"c\":3}")], true));
        assert_eq!(all("[\n  {\n    \"a\": \"x\n  },\n  {\n    \"b\": 2\n  }\n]"), (vec![(5, "{\n    \"b\": 2\n  }")], true));
        // Cut off.
        assert_eq!(all("[{\"a\":1},\n{\"b\":"), (vec![(1, "{\"a\":1}")], false));
        assert_eq!(all("[{\"a\":1},\n"), (vec![(1, "{\"a\":1}")], false));
    }

    #[test]
    fn lines_are_records_where_they_are_objects() {
        let found: Vec<_> = of_lines(b"{\"a\":1}\n\n{\"b\":\n{\"c\":3}").unwrap().iter().map(|p| (p.line, p.text.len())).collect();
        assert_eq!(found, [(1, 7), (3, 5), (4, 7)]);
        assert!(of_lines(b"{\"a\":1}\n").is_none() && of_lines(b"{\n\"a\":1\n}").is_none() && of_lines(b"").is_none());
    }

    proptest! {
        #[test]
        fn every_array_is_read_as_its_elements(values in proptest::collection::vec("[a-z\\[\\]{}\"\\\\,\n ]{0,8}", 0..8), pretty in any::<bool>()) {
            let list: Vec<serde_json::Value> = values.iter().map(|v| serde_json::json!({ "v": v })).collect();
            let text = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
            let mut elements = Elements::of(text.as_bytes()).unwrap();
            let read: Vec<serde_json::Value> = elements.by_ref().map(|p| serde_json::from_slice(p.text).unwrap()).collect();
            prop_assert_eq!(read, list);
            prop_assert!(elements.whole);
        }

        #[test]
        fn no_text_makes_it_panic_or_go_on_for_ever(text in "[\\[\\]{}\":,a-z0-9 \n\\\\]{0,120}") {
            let _ = of_lines(text.as_bytes());
            let _ = all(&format!("[{text}"));
        }
    }
}
