//! Use, bills, limits.

use anyhow::Result;
use serde_json::{Map, Value};

use super::{Context, path};
use crate::args::Quota;
use crate::failure::Failure;
use crate::output::print;

pub async fn usage(cx: &mut Context, from: Option<String>, to: Option<String>) -> Result<()> {
    let query: Vec<_> = [("from", from), ("to", to)].into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
    let used: Value = cx.client.get(&format!("{}/usage", cx.org()?), &query).await?;
    if cx.common.output != crate::args::Format::Table {
        return cx.one(&used);
    }
    print(&format!("{} to {}", used["from"].as_str().unwrap_or_default(), used["to"].as_str().unwrap_or_default()))?;
    let items = used["items"].as_array().cloned().unwrap_or_default();
    cx.list(&items, &[("PROJECT", "project_name|project"), ("WHAT", "holder_name|holder"), ("METER", "meter"), ("QUANTITY", "quantity")])
}

pub async fn invoice(cx: &mut Context, period: Option<String>, list: bool) -> Result<()> {
    let invoices = format!("{}/invoices", cx.org()?);
    if list {
        let items = cx.client.list(&invoices, &[], 1_000).await?;
        return cx.list(&items, &[("PERIOD", "period"), ("STATE", "state"), ("TOTAL", "total"), ("CURRENCY", "currency"), ("ISSUED", "issued_at")]);
    }
    let invoice: Value = cx.client.get(&format!("{invoices}/{}", period.as_deref().unwrap_or("current")), &[]).await?;
    if cx.common.output != crate::args::Format::Table {
        return cx.one(&invoice);
    }
    let text = |key: &str| invoice[key].as_str().unwrap_or_default().to_owned();
    print(&format!("{} ({}): {} {}", text("period"), text("state"), text("total"), text("currency")))?;
    let lines = invoice["lines"].as_array().cloned().unwrap_or_default();
    cx.list(
        &lines,
        &[
            ("PROJECT", "project_name|project"),
            ("WHAT", "holder_name|holder"),
            ("METER", "meter"),
            ("QUANTITY", "quantity"),
            ("PRICE", "price|unit_price"),
            ("AMOUNT", "amount"),
        ],
    )
}

pub async fn quota(cx: &mut Context, command: Quota) -> Result<()> {
    let names = cx.at(2).or_else(|_| cx.at(1))?;
    let quota = format!("{}/quota", path(&names));
    let seen: Value = cx.client.get(&quota, &[]).await?;
    let seen = match command {
        Quota::Get => seen,
        Quota::Set { limits } => {
            let known = seen["limits"].as_object().cloned().unwrap_or_default();
            let changed = with(known, &limits)?;
            cx.client.put(&quota, &changed, seen["version"].as_i64().unwrap_or(0)).await?
        }
    };
    if cx.common.output != crate::args::Format::Table {
        return cx.one(&seen);
    }
    let limits = seen["limits"].as_object().cloned().unwrap_or_default();
    let rows: Vec<Value> = limits.iter().map(|(name, limit)| serde_json::json!({ "name": name, "limit": limit, "used": seen["used"].get(name) })).collect();
    cx.list(&rows, &[("LIMIT", "name"), ("ALLOWED", "limit"), ("USED", "used")])
}

/// The limits with the given ones changed. The server replaces them as a whole.
fn with(mut limits: Map<String, Value>, words: &[String]) -> Result<Value> {
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| Failure::Usage(format!("{word}: must be LIMIT=VALUE")))?;
        if !limits.is_empty() && !limits.contains_key(name) {
            let known: Vec<&String> = limits.keys().collect();
            return Err(Failure::Usage(format!("there is no limit {name}; there are: {}", known.into_iter().cloned().collect::<Vec<_>>().join(", "))).into());
        }
        let value = match value {
            "none" => Value::Null,
            _ => amount(value).map(Value::from).ok_or_else(|| Failure::Usage(format!("{word}: must be a number, one with KiB, MiB, GiB or TiB, or none")))?,
        };
        limits.insert(name.to_owned(), value);
    }
    Ok(Value::Object(limits))
}

pub(super) fn amount(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    match units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift))) {
        Some((number, shift)) => number.parse::<u64>().ok()?.checked_mul(1 << shift),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_that_are_not_named_stay() {
        let known = json!({ "cpu_millis": 1000, "memory_bytes": null, "containers": 5 });
        let known = known.as_object().cloned().expect("an object");
        let seen = with(known.clone(), &["memory_bytes=2GiB".into(), "containers=none".into()]).expect("changed");
        assert_eq!(seen, json!({ "cpu_millis": 1000, "memory_bytes": 2_147_483_648_u64, "containers": null }));
        assert!(with(known.clone(), &["colour=1".into()]).is_err());
        assert!(with(known, &["cpu_millis=lots".into()]).is_err());
    }
}
