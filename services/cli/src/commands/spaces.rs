//! The clusters of a space, and signs of an intrusion in it.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, confirm, files, places, signs};
use crate::args::{Format, Space, SpaceClusters};
use crate::failure::Failure;

pub async fn run(cx: &mut Context, command: Space) -> Result<()> {
    match command {
        Space::Place(command) => places::run(cx, command, 3).await,
        Space::Clusters(command) => clusters(cx, command).await,
        Space::Signs { app, kind, node, open } => {
            let asked = [("app", app), ("sign", kind), ("node", node), ("open", open.then(|| "true".to_owned()))];
            let query: Vec<(&str, String)> = asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let path = format!("{}/signs", cx.space()?);
            let items = cx.client.list(&path, &query, 1_000).await?;
            cx.list(&items, signs::COLUMNS)
        }
    }
}

async fn clusters(cx: &mut Context, command: SpaceClusters) -> Result<()> {
    let path = format!("{}/clusters", cx.space()?);
    let answer: Value = match command {
        SpaceClusters::Show => cx.client.get(&path, &[]).await?,
        SpaceClusters::Set { file: Some(file), .. } => cx.client.put_new(&path, &files::settings(&file)?).await?,
        SpaceClusters::Set { on, policy, file: None } => {
            let members: Vec<Value> = on.iter().map(|text| member(text)).collect::<Result<_>>()?;
            cx.client.put_new(&path, &json!({ "policy": policy.word(), "clusters": members })).await?
        }
        SpaceClusters::Clear { yes } => {
            confirm("Run the space on nodes again, and on no cluster", yes)?;
            cx.client.put_new(&path, &json!({})).await?
        }
    };
    if cx.common.output != Format::Table {
        return cx.one(&answer);
    }
    cx.note(&match answer["policy"].as_str() {
        Some(policy) => format!("policy: {policy}"),
        None => "on nodes, or on the one cluster that is listed".to_owned(),
    });
    let rows: Vec<Value> = answer["clusters"].as_array().into_iter().flatten().map(row).collect();
    cx.list(&rows, &[("CLUSTER", "cluster"), ("WEIGHT", "weight"), ("PLACE", "place"), ("HEALTH", "health"), ("SINCE", "since"), ("OTHER THERE", "overrides")])
}

/// `east` or `east=3`
fn member(text: &str) -> Result<Value> {
    let Some((cluster, weight)) = text.split_once('=') else { return Ok(json!({ "cluster": text })) };
    let weight: u32 = weight.parse().map_err(|_| Failure::Usage(format!("--on {text}: the weight must be a number from 0 to 1000")))?;
    Ok(json!({ "cluster": cluster, "weight": weight }))
}

/// As a line of a table.
fn row(of: &Value) -> Value {
    let texts = |fields: &[&str]| fields.iter().filter_map(|f| of[*f].as_str().filter(|t| !t.is_empty())).collect::<Vec<_>>().join("/");
    let overrides = of["overrides"].as_object().into_iter().flatten();
    let set = overrides.filter(|(_, v)| v.as_object().is_some_and(|o| !o.is_empty()) || v.as_str().is_some_and(|t| !t.is_empty()));
    let names: Vec<&str> = set.map(|(k, _)| k.as_str()).collect();
    json!({
        "cluster": of["cluster"], "weight": of["weight"], "place": texts(&["region", "zone"]),
        "health": of["health"]["state"], "since": of["health"]["since"], "overrides": names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_typed_with_or_without_a_weight() {
        assert_eq!(member("east").unwrap(), json!({ "cluster": "east" }));
        assert_eq!(member("east=3").unwrap(), json!({ "cluster": "east", "weight": 3 }));
        assert!(member("east=x").unwrap_err().to_string().contains("0 to 1000"));
    }

    #[test]
    fn a_line_says_where_it_is_how_it_is_and_what_is_other() {
        let of = json!({ "cluster": "east", "weight": 1, "region": "eu", "zone": "a", "health": { "state": "lost", "since": "now" }, "overrides": { "env": { "A": "1" }, "storage_class": "" } });
        assert_eq!(row(&of), json!({ "cluster": "east", "weight": 1, "place": "eu/a", "health": "lost", "since": "now", "overrides": "env" }));
    }
}
