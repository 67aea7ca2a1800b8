//! What an operator does with logs and projections, beside or without the running services.

use anyhow::{Context, Result, bail};
use gantry_es::Meta;
use gantry_host::{Entry, Platform, Running};

type Entries = [Box<dyn Entry>];

fn find<'a>(entries: &'a Entries, name: &str) -> Result<&'a dyn Entry> {
    entries.iter().find(|e| e.name() == name).map(|e| &**e).with_context(|| format!("there is no service `{name}`"))
}

pub fn openapi(entries: &Entries, service: &str) -> Result<()> {
    println!("{}", find(entries, service)?.openapi().to_pretty_json()?);
    Ok(())
}

pub fn print_config(platform: &Platform, entries: &Entries) -> Result<()> {
    let mut all = toml::Table::new();
    all.insert("platform".into(), toml::Value::try_from(platform)?);
    for entry in entries {
        all.insert(entry.name().into(), entry.print()?);
    }
    print!("{}", toml::to_string(&all)?);
    Ok(())
}

pub async fn verify_log(entries: &Entries, running: &Running, service: Option<&str>) -> Result<()> {
    let mut faulty = false;
    for entry in entries.iter().filter(|e| service.is_none_or(|s| s == e.name())) {
        // The agent and the gateway have no log.
        let Ok(log) = entry.administer(running).await else {
            if service.is_some() {
                bail!("{} has no event log, or its database cannot be reached", entry.name());
            }
            continue;
        };
        let verdict = gantry_es_pg::verify(&log).await?;
        println!("{}: {} events, head {}", entry.name(), verdict.events, verdict.head_hash);
        for fault in &verdict.faults {
            println!("  {}", serde_json::to_string(fault)?);
        }
        faulty |= !verdict.faults.is_empty();
    }
    if faulty { bail!("the event log was changed outside the platform") } else { Ok(()) }
}

pub async fn projections(entries: &Entries, running: &Running, service: &str) -> Result<()> {
    let log = find(entries, service)?.administer(running).await?;
    for checkpoint in gantry_es_pg::checkpoints(log.db()).await? {
        println!("{}", serde_json::to_string(&checkpoint)?);
    }
    Ok(())
}

pub async fn skip_event(entries: &Entries, running: &Running, service: &str, projection: &str, position: i64) -> Result<()> {
    let log = find(entries, service)?.administer(running).await?;
    gantry_es_pg::skip(&log, projection, position, Meta { actor: "operator".into(), ..Meta::system() }).await?;
    println!("{service}: {projection} passes over position {position}");
    Ok(())
}
