//! Applications: deploy, look, change.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::document::{self, Document};
use super::progress::{Progress, Seen};
use super::{Context, confirm, inside, logs, metrics, preview, segment, why};
use crate::args::{App, DryRun, Release, Scaling};
use crate::failure::Failure;
use crate::output::{find, print};

const COLUMNS: &[crate::output::Column] = &[
    ("NAME", "name"),
    ("STATE", "state"),
    ("REVISION", "revision"),
    ("READY", "ready"),
    ("WANTED", "wanted"),
    ("ADDRESSES", "addresses"),
    ("CHANGED", "updated_at"),
];
const INSTANCES: &[crate::output::Column] = &[
    ("INSTANCE", "id"),
    ("WORKLOAD", "workload"),
    ("STATE", "state"),
    ("NODE", "node"),
    ("ADDRESS", "address"),
    ("REVISION", "revision"),
    ("RESTARTS", "restarts"),
    ("SINCE", "running_at|placed_at"),
    ("WHY", "reason"),
];

const SCALINGS: &[crate::output::Column] =
    &[("WORKLOAD", "workload"), ("MIN", "min"), ("MAX", "max"), ("NOW", "replicas"), ("PAUSED", "paused"), ("WHY", "reason"), ("SINCE", "at")];
const SIZES: &[crate::output::Column] = &[
    ("WORKLOAD", "workload"),
    ("CPU", "cpu_millis"),
    ("BETTER", "recommended_cpu_millis"),
    ("MEMORY", "memory_bytes"),
    ("BETTER", "recommended_memory_bytes"),
    ("HOURS", "hours"),
    ("WHY", "reason"),
];

pub async fn run(cx: &mut Context, command: App) -> Result<()> {
    let apps = format!("{}/apps", cx.space()?);
    let of = |name: &str| format!("{apps}/{}", segment(name));
    match command {
        App::Deploy { source, accept_unsupported, reason, queue, dry_run, no_wait } => {
            let mut document = Document::read(&source.files, &source.more)?;
            document.complete(cx).await?;
            let answer = document.deploy(cx, &apps, accept_unsupported, reason.as_deref(), queue, dry_run).await?;
            if dry_run || no_wait || !answer["queued"].is_null() || cx.common.output != crate::args::Format::Table {
                return document::plan(cx, &answer);
            }
            document::remarks(cx, &answer["remarks"]);
            if wait(cx, &of(&document.name)).await? {
                cx.note(&format!("{} runs", document.name));
            }
            Ok(())
        }
        App::Validate { source } => {
            let mut document = Document::read(&source.files, &source.more)?;
            let checked = document.complete(cx).await?;
            document::verdict(cx, &checked)
        }
        App::Convert { source, to } => {
            let mut document = Document::read(&source.files, &source.more)?;
            let checked = document.complete(cx).await?;
            if checked["valid"] != true {
                return document::verdict(cx, &checked);
            }
            document::remarks(cx, &checked["remarks"]);
            let converted = document.convert(cx, &to).await?;
            print(converted["document"].as_str().unwrap_or_default().trim_end())
        }
        App::Diff { source, from: Some(from), to } => {
            let mut query = vec![("from", from.to_string())];
            query.extend(to.map(|to| ("to", to.to_string())));
            let answer: Value = cx.client.get(&format!("{}/diff", of(source.more.name.as_deref().unwrap_or_default())), &query).await?;
            document::lines(cx, &answer)
        }
        App::Diff { source, from: None, .. } => {
            if source.files.is_empty() {
                return Err(Failure::Usage("compare what? name a document with --file, or revisions with --name and --from".to_owned()).into());
            }
            let mut document = Document::read(&source.files, &source.more)?;
            document.complete(cx).await?;
            // A quota that is full for now says nothing of the difference.
            let answer = document.deploy(cx, &apps, true, None, true, true).await?;
            document::remarks(cx, &answer["remarks"]);
            document::lines(cx, &answer)
        }
        App::Export { name, format, revision, secrets } => {
            let mut query = vec![("format", format), ("secrets", secrets.to_string())];
            query.extend(revision.map(|r| ("revision", r.to_string())));
            let answer: Value = cx.client.get(&format!("{}/export", of(&name)), &query).await?;
            print(answer["document"].as_str().unwrap_or_default().trim_end())
        }
        App::List => {
            let items = cx.client.list(&apps, &[], 10_000).await?;
            if cx.common.output != crate::args::Format::Table {
                return cx.list(&items, &[]);
            }
            let rows: Vec<Value> = items.into_iter().map(summed).collect();
            cx.list(&rows, COLUMNS)
        }
        App::Show { name } => {
            let app: Value = cx.client.get(&of(&name), &[]).await?;
            cx.one(&app)
        }
        App::Instances { name } => {
            let items = cx.client.list(&format!("{}/instances", of(&name)), &[], 10_000).await?;
            cx.list(&items, INSTANCES)
        }
        App::Signs { name } => {
            let items = cx.client.list(&format!("{}/signs", of(&name)), &[], 1_000).await?;
            cx.list(&items, super::signs::COLUMNS)
        }
        App::Logs(wanted) => logs::run(cx, &of(&wanted.name), &wanted).await,
        App::Exec { name, target, stdin, tty, command } => inside::exec(cx, &of(&name), &target, &command, stdin, tty).await,
        App::Attach { name, target, stdin } => inside::attach(cx, &of(&name), &target, stdin).await,
        App::PortForward { name, target, ports, address } => inside::forward(cx, &of(&name), &target, &ports, address).await,
        App::Cp { from, to, target } => inside::copy(cx, &apps, &from, &to, &target).await,
        App::Ps { name, target } => inside::processes(cx, &of(&name), &target).await,
        App::Migrate { name, instance, to } => inside::migrate(cx, &of(&name), &instance, &to).await,
        App::Signal { name, pid, signal, target } => inside::signal(cx, &of(&name), &target, pid, &signal).await,
        App::Scale { name, replicas, dry } => {
            let (workload, replicas) = workload(cx, &of(&name), &replicas).await?;
            act(cx, &of(&name), "scale", json!({ "workload": workload, "replicas": replicas }), dry.dry_run).await
        }
        App::Restart { name, workloads, dry } => act(cx, &of(&name), "restart", json!({ "workloads": workloads }), dry.dry_run).await,
        App::Stop { name, dry } => act(cx, &of(&name), "stop", json!({}), dry.dry_run).await,
        App::Start { name, dry } => act(cx, &of(&name), "start", json!({}), dry.dry_run).await,
        App::Scaling(command) => scaling(cx, &apps, command).await,
        App::Sizing { name } => {
            let answer: Value = cx.client.get(&format!("{}/sizing", of(&name)), &[]).await?;
            cx.list(answer["items"].as_array().map(Vec::as_slice).unwrap_or_default(), SIZES)
        }
        App::Release(command) => release(cx, &apps, command).await,
        App::Rollback { name, revision: Some(revision), dry_run } => act(cx, &of(&name), "rollback", json!({ "revision": revision }), dry_run).await,
        App::Metrics { name, charts } => metrics::show(cx, &of(&name), &charts).await,
        App::Revisions { name } | App::Rollback { name, revision: None, .. } => {
            let items = cx.client.list(&format!("{}/revisions", of(&name)), &[], 1_000).await?;
            cx.list(&items, &[("REVISION", "revision"), ("CURRENT", "current"), ("REASON", "reason"), ("BY", "author"), ("AT", "at"), ("IMAGES", "images")])
        }
        App::Why { name } => {
            let answer: Value = cx.client.get(&format!("{}/why", of(&name)), &[]).await?;
            if cx.common.output != crate::args::Format::Table {
                return cx.one(&answer);
            }
            print(why::told(&answer).trim_end())
        }
        App::Placement { set, if_version, dry_run } => {
            let path = format!("{}/placement", cx.space()?);
            let read = cx.client.get_with_version::<Value>(&path).await;
            let Some(file) = set else {
                let (rules, now) = read?;
                cx.one(&rules)?;
                if let Some(now) = now {
                    cx.note(&format!("version {now}"));
                }
                return Ok(());
            };
            // Those that cannot be read are set anew all the same.
            let now = if_version.or(read.ok().and_then(|(_, now)| now));
            if dry_run {
                let seen = cx.client.put_over(&format!("{path}?dry_run=true"), &super::settings(&file)?, now).await?;
                return preview::show(cx, &seen);
            }
            let rules = cx.client.put_over(&path, &super::settings(&file)?, now).await?;
            cx.one(&rules)
        }
        App::Delete { name, dry: DryRun { dry_run: true }, .. } => {
            let seen = cx.client.delete_dry(&of(&name)).await?;
            preview::show(cx, &seen)
        }
        App::Delete { name, yes, .. } => {
            if !yes {
                goes_along(cx, &of(&name)).await?;
            }
            confirm(&format!("Delete application {name}"), yes)?;
            cx.client.delete(&of(&name)).await?;
            cx.note(&format!("{name} is deleted"));
            Ok(())
        }
    }
}

/// Tells what goes with an application.
async fn goes_along(cx: &mut Context, app: &str) -> Result<()> {
    let one: Value = cx.client.get(app, &[]).await?;
    let instances = cx.client.list(&format!("{app}/instances"), &[], 10_000).await?;
    let revisions = cx.client.list(&format!("{app}/revisions"), &[], 1_000).await?;
    let all = |field: &str, name: &dyn Fn(&Value) -> String| {
        let mut names: Vec<String> = one[field].as_array().into_iter().flatten().map(name).collect();
        names.dedup();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let running = instances.iter().filter(|i| i["ended_at"].is_null()).count();
    cx.note(&format!(
        "this goes with it: workloads: {}; instances: {running}; addresses: {}; revisions: {}; volumes stay (`gantry volume list`)",
        all("workloads", &|w| text(&w["name"])),
        all("endpoints", &|e| format!("{}:{}", text(&e["host"]), e["port"])),
        revisions.len()
    ));
    Ok(())
}

async fn scaling(cx: &mut Context, apps: &str, command: Scaling) -> Result<()> {
    let of = |name: &str| format!("{apps}/{}", segment(name));
    match command {
        Scaling::Show { name } => {
            let answer: Value = cx.client.get(&format!("{}/scaling", of(&name)), &[]).await?;
            cx.list(answer["items"].as_array().map(Vec::as_slice).unwrap_or_default(), SCALINGS)
        }
        Scaling::Pause { name, workload, reason, dry } => {
            act(cx, &of(&name), "scaling/pause", json!({ "workload": workload, "reason": reason.unwrap_or_default() }), dry.dry_run).await
        }
        Scaling::Resume { name, workload, dry } => act(cx, &of(&name), "scaling/resume", json!({ "workload": workload }), dry.dry_run).await,
    }
}

async fn release(cx: &mut Context, apps: &str, command: Release) -> Result<()> {
    let of = |name: &str, verb: &str| (format!("{apps}/{}", segment(name)), format!("release/{verb}"));
    let ((app, verb), body, dry) = match command {
        Release::Show { name } => {
            let app: Value = cx.client.get(&of(&name, "").0, &[]).await?;
            if app["release"].is_null() {
                cx.note(&format!("no release of {name} is under way; revision {} is at work", app["revision"]));
                return Ok(());
            }
            return cx.one(&app["release"]);
        }
        Release::Promote { name, full, dry } => (of(&name, "promote"), json!({ "full": full }), dry),
        Release::Pause { name, reason, dry } => (of(&name, "pause"), json!({ "reason": reason.unwrap_or_default() }), dry),
        Release::Resume { name, dry } => (of(&name, "resume"), json!({}), dry),
        Release::Abort { name, reason, dry } => (of(&name, "abort"), json!({ "reason": reason.unwrap_or_default() }), dry),
    };
    act(cx, &app, &verb, body, dry.dry_run).await
}

async fn act(cx: &mut Context, app: &str, verb: &str, body: Value, dry_run: bool) -> Result<()> {
    let query = if dry_run { vec![("dry_run", "true".to_owned())] } else { Vec::new() };
    let answer = cx.client.post(&format!("{app}/{verb}"), &query, &body).await?;
    if dry_run {
        return preview::show(cx, &answer);
    }
    cx.note(&format!("{verb} accepted"));
    if cx.common.output == crate::args::Format::Table { Ok(()) } else { cx.one(&answer) }
}

/// Until the release has ended, showing how many instances are ready. False: somebody has to let it go on.
async fn wait(cx: &mut Context, app: &str) -> Result<bool> {
    let mut progress = Progress::new(Duration::from_secs(600))?;
    loop {
        let seen: Value = cx.client.get(app, &[]).await?;
        let seen = summed(seen);
        let state = seen["state"].as_str().unwrap_or("unknown").to_owned();
        let count = |path: &str| seen[path].as_u64().unwrap_or(0);
        let (ready, wanted) = (count("ready"), count("wanted"));
        let text = seen["reason"].as_str().filter(|r| !r.is_empty()).map_or_else(|| state.clone(), |r| format!("{state}: {r}"));
        if state == "failed" {
            bail!("the release failed: {text}; `gantry app why` tells more");
        }
        // Nobody but a person lets it go on; it need not be waited for here.
        if matches!(seen["release"]["waits_for"].as_str(), Some("promotion" | "resumption")) {
            cx.note(&format!("{text}; `gantry app release promote` lets it go on"));
            return Ok(false);
        }
        let finished = state == "running" && seen["finished_revision"] == seen["revision"] && ready >= wanted;
        if progress.step(Seen { done: ready, of: wanted, text, finished }).await? {
            return Ok(true);
        }
    }
}

/// With the instances of all workloads added up, and the addresses as texts.
fn summed(mut app: Value) -> Value {
    let sum = |key: &str| app["workloads"].as_array().into_iter().flatten().filter_map(|w| w[key].as_u64()).sum::<u64>();
    let urls: Vec<Value> = app["endpoints"].as_array().into_iter().flatten().map(|e| e["url"].clone()).collect();
    let (ready, wanted) = (sum("ready"), sum("replicas"));
    if app.is_object() {
        (app["ready"], app["wanted"], app["addresses"]) = (ready.into(), wanted.into(), urls.into());
    }
    app
}

/// `WORKLOAD=COUNT`, or a count for the only workload.
async fn workload(cx: &mut Context, app: &str, text: &str) -> Result<(String, u32)> {
    let count = |t: &str| t.parse::<u32>().map_err(|_| Failure::Usage(format!("{text}: must be WORKLOAD=COUNT or COUNT")));
    if let Some((workload, replicas)) = text.split_once('=') {
        return Ok((workload.to_owned(), count(replicas)?));
    }
    let replicas = count(text)?;
    let seen: Value = cx.client.get(app, &[]).await?;
    let names: Vec<&str> = find(&seen, "workloads").as_array().into_iter().flatten().filter_map(|w| w["name"].as_str()).collect();
    match names[..] {
        [only] => Ok((only.to_owned(), replicas)),
        _ => Err(Failure::Usage(format!("which workload? say WORKLOAD={replicas}; there are: {}", names.join(", "))).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_all_workloads_are_added_up() {
        let app = json!({ "workloads": [{ "ready": 1, "replicas": 3 }, { "ready": 2, "replicas": 2 }], "endpoints": [{ "url": "http://localhost:20000" }] });
        let seen = summed(app);
        assert_eq!((&seen["ready"], &seen["wanted"], &seen["addresses"][0]), (&json!(3), &json!(5), &json!("http://localhost:20000")));
    }
}
