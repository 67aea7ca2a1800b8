//! Asks the metrics servers of Kubernetes clusters what instances and nodes use, while this process decides: one list of each in a
//! quarter of a minute, less often while a cluster does not answer. A cluster without one is not asked; a test of it says so.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gantry_kernel::AppId;
use gantry_kubernetes::{SCOPE, Trouble, usage};
use tokio::time::Instant;

use crate::adapters::clusters::Running;
use crate::app::Scheduler;
use crate::app::cluster_usage::{Labels, Look};
use crate::domain::cluster::node_name;
use crate::store;

/// As often as metrics servers look themselves.
const PERIOD: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// For both lists of one cluster.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a cluster is to be asked again, and how long it is left alone after its next failure.
struct Next {
    at: Instant,
    pause: Duration,
}

/// Runs until shutdown.
pub async fn run(s: Scheduler) {
    let mut next: BTreeMap<String, Next> = BTreeMap::new();
    let mut names: HashMap<AppId, Labels> = HashMap::new();
    let mut changes = s.clusters.changes();
    while !s.host.cancel.is_cancelled() {
        let has = |one: &Running| one.engine.connection().found.is_some_and(|f| f.capabilities.metrics);
        let clusters: Vec<(String, Running)> = s.clusters.all().into_iter().filter(|(_, one)| has(one)).collect();
        let there: Vec<String> = clusters.iter().map(|(name, _)| name.clone()).collect();
        s.usage.only(&there);
        next.retain(|name, _| there.contains(name));
        for (name, one) in clusters {
            let now = Instant::now();
            if next.get(&name).is_some_and(|n| n.at > now) {
                continue;
            }
            let asked = tokio::time::timeout(PATIENCE, look(&s, &name, &one, &mut names)).await;
            let failed = match asked {
                Ok(Ok(look)) => {
                    s.usage.seen(&name, look, now);
                    None
                }
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(_) => Some("no answer in time".to_owned()),
            };
            let before = next.get(&name).map_or(PERIOD, |n| n.pause);
            let after = match failed {
                None => Next { at: now + PERIOD, pause: PERIOD },
                Some(why) => {
                    // Told once, when it begins.
                    if before == PERIOD {
                        tracing::warn!(cluster.name = name, error = why, "what a cluster's instances use cannot be read now and will be tried again");
                    }
                    s.usage.lost(&name);
                    let pause = (before * 2).min(LONGEST_PAUSE);
                    Next { at: now + pause, pause }
                }
            };
            next.insert(name, after);
        }
        let due = next.values().map(|n| n.at).min().unwrap_or_else(|| Instant::now() + PERIOD);
        tokio::select! {
            () = s.host.cancel.cancelled() => return,
            () = tokio::time::sleep_until(due) => {}
            // A cluster is new, or has been looked at for the first time: not more often than a second.
            _ = changes.changed() => tokio::time::sleep(Duration::from_secs(1)).await,
        }
        changes.mark_unchanged();
    }
}

async fn look(s: &Scheduler, cluster: &str, one: &Running, names: &mut HashMap<AppId, Labels>) -> anyhow::Result<Look> {
    let client = one.engine.client();
    let pods = usage::pods(client, &format!("{SCOPE}={}", one.scope)).await?;
    let nodes = match usage::nodes(client).await {
        Ok(nodes) => nodes,
        // Of those who may see their own pods and no nodes.
        Err(Trouble::Forbidden(_)) => Vec::new(),
        Err(trouble) => return Err(trouble.into()),
    };
    let mut known = HashMap::new();
    one.engine.each_pod(|pod| {
        let (Ok(app), Some(node)) = (pod.owner.parse::<AppId>(), node_name(cluster, &pod.node)) else { return };
        known.insert((pod.namespace.clone(), pod.name.clone()), (app, node, pod.workload.clone(), pod.uid.clone()));
    });
    let mut look = Look::default();
    for pod in pods {
        let Some((app, node, workload, uid)) = known.remove(&(pod.namespace, pod.name)) else { continue };
        if !names.contains_key(&app)
            && let Some(row) = store::app_by_id(s.orm(), app).await?
        {
            names.insert(app, vec![("org", row.org_name), ("project", row.project_name), ("space", row.space_name), ("app", row.name)]);
        }
        let Some(of) = names.get(&app) else { continue };
        for (container, used) in pod.containers {
            let mut labels = vec![("node", node.to_string())];
            labels.extend(of.iter().cloned());
            labels.extend([("workload", workload.clone()), ("instance", uid.clone()), ("container", container)]);
            look.containers.push((labels, used));
        }
    }
    look.nodes = nodes.into_iter().filter_map(|n| Some((node_name(cluster, &n.name)?.to_string(), n.used, n.capacity))).collect();
    Ok(look)
}
