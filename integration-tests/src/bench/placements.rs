//! Placements that last: the real scheduler on durable servers, thousands of nodes that pretend to run what they are told and
//! acknowledge it, and fifty thousand instances of fifty applications. From the first application's deployment to the last instance's
//! event in the log, and to the last acknowledgement; then one node with a thousand instances falls silent.

mod moved;
mod nodes;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use gantry_scheduler::Config;
use gantry_testkit::neighbours::Digests;

use self::nodes::Nodes;
use crate::bench::Options;
use crate::bench::cloud::{Cloud, until};
use crate::bench::figure::Figure;
use crate::bench::results::Figures;

pub const FIGURES: &[&str] = &["placements", "placements-acknowledged", "replacements"];

const SPACE: &str = "load";
/// The most that one workload may have.
const REPLICAS: usize = 1_000;
/// Deployments under way at once.
const AT_ONCE: usize = 8;
/// More patience than any result worth reading needs.
const LIMIT: Duration = Duration::from_secs(30 * 60);
const GOAL: f64 = 5_000.0;

/// What one round saw, in instances per second.
struct Rates {
    placed: f64,
    acknowledged: f64,
}

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    ensure!(options.nodes > 0 && options.instances > 0, "--nodes and --instances must be more than 0");
    let mut config = Config::default();
    // Moving instances to nodes that have just come is another measurement.
    config.placement.rebalance_moves = 0;
    let timeout = config.node_timeout();
    let cloud = Cloud::start(config, Digests::default(), &[SPACE, moved::SPACE])?;
    let mut figures = Figures::default();
    let wants = |figure| options.wants("placements", figure);
    cloud.run(async {
        let nodes = Nodes::join(&cloud, options.nodes).await?;
        until("all nodes are known", LIMIT, async || Ok(cloud.known_nodes().await? >= options.nodes)).await?;
        quiet(&cloud).await?;
        let moves = wants("replacements");
        let counted = wants("placements") || wants("placements-acknowledged");
        let rounds = if counted { options.rounds } else { 1 };
        let mut rates = Vec::new();
        for round in 0..rounds {
            rates.push(place(&cloud, &nodes, options.instances, round).await?);
            // Those of the last round stay: instances are never moved on an empty cluster.
            if round + 1 < rounds || !moves {
                clear(&cloud, &nodes, options.instances, round).await?;
            }
        }
        if wants("placements") {
            figures.push(Figure::at_least("placements", "durable placements/s", rates.iter().map(|r| r.placed).collect(), GOAL));
        }
        if wants("placements-acknowledged") {
            let acknowledged = rates.iter().map(|r| r.acknowledged).collect();
            figures.push(Figure::at_least("placements-acknowledged", "durable placements/s, each acknowledged by its node", acknowledged, GOAL));
        }
        if moves {
            let rounds = moved::measure(&cloud, &nodes, options.rounds, timeout).await?;
            figures.push(Figure::at_most("replacements", "s beyond the node's time-out until 1,000 instances are placed anew", rounds, 1.0));
        }
        anyhow::Ok(())
    })?;
    figures.all()
}

fn app(round: usize, n: usize) -> String {
    format!("load-{round}-{n}")
}

/// How many instances each application has: a thousand, and what is left over.
fn shares(instances: usize) -> Vec<usize> {
    (0..instances.div_ceil(REPLICAS)).map(|n| REPLICAS.min(instances - n * REPLICAS)).collect()
}

/// An application without ports, which differs from the others in what it asks for.
pub fn document(image: &str, n: usize, replicas: usize) -> String {
    let millis = 50 + 10 * (n % 10);
    format!(
        "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: load}}\nspec:\n  workloads:\n    web: {{image: '{image}', replicas: {replicas}, \
         requests: {{cpu_millis: {millis}, memory_bytes: 67108864}}}}\n"
    )
}

async fn place(cloud: &Cloud, nodes: &Nodes, instances: usize, round: usize) -> Result<Rates> {
    let position = cloud.host.log().head();
    let (began, clock) = (Instant::now(), cloud.running.env.now());
    let deployed = stream::iter(shares(instances).into_iter().enumerate().map(|(n, replicas)| async move {
        let document = document(&Cloud::image(&format!("load{n}")), n, replicas);
        cloud.deploy(SPACE, &app(round, n), "gantry", &document).await
    }));
    let all = async {
        deployed.buffer_unordered(AT_ONCE).try_collect::<Vec<u64>>().await?;
        anyhow::Ok(())
    };
    let wanted = i64::try_from(instances)?;
    let acknowledged = async {
        until("all instances are acknowledged", LIMIT, async || Ok(nodes.running() == wanted)).await?;
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    let ((), acknowledged) = tokio::try_join!(all, acknowledged)?;
    let (placed, last) = placed_since(cloud, position).await?;
    ensure!(placed >= wanted, "{placed} placements are in the log, {wanted} instances run");
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let count = wanted as f64;
    let lasted = last - seconds(clock);
    eprintln!("bench: {instances} instances placed after {lasted:.2} s, acknowledged after {acknowledged:.2} s");
    Ok(Rates { placed: count / lasted, acknowledged: count / acknowledged })
}

/// Deletes what a round placed, and waits until nothing of it runs.
async fn clear(cloud: &Cloud, nodes: &Nodes, instances: usize, round: usize) -> Result<()> {
    let deleted = stream::iter((0..shares(instances).len()).map(|n| async move { cloud.delete(SPACE, &app(round, n)).await }));
    deleted.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    until("nothing runs any more", LIMIT, async || Ok(nodes.running() == 0)).await?;
    quiet(cloud).await
}

/// Waits until nothing has been written for a second.
pub async fn quiet(cloud: &Cloud) -> Result<()> {
    let (mut head, mut since) = (cloud.host.log().head(), Instant::now());
    until("nothing is written any more", LIMIT, async || {
        let now = cloud.host.log().head();
        if now != head {
            (head, since) = (now, Instant::now());
        }
        Ok(since.elapsed() > Duration::from_secs(1))
    })
    .await
}

/// How many placements were written after this position of the log, and when the last was, in seconds since 1970.
pub async fn placed_since(cloud: &Cloud, position: i64) -> Result<(i64, f64)> {
    let sql = "select count(*), extract(epoch from max(at))::float8 from events where position > $1 and kind = 'instance.placed'";
    let (count, last): (i64, Option<f64>) = sqlx::query_as(sql).bind(position).fetch_one(&cloud.host.db().admin).await?;
    Ok((count, last.context("nothing was placed")?))
}

/// Of the clock that events are written by: seconds since 1970.
#[allow(clippy::cast_precision_loss, reason = "microseconds are exact enough")]
pub fn seconds(at: gantry_kernel::OffsetDateTime) -> f64 {
    at.unix_timestamp_nanos() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_all_of_them_and_none_is_too_large() {
        assert_eq!(shares(2_500), [1_000, 1_000, 500]);
        assert_eq!(shares(50_000).len(), 50);
        assert_eq!(shares(7), [7]);
    }
}
