//! Teams, roles and service accounts.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::super::{Context, segment};
use super::super::document::Document;
use super::super::plan::{Live, Step};
use super::{body, list, named, pick};

pub async fn team(cx: &mut Context, document: &Document) -> Result<Live> {
    let path = format!("/api/v1/orgs/{}/teams/{}", segment(document.needed_org()?), segment(&document.name));
    let found: Value = cx.client.get(&path, &[]).await?;
    let members = cx.client.list(&format!("{path}/members"), &[], 100_000).await?;
    let mut spec = pick(&found, &["display_name", "parent"]);
    spec.insert("members".into(), members.into_iter().map(|m| m["name"].clone()).collect());
    Ok(Live { spec, id: path })
}

pub async fn make_team(cx: &mut Context, step: &Step) -> Result<()> {
    let document = &step.document;
    let above = format!("/api/v1/orgs/{}/teams", segment(document.needed_org()?));
    let path = format!("{above}/{}", segment(&document.name));
    if step.live.is_none() {
        cx.client.post(&above, &[], &named(document, &["display_name", "parent"])).await?;
    } else {
        let mut change = body(&document.spec, &["display_name", "parent"]);
        if let Some(parent) = change.get_mut("parent").filter(|p| p.is_null()) {
            *parent = json!("");
        }
        cx.client.patch(&path, &change).await?;
    }
    let (known, wanted) = (list(step.now("members")), list(document.spec.get("members")));
    for member in wanted.iter().filter(|m| !known.contains(m)).filter_map(Value::as_str) {
        cx.client.put_new(&format!("{path}/members/{}", segment(member)), &json!({})).await?;
    }
    if document.spec.contains_key("members") {
        for member in known.iter().filter(|m| !wanted.contains(m)).filter_map(Value::as_str) {
            cx.client.delete(&format!("{path}/members/{}", segment(member))).await?;
        }
    }
    Ok(())
}

pub async fn role(cx: &mut Context, document: &Document) -> Result<Option<Live>> {
    let query: Vec<_> = document.org.iter().map(|o| ("org", o.clone())).collect();
    let roles = cx.client.list("/api/v1/roles", &query, 10_000).await?;
    let own = |r: &&Value| r["name"] == document.name.as_str() && r["built_in"] == false && r["org"].is_null() == document.org.is_none();
    let live =
        |found: &Value| Live { spec: pick(found, &["description", "permissions"]), id: format!("/api/v1/roles/{}", found["id"].as_str().unwrap_or_default()) };
    Ok(roles.iter().find(own).map(live))
}

pub async fn make_role(cx: &mut Context, step: &Step) -> Result<()> {
    let document = &step.document;
    if let Some(live) = &step.live {
        return cx.client.patch(&live.id, &body(&document.spec, &["description", "permissions"])).await.map(drop);
    }
    let mut made = named(document, &["description", "permissions"]);
    made.extend(document.org.as_ref().map(|org| ("org".to_owned(), json!(org))));
    cx.client.post("/api/v1/roles", &[], &made).await.map(drop)
}

pub async fn service_account(cx: &mut Context, document: &Document) -> Result<Live> {
    let path = format!("/api/v1/orgs/{}/service-accounts/{}", segment(document.needed_org()?), segment(&document.name));
    let found: Value = cx.client.get(&path, &[]).await?;
    let mut spec = pick(&found, &["description", "repositories"]);
    spec.insert("suspended".into(), json!(found["state"] == "suspended"));
    Ok(Live { spec, id: path })
}

pub async fn make_service_account(cx: &mut Context, step: &Step) -> Result<()> {
    let document = &step.document;
    let above = format!("/api/v1/orgs/{}/service-accounts", segment(document.needed_org()?));
    if step.live.is_none() {
        cx.client.post(&above, &[], &named(document, &["description", "repositories"])).await?;
    }
    let mut change = body(&document.spec, if step.live.is_some() { &["description", "repositories", "suspended"] } else { &["suspended"] });
    if step.live.is_none() && change.get("suspended") == Some(&json!(false)) {
        // As it is made.
        change.remove("suspended");
    }
    if change.is_empty() { Ok(()) } else { cx.client.patch(&format!("{above}/{}", segment(&document.name)), &change).await.map(drop) }
}
