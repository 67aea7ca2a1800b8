//! For operators: nodes, live events, the log's hash chain.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Context, segment};
use crate::args::{Admin, AdminCommand, Events, Node};
use crate::output::{find, print};
use crate::sse;

pub async fn node(cx: &mut Context, command: Node) -> Result<()> {
    let (name, verb) = match command {
        Node::List => {
            let items = cx.client.list("/api/v1/nodes", &[], 10_000).await?;
            let columns = [
                ("NAME", "name"),
                ("STATE", "state"),
                ("CORDONED", "cordoned"),
                ("CPU", "facts.cpu_millis"),
                ("MEMORY", "facts.memory_bytes"),
                ("INSTANCES", "instances"),
                ("JOINED", "joined_at"),
            ];
            return cx.list(&items, &columns);
        }
        Node::JoinToken { node, expires_in_minutes } => {
            let made = cx.client.post("/api/v1/node-join-tokens", &[], &json!({ "node": node, "expires_in_minutes": expires_in_minutes })).await?;
            return cx.one(&made);
        }
        Node::JoinTokens => {
            let items = cx.client.list("/api/v1/node-join-tokens", &[], 1_000).await?;
            return cx.list(&items, &[("ID", "id"), ("NODE", "node"), ("BEGINS", "hint"), ("EXPIRES", "expires_at"), ("USED BY", "used_by")]);
        }
        Node::DeleteJoinToken { id } => return cx.client.delete(&format!("/api/v1/node-join-tokens/{}", segment(&id))).await,
        Node::RevocationList => return print(cx.client.stream("/api/v1/node-certificates/revoked", &[]).await?.text().await?.trim_end()),
        Node::Certificates { name } => {
            let query: Vec<_> = name.into_iter().map(|n| ("node", n)).collect();
            let items = cx.client.list("/api/v1/node-certificates", &query, 1_000).await?;
            return cx.list(&items, &[("NODE", "node"), ("SERIAL", "serial"), ("ISSUED", "issued_at"), ("EXPIRES", "expires_at"), ("REVOKED", "revoked_at")]);
        }
        Node::RevokeCertificates { name, reason } => {
            let reason: String = reason.unwrap_or_default();
            return cx.client.delete(&format!("/api/v1/node-certificates/{}?reason={}", segment(&name), segment(&reason))).await;
        }
        Node::Cordon { name } => (name, "cordon"),
        Node::Uncordon { name } => (name, "uncordon"),
        Node::Drain { name } => (name, "drain"),
    };
    cx.client.post(&format!("/api/v1/nodes/{}/{verb}", segment(&name)), &[], &json!({})).await?;
    cx.note(&format!("{verb} of {name} accepted"));
    Ok(())
}

pub async fn mails(cx: &mut Context) -> Result<()> {
    let state: Value = cx.client.get("/api/v1/mails", &[]).await?;
    cx.one(&state)
}

pub async fn events(cx: &mut Context, command: Events) -> Result<()> {
    let Events::Tail { count } = command;
    let answer = cx.client.stream("/api/v1/events", &[]).await?;
    let (table, mut left) = (cx.common.output == crate::args::Format::Table, count);
    sse::each(answer, |event| {
        let value: Value = serde_json::from_str(&event.data).unwrap_or(Value::String(event.data));
        if table {
            let text = |path: &str| find(&value, path).as_str().unwrap_or("-").to_owned();
            print(&format!("{} {} {} {}", text("at"), text("kind"), text("actor"), text("name|object")))?;
        } else {
            print(&value.to_string())?;
        }
        left = left.map(|n| n.saturating_sub(1));
        Ok(left != Some(0))
    })
    .await
}

/// Runs the platform's own program: logs and projections are looked after where they lie, not over the network.
pub fn admin(AdminCommand { command, config }: AdminCommand) -> Result<()> {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("gantryd")).filter(|p| p.is_file());
    let program = beside.unwrap_or_else(|| "gantryd".into());
    let mut run = Command::new(&program);
    run.arg("--config").arg(&config).arg("admin");
    match command {
        Admin::VerifyLog { service } => run.arg("verify-log").args(service.map(|s| format!("--service={s}"))),
        Admin::Projections { service } => run.arg("projections").arg(service),
        Admin::Rebuild { service, projection, no_wait } => run.arg("rebuild").args([service, projection]).args(no_wait.then_some("--no-wait")),
        Admin::SkipEvent { service, projection, position } => run.arg("skip-event").args([service, projection, position.to_string()]),
    };
    let status = run.status().with_context(|| format!("cannot run {}; this command works on the platform's machine", program.display()))?;
    if !status.success() {
        bail!("{} could not do it, or found faults ({status}); see above", program.display());
    }
    Ok(())
}
