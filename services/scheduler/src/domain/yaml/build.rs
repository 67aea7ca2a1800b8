//! From the parser's events to the tree. Sizes and depth are bounded, aliases included: a document of a few hundred bytes
//! must not become one of gigabytes.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag as Written};

use super::{Entry, Node, Tag, Value};

/// Nodes of all documents together, each alias counted with everything it stands for.
const MAX_NODES: usize = 100_000;
const MAX_DEPTH: usize = 64;

/// Why a text is no YAML, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub line: u64,
    pub detail: String,
}

fn broken<T>(line: u64, detail: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { line, detail: detail.into() })
}

/// Reads every document of `text`. Empty ones are left out.
///
/// # Errors
/// [`Broken`]: not YAML, a key twice, an unknown tag, or too large.
pub fn parse(text: &str) -> Result<Vec<Node>, Broken> {
    let mut building = Building::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|e| Broken { line: line(e.marker().line()), detail: format!("is not YAML: {}", e.info()) })?;
        building.take(event, line(span.start.line()))?;
    }
    Ok(building.documents.into_iter().filter(|n| n.value != Value::Null).collect())
}

fn line(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, u64)>,
    merges: Vec<Node>,
}

/// How much an anchor stands for.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

#[derive(Default)]
struct Building {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
}

impl Building {
    fn take(&mut self, event: Event<'_>, line: u64) -> Result<(), Broken> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar(&text, style, tag.as_deref(), line)?;
                self.finished(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.opened(Value::List(Vec::new()), anchor, tag.as_deref(), line),
            Event::MappingStart(_, anchor, tag) => self.opened(Value::Map(Vec::new()), anchor, tag.as_deref(), line),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let anchor = open.anchor;
                    let node = merged(open)?;
                    self.finished(node, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(id) => {
                let Some(known) = self.anchors.get(&id) else {
                    return broken(line, "an alias stands inside of what it stands for");
                };
                if self.open.len() + known.depth > MAX_DEPTH {
                    return broken(line, format!("is nested more than {MAX_DEPTH} deep"));
                }
                self.nodes += known.nodes;
                if self.nodes > MAX_NODES {
                    return broken(line, format!("has more than {MAX_NODES} values, aliases unfolded"));
                }
                let mut node = known.node.clone();
                node.line = line;
                self.finished(node, 0)
            }
            Event::UnresolvedAlias(name) => broken(line, format!("there is no anchor `{name}`")),
            _ => Ok(()),
        }
    }

    fn opened(&mut self, value: Value, anchor: usize, tag: Option<&Written>, line: u64) -> Result<(), Broken> {
        if self.open.len() >= MAX_DEPTH {
            return broken(line, format!("is nested more than {MAX_DEPTH} deep"));
        }
        let (tag, _) = meaning(tag, line)?;
        self.open.push(Open { node: Node { line, value, tag }, anchor, key: None, merges: Vec::new() });
        Ok(())
    }

    fn finished(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return broken(node.line, format!("has more than {MAX_NODES} values"));
        }
        if anchor > 0 {
            let (nodes, depth) = size(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), None) => {
                let Some(key) = node.scalar() else { return broken(node.line, "a key must be a plain value") };
                open.key = Some((key, node.line));
            }
            (Value::Map(_), Some((key, _))) if key == "<<" => open.merges.push(node),
            (Value::Map(entries), Some((key, line))) => {
                if let Some(first) = entries.iter().find(|e| e.key == key) {
                    return broken(line, format!("the key `{key}` is there twice; first in line {}", first.line));
                }
                // A value that begins on the key's line has that line; a block below points at its key, which people look for.
                entries.push(Entry { key, line, node });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Nodes and depth of a tree.
fn size(node: &Node) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match &node.value {
        Value::List(items) => items.iter().map(size).collect(),
        Value::Map(entries) => entries.iter().map(|e| size(&e.node)).collect(),
        _ => Vec::new(),
    };
    let (nodes, depth) = children.iter().fold((0_usize, 0_usize), |(n, d), (cn, cd)| (n.saturating_add(*cn), d.max(*cd)));
    (nodes.saturating_add(1), depth + 1)
}

/// With the maps of `<<` filled in: own keys first, then the first map that has a key.
fn merged(open: Open) -> Result<Node, Broken> {
    let mut node = open.node;
    let Value::Map(entries) = &mut node.value else { return Ok(node) };
    for merge in open.merges {
        let line = merge.line;
        let maps = match merge.value {
            Value::List(items) => items,
            Value::Null => continue,
            other => vec![Node::new(line, other)],
        };
        for map in maps {
            let Value::Map(more) = map.value else { return broken(line, "`<<` takes a map or a list of maps") };
            for entry in more {
                if !entries.iter().any(|e| e.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(node)
}

/// The tag's meaning, and whether it makes a text of what follows.
fn meaning(tag: Option<&Written>, line: u64) -> Result<(Tag, bool), Broken> {
    let Some(tag) = tag else { return Ok((Tag::None, false)) };
    match tag.parts() {
        ("!", "reset") => Ok((Tag::Reset, false)),
        ("!", "override") => Ok((Tag::Override, false)),
        ("tag:yaml.org,2002:", "str") | ("!", "") | ("", "!") => Ok((Tag::None, true)),
        // `!!merge` stands before `<<` in what some tools write.
        ("tag:yaml.org,2002:", "map" | "seq" | "int" | "float" | "bool" | "null" | "merge") => Ok((Tag::None, false)),
        (handle, suffix) => broken(line, format!("the tag `{}{suffix}` is not known", if handle == "tag:yaml.org,2002:" { "!!" } else { handle })),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Written>, line: u64) -> Result<Node, Broken> {
    let (tag, forced) = meaning(tag, line)?;
    let value = if style == ScalarStyle::Plain && !forced { plain(text) } else { Value::Text(text.to_owned()) };
    Ok(Node { line, value, tag })
}

/// The core schema of YAML 1.2: `yes`, `no`, `on` and numbers with leading zeros or underscores are texts, as the
/// readers of Compose and Kubernetes have them.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() {
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        return match text.parse() {
            Ok(number) if !leading_zero => Value::Int(number),
            _ => Value::Text(text.to_owned()),
        };
    }
    if let Some(number) = text.strip_prefix("0x").and_then(|t| i64::from_str_radix(t, 16).ok()) {
        return Value::Int(number);
    }
    if let Some(number) = text.strip_prefix("0o").and_then(|t| i64::from_str_radix(t, 8).ok()) {
        return Value::Int(number);
    }
    let looks = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if looks && number.is_finite() && digits.bytes().any(|b| b.is_ascii_digit()) => Value::Float(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}
