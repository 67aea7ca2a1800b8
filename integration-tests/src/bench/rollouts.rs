//! A new revision of ten instances while five hundred requests a second come in: rolling, blue-green and canary, again and again, with
//! the real scheduler, agent, containerd and HAProxy. What counts is how many requests failed, of all repetitions together. Needs root.

mod load;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::load::Load;
use crate::bench::cloud::until;
use crate::bench::figure::Figure;
use crate::bench::node::Node;
use crate::bench::results::Figures;
use crate::bench::{Options, former};

pub const FIGURES: &[&str] = &["rollout-rolling", "rollout-blue-green", "rollout-canary"];

/// Figure, and the release as documents say it.
const KINDS: [(&str, &str); 3] = [
    ("rollout-rolling", "{strategy: rolling}"),
    ("rollout-blue-green", "{strategy: blue_green, promote_after_seconds: 1, keep_seconds: 1}"),
    ("rollout-canary", "{strategy: canary, keep_seconds: 1, steps: [{weight: 20, pause_seconds: 1}, {weight: 60, pause_seconds: 1}]}"),
];
const INSTANCES: usize = 10;
const RATE: u32 = 500;
/// Where the application answers, by a port of its own and by its host's name.
const PORT: u16 = 20_792;
const HOST: &str = "shop.bench";
const PATIENCE: Duration = Duration::from_secs(120);
/// Before and after a release: what goes wrong at its edges counts as well.
const AROUND: Duration = Duration::from_secs(1);

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    ensure!(options.repetitions > 0, "--repetitions must be more than 0");
    let node = Node::start()?;
    let mut figures = Figures::default();
    for (figure, release) in KINDS {
        if !options.wants("rollouts", figure) {
            continue;
        }
        former::say(figure);
        let failed = node.cloud.run(releases(&node, figure, release, options.repetitions))?;
        figures.push(Figure::none(figure, "failed requests of all repetitions, 10 instances, 500 requests/s", failed));
    }
    figures.all()
}

/// Failed requests of each repetition.
async fn releases(node: &Node, app: &str, release: &str, repetitions: usize) -> Result<Vec<f64>> {
    let revision = node.compose(app, &document(0, release)).await?;
    node.runs(app, revision).await?;
    answers(node).await?;
    let mut all = Vec::new();
    for repetition in 1..=repetitions {
        former::doing(&format!("{app}, repetition {repetition} of {repetitions}"));
        let failed = once(node, app, &document(repetition, release)).await.with_context(|| format!("{app}, repetition {repetition}"))?;
        all.push(f64::from(failed));
    }
    node.delete(app).await?;
    Ok(all)
}

/// Where the application is asked: by its own port, and by its host's name.
fn urls(node: &Node) -> [String; 2] {
    [format!("http://127.0.0.1:{PORT}/"), format!("http://{HOST}:{}/", node.http.port())]
}

/// Waits until the first revision can be asked: its arrival is no release.
async fn answers(node: &Node) -> Result<()> {
    let http = reqwest::Client::builder().resolve(HOST, node.http).timeout(Duration::from_secs(1)).no_proxy().build()?;
    for url in urls(node) {
        until("the application answers", PATIENCE, async || Ok(http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()))).await?;
    }
    Ok(())
}

async fn once(node: &Node, app: &str, document: &str) -> Result<u32> {
    let [by_port, by_name] = urls(node);
    let load = Load::start(RATE, &by_port, &by_name, node.http)?;
    tokio::time::sleep(AROUND).await;
    let revision = node.compose(app, document).await?;
    let released = async {
        node.runs(app, revision).await?;
        until("the old instances are gone", PATIENCE, async || Ok(node.cloud.alive().await? == INSTANCES)).await
    };
    let released = released.await;
    tokio::time::sleep(AROUND).await;
    let seen = load.stop().await;
    // What was sent until then says why, if it did not come up.
    released.with_context(|| format!("{seen}"))?;
    for failure in seen.failures.iter().take(3) {
        eprintln!("bench: {app}: {failure}");
    }
    // Fewer would be another measurement.
    ensure!(seen.rate >= 0.95 * f64::from(RATE), "this machine sent {:.0} requests/s of {RATE}", seen.rate);
    u32::try_from(seen.failures.len()).context("fewer failures than that")
}

/// Ten web servers that answer with the number of their version.
fn document(version: usize, release: &str) -> String {
    format!(
        "services:\n  web:\n    image: {image}\n    command: [-c, 'echo {version} > /www/index.html; echo running; exec httpd -f -p 8080 -h /www']\n    \
         ports: ['{PORT}:8080']\n    stop_grace_period: 1s\n    x-gantry: {{routes: [{{host: {HOST}, port: 8080}}]}}\n    deploy:\n      \
         replicas: {INSTANCES}\n      resources: {{reservations: {{cpus: '0.02', memory: 8M}}}}\n      update_config: {{parallelism: 2, monitor: 60s}}\n\
         x-gantry:\n  release: {release}\n",
        image = Node::image()
    )
}
