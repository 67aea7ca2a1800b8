//! Services: found by name, and registered where they run elsewhere.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, confirm, segment};
use crate::args::{Format, Service};
use crate::failure::Failure;
use crate::output::{entry, print};
use crate::sse;

const COLUMNS: &[crate::output::Column] = &[
    ("NAME", "name"),
    ("APP", "app"),
    ("KIND", "kind"),
    ("ADDRESS", "address"),
    ("PORTS", "ports"),
    ("PROTOCOL", "protocol"),
    ("BALANCE", "balance"),
    ("INSTANCES", "instances"),
];

pub async fn run(cx: &mut Context, command: Service) -> Result<()> {
    let all = format!("{}/services", cx.space()?);
    match command {
        Service::List { name } => {
            let query: Vec<(&str, String)> = name.map(|name| ("name", name)).into_iter().collect();
            let items = cx.client.list(&all, &query, 1_000).await?;
            if cx.common.output != Format::Table {
                return cx.list(&items, &[]);
            }
            let rows: Vec<Value> = items.iter().map(row).collect();
            cx.list(&rows, COLUMNS)
        }
        Service::Show { name } => {
            let found = cx.client.list(&all, &[("name", name.clone())], 100).await?;
            match found.as_slice() {
                [] => Err(Failure::Usage(format!("nothing is called `{name}` in this space")).into()),
                [one] => cx.one(one),
                many if cx.common.output == Format::Table => cx.list(&many.iter().map(row).collect::<Vec<_>>(), COLUMNS),
                many => cx.list(many, &[]),
            }
        }
        Service::Watch { name, count } => watch(cx, &all, name, count).await,
        Service::Register { name, address, ports, reason } => {
            let body = json!({ "address": address, "ports": ports, "reason": reason.unwrap_or_default() });
            let done = cx.client.put_new(&format!("{all}/{}", segment(&name)), &body).await?;
            cx.note(&format!("{name} leads to {address}"));
            if cx.common.output == Format::Table { Ok(()) } else { cx.one(&done) }
        }
        Service::Deregister { name, yes } => {
            confirm(&format!("Take back the name {name} for what runs elsewhere"), yes)?;
            cx.client.delete(&format!("{all}/{}", segment(&name))).await
        }
    }
}

async fn watch(cx: &mut Context, all: &str, name: Option<String>, count: Option<u64>) -> Result<()> {
    let mut query = vec![("watch", "true".to_owned()), ("limit", "500".to_owned())];
    query.extend(name.map(|name| ("name", name)));
    let answer = cx.client.stream(all, &query).await?;
    let (format, mut left, mut known) = (cx.common.output, count, BTreeMap::new());
    sse::each(answer, |event| {
        let list: Value = serde_json::from_str(&event.data).unwrap_or_default();
        for (what, service) in news(&mut known, &list) {
            if left == Some(0) {
                return Ok(false);
            }
            if format == Format::Table {
                print(&line(what, &service))?
            } else {
                entry(format, &json!({ "what": what, "service": service }))?
            }
            left = left.map(|n| n - 1);
        }
        Ok(left != Some(0))
    })
    .await
}

/// What a list says that was not known: who came, who changed, who went.
fn news(known: &mut BTreeMap<String, Value>, list: &Value) -> Vec<(&'static str, Value)> {
    let of = |service: &Value| service["id"].as_str().unwrap_or_default().to_owned();
    let now: BTreeMap<String, Value> = list["items"].as_array().into_iter().flatten().map(|service| (of(service), service.clone())).collect();
    let mut out = Vec::new();
    for (id, service) in &now {
        match known.get(id) {
            None => out.push(("there", service.clone())),
            Some(before) if before != service => out.push(("changed", service.clone())),
            Some(_) => {}
        }
    }
    out.extend(known.iter().filter(|(id, _)| !now.contains_key(*id)).map(|(_, service)| ("gone", service.clone())));
    *known = now;
    out
}

fn line(what: &str, service: &Value) -> String {
    let row = row(service);
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let at: Vec<String> = service["instances"].as_array().into_iter().flatten().map(instance).collect();
    format!("{what} {}.{} {} {} {}", text("name"), text("app"), text("address"), text("ports"), at.join(" ")).trim_end().to_owned()
}

fn instance(of: &Value) -> String {
    format!("{}:{}", of["address"].as_str().unwrap_or_default(), of["port"])
}

/// As a line of a table.
fn row(of: &Value) -> Value {
    let ports: Vec<String> = of["ports"].as_array().into_iter().flatten().map(ToString::to_string).collect();
    let text = |field: &str| of[field].as_str().unwrap_or_default();
    // Of what runs elsewhere nobody knows how many there are.
    let instances = if text("kind") == "outside" { String::new() } else { of["instances"].as_array().map_or(0, Vec::len).to_string() };
    json!({
        "name": of["name"], "app": of["app"], "kind": of["kind"], "address": of["address"], "ports": ports.join(", "),
        "protocol": text("protocol"), "balance": text("balance"), "instances": instances,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(addresses: &[&str]) -> Value {
        let instances: Vec<Value> = addresses.iter().map(|a| json!({ "address": a, "port": 8080 })).collect();
        json!({
            "id": "1.web", "name": "web", "kind": "deployed", "app": "shop", "address": "web.shop", "ports": [80], "protocol": "http",
            "balance": "leastconn", "instances": instances,
        })
    }

    fn bank() -> Value {
        json!({
            "id": "2.bank", "name": "bank", "kind": "outside", "app": "bank", "address": "bank.example.org", "ports": [443, 8443], "protocol": null,
            "balance": "", "instances": [],
        })
    }

    #[test]
    fn a_service_is_a_line_with_how_many_answer_and_what_runs_elsewhere_with_where() {
        assert_eq!((&row(&web(&["10.0.0.1"]))["instances"], &row(&bank())["instances"]), (&json!("1"), &json!("")));
        assert_eq!((&row(&bank())["ports"], &row(&bank())["address"]), (&json!("443, 8443"), &json!("bank.example.org")));
        assert_eq!(line("there", &web(&["10.0.0.1", "10.0.0.2"])), "there web.shop web.shop 80 10.0.0.1:8080 10.0.0.2:8080");
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut known = BTreeMap::new();
        let mut told = |items: Vec<Value>| -> Vec<(&'static str, String)> {
            let all = news(&mut known, &json!({ "items": items }));
            all.into_iter().map(|(what, service)| (what, service["name"].as_str().unwrap().to_owned())).collect()
        };
        assert_eq!(told(vec![web(&[]), bank()]), [("there", "web".to_owned()), ("there", "bank".to_owned())]);
        assert!(told(vec![web(&[]), bank()]).is_empty());
        assert_eq!(told(vec![web(&["10.0.0.1"]), bank()]), [("changed", "web".to_owned())]);
        assert_eq!(told(vec![bank()]), [("gone", "web".to_owned())]);
    }
}
