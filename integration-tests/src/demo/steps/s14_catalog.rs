//! An offering of the catalogue becomes an instance; an application uses it by its binding.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::demo::api::{items, text};
use crate::demo::image::Root;
use crate::demo::story::Story;

const KEY: &str = "greeting";
const VALUE: &str = "from-the-demo";

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
    let password = text(credentials, "password");
    let (host, port) = address(credentials, "")?;
    let said = from_the_application(story, &host, &port, password).await?;
    anyhow::ensure!(said.matches("+OK").count() >= 2 && said.contains(VALUE), "Redis answers the application: {said:?}");
    let (outside, outer_port) = address(credentials, "external_")?;
    let got = cli(story, &outside, &outer_port, password, &["get", KEY]).await?;
    anyhow::ensure!(got.trim() == VALUE, "Redis answers {got:?} at {outside}:{outer_port}");
    Ok(format!("plan {plan} provisioned; {} set a value at {host}:{port} and it is read at {outside}:{outer_port}", story.app))
}

/// `host` and `port`, or those from outside.
fn address(credentials: &Value, which: &str) -> Result<(String, String)> {
    let (host, port) = (text(credentials, &format!("{which}host")), credentials[format!("{which}port")].as_u64());
    anyhow::ensure!(!host.is_empty(), "the binding has no {which}host: {credentials}");
    Ok((host.to_owned(), port.with_context(|| format!("the binding has no {which}port: {credentials}"))?.to_string()))
}

/// In a container of the application, which has busybox: Redis' own protocol, as text (redis.io/docs/reference/protocol-spec, inline commands).
async fn from_the_application(story: &Story, host: &str, port: &str, password: &str) -> Result<String> {
    const SCRIPT: &str = r#"printf 'AUTH %s\r\nSET %s %s\r\nGET %s\r\nQUIT\r\n' "$3" "$4" "$5" "$4" | timeout 20 nc "$1" "$2""#;
    let place = format!("{}/{}/{}", story.org, story.project, story.space);
    let command = ["--at", place.as_str(), "app", "exec", story.app, "--", "/bin/sh", "-c", SCRIPT, "sh", host, port, password, KEY, VALUE];
    story.cli(&command).await
}

async fn cli(story: &Story, host: &str, port: &str, password: &str, args: &[&str]) -> Result<String> {
    let env = [("REDISCLI_AUTH", password)];
    crate::demo::tools::run("redis-cli", &[&["-h", host, "-p", port][..], args].concat(), story.files.path(), &env).await
}
