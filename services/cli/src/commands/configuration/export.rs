//! The documents of what is there: of an organisation with all that is in it, or of the platform itself. Applied again they change nothing.
//! Secrets are in none of them.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::super::{Context, segment};
use super::document::{Document, Kind};
use super::kinds::{at_of, look};
use crate::args::Format;
use crate::output::print;

const MOST: usize = 100_000;

/// # Errors
/// A refusal of the platform.
pub async fn export(cx: &mut Context, org: Option<&str>) -> Result<()> {
    let mut documents = Vec::new();
    match org {
        Some(org) => organisation(cx, org, &mut documents).await?,
        None => platform(cx, &mut documents).await?,
    }
    documents.sort_by_key(|d| d.kind);
    let written: Vec<Value> = documents.iter().map(Document::written).collect();
    if cx.common.output == Format::Json {
        return cx.list(&written, &[]);
    }
    let texts = written.iter().map(serde_saphyr::to_string).collect::<Result<Vec<_>, _>>()?;
    print(texts.iter().map(|t| t.trim_end()).collect::<Vec<_>>().join("\n---\n").as_str())
}

async fn organisation(cx: &mut Context, org: &str, documents: &mut Vec<Document>) -> Result<()> {
    let path = format!("/api/v1/orgs/{}", segment(org));
    let found: Value = cx.client.get(&path, &[]).await?;
    let members = cx.client.list(&format!("{path}/members"), &[], MOST).await?;
    let owner = members.iter().find(|m| m["user"] == found["owner"]);
    let roles: Map<String, Value> =
        members.iter().filter(|m| !m["role"].is_null()).filter_map(|m| Some((m["username"].as_str()?.to_owned(), m["role"].clone()))).collect();
    let mut spec = object(json!({ "display_name": found["display_name"], "members": roles }));
    spec.extend(owner.map(|o| ("owner".to_owned(), o["username"].clone())));
    documents.push(Document { kind: Kind::Organisation, name: org.to_owned(), org: None, spec });

    let mut places = vec![org.to_owned()];
    for project in cx.client.list(&format!("{path}/projects"), &[], MOST).await? {
        let name = text(&project, "name");
        let spaces = cx.client.list(&format!("{path}/projects/{}/spaces", segment(&name)), &[], MOST).await?;
        let spaces: Vec<String> = spaces.iter().map(|s| text(s, "name")).collect();
        places.push(format!("{org}/{name}"));
        places.extend(spaces.iter().map(|s| format!("{org}/{name}/{s}")));
        let spec = object(json!({ "public": project["public"], "spaces": spaces }));
        documents.push(Document { kind: Kind::Project, name, org: Some(org.to_owned()), spec });
    }
    teams(cx, org, documents).await?;
    for account in cx.client.list(&format!("{path}/service-accounts"), &[], MOST).await? {
        let spec = json!({ "description": account["description"], "repositories": account["repositories"], "suspended": account["state"] == "suspended" });
        documents.push(document(Kind::ServiceAccount, &text(&account, "name"), Some(org), spec));
    }
    shared(cx, Some(org), documents).await?;
    let look = look(cx, &format!("{path}/branding")).await?;
    if !look.is_empty() {
        documents.push(Document { kind: Kind::Branding, name: "sign-in".to_owned(), org: Some(org.to_owned()), spec: look });
    }
    for place in places {
        bindings(cx, &place, &roles, documents).await?;
    }
    Ok(())
}

async fn platform(cx: &mut Context, documents: &mut Vec<Document>) -> Result<()> {
    shared(cx, None, documents).await?;
    bindings(cx, "platform", &Map::new(), documents).await
}

/// What an organisation has as the platform has it.
async fn shared(cx: &mut Context, org: Option<&str>, documents: &mut Vec<Document>) -> Result<()> {
    let query: Vec<_> = org.iter().map(|o| ("org", (*o).to_owned())).collect();
    let ours = |item: &&Value| item["org"].as_str().is_some() == org.is_some();
    for role in cx.client.list("/api/v1/roles", &query, MOST).await?.iter().filter(|r| r["built_in"] == false).filter(ours) {
        let spec = json!({ "description": role["description"], "permissions": role["permissions"] });
        documents.push(document(Kind::Role, &text(role, "name"), org, spec));
    }
    for client in cx.client.list("/api/v1/clients", &query, MOST).await?.iter().filter(|c| c["dynamic"] == false).filter(ours) {
        documents.push(document(Kind::Client, &text(client, "id"), org, client["settings"].clone()));
    }
    for issuer in cx.client.list("/api/v1/trusted-issuers", &query, MOST).await? {
        documents.push(document(Kind::TrustedIssuer, &text(&issuer, "name"), org, issuer["settings"].clone()));
    }
    for upstream in cx.client.list("/api/v1/upstreams", &query, MOST).await?.iter().filter(ours) {
        documents.push(document(Kind::Upstream, &text(upstream, "name"), org, upstream["settings"].clone()));
    }
    let place = org.map(|o| format!("/orgs/{}", segment(o))).unwrap_or_default();
    let policy: Value = cx.client.get(&format!("/api/v1{place}/policies/security"), &[]).await?;
    let policy = document(Kind::SecurityPolicy, "security", org, policy);
    if !policy.spec.is_empty() {
        documents.push(policy);
    }
    Ok(())
}

/// Parents before their children.
async fn teams(cx: &mut Context, org: &str, documents: &mut Vec<Document>) -> Result<()> {
    let path = format!("/api/v1/orgs/{}/teams", segment(org));
    let mut left = cx.client.list(&path, &[], MOST).await?;
    let mut done = BTreeSet::new();
    while !left.is_empty() {
        let (ready, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|t| t["parent"].as_str().is_none_or(|p| done.contains(p)));
        if ready.is_empty() {
            break;
        }
        for team in &ready {
            let name = text(team, "name");
            let members = cx.client.list(&format!("{path}/{}/members", segment(&name)), &[], MOST).await?;
            let members: Vec<Value> = members.iter().map(|m| m["name"].clone()).collect();
            let spec = json!({ "display_name": team["display_name"], "parent": team["parent"], "members": members });
            documents.push(document(Kind::Team, &name, Some(org), spec));
            done.insert(name);
        }
        left = later;
    }
    Ok(())
}

/// `members`: roles that the organisation's document says already.
async fn bindings(cx: &mut Context, place: &str, members: &Map<String, Value>, documents: &mut Vec<Document>) -> Result<()> {
    let at = at_of(place);
    for binding in cx.client.list("/api/v1/bindings", &at, MOST).await? {
        let subject = if binding["name"].is_string() { text(&binding, "name") } else { text(&binding, "subject") };
        let role = text(&binding, "role_name");
        let said = at.len() == 1 && binding["condition"].is_null() && members.get(&subject).and_then(Value::as_str) == Some(role.as_str());
        if !said {
            let spec = json!({ "subject": subject, "role": role, "at": place, "condition": binding["condition"] });
            documents.push(document(Kind::Binding, &format!("{subject} is {role} at {place}"), None, spec));
        }
    }
    Ok(())
}

/// Without what is not set.
fn document(kind: Kind, name: &str, org: Option<&str>, spec: Value) -> Document {
    Document { kind, name: name.to_owned(), org: org.map(str::to_owned), spec: object(spec) }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields.into_iter().filter(|(_, v)| !v.is_null()).collect(),
        _ => Map::new(),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
