//! Volumes and copies of them.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, confirm, segment};
use crate::args::Volume;

const COLUMNS: &[crate::output::Column] =
    &[("NAME", "name"), ("APP", "app"), ("NODE", "node"), ("SIZE", "size_bytes"), ("USED", "used_bytes"), ("IN USE", "in_use"), ("ORPHANED", "orphaned")];
const BACKUPS: &[crate::output::Column] = &[("BACKUP", "id"), ("APP", "app"), ("BYTES", "bytes"), ("AT", "at_unix"), ("BY", "by")];

pub async fn run(cx: &mut Context, command: Volume) -> Result<()> {
    let volumes = format!("{}/volumes", cx.space()?);
    let of = |name: &str| format!("{volumes}/{}", segment(name));
    let at = |node: &Option<String>| node.iter().map(|n| ("node", n.clone())).collect::<Vec<_>>();
    match command {
        Volume::List => {
            let answer: Value = cx.client.get(&volumes, &[]).await?;
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            let away: Vec<&str> = answer["unreachable"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            cx.list(&items, COLUMNS)?;
            if !away.is_empty() {
                cx.note(&format!("not listed, since their nodes do not answer: those of {}", away.join(", ")));
            }
            Ok(())
        }
        Volume::Show { name, node } => {
            let one: Value = cx.client.get(&of(&name), &at(&node)).await?;
            cx.one(&one)
        }
        Volume::Delete { name, node, yes } => {
            confirm(&format!("Delete volume {name} with all that is in it and its snapshots"), yes)?;
            cx.client.delete_long(&with(&of(&name), &node)).await?;
            cx.note(&format!("{name} is deleted"));
            Ok(())
        }
        Volume::Snapshot { name, snapshot, delete: true, node } => {
            cx.client.delete_long(&with(&format!("{}/snapshots/{}", of(&name), segment(&snapshot)), &node)).await?;
            cx.note(&format!("snapshot {snapshot} is deleted"));
            Ok(())
        }
        Volume::Snapshot { name, snapshot, node, .. } => {
            cx.client.post_long(&format!("{}/snapshots", of(&name)), &at(&node), &json!({ "snapshot": snapshot })).await?;
            cx.note(&format!("snapshot {snapshot} is made"));
            Ok(())
        }
        Volume::Rollback { name, snapshot, node, yes } => {
            confirm(&format!("Replace what is in {name} by snapshot {snapshot}"), yes)?;
            cx.client.post_long(&format!("{}/rollback", of(&name)), &at(&node), &json!({ "snapshot": snapshot })).await?;
            cx.note(&format!("{name} is as in snapshot {snapshot}"));
            Ok(())
        }
        Volume::Copy { name, app, volume, number, from_node, node } => {
            let body = json!({ "app": app, "volume": volume, "number": number, "node": node });
            let copied = cx.client.post_long(&format!("{}/copies", of(&name)), &at(&from_node), &body).await?;
            cx.one(&copied)
        }
        Volume::Backup { name, node } => {
            let made = cx.client.post_long(&format!("{}/backups", of(&name)), &at(&node), &json!({})).await?;
            cx.one(&made)
        }
        Volume::Backups { name } => {
            let items = cx.client.list(&format!("{}/backups", of(&name)), &[], 10_000).await?;
            cx.list(&items, BACKUPS)
        }
        Volume::Restore { name, backup, node, yes } => {
            confirm(&format!("Replace what is in {name} by backup {backup}"), yes)?;
            cx.client.post_long(&format!("{}/restore", of(&name)), &at(&node), &json!({ "backup": backup })).await?;
            cx.note(&format!("{name} is as in the backup"));
            Ok(())
        }
        Volume::DeleteBackup { name, backup, yes } => {
            confirm(&format!("Delete backup {backup}"), yes)?;
            cx.client.delete_long(&format!("{}/backups/{}", of(&name), segment(&backup))).await?;
            cx.note("the backup is deleted");
            Ok(())
        }
    }
}

fn with(path: &str, node: &Option<String>) -> String {
    node.as_ref().map_or_else(|| path.to_owned(), |node| format!("{path}?node={}", segment(node)))
}
