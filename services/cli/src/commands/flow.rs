//! Caches, replication and webhooks of a project's images.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::registry::{changed, removed};
use super::{Context, files, segment};
use crate::args::{Cache, Endpoint, Replication, Rule, Scanner, Target, Webhook};
use crate::failure::Failure;
use crate::output::print;

const RUNS: &[crate::output::Column] = &[
    ("RUN", "id"),
    ("CAUSE", "cause"),
    ("STATE", "state"),
    ("SAME", "same"),
    ("WAITING", "waiting"),
    ("DONE", "done"),
    ("FAILED", "failed"),
    ("SKIPPED", "skipped"),
    ("BYTES", "bytes"),
    ("ERROR", "error"),
];
const ITEMS: &[crate::output::Column] =
    &[("REPOSITORY", "repository"), ("TAG", "tag"), ("TO", "other"), ("ACTION", "action"), ("STATE", "state"), ("BYTES", "bytes"), ("ERROR", "error")];
/// Entries of a list that are shown.
const SHOWN: usize = 500;

pub async fn cache(cx: &mut Context, base: &str, command: Cache) -> Result<()> {
    let at = |name: &str| format!("{base}/upstreams/{}", segment(name));
    match command {
        Cache::List => {
            let items = cx.client.list(&format!("{base}/upstreams"), &[], SHOWN).await?;
            let columns =
                &[("NAME", "upstream.name"), ("PREFIX", "upstream.prefix"), ("UPSTREAM", "upstream.endpoint.url"), ("ANSWERED", "ok_at"), ("ERROR", "error")];
            cx.list(&items, columns)
        }
        Cache::Set { name, endpoint, prefix, remote_prefix, fresh_seconds, all_platforms, keep_days, disabled } => {
            let mut body = json!({
                "prefix": prefix, "remote_prefix": remote_prefix, "fresh_seconds": fresh_seconds, "keep_days": keep_days, "enabled": !disabled,
                "platforms": if all_platforms { "all" } else { "on_demand" },
            });
            reached(&mut body, &endpoint)?;
            changed(cx, &at(&name), &body).await
        }
        Cache::Contents { name } => {
            let items = cx.client.list(&format!("{}/contents", at(&name)), &[], SHOWN).await?;
            cx.list(&items, &[("REPOSITORY", "repository"), ("REFERENCE", "reference"), ("COMPARED", "checked_at"), ("AGAIN", "next_at"), ("ERROR", "error")])
        }
        Cache::Test { name } => test(cx, &at(&name)).await,
        Cache::Remove { name } => removed(cx, &at(&name), "the cache").await,
    }
}

pub async fn target(cx: &mut Context, base: &str, command: Target) -> Result<()> {
    let at = |name: &str| format!("{base}/targets/{}", segment(name));
    match command {
        Target::List => {
            let items = cx.client.list(&format!("{base}/targets"), &[], SHOWN).await?;
            cx.list(&items, &[("NAME", "target.name"), ("URL", "target.endpoint.url"), ("USER", "target.endpoint.username"), ("PASSWORD", "has_password")])
        }
        Target::Set { name, endpoint } => {
            let mut body = json!({});
            reached(&mut body, &endpoint)?;
            changed(cx, &at(&name), &body).await
        }
        Target::Test { name } => test(cx, &at(&name)).await,
        Target::Remove { name } => removed(cx, &at(&name), "the target").await,
    }
}

pub async fn scanner(cx: &mut Context, base: &str, command: Scanner) -> Result<()> {
    let at = |name: &str| format!("{base}/scanners/{}", segment(name));
    match command {
        Scanner::List => {
            let items = cx.client.list(&format!("{base}/scanners"), &[], SHOWN).await?;
            let columns = &[
                ("NAME", "scanner.name"),
                ("URL", "scanner.url"),
                ("AUTH", "scanner.auth"),
                ("REPOSITORIES", "scanner.repositories"),
                ("SBOM", "scanner.sbom"),
                ("PLATFORM'S", "platform"),
                ("ENABLED", "scanner.enabled"),
            ];
            cx.list(&items, columns)
        }
        Scanner::Set { name, endpoint, auth, repositories, sbom, rescan_hours, disabled } => {
            let mut body = json!({});
            reached(&mut body, &endpoint)?;
            // A scanner's address stands beside its other settings.
            let place = body.as_object_mut().and_then(|b| b.remove("endpoint")).unwrap_or_default();
            for (key, value) in place.as_object().into_iter().flatten() {
                body[key] = value.clone();
            }
            for (key, value) in [
                ("auth", json!(auth)),
                ("repositories", json!(repositories)),
                ("sbom", json!(sbom)),
                ("rescan_hours", json!(rescan_hours)),
                ("enabled", json!(!disabled)),
            ] {
                body[key] = value;
            }
            changed(cx, &at(&name), &body).await
        }
        Scanner::Test { name } => test(cx, &at(&name)).await,
        Scanner::Remove { name } => removed(cx, &at(&name), "the scanner").await,
    }
}

pub async fn replication(cx: &mut Context, base: &str, command: Replication) -> Result<()> {
    let at = |name: &str| format!("{base}/replications/{}", segment(name));
    let run_at = |run: &str| format!("{base}/replication-runs/{}", segment(run));
    match command {
        Replication::List => {
            let items = cx.client.list(&format!("{base}/replications"), &[], SHOWN).await?;
            let columns = &[
                ("NAME", "name"),
                ("DIRECTION", "direction"),
                ("TARGET", "target"),
                ("REPOSITORIES", "repositories"),
                ("TAGS", "tags"),
                ("SCHEDULE", "schedule"),
                ("ON EVENT", "on_event"),
                ("ENABLED", "enabled"),
            ];
            cx.list(&items, columns)
        }
        Replication::Set(rule) => {
            let body = body_of(&rule)?;
            changed(cx, &at(&rule.name), &body).await
        }
        Replication::Remove { name } => removed(cx, &at(&name), "the replication").await,
        Replication::Run { name, dry_run, no_wait } => {
            let mut run = cx.client.post(&format!("{}/runs", at(&name)), &[], &json!({ "dry_run": dry_run })).await?;
            let path = run_at(run["id"].as_str().unwrap_or_default());
            while !no_wait && run["finished_at"].is_null() {
                tokio::time::sleep(Duration::from_millis(500)).await;
                run = cx.client.get(&path, &[]).await?;
            }
            cx.list(std::slice::from_ref(&run), RUNS)?;
            if dry_run && !no_wait {
                let items = cx.client.list(&format!("{path}/items"), &[], SHOWN).await?;
                cx.list(&items, ITEMS)?;
            }
            if run["state"] == "failed" {
                bail!("the replication failed: `gantry registry replication report {}` says where", run["id"].as_str().unwrap_or_default());
            }
            Ok(())
        }
        Replication::Runs { name } => {
            let items = cx.client.list(&format!("{}/runs", at(&name)), &[], 50).await?;
            cx.list(&items, RUNS)
        }
        Replication::Show { run } => {
            let run: Value = cx.client.get(&run_at(&run), &[]).await?;
            cx.list(std::slice::from_ref(&run), RUNS)
        }
        Replication::Report { run } => {
            let items = cx.client.list(&format!("{}/items", run_at(&run)), &[], 10_000).await?;
            cx.list(&items, ITEMS)
        }
        Replication::Cancel { run } => {
            let run = cx.client.post(&format!("{}/cancel", run_at(&run)), &[], &json!({})).await?;
            cx.list(std::slice::from_ref(&run), RUNS)
        }
    }
}

fn body_of(rule: &Rule) -> Result<Value> {
    let bandwidth = match &rule.bandwidth {
        None => None,
        Some(text) => {
            let fault = || Failure::Usage(format!("{text}: must be a number, or one with KiB, MiB or GiB"));
            Some(super::money::amount(text).ok_or_else(fault)?)
        }
    };
    Ok(json!({
        "direction": rule.direction, "target": rule.target, "repositories": rule.repositories, "tags": rule.tags, "labels": rule.label,
        "platforms": rule.platform, "remote_prefix": rule.remote_prefix, "local_prefix": rule.local_prefix, "schedule": rule.schedule,
        "on_event": rule.on_event, "deletions": rule.deletions, "overwrite": !rule.keep_differing, "bytes_per_second": bandwidth, "enabled": !rule.disabled,
    }))
}

pub async fn webhook(cx: &mut Context, base: &str, command: Webhook) -> Result<()> {
    let at = |name: &str| format!("{base}/webhooks/{}", segment(name));
    match command {
        Webhook::List => {
            let items = cx.client.list(&format!("{base}/webhooks"), &[], SHOWN).await?;
            let columns = &[
                ("NAME", "webhook.name"),
                ("URL", "webhook.url"),
                ("WAITING", "waiting"),
                ("DELIVERED", "delivered"),
                ("DEAD", "dead"),
                ("PAUSED", "paused_at"),
                ("WHY", "why"),
            ];
            cx.list(&items, columns)
        }
        Webhook::Set { name, address, happenings, repositories, tags, authority, allow_private, disabled, secret_file } => {
            let mut body = json!({
                "url": address, "happenings": happenings, "repositories": repositories, "tags": tags, "allow_private": allow_private, "enabled": !disabled,
            });
            if let Some(file) = authority {
                body["ca_pem"] = files::text(&file)?.into();
            }
            if let Some(file) = secret_file {
                body["secret"] = files::secret(&file)?.into();
            }
            let made = cx.client.put_new(&at(&name), &body).await?;
            secret(cx, &made)
        }
        Webhook::Remove { name } => removed(cx, &at(&name), "the webhook").await,
        Webhook::Rotate { name, only, secret_file } => {
            let given = secret_file.map(|file| files::secret(&file)).transpose()?;
            let made = cx.client.post(&format!("{}/secrets", at(&name)), &[], &json!({ "only": only, "secret": given })).await?;
            secret(cx, &made)
        }
        Webhook::Test { name } => {
            let seen = cx.client.post(&format!("{}/test", at(&name)), &[], &json!({})).await?;
            cx.one(&seen)?;
            if seen["state"] != "delivered" {
                bail!("the receiver did not take it: {}", seen["error"].as_str().unwrap_or_default());
            }
            Ok(())
        }
        Webhook::Resume { name } => {
            let done = cx.client.post(&format!("{}/resume", at(&name)), &[], &json!({})).await?;
            cx.note(&format!("{} events are sent now", done["events"]));
            Ok(())
        }
        Webhook::Log { name, state } => {
            let query: Vec<(&str, String)> = state.into_iter().map(|s| ("state", s)).collect();
            let items = cx.client.list(&format!("{}/deliveries", at(&name)), &query, SHOWN).await?;
            cx.list(
                &items,
                &[("DELIVERY", "id"), ("KIND", "kind"), ("AT", "created_at"), ("STATE", "state"), ("TRIES", "tries"), ("STATUS", "status"), ("ERROR", "error")],
            )
        }
        Webhook::Show { delivery } => {
            let seen: Value = cx.client.get(&format!("{base}/webhook-deliveries/{}", segment(&delivery)), &[]).await?;
            cx.one(&seen)
        }
        Webhook::Resend { delivery } => {
            let seen = cx.client.post(&format!("{base}/webhook-deliveries/{}/replay", segment(&delivery)), &[], &json!({})).await?;
            cx.one(&seen)
        }
        Webhook::Replay { name, all, since } => {
            let body = json!({ "state": if all { Value::Null } else { "dead".into() }, "since": since });
            let done = cx.client.post(&format!("{}/replay", at(&name)), &[], &body).await?;
            cx.note(&format!("{} events are told once more", done["events"]));
            Ok(())
        }
    }
}

/// A secret that was made just now goes to the standard output, alone, so that a script can take it.
fn secret(cx: &Context, made: &Value) -> Result<()> {
    if cx.common.output != crate::args::Format::Table {
        return cx.one(made);
    }
    match made["secret"].as_str() {
        Some(secret) => {
            cx.note("deliveries are signed with this secret; it is not shown again:");
            print(secret)
        }
        None => {
            cx.note("changed; the secret is the one you gave, or the one before");
            Ok(())
        }
    }
}

fn reached(body: &mut Value, endpoint: &Endpoint) -> Result<()> {
    body["endpoint"] = json!({ "url": endpoint.address, "username": endpoint.username, "allow_private": endpoint.allow_private });
    if let Some(file) = &endpoint.authority {
        body["endpoint"]["ca_pem"] = files::text(file)?.into();
    }
    if let Some(file) = &endpoint.password_file {
        body["password"] = files::secret(file)?.into();
    }
    Ok(())
}

async fn test(cx: &mut Context, path: &str) -> Result<()> {
    let seen = cx.client.post(&format!("{path}/test"), &[], &json!({})).await?;
    cx.one(&seen)?;
    if seen["ok"] != true {
        bail!("it does not work yet");
    }
    Ok(())
}
