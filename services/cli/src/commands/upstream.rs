//! Upstreams: directories and foreign providers that vouch for people.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Context, confirm, files, segment};
use crate::args::Upstream;

const COLUMNS: &[crate::output::Column] = &[
    ("NAME", "name"),
    ("ORG", "org"),
    ("ENABLED", "settings.enabled"),
    ("SHOWN AS", "settings.display_name"),
    ("DOMAINS", "settings.domains"),
    ("SYNC MINUTES", "settings.sync_minutes"),
    ("CHANGED", "changed_at"),
];
const STEPS: &[crate::output::Column] = &[("STEP", "step"), ("SERVER", "server"), ("OK", "ok"), ("WHAT", "detail")];
const SYNCS: &[crate::output::Column] = &[
    ("STARTED", "started_at"),
    ("EXTENT", "extent"),
    ("RESULT", "result"),
    ("SEEN", "report.seen"),
    ("CREATED", "report.created"),
    ("CHANGED", "report.changed"),
    ("SUSPENDED", "report.suspended"),
    ("SKIPPED", "report.skipped"),
    ("MS", "report.milliseconds"),
    ("FAULT", "report.fault"),
];

pub async fn run(cx: &mut Context, command: Upstream) -> Result<()> {
    match command {
        Upstream::List { org } => {
            let query: Vec<(&str, String)> = org.into_iter().map(|o| ("org", o)).collect();
            let items = cx.client.list("/api/v1/upstreams", &query, 10_000).await?;
            cx.list(&items, COLUMNS)
        }
        Upstream::Show { name } => {
            let found: Value = cx.client.get(&at(&name), &[]).await?;
            cx.one(&found)
        }
        Upstream::Create { name, file, secret_file, org } => {
            let mut body = json!({ "name": name, "settings": files::settings(&file)? });
            add(&mut body, "secret", secret_file.as_deref().map(files::secret).transpose()?);
            add(&mut body, "org", org);
            cx.client.post("/api/v1/upstreams", &[], &body).await?;
            cx.note(&format!("upstream {name} is there; try it: gantry upstream test {name}"));
            Ok(())
        }
        Upstream::Change { name, file, secret_file } => {
            let now: Value = cx.client.get(&at(&name), &[]).await?;
            let mut body = json!({ "settings": files::settings(&file)? });
            add(&mut body, "secret", secret_file.as_deref().map(files::secret).transpose()?);
            cx.client.put(&at(&name), &body, now["version"].as_i64().unwrap_or_default()).await?;
            cx.note(&format!("upstream {name} is changed"));
            Ok(())
        }
        Upstream::Delete { name, yes } => {
            confirm(&format!("Delete upstream {name}, the links to it and the roles it gave"), yes)?;
            cx.client.delete(&at(&name)).await?;
            cx.note(&format!("upstream {name} is deleted"));
            Ok(())
        }
        Upstream::Test { name, user, file, secret_file, org } => {
            let seen = match file {
                Some(file) => {
                    let mut body = json!({ "settings": files::settings(&file)?, "username": user });
                    add(&mut body, "secret", secret_file.as_deref().map(files::secret).transpose()?);
                    add(&mut body, "org", org);
                    cx.client.post("/api/v1/upstream-trials", &[], &body).await?
                }
                None => cx.client.post(&format!("{}/trials", at(&name.unwrap_or_default())), &[], &json!({ "username": user })).await?,
            };
            let steps = seen["steps"].as_array().cloned().unwrap_or_default();
            cx.list(&steps, STEPS)?;
            if seen["ok"] != true {
                bail!("the connection does not work yet: the last line says what to change");
            }
            Ok(())
        }
        Upstream::Sync { name, full, no_wait } => sync(cx, &name, full, no_wait).await,
        Upstream::Report { name } => {
            let items = cx.client.list(&format!("{}/syncs", at(&name)), &[], 50).await?;
            cx.list(&items, SYNCS)?;
            remarks(cx, items.first());
            Ok(())
        }
    }
}

async fn sync(cx: &mut Context, name: &str, full: bool, no_wait: bool) -> Result<()> {
    let path = format!("{}/syncs", at(name));
    let begun = cx.client.post(&path, &[], &json!({ "extent": if full { "full" } else { "changes" } })).await?;
    let mut run = begun.clone();
    while !no_wait && run["result"] == "running" {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let runs = cx.client.list(&path, &[], 50).await?;
        run = runs.into_iter().find(|r| r["id"] == begun["id"]).with_context(|| "the synchronisation is not listed any more")?;
    }
    cx.list(std::slice::from_ref(&run), SYNCS)?;
    remarks(cx, Some(&run));
    if run["result"] == "failed" {
        bail!("the synchronisation failed");
    }
    Ok(())
}

/// What somebody should look at, below the table.
fn remarks(cx: &Context, run: Option<&Value>) {
    let all = run.and_then(|r| r["report"]["remarks"].as_array()).into_iter().flatten();
    all.filter_map(Value::as_str).for_each(|remark| cx.note(&format!("- {remark}")));
}

fn at(name: &str) -> String {
    format!("/api/v1/upstreams/{}", segment(name))
}

fn add(body: &mut Value, key: &str, value: Option<String>) {
    if let Some(value) = value {
        body[key] = Value::String(value);
    }
}
