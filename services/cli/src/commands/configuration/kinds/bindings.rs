//! Bindings: subject, role and place make one what it is.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::super::{Context, segment};
use super::super::document::Document;
use super::super::plan::{Live, Step};
use super::{body, pick};

pub async fn find(cx: &mut Context, document: &Document) -> Result<Option<Live>> {
    let (subject, role) = (document.text("subject"), document.text("role"));
    let bindings = cx.client.list("/api/v1/bindings", &at_of(document.text("at")), 100_000).await?;
    let same = |b: &&Value| (b["name"] == subject || b["subject"] == subject) && (b["role"] == role || b["role_name"] == role);
    let live = |found: &Value| {
        let mut spec = pick(found, &["condition"]);
        spec.extend(body(&document.spec, &["subject", "role", "at"]));
        Live { spec, id: format!("/api/v1/bindings/{}", segment(found["id"].as_str().unwrap_or_default())) }
    };
    Ok(bindings.iter().find(same).map(live))
}

pub async fn make(cx: &mut Context, step: &Step) -> Result<()> {
    if let Some(live) = &step.live {
        // A binding never changes: another one takes its place.
        cx.client.delete(&live.id).await?;
    }
    let mut made = body(&step.document.spec, &["subject", "role", "condition"]);
    for (key, value) in at_of(step.document.text("at")) {
        made.insert(key.to_owned(), json!(value));
    }
    cx.client.post("/api/v1/bindings", &[], &made).await.map(drop)
}

/// `acme/shop/test` as parameters; `platform` as none.
pub fn at_of(text: &str) -> Vec<(&'static str, String)> {
    if text == "platform" {
        return Vec::new();
    }
    ["org", "project", "space"].into_iter().zip(text.split('/').map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_its_names_and_the_platform_none() {
        assert_eq!(at_of("acme/shop"), [("org", "acme".to_owned()), ("project", "shop".to_owned())]);
        assert!(at_of("platform").is_empty());
    }
}
