//! A set of configuration documents: what they named, in so far as it must be found again.

use std::collections::BTreeMap;

use gantry_kernel::{FieldFault, Problem};
use serde::{Deserialize, Serialize};

/// Documents of one set. Larger ones are parted.
const MOST: usize = 10_000;
const LONGEST: usize = 512;

/// One thing that a document named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfigurationItem)]
pub struct Item {
    /// `Team`, `Client`, ...
    pub kind: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// What else it takes to find it, e.g. subject, role and place of a binding.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key: BTreeMap<String, String>,
}

/// # Errors
/// Names every item that is too long, and too many items.
pub fn check(items: &[Item]) -> Result<(), Problem> {
    if items.len() > MOST {
        return Err(Problem::invalid("items", format!("{}: must be at most {MOST}; use several sets", items.len())));
    }
    let long = |item: &Item| {
        let all = [&item.kind, &item.name].into_iter().chain(&item.org).chain(item.key.keys()).chain(item.key.values());
        all.into_iter().any(|text| text.chars().count() > LONGEST) || item.kind.is_empty() || item.name.is_empty()
    };
    let fault = |index: usize| FieldFault { field: format!("items[{index}]"), detail: format!("kind and name must have 1 to {LONGEST} characters") };
    let faults: Vec<_> = items.iter().enumerate().filter(|(_, item)| long(item)).map(|(index, _)| fault(index)).collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: &str, name: &str) -> Item {
        Item { kind: kind.into(), name: name.into(), org: None, key: BTreeMap::new() }
    }

    #[test]
    fn an_item_without_a_name_and_one_without_end_are_named() {
        let refused = check(&[item("Team", "dev"), item("Team", ""), item("Team", &"x".repeat(513))]).expect_err("refused");
        let fields: Vec<_> = refused.faults.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(fields, ["items[1]", "items[2]"]);
        assert!(check(&vec![item("Team", "dev"); 10_001]).is_err());
    }
}
