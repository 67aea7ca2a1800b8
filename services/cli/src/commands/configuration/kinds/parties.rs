//! OAuth clients, upstreams, trusted issuers: settings as the REST API has them.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::super::super::{Context, files, segment};
use super::super::document::{Document, Kind};
use super::super::plan::{Live, Step};

fn above(kind: Kind) -> &'static str {
    if kind == Kind::Client { "/api/v1/clients" } else { "/api/v1/upstreams" }
}

pub async fn party(cx: &mut Context, document: &Document) -> Result<Live> {
    let path = format!("{}/{}", above(document.kind), segment(&document.name));
    let found: Value = cx.client.get(&path, &[]).await?;
    Ok(Live { spec: found["settings"].as_object().cloned().unwrap_or_default(), id: path })
}

pub async fn make_party(cx: &mut Context, step: &Step) -> Result<()> {
    let Document { kind, name, org, spec } = &step.document;
    // Read again: what others changed since the plan was made stays.
    let (mut settings, version) = match &step.live {
        Some(live) => {
            let (found, version): (Value, _) = cx.client.get_with_version(&live.id).await?;
            (found["settings"].as_object().cloned().unwrap_or_default(), version)
        }
        None => (Map::new(), None),
    };
    over(&mut settings, spec, *kind == Kind::Upstream);
    let mut whole = json!({ "settings": settings });
    if let Some(file) = spec.get("secret_file").and_then(Value::as_str) {
        whole["secret"] = json!(files::text(Path::new(file))?.trim_end());
    }
    if let Some(live) = &step.live {
        let sent = if *kind == Kind::Client { Value::Object(settings) } else { whole };
        return cx.client.put_over(&live.id, &sent, version).await.map(drop);
    }
    whole[if *kind == Kind::Client { "id" } else { "name" }] = json!(name);
    if let Some(org) = org {
        whole["org"] = json!(org);
    }
    let made = cx.client.post(above(*kind), &[], &whole).await?;
    // A client's secret is shown this once.
    if made["secret"].is_string() { cx.one(&json!({ "client": name, "secret": made["secret"] })) } else { Ok(()) }
}

/// What is wanted comes over what is there; `deep`: also within parts that have parts. Another kind of connection is another one altogether.
fn over(now: &mut Map<String, Value>, wanted: &Map<String, Value>, deep: bool) {
    for (field, value) in wanted.iter().filter(|(k, _)| !k.ends_with("_file")) {
        match (now.get_mut(field), value) {
            (Some(Value::Object(inner)), Value::Object(more)) if deep && (field != "connection" || inner.keys().eq(more.keys())) => over(inner, more, deep),
            _ => {
                now.insert(field.clone(), value.clone());
            }
        }
    }
}

pub async fn issuer(cx: &mut Context, document: &Document) -> Result<Option<Live>> {
    let query: Vec<_> = document.org.iter().map(|o| ("org", o.clone())).collect();
    let issuers = cx.client.list("/api/v1/trusted-issuers", &query, 10_000).await?;
    let live = |found: &Value| Live {
        spec: found["settings"].as_object().cloned().unwrap_or_default(),
        id: format!("/api/v1/trusted-issuers/{}", found["id"].as_str().unwrap_or_default()),
    };
    Ok(issuers.iter().find(|i| i["name"] == document.name.as_str()).map(live))
}

pub async fn make_issuer(cx: &mut Context, step: &Step) -> Result<()> {
    let Document { name, org, spec, .. } = &step.document;
    let mut settings = step.live.as_ref().map(|l| l.spec.clone()).unwrap_or_default();
    over(&mut settings, spec, false);
    settings.retain(|_, value| !value.is_null());
    if let Some(live) = &step.live {
        // Trust does not change: the new one takes the old one's place.
        cx.client.delete(&live.id).await?;
    }
    let trusted = |settings: &Map<String, Value>| json!({ "name": name, "org": org, "settings": settings });
    let made = cx.client.post("/api/v1/trusted-issuers", &[], &trusted(&settings)).await;
    if let (Err(_), Some(live)) = (&made, &step.live) {
        // The new one is refused: what worked before goes on working.
        cx.client.post("/api/v1/trusted-issuers", &[], &trusted(&live.spec)).await?;
    }
    made.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_part_that_is_not_mentioned_stays_and_another_connection_replaces_the_whole() {
        let mut now = object(json!({ "enabled": true, "connection": { "ldap": { "servers": ["a"], "page_size": 5 } } }));
        over(&mut now, &object(json!({ "connection": { "ldap": { "servers": ["b"] } }, "secret_file": "x" })), true);
        assert_eq!(Value::Object(now.clone()), json!({ "enabled": true, "connection": { "ldap": { "servers": ["b"], "page_size": 5 } } }));
        over(&mut now, &object(json!({ "connection": { "oidc": { "issuer": "i" } } })), true);
        assert_eq!(now["connection"], json!({ "oidc": { "issuer": "i" } }));
        let mut client = object(json!({ "jwks": { "keys": [1] } }));
        over(&mut client, &object(json!({ "jwks": { "keys": [2] } })), false);
        assert_eq!(client["jwks"], json!({ "keys": [2] }));
    }
}
