//! `${...}` in the fields of a pipeline that we read ourselves. (In the lines of a script the shell does it.)

use std::collections::BTreeMap;

/// What the names stand for; `steps.<name>.image` is there once that build step has pushed.
pub type Values = BTreeMap<String, String>;

/// Puts the values in; `$${` stands for a literal `${`.
///
/// # Errors
/// The unknown name, or the text after an unclosed `${`.
pub fn expand(text: &str, values: &Values) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let end = after.find('}').ok_or_else(|| format!("`{}` has no closing `}}`", &rest[at..]))?;
        let name = &after[..end];
        out.push_str(values.get(name).ok_or_else(|| format!("`${{{name}}}` is not known here"))?);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> Values {
        Values::from([("A".into(), "1".into()), ("steps.image.image".into(), "r/x@sha256:0".into())])
    }

    #[test]
    fn names_are_replaced_and_doubled_dollars_are_not() {
        assert_eq!(expand("x${A}-${steps.image.image}", &values()).unwrap(), "x1-r/x@sha256:0");
        assert_eq!(expand("$${A} ${A}", &values()).unwrap(), "${A} 1");
        assert!(expand("${B}", &values()).unwrap_err().contains("${B}"));
        assert!(expand("${A", &values()).is_err());
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_stays_as_it_is(text in "[^$]*") {
            prop_assert_eq!(expand(&text, &Values::new()).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = expand(&text, &values());
        }
    }
}
