//! An offering of the catalogue becomes an instance; an application uses it by its binding.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::demo::api::{items, text};
use crate::demo::image::Root;
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let offerings = story.api()?.get("/api/v1/offerings").await?;
    let redis = items(&offerings).iter().find(|o| text(o, "name") == "redis").with_context(|| format!("no offering `redis`: {offerings}"))?;
    let plan = redis["plans"][0]["name"].as_str().context("redis has no plan")?.to_owned();
    // The machine's own Redis, with the libraries it needs, as an image of the project.
    let root = Root::empty(story.files.path().join("redis/root"))?;
    root.busybox().await?;
    for program in ["/usr/bin/redis-server", "/usr/bin/redis-cli"] {
        root.program(program).await?;
    }
    let image = root.push(story, "redis:7", &["/bin/redis-server", "--bind", "0.0.0.0"]).await?;
    let instances = format!("{}/instances", story.space_path());
    let body = json!({ "offering": "redis", "plan": plan, "name": "cache", "parameters": { "image": image } });
    story.api()?.post(&instances, &body).await?;
    let ready = |instance: &Value| {
        let state = text(instance, "state");
        anyhow::ensure!(state != "failed", "provisioning failed: {instance}");
        Ok(matches!(state, "ready" | "running" | "succeeded" | "provisioned").then_some(()))
    };
    story.api()?.until("the Redis instance is ready", Duration::from_secs(120), &format!("{instances}/cache"), ready).await?;
    let binding = story.api()?.post(&format!("{instances}/cache/bindings"), &json!({ "name": "demo" })).await?;
    let credentials = &binding["credentials"];
    let (host, port, password) = (text(credentials, "host"), &credentials["port"], text(credentials, "password"));
    anyhow::ensure!(!host.is_empty() && !port.is_null(), "the binding has no host and port: {binding}");
    let (host, port) = (host.to_owned(), port.as_u64().map_or_else(|| port.as_str().unwrap_or_default().to_owned(), |p| p.to_string()));
    let set = cli(story, &host, &port, password, &["set", "greeting", "from-the-demo"]).await?;
    let got = cli(story, &host, &port, password, &["get", "greeting"]).await?;
    anyhow::ensure!(set.trim() == "OK" && got.trim() == "from-the-demo", "Redis answers {set:?} and {got:?}");
    Ok(format!("plan {plan} provisioned; through the binding at {host}:{port}: SET and GET answer"))
}

async fn cli(story: &Story, host: &str, port: &str, password: &str, args: &[&str]) -> Result<String> {
    let env = [("REDISCLI_AUTH", password)];
    crate::demo::tools::run("redis-cli", &[&["-h", host, "-p", port][..], args].concat(), story.files.path(), &env).await
}
