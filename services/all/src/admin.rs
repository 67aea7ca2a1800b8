//! What an operator does with logs and projections, beside or without the running services.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use gantry_es::Meta;
use gantry_host::{Entry, Platform, Running};

use crate::args::{Admin, Join};

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

/// What a joined machine's agent needs is in the authority's folder afterwards.
pub async fn join(platform: &Platform, asked: &Join) -> Result<()> {
    let ca = asked.ca.as_ref().map(|file| std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))).transpose()?;
    let file = gantry_agent::join(&std::path::absolute(&platform.ca_dir)?, &asked.url, &asked.node, &asked.token, ca.as_deref()).await?;
    println!("{} has joined; its certificate is {}, and is renewed by the agent: start `gantryd --target agent`", asked.node, file.display());
    Ok(())
}

pub async fn run(entries: &Entries, running: &Running, command: Admin) -> Result<()> {
    match command {
        Admin::VerifyLog { service } => verify_log(entries, running, service.as_deref()).await,
        Admin::Projections { service } => projections(entries, running, &service).await,
        Admin::Rebuild { service, projection, no_wait } => rebuild(entries, running, &service, &projection, !no_wait).await,
        Admin::SkipEvent { service, projection, position } => skip_event(entries, running, &service, &projection, position).await,
    }
}

async fn verify_log(entries: &Entries, running: &Running, service: Option<&str>) -> Result<()> {
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

async fn projections(entries: &Entries, running: &Running, service: &str) -> Result<()> {
    let log = find(entries, service)?.administer(running).await?;
    for checkpoint in gantry_es_pg::checkpoints(log.db()).await? {
        println!("{}", serde_json::to_string(&checkpoint)?);
    }
    Ok(())
}

async fn skip_event(entries: &Entries, running: &Running, service: &str, projection: &str, position: i64) -> Result<()> {
    let log = find(entries, service)?.administer(running).await?;
    gantry_es_pg::skip(&log, projection, position, operator()).await?;
    println!("{service}: {projection} passes over position {position}");
    Ok(())
}

async fn rebuild(entries: &Entries, running: &Running, service: &str, projection: &str, wait: bool) -> Result<()> {
    let log = find(entries, service)?.administer(running).await?;
    gantry_es_pg::request_rebuild(&log, projection, operator()).await?;
    println!("{service}: {projection} is to be built anew; the live tables serve until then");
    if !wait {
        return Ok(());
    }
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let checkpoints = gantry_es_pg::checkpoints(log.db()).await?;
        let checkpoint = checkpoints.into_iter().find(|c| c.name == projection).context("the projection is gone")?;
        if let Some(error) = checkpoint.rebuild_error {
            bail!("it could not be built anew, and the tables before it stand: {error}");
        }
        if checkpoint.rebuild_since.is_none() {
            println!("{service}: {projection} was built anew up to position {}", checkpoint.position);
            return Ok(());
        }
    }
}

fn operator() -> Meta {
    Meta { actor: "operator".into(), ..Meta::system() }
}
