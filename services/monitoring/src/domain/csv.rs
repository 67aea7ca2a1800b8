//! Comma-separated values (RFC 4180) that a spreadsheet cannot mistake for formulas.

/// One record, quoted where needed, with its line end.
pub fn record<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = fields.into_iter().map(field).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// Spreadsheets run what begins with one of these; a quote before it makes it text (OWASP, CSV injection).
fn field(text: &str) -> String {
    let bare = text.trim_start_matches(|c: char| c == '"' || c.is_whitespace());
    let risky = bare.starts_with(['=', '+', '-', '@']) || text.starts_with(['\t', '\r', '\n']) || text.starts_with(['＝', '＋', '－', '＠']);
    let safe = if risky { format!("'{text}") } else { text.to_owned() };
    if safe.contains([',', '"', '\n', '\r', ';', '\t']) || safe != safe.trim() { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_commas_and_line_ends_are_kept_inside_a_field() {
        assert_eq!(record(["a", "b,c", "d\"e", "f\ng", ""]), "a,\"b,c\",\"d\"\"e\",\"f\ng\",\r\n");
    }

    #[test]
    fn formulas_become_text() {
        for evil in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "=HYPERLINK(\"http://x\",\"y\")"] {
            let cell = field(evil);
            assert!(cell.trim_start_matches('"').starts_with('\''), "{cell}");
        }
        assert_eq!(field("user:1"), "user:1");
    }

    proptest! {
        #[test]
        fn no_field_starts_a_formula(text in "\\PC{0,30}") {
            let cell = field(&text);
            prop_assert!(!cell.trim_matches('"').trim_start().starts_with(['=', '+', '-', '@']));
        }
    }
}
