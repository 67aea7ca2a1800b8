//! Ready-made services: offerings, instances, bindings.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::progress::{Progress, Seen};
use super::{Context, confirm, pairs, segment};
use crate::args::Catalog;
use crate::failure::Failure;
use crate::output::find;

pub async fn run(cx: &mut Context, command: Catalog) -> Result<()> {
    if let Catalog::List = command {
        let items = cx.client.list("/api/v1/offerings", &[], 1_000).await?;
        return cx.list(&items, &[("OFFERING", "name"), ("PLANS", "plans"), ("DESCRIPTION", "description")]);
    }
    let instances = format!("{}/instances", cx.space()?);
    let of = |name: &str| format!("{instances}/{}", segment(name));
    match command {
        Catalog::List => Ok(()),
        Catalog::Instances => {
            let items = cx.client.list(&instances, &[], 10_000).await?;
            cx.list(&items, &[("NAME", "name"), ("OFFERING", "offering"), ("PLAN", "plan"), ("STATE", "state"), ("CREATED", "created_at")])
        }
        Catalog::Create { offering, name, plan, parameters, no_wait } => {
            let plan = match plan {
                Some(plan) => plan,
                None => first_plan(cx, &offering).await?,
            };
            let body = json!({ "offering": offering, "plan": plan, "name": name, "parameters": pairs(&parameters)? });
            let made = cx.client.post(&instances, &[], &body).await?;
            if no_wait || cx.common.output != crate::args::Format::Table {
                return cx.one(&made);
            }
            wait(cx, &of(&name)).await?;
            cx.note(&format!("{name} is ready; `gantry catalog bind {name} NAME` gives credentials"));
            Ok(())
        }
        Catalog::Show { name } => {
            let instance: Value = cx.client.get(&of(&name), &[]).await?;
            cx.one(&instance)
        }
        Catalog::Delete { name, yes } => {
            confirm(&format!("Delete {name} and its data"), yes)?;
            cx.client.delete(&of(&name)).await?;
            cx.note(&format!("{name} is deleted"));
            Ok(())
        }
        Catalog::Bind { instance, name, secret } => {
            let binding = cx.client.post(&format!("{}/bindings", of(&instance)), &[], &json!({ "name": name })).await?;
            let Some(secret) = secret else { return cx.one(&binding) };
            let body = json!({ "secret": true, "entries": entries(&binding["credentials"]), "reason": format!("credentials of {instance}") });
            cx.client.put_new(&format!("{}/configs/{}", cx.space()?, segment(&secret)), &body).await?;
            cx.note(&format!("the credentials are kept as the secret {secret}: {}", keys(&binding["credentials"])));
            Ok(())
        }
        Catalog::Unbind { instance, name } => cx.client.delete(&format!("{}/bindings/{}", of(&instance), segment(&name))).await,
    }
}

/// A text for each, as secrets have it.
fn entries(credentials: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let all = credentials.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    all.map(|(key, value)| (key.clone(), text(value))).collect()
}

fn keys(credentials: &Value) -> String {
    entries(credentials).into_keys().collect::<Vec<_>>().join(", ")
}

async fn first_plan(cx: &mut Context, offering: &str) -> Result<String> {
    let offerings = cx.client.list("/api/v1/offerings", &[], 1_000).await?;
    let known = || offerings.iter().filter_map(|o| o["name"].as_str()).collect::<Vec<_>>().join(", ");
    let found = offerings.iter().find(|o| o["name"] == offering);
    let found = found.ok_or_else(|| Failure::Usage(format!("there is no offering {offering}; there are: {}", known())))?;
    let plans: Vec<&str> = found["plans"].as_array().into_iter().flatten().filter_map(|p| p["name"].as_str().or(p.as_str())).collect();
    match plans[..] {
        [only] => Ok(only.to_owned()),
        _ => Err(Failure::Usage(format!("which plan? say --plan; there are: {}", plans.join(", "))).into()),
    }
}

async fn wait(cx: &mut Context, instance: &str) -> Result<()> {
    let mut progress = Progress::new(Duration::from_secs(600))?;
    loop {
        let seen: Value = cx.client.get(instance, &[]).await?;
        let state = find(&seen, "state").as_str().unwrap_or("unknown").to_owned();
        if state.contains("fail") {
            bail!("it {state}: {}", find(&seen, "reason|detail|message").as_str().unwrap_or("no reason given"));
        }
        let finished = matches!(state.as_str(), "ready" | "succeeded" | "available" | "running");
        if progress.step(Seen { done: u64::from(finished), of: 1, text: state, finished }).await? {
            return Ok(());
        }
    }
}
