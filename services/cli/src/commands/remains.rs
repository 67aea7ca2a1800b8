//! What is left of somebody who was erased.

use anyhow::Result;
use serde_json::Value;

use super::Context;
use crate::args::Format;
use crate::output::print;

/// `path`: the person's address in the API.
///
/// # Errors
/// A refusal of the platform.
pub async fn remains(cx: &mut Context, path: &str) -> Result<()> {
    let found: Value = cx.client.get(&format!("{path}/remains"), &[]).await?;
    if cx.common.output != Format::Table {
        return cx.one(&found);
    }
    let number = |field: &str| found[field].as_u64().unwrap_or_default();
    let destroyed = found["key"]["destroyed_at"].as_str().map_or_else(|| "is there".to_owned(), |at| format!("was destroyed at {at}"));
    print(&format!("key of {}: {destroyed}", found["user"].as_str().unwrap_or_default()))?;
    let (sealed, tried, readable) = (number("sealed_values"), number("tried_values"), number("readable_values"));
    print(&format!("values sealed with it: {sealed}; {tried} were tried, of which {readable} can be read"))?;
    print(&format!("records with a network address this id acted from: {}", number("addressed_records")))?;
    let events = found["log"].as_array().cloned().unwrap_or_default();
    cx.list(&events, &[("EVENTS", "kind"), ("NUMBER", "events"), ("SEALED", "sealed_values"), ("READABLE", "readable_values")])?;
    let tables = found["tables"].as_array().cloned().unwrap_or_default();
    cx.list(&tables, &[("TABLE", "table"), ("COLUMN", "column"), ("ROWS", "rows"), ("KEPT FOR", "purpose")])
}
