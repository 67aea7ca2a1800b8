//! What other placement rules would do: which nodes they allow, and which instances stand where they would not come to.

use std::collections::{BTreeMap, BTreeSet};

use gantry_auth::SpaceRef;
use gantry_contract::scheduler::PlacementEvent;
use gantry_es::EventData;
use gantry_kernel::{AppId, Name, Problem, Uuid};
use gantry_planner::{Cluster, Hints, Obstacle, Spec};

use super::bodies::ChangePreview;
use crate::app::Scheduler;
use crate::app::deploy::{database, json_diff};
use crate::domain::engine::Facts;
use crate::domain::model::Workload;
use crate::domain::placement::{self, NodeSettings, SpaceRules, Standing};
use crate::store;

/// `before`: none if they cannot be read.
///
/// # Errors
/// When the database refuses.
pub async fn of_rules(s: &Scheduler, space: &SpaceRef, before: Option<&SpaceRules>, rules: &SpaceRules) -> Result<ChangePreview, Problem> {
    let mut out = ChangePreview::default();
    if before == Some(rules) {
        return Ok(out);
    }
    out.changed = true;
    let text = |rules: &SpaceRules| serde_json::to_value(rules).map_err(Problem::internal);
    let event = PlacementEvent::Changed { space: space.id, org: space.org().id, rules: text(rules)? };
    out.events.push(event.encode().kind);
    out.diff = json_diff(&text(before.unwrap_or(&SpaceRules::default()))?, &text(rules)?);
    let places =
        |rules: &SpaceRules| rules.cluster.iter().cloned().chain(rules.clusters.iter().flat_map(|f| f.names()).map(str::to_owned)).collect::<BTreeSet<_>>();
    if before.is_none_or(|b| places(b) != places(rules)) {
        let to: Vec<String> = places(rules).into_iter().collect();
        out.notes.push(if to.is_empty() {
            "all of its workloads run on nodes then".into()
        } else {
            format!("all of its workloads run on {} then", to.join(", "))
        });
    }
    if rules.on_clusters() {
        return Ok(out);
    }
    let policy = s.config.placement;
    let mut cluster = Cluster::new();
    for row in store::nodes(s.orm()).await.map_err(database)? {
        let (Ok(name), Ok(facts)) = (Name::parse(&row.name), serde_json::from_value::<Facts>(row.facts)) else { continue };
        let Ok(settings) = serde_json::from_value::<NodeSettings>(row.settings) else { continue };
        cluster.set_node(&placement::node(&name, &facts, &settings, &policy, !row.lost, row.cordoned));
    }
    let path = space.path();
    let standing = Standing { app: AppId(Uuid::nil()), app_name: "", org: "", space: &path, revision: 0 };
    let any = Name::parse("any").map_err(|e| Problem::internal(anyhow::anyhow!("{e}")))?;
    // A workload that asks for nothing: what is in its way are the rules alone, and the state of the nodes.
    let formulas = placement::compiled(&rules.expressions).map_err(|fault| Problem::invalid("expressions", fault.to_string()))?;
    let group = cluster.set_group(&Spec { formulas, ..placement::group(&standing, &any, &Workload::default(), &policy, rules) });
    let found = cluster.explain(group, &placement::weights(&policy, rules), &Hints::default());
    out.nodes = placement::verdict(&cluster, &found).findings;
    let mut there: BTreeMap<String, u32> = BTreeMap::new();
    for instance in store::alive_in(s.orm(), space.id).await.map_err(database)? {
        *there.entry(instance.node).or_default() += 1;
    }
    for finding in found {
        let ruled_out = finding.obstacles.iter().any(|o| !matches!(o, Obstacle::Absent | Obstacle::Cordoned));
        let node = cluster.node_name(finding.node);
        if let Some(instances) = there.get(node).filter(|_| ruled_out) {
            out.notes.push(format!("instances on {node}, where the rules would bring none: {instances}; they stay"));
        }
    }
    Ok(out)
}
