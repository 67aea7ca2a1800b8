//! How one Compose document is laid over another: maps are merged, lists appended, and what the specification gives a
//! key of its own (ports, volumes, ...) replaces its equal. `!reset` takes away, `!override` replaces.

use crate::domain::yaml::{Entry, Node, Tag, Value};

/// `path` is where the two nodes stand.
pub fn merge(base: Node, over: Node, path: &[&str]) -> Node {
    if over.tag == Tag::Override || replaces(path) {
        return Node { tag: Tag::None, ..over };
    }
    let line = over.line;
    let value = match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(more)) => {
            for entry in more {
                lay(&mut entries, entry, path);
            }
            Value::Map(entries)
        }
        (Value::List(items), Value::List(more)) => Value::List(append(items, more, path)),
        (base, Value::Null) => base,
        (_, over) => over,
    };
    Node { line, value, tag: Tag::None }
}

fn lay(entries: &mut Vec<Entry>, over: Entry, path: &[&str]) {
    let known = entries.iter().position(|e| e.key == over.key);
    if over.node.tag == Tag::Reset {
        if let Some(known) = known {
            entries.remove(known);
        }
        return;
    }
    match known {
        Some(known) => {
            let below: Vec<&str> = path.iter().copied().chain([over.key.as_str()]).collect();
            let base = std::mem::replace(&mut entries[known].node, Node::new(0, Value::Null));
            entries[known].node = merge(base, over.node, &below);
            entries[known].line = over.line;
        }
        None => entries.push(over),
    }
}

/// Commands are whole.
fn replaces(path: &[&str]) -> bool {
    matches!(path, ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"])
}

fn append(mut items: Vec<Node>, more: Vec<Node>, path: &[&str]) -> Vec<Node> {
    let ["services", _, key] = path else {
        items.extend(more);
        return items;
    };
    for item in more {
        let own = identity(key, &item);
        match items.iter().position(|i| identity(key, i) == own) {
            Some(known) if own.is_some() => items[known] = item,
            _ => items.push(item),
        }
    }
    items
}

/// What makes two items the same one.
fn identity(key: &str, item: &Node) -> Option<String> {
    let field = |name: &str| item.get(name).and_then(Node::scalar);
    match key {
        "volumes" => match item.scalar() {
            Some(text) => {
                let parts: Vec<&str> = text.split(':').collect();
                Some(parts.get(1).or(parts.first()).map(|t| (*t).to_owned()).unwrap_or_default())
            }
            None => field("target"),
        },
        "secrets" | "configs" => item.scalar().or_else(|| field("target")).or_else(|| field("source")),
        "devices" => item.scalar().map(|t| t.split(':').nth(1).unwrap_or(&t).to_owned()).or_else(|| field("target")),
        "ports" => item.scalar().or_else(|| Some(format!("{:?}:{:?}/{:?}", field("published"), field("target"), field("protocol")))),
        "env_file" => item.scalar().or_else(|| field("path")),
        _ => item.scalar(),
    }
}

/// Every form that a key may have, as the one that merges: `A=1` lists as maps, single texts as lists.
pub fn canonical(root: &mut Node) {
    let Value::Map(sections) = &mut root.value else { return };
    let Some(services) = sections.iter_mut().find(|e| e.key == "services") else { return };
    let Value::Map(services) = &mut services.node.value else { return };
    for service in services {
        let Value::Map(entries) = &mut service.node.value else { continue };
        for entry in entries {
            match entry.key.as_str() {
                "environment" | "labels" | "annotations" | "sysctls" => pairs(&mut entry.node, &['='], false),
                "extra_hosts" => pairs(&mut entry.node, &['=', ':'], true),
                "depends_on" | "networks" | "models" => names(&mut entry.node),
                "env_file" | "label_file" | "dns" | "dns_search" | "dns_opt" | "tmpfs" => listed(&mut entry.node),
                _ => {}
            }
        }
    }
}

/// `several`: one name may have more than one value, as hosts have addresses.
fn pairs(node: &mut Node, separators: &[char], several: bool) {
    let Value::List(items) = &node.value else { return };
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let Some(text) = item.scalar() else { return };
        let (key, value) = match text.split_once(separators) {
            Some((key, value)) => (key.to_owned(), Node::text(item.line, value)),
            None => (text, Node::new(item.line, Value::Null)),
        };
        if several && let Some(known) = entries.iter_mut().find(|e| e.key == key) {
            let first = std::mem::replace(&mut known.node, Node::new(item.line, Value::Null));
            known.node.value = match first.value {
                Value::List(mut all) => {
                    all.push(value);
                    Value::List(all)
                }
                first => Value::List(vec![Node::new(known.line, first), value]),
            };
            continue;
        }
        // The last of two equal names counts, as in a shell.
        entries.retain(|e| e.key != key);
        entries.push(Entry { key, line: item.line, node: value });
    }
    node.value = Value::Map(entries);
}

fn names(node: &mut Node) {
    let Value::List(items) = &node.value else { return };
    let named = |item: &Node| Some(Entry { key: item.scalar()?, line: item.line, node: Node::new(item.line, Value::Null) });
    let entries: Option<Vec<Entry>> = items.iter().map(named).collect();
    if let Some(mut entries) = entries {
        let mut seen = std::collections::BTreeSet::new();
        entries.retain(|e| seen.insert(e.key.clone()));
        node.value = Value::Map(entries);
    }
}

fn listed(node: &mut Node) {
    if let Value::Text(text) = &node.value {
        node.value = Value::List(vec![Node::text(node.line, text.clone())]);
    }
}

/// Without what is still marked `!reset` when nothing came before it.
pub fn without_reset(node: &mut Node) {
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|e| e.node.tag != Tag::Reset);
            entries.iter_mut().for_each(|e| without_reset(&mut e.node));
        }
        Value::List(items) => items.iter_mut().for_each(without_reset),
        _ => {}
    }
}
