//! Volumes and copies of them.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, confirm, segment};
use crate::args::{DryRun, Format, Volume};
use crate::output::print;

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
        Volume::Delete { name, node, dry: DryRun { dry_run: true }, .. } => {
            let seen = cx.client.delete_dry(&with(&of(&name), &node)).await?;
            show(cx, &seen)
        }
        Volume::Delete { name, node, yes, .. } => {
            confirm(&format!("Delete volume {name} with all that is in it and its snapshots"), yes)?;
            cx.client.delete_long(&with(&of(&name), &node)).await?;
            cx.note(&format!("{name} is deleted"));
            Ok(())
        }
        Volume::Snapshot { name, snapshot, delete: true, node, dry } => {
            let path = with(&format!("{}/snapshots/{}", of(&name), segment(&snapshot)), &node);
            if dry.dry_run {
                let seen = cx.client.delete_dry(&path).await?;
                return show(cx, &seen);
            }
            cx.client.delete_long(&path).await?;
            cx.note(&format!("snapshot {snapshot} is deleted"));
            Ok(())
        }
        Volume::Snapshot { name, snapshot, node, dry, .. } => {
            let (path, body) = (format!("{}/snapshots", of(&name)), json!({ "snapshot": snapshot }));
            if dry.dry_run {
                return tried(cx, &path, at(&node), &body).await;
            }
            cx.client.post_long(&path, &at(&node), &body).await?;
            cx.note(&format!("snapshot {snapshot} is made"));
            Ok(())
        }
        Volume::Rollback { name, snapshot, node, yes, dry } => {
            let (path, body) = (format!("{}/rollback", of(&name)), json!({ "snapshot": snapshot }));
            if dry.dry_run {
                return tried(cx, &path, at(&node), &body).await;
            }
            confirm(&format!("Replace what is in {name} by snapshot {snapshot}"), yes)?;
            cx.client.post_long(&path, &at(&node), &body).await?;
            cx.note(&format!("{name} is as in snapshot {snapshot}"));
            Ok(())
        }
        Volume::Copy { name, app, volume, number, from_node, node, dry } => {
            let path = format!("{}/copies", of(&name));
            let body = json!({ "app": app, "volume": volume, "number": number, "node": node });
            if dry.dry_run {
                return tried(cx, &path, at(&from_node), &body).await;
            }
            let copied = cx.client.post_long(&path, &at(&from_node), &body).await?;
            cx.one(&copied)
        }
        Volume::Backup { name, node, dry } => {
            let path = format!("{}/backups", of(&name));
            if dry.dry_run {
                return tried(cx, &path, at(&node), &json!({})).await;
            }
            let made = cx.client.post_long(&path, &at(&node), &json!({})).await?;
            cx.one(&made)
        }
        Volume::Backups { name } => {
            let items = cx.client.list(&format!("{}/backups", of(&name)), &[], 10_000).await?;
            cx.list(&items, BACKUPS)
        }
        Volume::Restore { name, backup, node, yes, dry } => {
            let (path, body) = (format!("{}/restore", of(&name)), json!({ "backup": backup }));
            if dry.dry_run {
                return tried(cx, &path, at(&node), &body).await;
            }
            confirm(&format!("Replace what is in {name} by backup {backup}"), yes)?;
            cx.client.post_long(&path, &at(&node), &body).await?;
            cx.note(&format!("{name} is as in the backup"));
            Ok(())
        }
        Volume::DeleteBackup { name, backup, yes, dry } => {
            let path = format!("{}/backups/{}", of(&name), segment(&backup));
            if dry.dry_run {
                let seen = cx.client.delete_dry(&path).await?;
                return show(cx, &seen);
            }
            confirm(&format!("Delete backup {backup}"), yes)?;
            cx.client.delete_long(&path).await?;
            cx.note("the backup is deleted");
            Ok(())
        }
    }
}

fn with(path: &str, node: &Option<String>) -> String {
    node.as_ref().map_or_else(|| path.to_owned(), |node| format!("{path}?node={}", segment(node)))
}

/// What a change would do. A platform that does not know this refuses: it takes no such parameter here.
async fn tried(cx: &mut Context, path: &str, at: Vec<(&'static str, String)>, body: &Value) -> Result<()> {
    let query: Vec<_> = at.into_iter().chain([("dry_run", "true".to_owned())]).collect();
    let seen = cx.client.post(path, &query, body).await?;
    show(cx, &seen)
}

fn show(cx: &Context, seen: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        return cx.one(seen);
    }
    let text = |key: &str| seen[key].as_str().unwrap_or_default();
    print(&format!("{} on {}: {}", text("volume"), text("node"), text("action")))?;
    let texts = |key: &str| seen[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    if let Some(lost) = seen["lost_bytes"].as_u64().filter(|n| *n > 0) {
        print(&format!("{lost} bytes would be lost"))?;
    }
    let gone = texts("snapshots");
    if !gone.is_empty() {
        print(&format!("snapshots that would go: {}", gone.join(", ")))?;
    }
    for note in texts("notes") {
        print(note)?;
    }
    Ok(())
}
