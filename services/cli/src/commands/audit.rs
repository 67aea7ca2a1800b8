//! The audit trail: looked through, written to a file, and checked.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::saved::save;
use super::{Context, segment};
use crate::args::{Audit, AuditCommand, Format};
use crate::output::print;

const COLUMNS: &[crate::output::Column] =
    &[("AT", "at"), ("WHO", "actor"), ("WHAT", "kind"), ("ON", "name|object"), ("FROM", "from"), ("RESULT", "result"), ("REASON", "reason")];

/// The chains there are: what each is of, and where it is checked.
const CHAINS: [(&str, &str); 2] = [("audit trail", "/api/v1/audit/verify"), ("record of security facts", "/api/v1/security-record/verify")];

pub async fn run(cx: &mut Context, command: Audit) -> Result<()> {
    let Audit { actor, kind, object, result, from, to, org, q, limit, export: file, command } = command;
    if let Some(AuditCommand::Verify) = command {
        return verify(cx).await;
    }
    let actor = match actor {
        Some(actor) => Some(subject(cx, actor).await?),
        None => None,
    };
    let filters = [("actor", actor), ("kind", kind), ("object", object), ("result", result), ("from", from), ("to", to), ("org", org), ("q", q)];
    let mut query: Vec<_> = filters.into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
    if let Some(file) = file {
        return export(cx, &query, &file).await;
    }
    query.push(("limit", limit.min(200).to_string()));
    let items = cx.client.list("/api/v1/audit", &query, limit as usize).await?;
    cx.list(&items, COLUMNS)
}

/// Records say who by id, which stays when a person is called otherwise; people type names.
async fn subject(cx: &mut Context, actor: String) -> Result<String> {
    if actor.contains(':') || actor == "system" {
        return Ok(actor);
    }
    let user: Value = cx.client.get(&format!("/api/v1/users/{}", segment(&actor)), &[]).await?;
    Ok(format!("user:{}", user["id"].as_str().unwrap_or_default()))
}

async fn export(cx: &mut Context, query: &[(&str, String)], file: &Path) -> Result<()> {
    let lines = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl"));
    let format = if lines { "jsonl" } else { "csv" };
    let query = [query, &[("format", format.to_owned())]].concat();
    let size = save(cx.client.stream("/api/v1/audit", &query).await?, file).await?;
    cx.note(&format!("{size} bytes are in {}", file.display()));
    Ok(())
}

async fn verify(cx: &mut Context) -> Result<()> {
    let mut proofs = serde_json::Map::new();
    for (chain, path) in CHAINS {
        proofs.insert(chain.to_owned(), cx.client.get::<Value>(path, &[]).await?);
    }
    if cx.common.output == Format::Table {
        for (chain, proof) in &proofs {
            let records = proof["records"].as_i64().unwrap_or_default();
            let found = match proof["first_bad"].as_i64() {
                None => "whole".to_owned(),
                Some(seq) => format!("changed or missing from record {seq} on"),
            };
            print(&format!("{chain}: {records} records, {found}"))?;
        }
    } else {
        cx.one(&Value::Object(proofs.clone()))?;
    }
    let broken: Vec<&str> = proofs.iter().filter(|(_, p)| p["whole"] != true).map(|(chain, _)| chain.as_str()).collect();
    if !broken.is_empty() {
        bail!("not as it was written: {}", broken.join(", "));
    }
    Ok(())
}
