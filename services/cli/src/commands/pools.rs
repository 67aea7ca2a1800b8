//! Pools of public addresses.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, confirm, segment};
use crate::args::{Format, Pool};

pub async fn run(cx: &mut Context, command: Pool) -> Result<()> {
    let of = |name: &str| format!("/api/v1/address-pools/{}", segment(name));
    match command {
        Pool::List => {
            let items = cx.client.list("/api/v1/address-pools", &[], 1_000).await?;
            if cx.common.output != Format::Table {
                return cx.list(&items, &[]);
            }
            let rows: Vec<Value> = items.iter().map(row).collect();
            cx.list(&rows, &[("NAME", "name"), ("ADDRESSES", "addresses"), ("ORGS", "orgs"), ("FREE", "free"), ("TAKEN", "taken")])
        }
        Pool::Set { name, addresses, orgs } => {
            let set = cx.client.put_new(&of(&name), &json!({ "addresses": addresses, "orgs": orgs })).await?;
            cx.one(&set)
        }
        Pool::Delete { name, yes } => {
            confirm(&format!("Delete the address pool {name}"), yes)?;
            cx.client.delete(&of(&name)).await
        }
    }
}

/// As a line of a table.
fn row(of: &Value) -> Value {
    let texts = |list: &Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let claim = |c: &Value| {
        let [address, app, node] = ["address", "app", "node"].map(|field| c[field].as_str().unwrap_or_default());
        if node.is_empty() { format!("{address} {app}") } else { format!("{address} {app} on {node}") }
    };
    let taken: Vec<String> = of["claims"].as_array().into_iter().flatten().map(claim).collect();
    json!({
        "name": of["name"], "addresses": texts(&of["addresses"]), "orgs": texts(&of["orgs"]),
        "free": format!("{}/{}", of["free"], of["size"]), "taken": taken.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_a_line_with_who_has_what() {
        let pool = json!({
            "name": "office", "addresses": ["203.0.113.0/30", "198.51.100.7"], "orgs": [], "size": 5, "free": 3,
            "claims": [{ "address": "203.0.113.0", "app": "acme/shop/test/web", "node": "n2" }, { "address": "203.0.113.1", "app": "acme/shop/test/db", "node": null }],
        });
        let row = row(&pool);
        assert_eq!((&row["addresses"], &row["free"]), (&json!("203.0.113.0/30, 198.51.100.7"), &json!("3/5")));
        assert_eq!(row["taken"], "203.0.113.0 acme/shop/test/web on n2, 203.0.113.1 acme/shop/test/db");
    }
}
