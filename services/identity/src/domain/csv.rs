//! Comma-separated values (RFC 4180), as spreadsheets write them.

/// The records of a text with the number of the line each begins in. Lines that are empty do not count.
///
/// # Errors
/// The line in which a quote is not closed, or stands where none may.
pub fn read(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Vec::new();
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut line, mut start) = (1, 1);
    let (mut quoted, mut closed) = (false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => (quoted, closed) = (false, true),
            '"' if field.is_empty() && !closed => quoted = true,
            '"' => return Err(line),
            '\n' if quoted => {
                line += 1;
                field.push('\n');
            }
            _ if quoted => field.push(letter),
            ',' => {
                fields.push(std::mem::take(&mut field));
                closed = false;
            }
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' => {
                fields.push(std::mem::take(&mut field));
                closed = false;
                let record = std::mem::take(&mut fields);
                if record.iter().any(|f| !f.is_empty()) {
                    records.push((start, record));
                }
                line += 1;
                start = line;
            }
            _ if closed => return Err(line),
            _ => field.push(letter),
        }
    }
    if quoted {
        return Err(start);
    }
    fields.push(field);
    if fields.iter().any(|f| !f.is_empty()) {
        records.push((start, fields));
    }
    Ok(records)
}

/// One line. What a spreadsheet would take for a formula gets a quote before it.
pub fn line(fields: &[&str]) -> String {
    let one = |field: &&str| {
        let harmless = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { (*field).to_owned() };
        if harmless.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", harmless.replace('"', "\"\"")) } else { harmless }
    };
    fields.iter().map(one).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_commas_and_line_ends_inside_a_field_are_kept() {
        let read = read("a,b\r\n\"x, \"\"y\"\"\",\"two\nlines\"\n\nlast,\n").unwrap();
        assert_eq!(read[0], (1, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read[1], (2, vec!["x, \"y\"".to_owned(), "two\nlines".to_owned()]));
        assert_eq!(read[2], (5, vec!["last".to_owned(), String::new()]));
    }

    #[test]
    fn a_broken_quote_names_its_line() {
        assert_eq!(read("a,b\nc,\"d"), Err(2));
        assert_eq!(read("a\"b"), Err(1));
        assert_eq!(read("\"a\"b"), Err(1));
    }

    #[test]
    fn a_formula_is_defused() {
        assert_eq!(line(&["=1+1", "plain", "a,b"]), "'=1+1,plain,\"a,b\"\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(fields in proptest::collection::vec("[a-z\", \n]{1,8}", 1..5)) {
            let fields: Vec<String> = fields.into_iter().map(|f| format!("x{f}")).collect();
            let text = line(&fields.iter().map(String::as_str).collect::<Vec<_>>());
            let records = read(&text).unwrap();
            prop_assert_eq!(&records[0].1, &fields);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = read(&text);
        }
    }
}
