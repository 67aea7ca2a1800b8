//! What is done with each kind: find it, make it as its document says, take it away.

mod bindings;
mod looks;
mod parties;
mod people;
mod places;

use anyhow::Result;
use serde_json::{Map, Value};

use super::super::Context;
use super::document::{Document, Kind};
use super::plan::{Live, Step};

pub(super) use bindings::at_of;
pub(super) use looks::look;

/// # Errors
/// A refusal of the platform; "not found" as well, when what it lies in is not there.
pub async fn find(cx: &mut Context, document: &Document) -> Result<Option<Live>> {
    match document.kind {
        Kind::Organisation => places::organisation(cx, document).await.map(Some),
        Kind::Project => places::project(cx, document).await.map(Some),
        Kind::SecurityPolicy => places::policy(cx, document).await.map(Some),
        Kind::Branding => looks::branding(cx, document).await.map(Some),
        Kind::Team => people::team(cx, document).await.map(Some),
        Kind::Role => people::role(cx, document).await,
        Kind::ServiceAccount => people::service_account(cx, document).await.map(Some),
        Kind::Client | Kind::Upstream => parties::party(cx, document).await.map(Some),
        Kind::TrustedIssuer => parties::issuer(cx, document).await,
        Kind::Binding => bindings::find(cx, document).await,
    }
}

/// Does what a step of the plan says.
///
/// # Errors
/// A refusal of the platform.
pub async fn take(cx: &mut Context, step: &Step) -> Result<()> {
    if step.removes() {
        return remove(cx, step).await;
    }
    match step.document.kind {
        Kind::Organisation => places::make_organisation(cx, step).await,
        Kind::Project => places::make_project(cx, step).await,
        Kind::SecurityPolicy => places::make_policy(cx, step).await,
        Kind::Branding => looks::make_branding(cx, step).await,
        Kind::Team => people::make_team(cx, step).await,
        Kind::Role => people::make_role(cx, step).await,
        Kind::ServiceAccount => people::make_service_account(cx, step).await,
        Kind::Client | Kind::Upstream => parties::make_party(cx, step).await,
        Kind::TrustedIssuer => parties::make_issuer(cx, step).await,
        Kind::Binding => bindings::make(cx, step).await,
    }
}

async fn remove(cx: &mut Context, step: &Step) -> Result<()> {
    let Some(live) = &step.live else { return Ok(()) };
    match step.document.kind {
        // Rules that no document names hold no longer; looks go by their deletion.
        Kind::SecurityPolicy => cx.client.put_new(&live.id, &Map::new()).await.map(drop),
        // The plan never says so.
        Kind::Organisation | Kind::Project => Ok(()),
        _ => cx.client.delete(&live.id).await,
    }
}

fn pick(from: &Value, fields: &[&str]) -> Map<String, Value> {
    fields.iter().map(|f| ((*f).to_owned(), from[*f].clone())).collect()
}

/// What of `spec` is in `fields`, as a body.
fn body(spec: &Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    spec.iter().filter(|(k, _)| fields.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The same with the document's name.
fn named(document: &Document, fields: &[&str]) -> Map<String, Value> {
    let mut made = body(&document.spec, fields);
    made.insert("name".into(), Value::String(document.name.clone()));
    made
}

fn list(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}
