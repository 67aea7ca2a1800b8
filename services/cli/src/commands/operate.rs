//! For operators: nodes, live events, the log's hash chain.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Context, confirm, files, metrics, segment};
use crate::args::{Admin, AdminCommand, Events, Format, Node};
use crate::failure::Failure;
use crate::output::{entry, find, print};
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
        Node::JoinToken { node, expires_in_minutes, label, taint } => {
            if let Some(name) = node.as_deref().filter(|_| !label.is_empty() || !taint.is_empty()) {
                let changes = NodeChanges { label, remove_label: Vec::new(), taint, untaint: Vec::new(), overcommit_cpu: None, overcommit_memory: None };
                // One that is there already, and joins anew, keeps the rest of what is set.
                let (mut settings, version) = match read_settings(cx, name).await {
                    Err(error) if matches!(error.downcast_ref(), Some(Failure::Refused(problem)) if problem.status == 404) => (json!({}), Some(0)),
                    read => read?,
                };
                changes.lay_over(&mut settings)?;
                cx.client.put_over(&format!("{}?ahead=true", settings_path(name)), &settings, version).await?;
            }
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
        Node::Settings { name, file, label, remove_label, taint, untaint, overcommit_cpu, overcommit_memory } => {
            let changes = NodeChanges { label, remove_label, taint, untaint, overcommit_cpu, overcommit_memory };
            return node_settings(cx, &name, file, changes).await;
        }
        Node::Drain { name, dry_run: true } | Node::Remove { name, dry_run: true, .. } => return show_drain(cx, &name).await,
        Node::Remove { name, force, timeout, yes, dry_run: false } => return remove_node(cx, &name, force, timeout, yes).await,
        Node::Show { name } => {
            let node = find_node(cx, &name).await?;
            return cx.one(&node);
        }
        Node::Metrics { name, charts } => return metrics::show(cx, &format!("/api/v1/nodes/{}", segment(&name)), &charts).await,
        Node::Admit { name } => (name, "admit"),
        Node::Prepull { name, images, remove } => return prepull(cx, &name, images, remove).await,
        Node::Cordon { name, dry_run: true } => return show_cordon(cx, &name, "cordon").await,
        Node::Uncordon { name, dry_run: true } => return show_cordon(cx, &name, "uncordon").await,
        Node::Cordon { name, dry_run: false } => (name, "cordon"),
        Node::Uncordon { name, dry_run: false } => (name, "uncordon"),
        Node::Drain { name, dry_run: false } => (name, "drain"),
    };
    cx.client.post(&format!("/api/v1/nodes/{}/{verb}", segment(&name)), &[], &json!({})).await?;
    cx.note(&format!("{verb} of {name} accepted"));
    Ok(())
}

/// What would become of the instances of a node. A platform that does not know this refuses: it has the address for draining only.
async fn show_drain(cx: &mut Context, name: &str) -> Result<()> {
    let seen: Value = cx.client.get(&format!("/api/v1/nodes/{}/drain", segment(name)), &[]).await?;
    if cx.common.output != Format::Table {
        return cx.one(&seen);
    }
    if seen["changed"] == false {
        print(&format!("{name} is being drained already"))?;
    }
    let workloads = seen["workloads"].as_array().map_or(&[][..], Vec::as_slice);
    if workloads.is_empty() {
        return print("nothing stands there");
    }
    for one in workloads {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        let (all, leaving) = (one["instances"].as_u64().unwrap_or(0), one["leaving"].as_u64().unwrap_or(0));
        let how_many = if all == leaving { all.to_string() } else { format!("{leaving} of {all} leave:") };
        let fenced = if one["fenced"] == true { "; must never run twice, so `--force` is refused" } else { "" };
        print(&format!("{}/{}/{} {} {}: {how_many} {}{fenced}", text("org"), text("project"), text("space"), text("app"), text("workload"), text("reason")))?;
    }
    Ok(())
}

/// The same of closing it to new instances, or opening it.
async fn show_cordon(cx: &mut Context, name: &str, verb: &str) -> Result<()> {
    let seen: Value = cx.client.get(&format!("/api/v1/nodes/{}/{verb}", segment(name)), &[]).await?;
    if cx.common.output != Format::Table {
        return cx.one(&seen);
    }
    let reason = seen["reason"].as_str().unwrap_or_default();
    print(&format!("{name}: {reason} ({} instances there, {} other nodes take new ones)", seen["instances"], seen["open_nodes"]))
}

async fn find_node(cx: &mut Context, name: &str) -> Result<Value> {
    let all = cx.client.list("/api/v1/nodes", &[], 10_000).await?;
    let missing = || anyhow::Error::from(Failure::Usage(format!("there is no node {name}; `gantry node list` shows those there are")));
    all.into_iter().find(|n| n["name"] == name).ok_or_else(missing)
}

/// How often it is looked whether a drained node is empty.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

async fn remove_node(cx: &mut Context, name: &str, force: bool, timeout: u64, yes: bool) -> Result<()> {
    confirm(&format!("Remove node {name} and stop everything on it"), yes)?;
    let at = format!("/api/v1/nodes/{}", segment(name));
    if !force {
        cx.client.post(&format!("{at}/drain"), &[], &json!({})).await?;
        let until = std::time::Instant::now() + std::time::Duration::from_secs(timeout);
        loop {
            let nodes = cx.client.list("/api/v1/nodes", &[], 10_000).await?;
            let left = nodes.iter().find(|n| n["name"] == name).map_or(0, |n| n["instances"].as_u64().unwrap_or(0));
            if left == 0 {
                break;
            }
            if std::time::Instant::now() >= until {
                bail!(
                    "{name} still has {left} instances after {timeout} s: `gantry app why` tells what they wait for; it stays drained, and --force removes it all the same"
                );
            }
            cx.note(&format!("{left} instances are still on {name}"));
            tokio::time::sleep(LOOK).await;
        }
    }
    cx.client.delete(&format!("{at}?force={force}")).await?;
    cx.note(&format!("{name} is removed"));
    Ok(())
}

struct NodeChanges {
    label: Vec<String>,
    remove_label: Vec<String>,
    taint: Vec<String>,
    untaint: Vec<String>,
    overcommit_cpu: Option<u32>,
    overcommit_memory: Option<u32>,
}

impl NodeChanges {
    fn is_empty(&self) -> bool {
        let lists = [&self.label, &self.remove_label, &self.taint, &self.untaint];
        lists.iter().all(|l| l.is_empty()) && self.overcommit_cpu.is_none() && self.overcommit_memory.is_none()
    }

    /// Lays the changes over what is set.
    fn lay_over(self, settings: &mut Value) -> Result<()> {
        for label in self.label {
            let (key, value) = label.split_once('=').with_context(|| format!("--label {label}: must be KEY=VALUE"))?;
            settings["labels"][key] = json!(value);
        }
        if let Some(labels) = settings["labels"].as_object_mut() {
            labels.retain(|key, _| !self.remove_label.contains(key));
        }
        let mut taints = settings["taints"].as_array().cloned().unwrap_or_default();
        taints.retain(|t| !self.untaint.iter().any(|key| t["key"] == key.as_str()));
        for taint in self.taint {
            let (what, effect) = taint.rsplit_once(':').with_context(|| format!("--taint {taint}: must be KEY[=VALUE]:EFFECT"))?;
            let (key, value) = what.split_once('=').unwrap_or((what, ""));
            taints.retain(|t| t["key"] != key || t["effect"] != effect);
            taints.push(json!({ "key": key, "value": value, "effect": effect }));
        }
        settings["taints"] = Value::Array(taints);
        for (field, percent) in [("overcommit_cpu_percent", self.overcommit_cpu), ("overcommit_memory_percent", self.overcommit_memory)] {
            if let Some(percent) = percent {
                settings[field] = json!(percent);
            }
        }
        Ok(())
    }
}

fn settings_path(name: &str) -> String {
    format!("/api/v1/nodes/{}/settings", segment(name))
}

/// As they are, with the version that a change of them is meant for.
async fn read_settings(cx: &mut Context, name: &str) -> Result<(Value, Option<i64>)> {
    cx.client.get_with_version(&settings_path(name)).await
}

async fn node_settings(cx: &mut Context, name: &str, file: Option<std::path::PathBuf>, changes: NodeChanges) -> Result<()> {
    if let Some(file) = file {
        // All of it, whatever was there.
        let set = cx.client.put_new(&settings_path(name), &files::settings(&file)?).await?;
        return cx.one(&set);
    }
    let (mut settings, version) = read_settings(cx, name).await?;
    if changes.is_empty() {
        return cx.one(&settings);
    }
    changes.lay_over(&mut settings)?;
    let set = cx.client.put_over(&settings_path(name), &settings, version).await?;
    cx.one(&set)
}

/// Part of the node's settings; the node says how each stands.
async fn prepull(cx: &mut Context, name: &str, images: Vec<String>, remove: bool) -> Result<()> {
    if images.is_empty() {
        let node = find_node(cx, name).await?;
        let stands = node["images"].as_object().cloned().unwrap_or_default();
        let rows: Vec<Value> = stands.into_iter().map(|(image, seen)| json!({ "image": image, "state": seen["state"], "reason": seen["reason"] })).collect();
        return cx.list(&rows, &[("IMAGE", "image"), ("STATE", "state"), ("REASON", "reason")]);
    }
    let (mut settings, version) = read_settings(cx, name).await?;
    let mut all = settings["images"].as_array().cloned().unwrap_or_default();
    if remove {
        if let Some(unknown) = images.iter().find(|i| !all.iter().any(|known| known == i.as_str())) {
            bail!("{unknown} is not among them; `gantry node settings {name}` lists them as they have to be named");
        }
        all.retain(|known| !images.iter().any(|i| known == i.as_str()));
    } else {
        all.extend(images.into_iter().map(Value::String));
    }
    settings["images"] = Value::Array(all);
    let set = cx.client.put_over(&settings_path(name), &settings, version).await?;
    cx.one(&set["images"])
}

pub async fn mails(cx: &mut Context) -> Result<()> {
    let state: Value = cx.client.get("/api/v1/mails", &[]).await?;
    cx.one(&state)
}

pub async fn events(cx: &mut Context, command: Events) -> Result<()> {
    let Events::Tail { count } = command;
    let answer = cx.client.stream("/api/v1/events", &[]).await?;
    let (format, mut left) = (cx.common.output, count);
    sse::each(answer, |event| {
        let value: Value = serde_json::from_str(&event.data).unwrap_or(Value::String(event.data));
        if format == crate::args::Format::Table {
            let text = |path: &str| find(&value, path).as_str().unwrap_or("-").to_owned();
            print(&format!("{} {} {} {}", text("at"), text("kind"), text("actor"), text("name|object")))?;
        } else {
            entry(format, &value)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_node_are_changed_piece_by_piece() {
        let mut settings =
            json!({"labels": {"disk": "hdd", "old": "1"}, "taints": [{"key": "gpu", "value": "", "effect": "NoSchedule"}], "overcommit_cpu_percent": null});
        let words = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let changes = NodeChanges {
            label: words(&["disk=ssd"]),
            remove_label: words(&["old"]),
            taint: words(&["batch=yes:NoExecute"]),
            untaint: words(&["gpu"]),
            overcommit_cpu: Some(200),
            overcommit_memory: None,
        };
        changes.lay_over(&mut settings).unwrap();
        let taints = json!([{"key": "batch", "value": "yes", "effect": "NoExecute"}]);
        assert_eq!(settings, json!({"labels": {"disk": "ssd"}, "taints": taints, "overcommit_cpu_percent": 200}));
    }
}
