//! Which services there are.

use anyhow::{Result, bail};
use gantry_host::{Entry, entry};

/// In the order they start: who is asked comes before who asks.
pub fn all() -> Vec<Box<dyn Entry>> {
    vec![
        entry::<gantry_identity::Identity>(),
        entry::<gantry_registry::Registry>(),
        entry::<gantry_billing::Billing>(),
        entry::<gantry_scheduler::Scheduler>(),
        entry::<gantry_cicd::Cicd>(),
        entry::<gantry_catalog::Catalog>(),
        entry::<gantry_monitoring::Monitoring>(),
        entry::<gantry_agent::Agent>(),
        entry::<gantry_gateway::Gateway>(),
    ]
}

/// The ones that `target` names.
pub fn chosen(entries: Vec<Box<dyn Entry>>, target: &str) -> Result<Vec<Box<dyn Entry>>> {
    if target == "all" {
        return Ok(entries);
    }
    let names: Vec<&str> = target.split(',').map(str::trim).collect();
    if let Some(unknown) = names.iter().find(|n| !entries.iter().any(|e| e.name() == **n)) {
        let known: Vec<_> = entries.iter().map(|e| e.name()).collect();
        bail!("there is no service `{unknown}`; known are all, {}", known.join(", "));
    }
    Ok(entries.into_iter().filter(|e| names.contains(&e.name())).collect())
}
