//! Configuration as code: documents say what shall be there, `diff` shows what differs, `apply` makes it so. What the
//! documents do not name is left alone; what they name and do not mention a field of keeps that field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Context, confirm, segment};
use crate::failure::Failure;
use crate::output::print;

const VERSION: &str = "gantry.io/v1";
/// In the order in which they need each other.
const KINDS: &[&str] = &["Organisation", "Project", "Role", "Team", "ServiceAccount", "Client", "Upstream", "Binding"];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default)]
    org: Option<String>,
}

/// What is there of one document's thing, in the document's own words.
struct Live {
    spec: Map<String, Value>,
    /// What a change needs to know besides, such as the id.
    id: String,
}

struct Step {
    document: Document,
    live: Option<Live>,
    /// Field, value now, value wanted.
    changes: Vec<(String, Value, Value)>,
}

impl Step {
    fn mark(&self) -> &'static str {
        match (&self.live, self.changes.is_empty()) {
            (None, _) => "+",
            (Some(_), false) => "~",
            (Some(_), true) => "=",
        }
    }

    fn title(&self) -> String {
        let Metadata { name, org } = &self.document.metadata;
        let place = org.as_ref().map(|o| format!("{o}/")).unwrap_or_default();
        format!("{} {place}{name}", self.document.kind)
    }
}

/// # Errors
/// A file that is no such document, or a refusal of the platform.
pub async fn diff(cx: &mut Context, files: &[PathBuf]) -> Result<()> {
    let steps = plan(cx, &read(files)?).await?;
    show(cx, &steps)?;
    let open = steps.iter().filter(|s| s.mark() != "=").count();
    if open == 0 { Ok(()) } else { Err(Failure::Usage(format!("{open} of {} differ", steps.len())).into()) }
}

/// # Errors
/// As [`diff`], and when a change is refused: what was changed before it stays, and applying again goes on from there.
pub async fn apply(cx: &mut Context, files: &[PathBuf], yes: bool) -> Result<()> {
    let steps = plan(cx, &read(files)?).await?;
    show(cx, &steps)?;
    let open: Vec<_> = steps.iter().filter(|s| s.mark() != "=").collect();
    if open.is_empty() {
        cx.note("nothing to do");
        return Ok(());
    }
    confirm(&format!("Make these {} changes", open.len()), yes)?;
    for step in open {
        make(cx, step).await.with_context(|| step.title())?;
        cx.note(&format!("{} {}", if step.live.is_some() { "changed" } else { "created" }, step.title()));
    }
    Ok(())
}

fn read(files: &[PathBuf]) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for file in files {
        let text = if file == Path::new("-") {
            std::io::read_to_string(std::io::stdin())?
        } else {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
        };
        let here: Vec<Document> = serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())?;
        documents.extend(here);
    }
    let mut seen = BTreeMap::new();
    for document in &documents {
        if document.api_version != VERSION {
            return Err(Failure::Usage(format!("{}: apiVersion must be {VERSION}", document.metadata.name)).into());
        }
        if !KINDS.contains(&document.kind.as_str()) {
            return Err(Failure::Usage(format!("{}: kind `{}`: must be of {}", document.metadata.name, document.kind, KINDS.join(", "))).into());
        }
        let key = (document.kind.clone(), document.metadata.org.clone(), document.metadata.name.clone());
        if seen.insert(key, ()).is_some() {
            return Err(Failure::Usage(format!("{} {} stands there twice", document.kind, document.metadata.name)).into());
        }
    }
    documents.sort_by_key(|d| KINDS.iter().position(|k| *k == d.kind));
    Ok(documents)
}

fn show(cx: &Context, steps: &[Step]) -> Result<()> {
    if cx.common.output != crate::args::Format::Table {
        let plan: Vec<Value> = steps
            .iter()
            .map(|s| {
                let changes: Vec<_> = s.changes.iter().map(|(field, from, to)| json!({ "field": field, "from": from, "to": to })).collect();
                let action = match s.mark() {
                    "+" => "create",
                    "~" => "change",
                    _ => "none",
                };
                json!({ "kind": s.document.kind, "name": s.document.metadata.name, "org": s.document.metadata.org, "action": action, "changes": changes })
            })
            .collect();
        return cx.list(&plan, &[]);
    }
    for step in steps {
        print(&format!("{} {}", step.mark(), step.title()))?;
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

async fn plan(cx: &mut Context, documents: &[Document]) -> Result<Vec<Step>> {
    let mut steps = Vec::with_capacity(documents.len());
    for document in documents {
        let live = match find(cx, document).await {
            Ok(live) => live,
            // An organisation that is yet to be made has nothing in it.
            Err(error) if absent(&error) => None,
            Err(error) => return Err(error.context(format!("{} {}", document.kind, document.metadata.name))),
        };
        let nothing = Map::new();
        let known = live.as_ref().map_or(&nothing, |l| &l.spec);
        let changes = document.spec.iter().filter_map(|(field, wanted)| {
            let now = known.get(field).cloned().unwrap_or(Value::Null);
            (tidy(&now) != tidy(wanted) && !field.ends_with("_file")).then(|| (field.clone(), now, wanted.clone()))
        });
        steps.push(Step { changes: changes.collect(), document: document.clone(), live });
    }
    Ok(steps)
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

fn absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Failure>(), Some(Failure::Refused(problem)) if problem.status == 404)
}

fn org(document: &Document) -> Result<String> {
    let missing = || Failure::Usage(format!("{} {}: metadata.org is needed", document.kind, document.metadata.name));
    Ok(document.metadata.org.clone().ok_or_else(missing)?)
}

fn pick(from: &Value, fields: &[&str]) -> Map<String, Value> {
    fields.iter().map(|f| ((*f).to_owned(), from[*f].clone())).collect()
}

/// What of `spec` is in `fields`, as a body.
fn body(spec: &Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    spec.iter().filter(|(k, _)| fields.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn at_of(text: &str) -> Vec<(&'static str, String)> {
    if text == "platform" {
        return Vec::new();
    }
    ["org", "project", "space"].into_iter().zip(text.split('/').map(str::to_owned)).collect()
}

async fn find(cx: &mut Context, document: &Document) -> Result<Option<Live>> {
    let name = segment(&document.metadata.name);
    let known = match document.kind.as_str() {
        "Organisation" => {
            let found: Value = cx.client.get(&format!("/api/v1/orgs/{name}"), &[]).await?;
            let owner: Value = cx.client.get(&format!("/api/v1/users/{}", found["owner"].as_str().unwrap_or_default()), &[]).await.unwrap_or_default();
            let mut spec = pick(&found, &["display_name"]);
            spec.insert("owner".into(), owner["username"].clone());
            if document.spec.contains_key("members") {
                let members = cx.client.list(&format!("/api/v1/orgs/{name}/members"), &[], 100_000).await?;
                let listed = document.spec["members"].as_object().cloned().unwrap_or_default();
                // Only those that the document names: the others may come from a directory.
                let shown =
                    members.into_iter().filter_map(|m| Some((m["username"].as_str()?.to_owned(), m["role"].clone()))).filter(|(n, _)| listed.contains_key(n));
                spec.insert("members".into(), Value::Object(shown.collect()));
            }
            Live { spec, id: document.metadata.name.clone() }
        }
        "Project" => {
            let path = format!("/api/v1/orgs/{}/projects/{name}", segment(&org(document)?));
            let found: Value = cx.client.get(&path, &[]).await?;
            let spaces = cx.client.list(&format!("{path}/spaces"), &[], 1_000).await?;
            let mut spec = pick(&found, &["public"]);
            let listed: Vec<&Value> = document.spec.get("spaces").and_then(Value::as_array).into_iter().flatten().collect();
            spec.insert("spaces".into(), spaces.into_iter().map(|s| s["name"].clone()).filter(|n| listed.contains(&n)).collect());
            Live { spec, id: path }
        }
        "Team" => {
            let path = format!("/api/v1/orgs/{}/teams/{name}", segment(&org(document)?));
            let found: Value = cx.client.get(&path, &[]).await?;
            let members = cx.client.list(&format!("{path}/members"), &[], 100_000).await?;
            let mut spec = pick(&found, &["display_name", "parent"]);
            spec.insert("members".into(), members.into_iter().map(|m| m["name"].clone()).collect());
            Live { spec, id: path }
        }
        "Role" => {
            let query: Vec<_> = document.metadata.org.iter().map(|o| ("org", o.clone())).collect();
            let roles = cx.client.list("/api/v1/roles", &query, 10_000).await?;
            let own =
                |r: &&Value| r["name"] == document.metadata.name.as_str() && r["built_in"] == false && r["org"].is_null() == document.metadata.org.is_none();
            match roles.iter().find(own) {
                Some(found) => {
                    Live { spec: pick(found, &["description", "permissions"]), id: format!("/api/v1/roles/{}", found["id"].as_str().unwrap_or_default()) }
                }
                None => return Ok(None),
            }
        }
        "ServiceAccount" => {
            let path = format!("/api/v1/orgs/{}/service-accounts/{name}", segment(&org(document)?));
            let found: Value = cx.client.get(&path, &[]).await?;
            let mut spec = pick(&found, &["description", "repositories"]);
            spec.insert("suspended".into(), json!(found["state"] == "suspended"));
            Live { spec, id: path }
        }
        "Client" | "Upstream" => {
            let path = format!("/api/v1/{}s/{name}", document.kind.to_lowercase());
            let found: Value = cx.client.get(&path, &[]).await?;
            let spec = found["settings"].as_object().cloned().unwrap_or_default();
            Live { spec, id: path }
        }
        "Binding" => {
            let text = |key: &str| document.spec.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let bindings = cx.client.list("/api/v1/bindings", &at_of(&text("at")), 100_000).await?;
            let same = |b: &&Value| {
                let subject = text("subject");
                (b["name"] == subject.as_str() || b["subject"] == subject.as_str())
                    && (b["role"] == text("role").as_str() || b["role_name"] == text("role").as_str())
            };
            match bindings.iter().find(same) {
                Some(found) => {
                    let mut spec = pick(found, &["condition"]);
                    spec.extend(body(&document.spec, &["subject", "role", "at"]));
                    Live { spec, id: found["id"].as_str().unwrap_or_default().to_owned() }
                }
                None => return Ok(None),
            }
        }
        other => return Err(Failure::Usage(format!("kind `{other}`")).into()),
    };
    Ok(Some(known))
}

async fn make(cx: &mut Context, step: &Step) -> Result<()> {
    let Document { kind, metadata, spec, .. } = &step.document;
    let name = &metadata.name;
    let with_name = |fields: &[&str]| {
        let mut made = body(spec, fields);
        made.insert("name".into(), json!(name));
        Value::Object(made)
    };
    match kind.as_str() {
        "Organisation" => {
            let path = format!("/api/v1/orgs/{}", segment(name));
            if step.live.is_none() {
                cx.client.post("/api/v1/orgs", &[], &with_name(&["display_name"])).await?;
            }
            let members = spec.get("members").and_then(Value::as_object).cloned().unwrap_or_default();
            for (member, role) in members {
                let known = step.live.as_ref().and_then(|l| l.spec.get("members")?.get(&member));
                if known != Some(&role) {
                    cx.client.put_new(&format!("{path}/members/{}", segment(&member)), &json!({ "role": role })).await?;
                }
            }
            let change = body(spec, if step.live.is_some() { &["display_name", "owner"] } else { &["owner"] });
            if !change.is_empty() { cx.client.patch(&path, &change).await.map(drop) } else { Ok(()) }
        }
        "Project" => {
            let above = format!("/api/v1/orgs/{}/projects", segment(&org(&step.document)?));
            if step.live.is_none() {
                cx.client.post(&above, &[], &with_name(&["public"])).await?;
            } else if step.changes.iter().any(|(field, ..)| field == "public") {
                return Err(Failure::Usage("public: is set when a project is created and does not change".to_owned()).into());
            }
            let known: Vec<Value> = step.live.as_ref().and_then(|l| l.spec["spaces"].as_array().cloned()).unwrap_or_default();
            for space in spec.get("spaces").and_then(Value::as_array).into_iter().flatten().filter(|s| !known.contains(s)) {
                cx.client.post(&format!("{above}/{}/spaces", segment(name)), &[], &json!({ "name": space })).await?;
            }
            Ok(())
        }
        "Team" => {
            let above = format!("/api/v1/orgs/{}/teams", segment(&org(&step.document)?));
            let path = format!("{above}/{}", segment(name));
            match &step.live {
                None => cx.client.post(&above, &[], &with_name(&["display_name", "parent"])).await.map(drop)?,
                Some(_) => {
                    let mut change = body(spec, &["display_name", "parent"]);
                    if let Some(parent) = change.get_mut("parent").filter(|p| p.is_null()) {
                        *parent = json!("");
                    }
                    cx.client.patch(&path, &change).await.map(drop)?;
                }
            }
            let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            let (known, wanted) = (list(step.live.as_ref().and_then(|l| l.spec.get("members"))), list(spec.get("members")));
            for member in wanted.iter().filter(|m| !known.contains(m)).filter_map(Value::as_str) {
                cx.client.put_new(&format!("{path}/members/{}", segment(member)), &json!({})).await?;
            }
            if spec.contains_key("members") {
                for member in known.iter().filter(|m| !wanted.contains(m)).filter_map(Value::as_str) {
                    cx.client.delete(&format!("{path}/members/{}", segment(member))).await?;
                }
            }
            Ok(())
        }
        "Role" => match &step.live {
            Some(live) => cx.client.patch(&live.id, &body(spec, &["description", "permissions"])).await.map(drop),
            None => {
                let mut made = with_name(&["description", "permissions"]);
                if let Some(org) = &metadata.org {
                    made["org"] = json!(org);
                }
                cx.client.post("/api/v1/roles", &[], &made).await.map(drop)
            }
        },
        "ServiceAccount" => {
            let above = format!("/api/v1/orgs/{}/service-accounts", segment(&org(&step.document)?));
            if step.live.is_none() {
                cx.client.post(&above, &[], &with_name(&["description", "repositories"])).await?;
            }
            let change = body(spec, if step.live.is_some() { &["description", "repositories", "suspended"] } else { &["suspended"] });
            if change.is_empty() { Ok(()) } else { cx.client.patch(&format!("{above}/{}", segment(name)), &change).await.map(drop) }
        }
        "Client" | "Upstream" => {
            let mut settings = step.live.as_ref().map(|l| l.spec.clone()).unwrap_or_default();
            settings.extend(spec.iter().filter(|(k, _)| !k.ends_with("_file")).map(|(k, v)| (k.clone(), v.clone())));
            let mut whole = json!({ "settings": settings });
            if let Some(file) = spec.get("secret_file").and_then(Value::as_str) {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
                whole["secret"] = json!(text.trim_end());
            }
            let above = format!("/api/v1/{}s", kind.to_lowercase());
            if let Some(live) = &step.live {
                let sent = if kind == "Client" { Value::Object(settings) } else { whole };
                return cx.client.put_new(&live.id, &sent).await.map(drop);
            }
            whole[if kind == "Client" { "id" } else { "name" }] = json!(name);
            if let Some(org) = &metadata.org {
                whole["org"] = json!(org);
            }
            let made = cx.client.post(&above, &[], &whole).await?;
            // A client's secret is shown this once.
            if made["secret"].is_string() { cx.one(&json!({ "client": name, "secret": made["secret"] })) } else { Ok(()) }
        }
        _ => {
            if let Some(live) = &step.live {
                // A binding never changes: another one takes its place.
                cx.client.delete(&format!("/api/v1/bindings/{}", segment(&live.id))).await?;
            }
            let mut made = body(spec, &["subject", "role", "condition"]);
            for (key, value) in at_of(spec.get("at").and_then(Value::as_str).unwrap_or_default()) {
                made.insert(key.to_owned(), json!(value));
            }
            cx.client.post("/api/v1/bindings", &[], &made).await.map(drop)
        }
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
        assert_eq!(at_of("acme/shop"), [("org", "acme".to_owned()), ("project", "shop".to_owned())]);
        assert!(at_of("platform").is_empty());
    }
}
