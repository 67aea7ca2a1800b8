//! Alerts of a space and the rules that make them.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, confirm, money, segment};
use crate::args::{Alert, AlertRule, Format, NewRule};
use crate::failure::Failure;
use crate::output::Column;

const ALERTS: &[Column] = &[("RULE", "rule"), ("SEVERITY", "severity"), ("STATE", "state"), ("AT", "at"), ("VALUE", "value"), ("INSTANCE", "instance")];
const RULES: &[Column] = &[
    ("NAME", "name"),
    ("APP", "app"),
    ("WORKLOAD", "workload"),
    ("FIGURE", "figure"),
    ("IS", "comparison"),
    ("THRESHOLD", "threshold"),
    ("FOR S", "for_seconds"),
    ("SEVERITY", "severity"),
    ("STATE", "state"),
    ("SINCE", "since"),
    ("VALUE", "value"),
];

pub async fn run(cx: &mut Context, command: Alert) -> Result<()> {
    let space = cx.space()?;
    match command {
        Alert::List { history, limit } => {
            let query: Vec<(&str, String)> = if history { vec![("history", "true".into())] } else { Vec::new() };
            let items = cx.client.list(&format!("{space}/alerts"), &query, limit).await?;
            cx.list(&items, ALERTS)
        }
        Alert::Rule(command) => rule(cx, &format!("{space}/alert-rules"), command).await,
    }
}

async fn rule(cx: &mut Context, rules: &str, command: AlertRule) -> Result<()> {
    let of = |name: &str| format!("{rules}/{}", segment(name));
    match command {
        AlertRule::List => {
            let items = cx.client.list(rules, &[], 1_000).await?;
            cx.list(&items, RULES)
        }
        AlertRule::Show { name } => {
            let rule: Value = cx.client.get(&of(&name), &[]).await?;
            cx.one(&rule)
        }
        AlertRule::Set(new) => {
            let set = cx.client.put_new(&of(&new.name), &body(&new)?).await?;
            if cx.common.output == Format::Table { cx.list(std::slice::from_ref(&set), RULES) } else { cx.one(&set) }
        }
        AlertRule::Delete { name, yes } => {
            confirm(&format!("Delete the alert rule {name}"), yes)?;
            cx.client.delete(&of(&name)).await
        }
    }
}

fn body(new: &NewRule) -> Result<Value> {
    let (comparison, text) = match (&new.above, &new.below) {
        (Some(above), _) => ("above", above),
        (None, Some(below)) => ("below", below),
        (None, None) => return Err(Failure::Usage("--above or --below says when it is an alert".to_owned()).into()),
    };
    Ok(json!({
        "app": new.app, "workload": new.workload, "figure": new.figure, "comparison": comparison, "threshold": threshold(text)?,
        "for_seconds": new.for_seconds, "severity": new.severity,
    }))
}

/// `0.8`, or `512MiB`.
fn threshold(text: &str) -> Result<f64> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
    let fault = || Failure::Usage(format!("{text}: must be a number, or one with KiB, MiB or GiB"));
    Ok(number.or_else(|| money::amount(text).map(|bytes| bytes as f64)).ok_or_else(fault)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_numbers_or_amounts() {
        assert_eq!(threshold("0.8").unwrap(), 0.8);
        assert_eq!(threshold("2KiB").unwrap(), 2048.0);
        assert!(threshold("much").is_err() && threshold("inf").is_err());
    }
}
