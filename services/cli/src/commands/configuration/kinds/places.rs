//! Organisations with their members, projects with their spaces, and how safely people sign in.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::super::super::{Context, segment};
use super::super::document::Document;
use super::super::plan::{Live, Step};
use super::{body, list, named, pick};
use crate::failure::Failure;

pub async fn organisation(cx: &mut Context, document: &Document) -> Result<Live> {
    let path = format!("/api/v1/orgs/{}", segment(&document.name));
    let found: Value = cx.client.get(&path, &[]).await?;
    let mut spec = pick(&found, &["display_name"]);
    if document.spec.contains_key("owner") {
        let id = found["owner"].as_str().unwrap_or_default();
        let owner: Result<Value> = cx.client.get(&format!("/api/v1/users/{}", segment(id)), &[]).await;
        let owner = owner.with_context(|| format!("{}: its owner {id} cannot be looked up", document.title()))?;
        spec.insert("owner".into(), owner["username"].clone());
    }
    if let Some(listed) = document.spec.get("members").and_then(Value::as_object) {
        let members = cx.client.list(&format!("{path}/members"), &[], 100_000).await?;
        // Only those that the document names: the others may come from a directory.
        let shown = members.into_iter().filter_map(|m| Some((m["username"].as_str()?.to_owned(), m["role"].clone()))).filter(|(n, _)| listed.contains_key(n));
        spec.insert("members".into(), Value::Object(shown.collect()));
    }
    Ok(Live { spec, id: path })
}

pub async fn make_organisation(cx: &mut Context, step: &Step) -> Result<()> {
    let document = &step.document;
    let path = format!("/api/v1/orgs/{}", segment(&document.name));
    if step.live.is_none() {
        cx.client.post("/api/v1/orgs", &[], &named(document, &["display_name"])).await?;
    }
    let members = document.spec.get("members").and_then(Value::as_object).cloned().unwrap_or_default();
    for (member, role) in members {
        let known = step.now("members").and_then(|m| m.get(&member));
        if known != Some(&role) {
            cx.client.put_new(&format!("{path}/members/{}", segment(&member)), &json!({ "role": role })).await?;
        }
    }
    let change = body(&document.spec, if step.live.is_some() { &["display_name", "owner"] } else { &["owner"] });
    if change.is_empty() { Ok(()) } else { cx.client.patch(&path, &change).await.map(drop) }
}

pub async fn project(cx: &mut Context, document: &Document) -> Result<Live> {
    let path = format!("/api/v1/orgs/{}/projects/{}", segment(document.needed_org()?), segment(&document.name));
    let found: Value = cx.client.get(&path, &[]).await?;
    let spaces = cx.client.list(&format!("{path}/spaces"), &[], 1_000).await?;
    let mut spec = pick(&found, &["public"]);
    let listed = list(document.spec.get("spaces"));
    spec.insert("spaces".into(), spaces.into_iter().map(|s| s["name"].clone()).filter(|n| listed.contains(n)).collect());
    Ok(Live { spec, id: path })
}

pub async fn make_project(cx: &mut Context, step: &Step) -> Result<()> {
    let document = &step.document;
    let above = format!("/api/v1/orgs/{}/projects", segment(document.needed_org()?));
    if step.live.is_none() {
        cx.client.post(&above, &[], &named(document, &["public"])).await?;
    } else if step.changes("public") {
        return Err(Failure::Usage("public: is set when a project is created and does not change".to_owned()).into());
    }
    let known = list(step.now("spaces"));
    for space in list(document.spec.get("spaces")).iter().filter(|s| !known.contains(s)) {
        cx.client.post(&format!("{above}/{}/spaces", segment(&document.name)), &[], &json!({ "name": space })).await?;
    }
    Ok(())
}

/// There is one for the platform, and one for each organisation.
fn policy_path(document: &Document) -> Result<String> {
    if document.name != "security" {
        return Err(Failure::Usage(format!("{}: metadata.name must be `security`", document.title())).into());
    }
    let place = document.org.as_ref().map(|org| format!("/orgs/{}", segment(org))).unwrap_or_default();
    Ok(format!("/api/v1{place}/policies/security"))
}

pub async fn policy(cx: &mut Context, document: &Document) -> Result<Live> {
    let path = policy_path(document)?;
    let spec: Map<String, Value> = cx.client.get(&path, &[]).await?;
    Ok(Live { spec, id: path })
}

pub async fn make_policy(cx: &mut Context, step: &Step) -> Result<()> {
    let path = policy_path(&step.document)?;
    // Read again: what others changed since the plan was made stays.
    let (mut policy, version): (Map<String, Value>, _) = cx.client.get_with_version(&path).await?;
    policy.extend(step.document.spec.clone());
    // A rule that is null is none.
    policy.retain(|_, rule| !rule.is_null());
    cx.client.put_over(&path, &policy, version).await.map(drop)
}
