//! A project's part of the registry: limits, rules, keys, policies.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, files, segment};
use crate::args::{Key, Policy, Registry, Retention};
use crate::failure::Failure;
use crate::output::print;

pub async fn run(cx: &mut Context, command: Registry) -> Result<()> {
    let base = format!("{}/registry", cx.project()?);
    match command {
        Registry::Settings => {
            let settings: Value = cx.client.get(&format!("{base}/settings"), &[]).await?;
            cx.one(&settings)
        }
        Registry::Usage => {
            let used: Value = cx.client.get(&format!("{base}/usage"), &[]).await?;
            cx.one(&used)
        }
        Registry::Quota { limit } => {
            let bytes = match limit.as_str() {
                "none" => Value::Null,
                text => super::money::amount(text)
                    .map(Value::from)
                    .ok_or_else(|| Failure::Usage(format!("{text}: must be a number, one with KiB, MiB, GiB or TiB, or none")))?,
            };
            changed(cx, &format!("{base}/quota"), &json!({ "bytes": bytes })).await
        }
        Registry::Immutable { rules } => {
            let rules = rules.iter().map(|rule| {
                let (repositories, tags) =
                    rule.split_once(':').ok_or_else(|| Failure::Usage(format!("{rule}: must be REPOSITORIES:TAGS, such as 'web:v*'")))?;
                Ok(json!({ "repositories": repositories, "tags": tags }))
            });
            let rules = rules.collect::<Result<Vec<_>>>()?;
            changed(cx, &format!("{base}/immutability"), &json!({ "rules": rules })).await
        }
        Registry::Platforms { wanted } => changed(cx, &format!("{base}/platforms"), &json!({ "wanted": wanted })).await,
        Registry::Scanning { attach_sbom } => {
            let form = Some(attach_sbom).filter(|form| form != "none");
            changed(cx, &format!("{base}/scanning"), &json!({ "attach_sbom": form })).await
        }
        Registry::Retention(command) => retention(cx, &base, command).await,
        Registry::Key(Key::Add { name, file, subject }) => {
            let pem = files::text(&file)?;
            changed(cx, &format!("{base}/keys/{}", segment(&name)), &json!({ "pem": pem, "subject": subject })).await
        }
        Registry::Key(Key::Remove { name }) => removed(cx, &format!("{base}/keys/{}", segment(&name)), &format!("the key {name}")).await,
        Registry::Policy(Policy::Remove { name }) => removed(cx, &format!("{base}/policies/{}", segment(&name)), &format!("the policy {name}")).await,
        Registry::Policy(Policy::Set { name, repositories, moments, block, only_fixable, must_be_scanned, signed_by, provenance, builder, deny_licence }) => {
            let at = if moments.is_empty() { vec!["pull".to_owned(), "deploy".to_owned()] } else { moments };
            let body = json!({
                "repositories": repositories, "at": at, "block_severity": block, "only_fixable": only_fixable, "must_be_scanned": must_be_scanned,
                "signed_by": signed_by, "provenance_level": provenance, "builders": builder, "denied_licences": deny_licence,
            });
            changed(cx, &format!("{base}/policies/{}", segment(&name)), &body).await
        }
        Registry::Cache(command) => super::flow::cache(cx, &base, command).await,
        Registry::Target(command) => super::flow::target(cx, &base, command).await,
        Registry::Replication(command) => super::flow::replication(cx, &base, command).await,
        Registry::Scanner(command) => super::flow::scanner(cx, &base, command).await,
        Registry::Webhook(command) => super::flow::webhook(cx, &base, command).await,
        Registry::Allow { id, reason, until, package } => {
            changed(cx, &format!("{base}/allowances/{}", segment(&id)), &json!({ "reason": reason, "until": until, "package": package })).await
        }
        Registry::Disallow { id } => removed(cx, &format!("{base}/allowances/{}", segment(&id)), &format!("the allowance of {id}")).await,
    }
}

/// Says that it is so now; all settings are too long for that.
pub async fn changed(cx: &mut Context, path: &str, body: &Value) -> Result<()> {
    let settings = cx.client.put_new(path, body).await?;
    if cx.common.output == crate::args::Format::Table {
        cx.note("changed; `gantry registry settings` shows all");
        return Ok(());
    }
    cx.one(&settings)
}

pub async fn removed(cx: &mut Context, path: &str, what: &str) -> Result<()> {
    cx.client.delete(path).await?;
    cx.note(&format!("{what} is removed"));
    Ok(())
}

async fn retention(cx: &mut Context, base: &str, command: Retention) -> Result<()> {
    let read = |file: &std::path::Path| -> Result<Value> {
        serde_json::from_str(&files::text(file)?).map_err(|e| Failure::Usage(format!("{}: {e}", file.display())).into())
    };
    let plan = match command {
        Retention::Set { file } => return changed(cx, &format!("{base}/retention"), &read(&file)?).await,
        Retention::Simulate { file } => {
            let rules = match file {
                Some(file) => read(&file)?,
                None => {
                    let settings: Value = cx.client.get(&format!("{base}/settings"), &[]).await?;
                    settings["retention"].clone()
                }
            };
            cx.client.post(&format!("{base}/retention/simulate"), &[], &rules).await?
        }
        Retention::Run { yes } => {
            if !yes {
                return Err(Failure::Usage("this deletes images; look with `gantry registry retention simulate`, then add --yes".into()).into());
            }
            cx.client.post(&format!("{base}/retention/run"), &[], &json!({})).await?
        }
    };
    if cx.common.output != crate::args::Format::Table {
        return cx.one(&plan);
    }
    print(&format!("{} kept, {} removed", plan["kept"], plan["removed"]))?;
    let tags = plan["tags"].as_array().cloned().unwrap_or_default();
    cx.list(&tags, &[("REPOSITORY", "repository"), ("TAG", "tag"), ("KEEP", "keep"), ("WHY", "reason")])
}
