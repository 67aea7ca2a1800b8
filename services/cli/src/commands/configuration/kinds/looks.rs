//! How an organisation's sign-in pages look.

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::super::orgs::LOOK;
use super::super::super::{Context, segment};
use super::super::document::Document;
use super::super::plan::{Live, Step};
use super::body;
use crate::failure::Failure;

fn path_of(document: &Document) -> Result<String> {
    if document.name != "sign-in" {
        return Err(Failure::Usage(format!("{}: metadata.name must be `sign-in`", document.title())).into());
    }
    Ok(format!("/api/v1/orgs/{}/branding", segment(document.needed_org()?)))
}

/// Texts, colours, and the logo itself in base64.
///
/// # Errors
/// A refusal of the platform.
pub async fn look(cx: &mut Context, path: &str) -> Result<Map<String, Value>> {
    let found: Map<String, Value> = cx.client.get(path, &[]).await?;
    let mut spec = body(&found, &LOOK);
    if let Some(url) = found.get("logo").and_then(|l| l["url"].as_str()) {
        let bytes = cx.client.stream(url, &[]).await?.bytes().await?;
        spec.insert("logo".into(), Value::String(STANDARD.encode(bytes)));
    }
    Ok(spec)
}

pub async fn branding(cx: &mut Context, document: &Document) -> Result<Live> {
    let path = path_of(document)?;
    Ok(Live { spec: look(cx, &path).await?, id: path })
}

pub async fn make_branding(cx: &mut Context, step: &Step) -> Result<()> {
    let path = path_of(&step.document)?;
    let spec = &step.document.spec;
    if let Some(unknown) = spec.keys().find(|k| !LOOK.contains(&k.as_str()) && !matches!(k.as_str(), "logo" | "logo_file")) {
        return Err(Failure::Usage(format!("{}: there is no `{unknown}`: {}, logo or logo_file", step.document.title(), LOOK.join(", "))).into());
    }
    // Read again: what others changed since the plan was made stays.
    let (found, version): (Map<String, Value>, _) = cx.client.get_with_version(&path).await?;
    let mut look = body(&found, &LOOK);
    look.extend(body(spec, &LOOK));
    // A text that is null is none.
    look.retain(|_, text| !text.is_null());
    cx.client.put_over(&path, &look, version).await?;
    let logo = format!("{path}/logo");
    let content = match (spec.get("logo"), spec.get("logo_file").and_then(Value::as_str)) {
        (_, Some(file)) => json!(STANDARD.encode(std::fs::read(file).with_context(|| format!("cannot read {file}"))?)),
        (Some(Value::Null), None) if step.now("logo").is_some() => return cx.client.delete(&logo).await,
        (Some(content), None) if step.changes("logo") => content.clone(),
        _ => return Ok(()),
    };
    cx.client.put_new(&logo, &json!({ "content": content })).await.map(drop)
}
