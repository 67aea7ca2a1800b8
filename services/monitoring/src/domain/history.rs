//! What an event changed, as it was before: found from the events that came earlier, whoever they are by.
//! Works on what may be shown (see `redact`): a hidden value stays hidden, before and after.

use serde_json::{Map, Value};

use super::redact::HIDDEN;

/// These come often, and nobody changes them by hand: what they were is of no use.
const WITHOUT: [&str; 3] = ["instance", "run", "node"];
/// Endings of kinds after which something is gone.
const GONE: [&str; 4] = ["deleted", "removed", "revoked", "unbound"];
/// Endings of kinds about a part that the event names by its own field (`project`), or by one of `NAMES`.
const PARTS: [&str; 8] = ["added", "created", "bound", "granted", "deleted", "removed", "revoked", "unbound"];
const NAMES: [&str; 4] = ["user", "subject", "factor", "binding"];

/// Of which part of its object an event tells; "" is the whole. `None`: of nothing worth keeping.
pub fn part(kind: &str, content: &Value) -> Option<String> {
    let (aggregate, verb) = kind.split_once('.')?;
    if WITHOUT.contains(&aggregate) || !content.is_object() {
        return None;
    }
    let Some((noun, ending)) = verb.rsplit_once('-') else { return Some(String::new()) };
    let named = |field: &str| content.get(field).and_then(Value::as_str);
    let own = named(noun);
    let name = if PARTS.contains(&ending) { own.or_else(|| NAMES.iter().find_map(|field| named(field))) } else { own };
    match name {
        // Parts that only differ in what is hidden cannot be told apart.
        Some(HIDDEN) => None,
        Some(name) => Some(format!("{noun}:{name}")),
        None => Some(String::new()),
    }
}

#[derive(Debug, PartialEq)]
pub struct Turn {
    /// Fields that are different now, as they were; of what is gone, all of it.
    pub before: Option<Value>,
    /// What is known now; `None`: it is gone.
    pub now: Option<Value>,
}

/// What an event does to what is `known` of its part.
pub fn after(kind: &str, known: Option<Value>, content: &Value) -> Turn {
    let ending = kind.rsplit(['.', '-']).next().unwrap_or_default();
    let known = match known {
        Some(Value::Object(known)) => known,
        _ => Map::new(),
    };
    if GONE.contains(&ending) {
        return Turn { before: (!known.is_empty()).then_some(Value::Object(known)), now: None };
    }
    let mut now = known.clone();
    let mut before = Map::new();
    for (name, value) in content.as_object().into_iter().flatten() {
        // Many events leave out, as null, what they do not change.
        if value.is_null() && known.contains_key(name) && !ending.starts_with("un") {
            continue;
        }
        if let Some(was) = now.insert(name.clone(), value.clone())
            && was != *value
        {
            before.insert(name.clone(), was);
        }
    }
    Turn { before: (!before.is_empty()).then_some(Value::Object(before)), now: Some(Value::Object(now)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The `before` of the last of these events.
    fn before(events: &[(&str, Value)]) -> Option<Value> {
        let mut parts = std::collections::BTreeMap::new();
        let mut last = None;
        for (kind, content) in events {
            let part = part(kind, content)?;
            let Turn { before, now } = after(kind, parts.remove(&part), content);
            if let Some(now) = now {
                parts.insert(part, now);
            }
            last = before;
        }
        last
    }

    #[test]
    fn a_change_shows_the_changed_fields_as_they_were() {
        let created = ("robot.created", json!({"name": "ci", "scopes": ["a"], "org": "1"}));
        assert_eq!(before(std::slice::from_ref(&created)), None);
        assert_eq!(before(&[created.clone(), ("robot.changed", json!({"name": "ci", "scopes": ["a", "b"]}))]), Some(json!({"scopes": ["a"]})));
        assert_eq!(before(&[created.clone(), ("robot.changed", json!({"name": null, "scopes": ["a"]}))]), None, "left out is not changed");
        assert_eq!(
            before(&[created, ("robot.changed", json!({"name": "cd"})), ("robot.deleted", json!({}))]),
            Some(json!({"name": "cd", "scopes": ["a"], "org": "1"}))
        );
    }

    #[test]
    fn parts_of_an_object_are_told_apart() {
        let (shop, lab) = (json!({"org": "1", "project": "p1", "name": "shop"}), json!({"org": "1", "project": "p2", "name": "lab"}));
        let events = [("org.created", json!({"name": "acme"})), ("org.project-created", shop.clone()), ("org.project-created", lab)];
        let mut all = events.to_vec();
        all.push(("org.project-deleted", json!({"org": "1", "project": "p1"})));
        assert_eq!(before(&all), Some(shop));
        all.push(("org.renamed", json!({"name": "globex"})));
        assert_eq!(before(&all), Some(json!({"name": "acme"})));
        let member = json!({"org": "1", "user": "u1"});
        assert_eq!(before(&[("org.member-added", member.clone()), ("org.member-removed", member.clone())]), Some(member));
        let moved = |digest: &str| ("repository.tag-moved", json!({"tag": "latest", "digest": digest}));
        assert_eq!(before(&[moved("1"), moved("2")]), Some(json!({"digest": "1"})));
    }

    #[test]
    fn what_is_hidden_stays_hidden_and_what_comes_often_is_not_kept() {
        assert_eq!(part("client.secret-added", &json!({"secret": "***"})), None);
        assert_eq!(part("instance.running", &json!({})), None);
        assert_eq!(part("odd", &json!({})), None);
        assert_eq!(before(&[("user.registered", json!({"email": "***"})), ("user.profile-changed", json!({"email": "***"}))]), None);
    }
}
