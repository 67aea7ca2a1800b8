//! What it takes to make the platform what the documents say.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::super::Context;
use super::document::{Document, Kind};
use super::kinds;
use crate::args::Format;
use crate::failure::Failure;
use crate::output::print;

/// What is there of one document's thing, in the document's own words.
pub struct Live {
    pub spec: Map<String, Value>,
    /// What a change needs to know besides: an id, or a path.
    pub id: String,
}

pub enum Action {
    None,
    Create,
    Change,
    /// Nothing names it any more.
    Remove,
    /// Nothing names it any more, but it holds what others made.
    Keep,
}

pub struct Step {
    pub document: Document,
    pub live: Option<Live>,
    pub action: Action,
    /// Field, value now, value wanted.
    pub changes: Vec<(String, Value, Value)>,
}

impl Step {
    pub fn open(&self) -> bool {
        matches!(self.action, Action::Create | Action::Change | Action::Remove)
    }

    pub fn removes(&self) -> bool {
        matches!(self.action, Action::Remove)
    }

    pub fn title(&self) -> String {
        self.document.title()
    }

    pub fn done(&self) -> &'static str {
        match self.action {
            Action::Create => "created",
            Action::Change => "changed",
            Action::Remove => "removed",
            Action::None | Action::Keep => "left",
        }
    }

    fn mark(&self) -> (&'static str, &'static str) {
        match self.action {
            Action::Create => ("+", "create"),
            Action::Change => ("~", "change"),
            Action::Remove => ("-", "remove"),
            Action::None => ("=", "none"),
            Action::Keep => ("!", "keep"),
        }
    }

    /// Whether the plan says that this field changes.
    pub fn changes(&self, field: &str) -> bool {
        self.changes.iter().any(|(name, ..)| name == field)
    }

    /// The value of a field as it is now.
    pub fn now(&self, field: &str) -> Option<&Value> {
        self.live.as_ref()?.spec.get(field)
    }
}

/// # Errors
/// A refusal of the platform.
pub async fn plan(cx: &mut Context, documents: &[Document]) -> Result<Vec<Step>> {
    let mut steps = Vec::with_capacity(documents.len());
    for document in documents {
        let live = found(cx, document).await?;
        let nothing = Map::new();
        let known = live.as_ref().map_or(&nothing, |l| &l.spec);
        let changes = document.spec.iter().filter_map(|(field, wanted)| {
            let now = known.get(field).cloned().unwrap_or(Value::Null);
            (!same(document.kind, &now, wanted) && !field.ends_with("_file")).then(|| (field.clone(), now, wanted.clone()))
        });
        let changes: Vec<_> = changes.collect();
        let action = match (&live, changes.is_empty()) {
            (None, _) => Action::Create,
            (Some(_), false) => Action::Change,
            (Some(_), true) => Action::None,
        };
        steps.push(Step { changes, document: document.clone(), live, action });
    }
    Ok(steps)
}

/// What is there; nothing if it, or the organisation it is in, is yet to be made.
///
/// # Errors
/// A refusal of the platform.
pub async fn found(cx: &mut Context, document: &Document) -> Result<Option<Live>> {
    match kinds::find(cx, document).await {
        Ok(live) => Ok(live),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error.context(document.title())),
    }
}

fn absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Failure>(), Some(Failure::Refused(problem)) if problem.status == 404)
}

pub fn show(cx: &Context, steps: &[Step]) -> Result<()> {
    if cx.common.output != Format::Table {
        let plan: Vec<Value> = steps
            .iter()
            .map(|s| {
                let changes: Vec<_> = s.changes.iter().map(|(field, from, to)| json!({ "field": field, "from": from, "to": to })).collect();
                json!({ "kind": s.document.kind.name(), "name": s.document.name, "org": s.document.org, "action": s.mark().1, "changes": changes })
            })
            .collect();
        return cx.list(&plan, &[]);
    }
    for step in steps {
        print(&format!("{} {}", step.mark().0, step.title()))?;
        if matches!(step.action, Action::Keep) {
            print("    no document names it any more; it holds what others made and is not removed by this: see `gantry org|project delete`")?;
        }
        for (field, from, to) in &step.changes {
            if step.live.is_some() {
                print(&format!("    {field}: {from} → {to}"))?;
            } else {
                print(&format!("    {field}: {to}"))?;
            }
        }
    }
    Ok(())
}

/// Whether the platform has what is wanted. How an upstream is reached is a thing of many parts with usual values: there the document
/// names what it wants otherwise, and the rest is as it is.
fn same(kind: Kind, now: &Value, wanted: &Value) -> bool {
    match (kind, now, wanted) {
        (Kind::Upstream, Value::Object(now), Value::Object(wanted)) => {
            wanted.iter().all(|(field, wanted)| same(kind, now.get(field).unwrap_or(&Value::Null), wanted))
        }
        _ => tidy(now) == tidy(wanted),
    }
}

/// Lists whose order means nothing are compared in order; nothing, empty text and an empty list are the same.
fn tidy(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(tidy).collect();
            items.sort_by_key(Value::to_string);
            if items.is_empty() { Value::Null } else { Value::Array(items) }
        }
        Value::Object(fields) => {
            let kept: Map<String, Value> = fields.iter().map(|(k, v)| (k.clone(), tidy(v))).filter(|(_, v)| !v.is_null()).collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Value::String(text) if text.is_empty() => Value::Null,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_emptiness_make_no_difference() {
        assert_eq!(tidy(&json!(["b", "a"])), tidy(&json!(["a", "b"])));
        assert_eq!(tidy(&json!({ "x": null, "y": [], "z": "" })), Value::Null);
        assert_ne!(tidy(&json!(["a"])), tidy(&json!(["b"])));
    }

    #[test]
    fn usual_values_of_an_upstream_are_no_difference_but_a_condition_is_the_whole_of_it() {
        let now = json!({ "ldap": { "servers": ["ldaps://a"], "page_size": 500 } });
        assert!(same(Kind::Upstream, &now, &json!({ "ldap": { "servers": ["ldaps://a"] } })));
        assert!(!same(Kind::Upstream, &now, &json!({ "ldap": { "servers": ["ldaps://b"] } })));
        let now = json!({ "networks": ["10.0.0.0/8"], "factors": ["otp"] });
        assert!(!same(Kind::Binding, &now, &json!({ "networks": ["10.0.0.0/8"] })), "a factor less is another condition");
    }
}
