//! Use, bills, limits.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Context, confirm, path, segment};
use crate::args::Quota;
use crate::failure::Failure;
use crate::output::print;

pub async fn usage(cx: &mut Context, from: Option<String>, to: Option<String>, project: bool) -> Result<()> {
    let query: Vec<_> = [("from", from), ("to", to)].into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
    let of = if project { cx.project()? } else { cx.org()? };
    let used: Value = cx.client.get(&format!("{of}/usage"), &query).await?;
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

pub async fn void(cx: &mut Context, period: &str, reason: &str, yes: bool) -> Result<()> {
    let invoice = format!("{}/invoices/{}", cx.org()?, segment(period));
    confirm(&format!("Withdraw the bill of {period}"), yes)?;
    let after = cx.client.post(&format!("{invoice}/void"), &[], &json!({ "reason": reason })).await?;
    cx.note(&format!("the bill of {period} is withdrawn; it is issued anew"));
    if cx.common.output == crate::args::Format::Table { Ok(()) } else { cx.one(&after) }
}

/// Where the limits are of a person, or of the place to work in.
async fn limits_of(cx: &mut Context, user: Option<String>) -> Result<String> {
    match user {
        Some(user) => {
            // Limits are kept by id; people type names.
            let found: Value = cx.client.get(&format!("/api/v1/users/{}", segment(&user)), &[]).await?;
            Ok(format!("/api/v1/users/{}/quota", found["id"].as_str().unwrap_or_default()))
        }
        None => {
            let names = cx.at(2).or_else(|_| cx.at(1))?;
            Ok(format!("{}/quota", path(&names)))
        }
    }
}

pub async fn quota(cx: &mut Context, command: Quota) -> Result<()> {
    let (user, wanted) = match command {
        Quota::Get { user } => (user, None),
        Quota::Set { limits, user } => (user, Some(limits)),
    };
    let quota = limits_of(cx, user).await?;
    let seen: Value = cx.client.get(&quota, &[]).await?;
    let seen = match wanted {
        None => seen,
        Some(limits) => {
            let known = seen["limits"].as_object().cloned().unwrap_or_default();
            let changed = with(known, &limits)?;
            cx.client.put(&quota, &changed, seen["version"].as_i64().unwrap_or(0)).await?
        }
    };
    if cx.common.output != crate::args::Format::Table {
        return cx.one(&seen);
    }
    let limits = seen["limits"].as_object().cloned().unwrap_or_default();
    let rows: Vec<Value> = limits.iter().map(|(name, limit)| json!({ "name": name, "limit": limit, "used": seen["used"].get(name) })).collect();
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
