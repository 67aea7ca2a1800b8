//! Which requests on the shared port go to which backend: rules with their order, as lines of HAProxy's configuration and of its maps.
//!
//! What depends on host and path alone is found in maps, however many there are. A host of which a rule asks for more has all its rules in
//! a list that is gone through, since a request that the longest path does not get may be for a shorter one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::balance::Layout;

/// How a path is compared. In the order in which they are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PathKind {
    Exact,
    /// A regular expression, from the beginning of the path.
    Pattern,
    /// Whole segments.
    #[default]
    Prefix,
}

/// A header or a parameter with the whole value, or a pattern of it. No value: whatever it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Valued {
    pub name: String,
    pub value: String,
    pub pattern: bool,
}

/// What a request must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    /// In lower case; `*.example.org`: all names below; empty: any.
    pub host: String,
    pub kind: PathKind,
    /// Begins with `/`; a prefix has no `/` at its end, and that of all is empty.
    pub path: String,
    pub method: String,
    pub headers: Vec<Valued>,
    pub queries: Vec<Valued>,
}

impl Match {
    /// A host and the beginning of a path.
    pub fn plain(host: &str, path: &str) -> Self {
        Self { host: host.to_owned(), path: path.trim_end_matches('/').to_owned(), ..Self::default() }
    }

    /// Can a map find it?
    fn is_plain(&self) -> bool {
        self.kind != PathKind::Pattern && self.method.is_empty() && self.headers.is_empty() && self.queries.is_empty() && !self.host.starts_with('*')
    }

    /// Which one is asked first: as the Gateway API has it.
    fn order(&self) -> impl Ord + use<> {
        let host = match self.host.as_str() {
            "" => 2,
            wild if wild.starts_with('*') => 1,
            _ => 0,
        };
        let asked = (self.method.is_empty(), Reverse(self.headers.len()), Reverse(self.queries.len()));
        ((host, Reverse(self.host.len())), self.kind, Reverse(self.path.len()), asked)
    }

    /// All of it must be.
    fn conditions(&self) -> Vec<String> {
        let mut out = Vec::new();
        match self.host.strip_prefix('*') {
            Some(domain) => out.push(format!("var(txn.host) -m end -- {}", quoted(domain))),
            None if self.host.is_empty() => {}
            None => out.push(format!("var(txn.host) -m str -- {}", quoted(&self.host))),
        }
        match self.kind {
            PathKind::Exact => out.push(format!("var(txn.path) -m str -- {}", quoted(&self.path))),
            PathKind::Pattern => out.push(format!("var(txn.path) -m reg -- {}", quoted(&from_beginning(&self.path)))),
            PathKind::Prefix if self.path.is_empty() => {}
            PathKind::Prefix => out.push(format!("var(txn.path),concat(/) -m beg -- {}", quoted(&format!("{}/", self.path)))),
        }
        if !self.method.is_empty() {
            out.push(format!("method {}", self.method));
        }
        out.extend(self.headers.iter().map(by_header));
        let query = |Valued { name, value, pattern }: &Valued| match (value.is_empty(), pattern) {
            (true, _) => format!("url_param({name}) -m found"),
            (false, true) => format!("url_param({name}),url_dec -m reg -- {}", quoted(&whole(value))),
            (false, false) => format!("url_param({name}),url_dec -m bin -- {}", hex::encode(value)),
        };
        out.extend(self.queries.iter().map(query));
        out
    }
}

/// What is done with such requests before they are passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    pub asked: Match,
    /// Of those of several services that ask for the same.
    pub weight: Option<u32>,
    /// Stands for what was matched of the path; `\1` is the first group of a pattern.
    pub rewrite: String,
    pub set_headers: BTreeMap<String, String>,
    /// For an answer; 0: that of all.
    pub timeout_ms: u32,
}

impl Rule {
    fn changes_nothing(&self) -> bool {
        self.rewrite.is_empty() && self.set_headers.is_empty() && self.timeout_ms == 0
    }
}

/// A word of the configuration. Nothing in it means anything.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn from_beginning(pattern: &str) -> String {
    format!("^(?:{})", pattern.trim_start_matches('^'))
}

fn whole(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}

/// A text as a pattern for itself.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '/' | '-' | '_') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A value that is not plain is written in numbers: a brace by itself would end the condition, and one such condition makes HAProxy refuse
/// the configuration of the whole node. `req.hdr` takes a value apart at its commas, `req.fhdr` does not.
pub fn by_header(header: &Valued) -> String {
    let Valued { name, value, pattern } = header;
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_. /:=+@".contains(&b));
    match (value.is_empty(), pattern) {
        (true, _) => format!("req.hdr({name}) -m found"),
        (false, true) => format!("req.fhdr({name}) -m reg -- {}", quoted(&whole(value))),
        (false, false) if plain => format!("req.hdr({name}) -m str -- '{value}'"),
        (false, false) => format!("req.fhdr({name}) -m bin -- {}", hex::encode(value)),
    }
}

/// Of one match: who gets such requests.
struct Group<'a> {
    rule: Rule,
    /// What the requests are known by: the backend, if there is nothing more to them.
    name: String,
    space: &'a str,
    /// Backend and weight.
    members: Vec<(&'a str, u32)>,
}

impl Group<'_> {
    fn is_one_backend(&self) -> bool {
        self.rule.changes_nothing() && self.rule.weight.is_none()
    }
}

/// All rules of a layout, in the order in which they are asked.
pub struct Rules<'a>(Vec<Group<'a>>);

impl<'a> Rules<'a> {
    /// Who was there first keeps a match: only services of one space share one, and only if each says its weight.
    pub fn of(layout: &'a Layout) -> Self {
        let mut by_match: BTreeMap<Match, usize> = BTreeMap::new();
        let mut groups: Vec<Group<'a>> = Vec::new();
        for service in layout.services.values() {
            let shape = &service.shape;
            let plain = shape.routes.iter().map(|(host, path)| Rule { asked: Match::plain(host, path), ..Rule::default() });
            for rule in plain.chain(shape.layer7.rules.iter().cloned()) {
                let member = (shape.name.as_str(), rule.weight.unwrap_or(1));
                match by_match.get(&rule.asked) {
                    Some(n) => {
                        let group = &mut groups[*n];
                        if group.space == shape.layer7.space && group.rule.weight.is_some() && rule.weight.is_some() {
                            group.members.push(member);
                        }
                    }
                    None => {
                        by_match.insert(rule.asked.clone(), groups.len());
                        groups.push(Group { rule, name: String::new(), space: &shape.layer7.space, members: vec![member] });
                    }
                }
            }
        }
        // Stable: of equal ones the first by the service's id.
        groups.sort_by_cached_key(|group| group.rule.asked.order());
        for (n, group) in groups.iter_mut().enumerate() {
            // No backend has such a name.
            group.name = if group.is_one_backend() { group.members[0].0.to_owned() } else { format!("rule-{n}") };
        }
        Self(groups)
    }

    /// Hosts with rules that no map can find.
    fn listed_hosts(&self) -> BTreeSet<&str> {
        self.0.iter().filter(|g| !g.rule.asked.is_plain()).map(|g| g.rule.asked.host.as_str()).collect()
    }

    /// Lines for `exact.map` and `prefix.map`: host and path to the name. A prefix ends at a `/`, so `/api` does not match `/apix`.
    pub fn maps(&self) -> (String, String) {
        let listed = self.listed_hosts();
        let (mut exact, mut prefix): (BTreeMap<String, &str>, BTreeMap<String, &str>) = Default::default();
        // Exact paths come first, so that they have what a prefix of the same path would have, too.
        for group in self.0.iter().filter(|g| !listed.contains(g.rule.asked.host.as_str())) {
            let Match { host, kind, path, .. } = &group.rule.asked;
            let host = if host.is_empty() { "*" } else { host };
            if *kind == PathKind::Exact || !path.is_empty() {
                exact.entry(format!("{host}{path}")).or_insert(&group.name);
            }
            if *kind == PathKind::Prefix {
                prefix.entry(format!("{host}{path}/")).or_insert(&group.name);
            }
        }
        let text = |map: BTreeMap<String, &str>| {
            let mut out = String::new();
            for (key, name) in map {
                let _ = writeln!(out, "{key} {name}");
            }
            out
        };
        (text(exact), text(prefix))
    }

    /// Finds the rule of a request, by `txn.host` and `txn.path`: `txn.rule` is its name.
    pub fn finding(&self, maps: &str) -> String {
        let listed = self.listed_hosts();
        let absent = "!{ var(txn.rule) -m found }";
        let list = |any: bool| {
            let asked = self.0.iter().enumerate().filter(|(_, g)| listed.contains(g.rule.asked.host.as_str()) && g.rule.asked.host.is_empty() == any);
            let mut text = String::new();
            for (n, group) in asked {
                let conditions = group.rule.asked.conditions();
                let mut line = format!("  http-request set-var(txn.rule) str({}) if {absent}", group.name);
                // Each has a name, since a line has at most 64 words.
                for (i, condition) in conditions.iter().enumerate() {
                    let _ = writeln!(text, "  acl rule-{n}-{i} {condition}");
                    let _ = write!(line, " rule-{n}-{i}");
                }
                text.push_str(&line);
                text.push('\n');
            }
            text
        };
        format!(
            "  http-request set-var(txn.key) var(txn.host),concat(\"\",txn.path)
  http-request set-var(txn.any) str(*),concat(\"\",txn.path)
  http-request set-var(txn.rule) var(txn.key),map_str({maps}/exact.map)
  http-request set-var(txn.rule) var(txn.key),map_beg({maps}/prefix.map) if {absent}
{}  http-request set-var(txn.rule) var(txn.any),map_str({maps}/exact.map) if {absent}
  http-request set-var(txn.rule) var(txn.any),map_beg({maps}/prefix.map) if {absent}
{}  http-request set-var(txn.to) var(txn.rule) if {{ var(txn.rule) -m found }}
",
            list(false),
            list(true)
        )
    }

    /// What is done with the requests of a rule: who gets them (`txn.to`), and what becomes of path, headers and patience.
    pub fn following(&self) -> String {
        let mut text = String::new();
        if self.0.iter().any(|g| g.members.len() > 1) {
            let _ = writeln!(text, "  http-request set-var(txn.dice) rand({DICE})");
        }
        for group in self.0.iter().filter(|g| !g.is_one_backend()) {
            let own = format!("{{ var(txn.rule) -m str {} }}", group.name);
            spread(&mut text, group, &own);
            let Rule { asked, rewrite, set_headers, timeout_ms, .. } = &group.rule;
            for (name, value) in set_headers {
                // No value at all would make HAProxy refuse the configuration.
                let _ = match value.as_str() {
                    "" => writeln!(text, "  http-request del-header {name} if {own}"),
                    value => writeln!(text, "  http-request set-header {name} {} if {own}", quoted(&value.replace('%', "%%"))),
                };
            }
            if !rewrite.is_empty() {
                let _ = writeln!(text, "  http-request {} if {own}", rewriting(asked, rewrite));
            }
            if *timeout_ms > 0 {
                let _ = writeln!(text, "  http-request set-var(txn.limit) int({timeout_ms}) if {own}");
            }
        }
        text
    }

    /// Has one of them a time limit of its own?
    pub fn are_limited(&self) -> bool {
        self.0.iter().any(|g| g.rule.timeout_ms > 0)
    }
}

const DICE: u64 = 1_000_000;

/// By weight; whom nobody stands behind gives up its part. Of a group whose weights are all zero nobody answers: 503.
fn spread(text: &mut String, group: &Group<'_>, own: &str) {
    let total: u64 = group.members.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let members: Vec<&(&str, u32)> = group.members.iter().filter(|(_, weight)| *weight > 0).collect();
    let mut below = 0;
    for (n, (backend, weight)) in members.iter().enumerate() {
        below += u64::from(*weight);
        let part = if n + 1 == members.len() { String::new() } else { format!(" {{ var(txn.dice) -m int lt {} }}", below * DICE / total) };
        let _ = writeln!(text, "  http-request set-var(txn.to) str({backend}) if {own} {{ var(txn.to) -m str {} }}{part}", group.name);
    }
    if members.len() > 1 {
        for (backend, _) in members {
            let _ = writeln!(text, "  http-request set-var(txn.to) str({backend}) if {own} {{ var(txn.to),nbsrv eq 0 }} {{ nbsrv({backend}) gt 0 }}");
        }
    }
}

/// The path only; what is asked after `?` stays.
fn rewriting(asked: &Match, rewrite: &str) -> String {
    let plain = |text: &str| text.replace('\\', "\\\\").replace('%', "%%");
    let short = plain(rewrite.trim_end_matches('/'));
    match asked.kind {
        PathKind::Exact => format!("set-path {}", quoted(&rewrite.replace('%', "%%"))),
        PathKind::Pattern => format!("replace-path {} {}", quoted(&from_beginning(&asked.path)), quoted(&rewrite.replace('%', "%%"))),
        PathKind::Prefix if short.is_empty() => format!("replace-path {} '/\\1'", quoted(&format!("^{}/?(.*)$", escaped(&asked.path)))),
        PathKind::Prefix => format!("replace-path {} {}", quoted(&format!("^{}(/.*)?$", escaped(&asked.path))), quoted(&format!("{short}\\1"))),
    }
}

#[cfg(test)]
mod tests;
