//! A set of documents that belong together: the platform keeps what they named when they were applied last, so that what they name no
//! longer can be told from what others made.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::{Context, segment};
use super::document::{Document, Kind};
use super::plan::{Action, Step, found};
use crate::failure::Failure;

/// `ORG/NAME`: a set of an organisation; `NAME`: one of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetName {
    org: Option<String>,
    name: String,
}

impl FromStr for SetName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (org, name) = text.split_once('/').map_or((None, text), |(org, name)| (Some(org.to_owned()), name));
        let fine = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if fine(name) && org.as_deref().is_none_or(fine) {
            return Ok(Self { org, name: name.to_owned() });
        }
        Err("must be ORG/NAME (of an organisation) or NAME (of the platform), of a-z, 0-9 and '-'".to_owned())
    }
}

impl std::fmt::Display for SetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.org {
            Some(org) => write!(f, "{org}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl SetName {
    pub(super) fn path(&self) -> String {
        let query = self.org.as_ref().map(|o| format!("?org={}", segment(o))).unwrap_or_default();
        format!("/api/v1/configuration-sets/{}{query}", segment(&self.name))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
struct Item {
    kind: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    key: BTreeMap<String, String>,
}

impl Item {
    fn of(document: &Document) -> Self {
        let key = match document.kind {
            // Subject, role and place make a binding what it is; its name is only for people.
            Kind::Binding => ["subject", "role", "at"].into_iter().map(|k| (k.to_owned(), document.text(k).to_owned())).collect(),
            _ => BTreeMap::new(),
        };
        Self { kind: document.kind.name().to_owned(), name: document.name.clone(), org: document.org.clone(), key }
    }

    fn same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.key == other.key && (self.kind == Kind::Binding.name() || (self.name == other.name && self.org == other.org))
    }

    /// A document that finds it; nothing for a kind that a newer program wrote.
    fn document(&self) -> Option<Document> {
        let spec: Map<String, Value> = self.key.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        Some(Document { kind: Kind::of(&self.kind)?, name: self.name.clone(), org: self.org.clone(), spec })
    }
}

pub struct Set {
    name: SetName,
    items: Vec<Item>,
    /// 0: not there yet.
    version: i64,
}

impl Set {
    /// # Errors
    /// A refusal of the platform.
    pub async fn read(cx: &mut Context, name: &SetName) -> Result<Self> {
        let kept: Result<Value> = cx.client.get(&name.path(), &[]).await;
        match kept {
            Ok(kept) => {
                let items = serde_json::from_value(kept["items"].clone())?;
                Ok(Self { name: name.clone(), items, version: kept["version"].as_i64().unwrap_or_default() })
            }
            Err(error) if matches!(error.downcast_ref::<Failure>(), Some(Failure::Refused(p)) if p.status == 404) => {
                Ok(Self { name: name.clone(), items: Vec::new(), version: 0 })
            }
            Err(error) => Err(error),
        }
    }

    /// What it named, is still there, and no document names: to be removed, the last made first.
    ///
    /// # Errors
    /// A refusal of the platform.
    pub async fn gone(&self, cx: &mut Context, documents: &[Document]) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        let named: Vec<Item> = documents.iter().map(Item::of).collect();
        for item in self.items.iter().rev().filter(|item| !named.iter().any(|n| n.same(item))) {
            let Some(document) = item.document() else { continue };
            let Some(live) = found(cx, &document).await? else { continue };
            let action = if matches!(document.kind, Kind::Organisation | Kind::Project) { Action::Keep } else { Action::Remove };
            steps.push(Step { document, live: Some(live), action, changes: Vec::new() });
        }
        // Bindings go before the roles and teams they are about.
        steps.sort_by_key(|s| std::cmp::Reverse(s.document.kind));
        Ok(steps)
    }

    /// Keeps what it named before and what the documents name.
    ///
    /// # Errors
    /// A refusal, also when somebody applied the set meanwhile.
    pub async fn keep_all(&mut self, cx: &mut Context, documents: &[Document]) -> Result<()> {
        let named = documents.iter().map(Item::of);
        let mut all: Vec<Item> = self.items.iter().filter(|i| !documents.iter().any(|d| Item::of(d).same(i))).cloned().collect();
        all.extend(named);
        self.write(cx, all).await
    }

    /// Keeps what the documents name, and what was not removed after all.
    ///
    /// # Errors
    /// As [`Self::keep_all`].
    pub async fn keep_only(&mut self, cx: &mut Context, documents: &[Document], steps: &[Step]) -> Result<()> {
        let kept = steps.iter().filter(|s| matches!(s.action, Action::Keep)).map(|s| Item::of(&s.document));
        let all = kept.chain(documents.iter().map(Item::of)).collect();
        self.write(cx, all).await
    }

    async fn write(&mut self, cx: &mut Context, mut items: Vec<Item>) -> Result<()> {
        items.sort_by_key(|i| Kind::of(&i.kind));
        if items == self.items {
            return Ok(());
        }
        let kept = cx.client.put(&self.name.path(), &json!({ "items": items }), self.version).await?;
        self.version = kept["version"].as_i64().unwrap_or_default();
        self.items = items;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_an_organisations_or_the_platforms() {
        assert_eq!("acme/base".parse::<SetName>().expect("a name").path(), "/api/v1/configuration-sets/base?org=acme");
        assert_eq!("base".parse::<SetName>().expect("a name").path(), "/api/v1/configuration-sets/base");
        for bad in ["", "/x", "acme/", "a/b/c", "Acme/base"] {
            assert!(bad.parse::<SetName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_binding_is_known_by_subject_role_and_place() {
        let binding = |name: &str, role: &str| Document {
            kind: Kind::Binding,
            name: name.into(),
            org: None,
            spec: json!({ "subject": "bob", "role": role, "at": "acme" }).as_object().cloned().expect("an object"),
        };
        assert!(Item::of(&binding("a", "editor")).same(&Item::of(&binding("b", "editor"))));
        assert!(!Item::of(&binding("a", "editor")).same(&Item::of(&binding("a", "viewer"))));
        let back = Item::of(&binding("a", "editor")).document().expect("a known kind");
        assert_eq!((back.text("subject"), back.text("role"), back.text("at")), ("bob", "editor", "acme"));
    }
}
