//! A node with a thousand instances falls silent: how long after its time-out all of them are placed elsewhere, for good.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::nodes::Nodes;
use super::{LIMIT, document, placed_since, quiet, seconds};
use crate::bench::cloud::{Cloud, until};

pub const SPACE: &str = "moved";
const INSTANCES: usize = 1_000;
const ZONE: &str = "lost";

/// Seconds beyond `timeout`, of each round.
pub async fn measure(cloud: &Cloud, nodes: &Nodes, rounds: usize, timeout: Duration) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for round in 0..rounds {
        all.push(once(cloud, nodes, round, timeout).await.with_context(|| format!("round {round}"))?);
    }
    Ok(all)
}

async fn once(cloud: &Cloud, nodes: &Nodes, round: usize, timeout: Duration) -> Result<f64> {
    let (app, before, there) = (format!("moved-{round}"), nodes.running(), cloud.known_nodes().await?);
    let lost = nodes.large(cloud, &format!("lost-{round}"), ZONE).await?;
    until("the node is known", LIMIT, async || Ok(cloud.known_nodes().await? > there)).await?;
    // Only there at first, and wherever there is room afterwards: a rule of the space moves nothing that stands.
    let rules = format!("{}/placement", Cloud::apps(SPACE).trim_end_matches("/apps"));
    let only = json!({"required": [{"attribute": "node.zone", "operator": "in", "values": [ZONE]}]});
    cloud.call(Method::PUT, &rules, Some(&only)).await?;
    cloud.deploy(SPACE, &app, "gantry", &document(&Cloud::image("moved"), 0, INSTANCES)).await?;
    let wanted = i64::try_from(INSTANCES)?;
    until("all of them run on the node", LIMIT, async || Ok(lost.running() == wanted)).await?;
    cloud.call(Method::PUT, &rules, Some(&Value::Object(serde_json::Map::new()))).await?;
    quiet(cloud).await?;
    ensure!(lost.running() == wanted, "{} of them are left on the node before it falls silent", lost.running());
    let position = cloud.host.log().head();
    let heard = lost.die().await?;
    let silent_since = seconds(cloud.running.env.now()) - heard.elapsed().as_secs_f64();
    until("all of them run elsewhere", LIMIT, async || Ok(nodes.running() == before + wanted)).await?;
    let (placed, last) = placed_since(cloud, position).await?;
    ensure!(placed >= wanted, "only {placed} were placed anew");
    cloud.delete(SPACE, &app).await?;
    until("they are gone", LIMIT, async || Ok(nodes.running() == before)).await?;
    quiet(cloud).await?;
    Ok(last - silent_since - timeout.as_secs_f64())
}
