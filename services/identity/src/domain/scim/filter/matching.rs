//! Whether a resource fits a filter.

use std::cmp::Ordering;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Filter, Operator, Path};

/// An attribute by its name in any case, of the resource itself or of an extension in it (RFC 7643 section 3.3).
pub fn attribute<'a>(resource: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = resource.as_object()?;
    let extensions = || fields.iter().filter(|(key, _)| is_urn(key)).filter_map(|(_, inner)| inner.as_object());
    own(fields, name).or_else(|| extensions().find_map(|inner| own(inner, name)))
}

fn own<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).filter(|v| !v.is_null())
}

/// Whether this is the name of an extension, or of an attribute with its schema before it.
pub fn is_urn(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
}

/// Some directories send truth values as text.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(word) if word.eq_ignore_ascii_case("true") => Some(true),
        Value::String(word) if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
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
        ["id", "externalId", "$ref"].iter().any(|exact| self.sub.as_ref().unwrap_or(&self.attribute).eq_ignore_ascii_case(exact))
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

    /// The element that a filter of equalities describes: `type eq "work"` is `{"type": "work"}`.
    pub fn described(&self) -> Option<Map<String, Value>> {
        match self {
            Self::Compare(path, Operator::Eq, value) if path.sub.is_none() => Some([(path.attribute.clone(), value.clone())].into_iter().collect()),
            Self::And(parts) => {
                let mut all = Map::new();
                for part in parts {
                    all.extend(part.described()?);
                }
                Some(all)
            }
            _ => None,
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
            let times = moments(found, wanted);
            let fold = |text: &str| if case_exact { text.to_owned() } else { text.to_lowercase() };
            let (found, wanted) = (fold(found), fold(wanted));
            match operator {
                Co => found.contains(&wanted),
                Sw => found.starts_with(&wanted),
                Ew => found.ends_with(&wanted),
                Eq | Ne | Gt | Ge | Lt | Le => by(Some(times.unwrap_or_else(|| found.cmp(&wanted)))),
            }
        }
        (Value::Number(found), Value::Number(wanted)) => by(found.as_f64().zip(wanted.as_f64()).and_then(|(f, w)| f.partial_cmp(&w))),
        (Value::Bool(found), wanted) => operator == Eq && truth(wanted) == Some(*found),
        _ => false,
    }
}

/// The order of two moments, which as texts may have other zones and fractions.
fn moments(found: &str, wanted: &str) -> Option<Ordering> {
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    Some(read(found)?.cmp(&read(wanted)?))
}
