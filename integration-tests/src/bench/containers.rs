//! Containers on a real node: how soon one runs after it was accepted, beside `runc run` of the same root file system; what a hundred
//! cost; how soon one that was killed runs again; and what the agent takes while fifty run and nothing happens. Needs root.

mod exporter;
mod runc;

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gantry_servers::process::send;
use gantry_servers::{Need, Signal, ensure_running, install, stop};

use self::exporter::Exporter;
use self::runc::Runc;
use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::node::Node;
use crate::bench::rounds::{Round, interleaved, quantile_ms};
use crate::bench::usage::{cpu_of, resident_mib};

pub const FIGURES: &[&str] =
    &["container-start", "container-start-p99", "container-cpu", "container-restart", "agent-memory", "agent-idle", "scrape-cpu", "scrape-cpu-whole"];

const ANCHOR: &str = "runc run, the same file system";
/// What a container does: it says that it runs, and ends when it is told to.
const SCRIPT: &str = "echo running; trap exit TERM; sleep 3600 & wait";
/// Starts of one round, at least.
const STARTS: usize = 20;
const MANY: usize = 100;
/// Killed once each: from the second time on the agent waits before it starts one again.
const CRASHING: usize = 20;
/// With the agent whose cost is measured.
const KEPT: usize = 50;
/// A clock tick is 10 ms: shorter measurements would count few.
const IDLE: Duration = Duration::from_secs(10);
/// After its last container the agent reads figures and tells them.
const SETTLING: Duration = Duration::from_secs(10);
const SCRAPES: u32 = 100;
/// For one container: a hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// For a hundred.
const PATIENCE_FOR_MANY: Duration = Duration::from_secs(180);

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let node = Node::start()?;
    let runc = Runc::new(node.cloud.ground.folder())?;
    let wants = |figure| options.wants("containers", figure);
    let mut figures = Vec::new();
    // The first of each is nobody's daily life.
    start(&node, "first")?;
    runc.run()?;
    if wants("container-start") || wants("container-start-p99") {
        keep(&mut figures, starts(options, &node, &runc)?)?;
    }
    if wants("container-cpu") {
        say("a hundred containers at once");
        let rounds = interleaved(options.rounds, || many(&node), || runc.cpu_of(MANY))?;
        let figure = Figure::compared("container-cpu", "s of CPU of 100 containers, until they run", ANCHOR, rounds, Goal::AtMost(2.0));
        keep(&mut figures, vec![figure])?;
    }
    if wants("container-restart") {
        say("containers that are killed");
        let rounds = (0..options.rounds).map(|round| crashes(&node, round)).collect::<Result<_>>()?;
        keep(&mut figures, vec![Figure::at_most("container-restart", "ms p50 from a crash to running again", rounds, 1_000.0)])?;
    }
    if ["agent-memory", "agent-idle", "scrape-cpu", "scrape-cpu-whole"].into_iter().any(wants) {
        say("fifty containers behind the balancer");
        keep(&mut figures, kept(options, &node)?)?;
    }
    Ok(figures)
}

fn say(what: &str) {
    eprintln!("bench: containers: {what} ...");
}

/// All of them take minutes together: what is measured is written down and shown at once, whatever becomes of the rest.
fn keep(figures: &mut Vec<Figure>, measured: Vec<Figure>) -> Result<()> {
    for figure in measured {
        figure.write()?;
        eprintln!("bench: so far: {figure}");
        figures.push(figure);
    }
    Ok(())
}

/// One container: from the answer that accepts it until its process has printed something.
fn start(node: &Node, name: &str) -> Result<Duration> {
    let before = node.printed(0);
    node.cloud.run(node.deploy(name, SCRIPT, 1))?;
    let accepted = Instant::now();
    wait(node, name, PATIENCE, || node.printed(0).difference(&before).next().is_some(), "the container runs")?;
    let took = accepted.elapsed();
    node.cloud.run(node.delete(name))?;
    Ok(took)
}

/// Looks each millisecond: that costs the machine little, and the number no more than that. Of what does not come in time it is said what
/// scheduler and agent say of it.
fn wait(node: &Node, name: &str, limit: Duration, met: impl Fn() -> bool, what: &str) -> Result<()> {
    let (began, mut looked) = (Instant::now(), Instant::now());
    while !met() {
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            node.agent_runs().with_context(|| format!("waiting until {what}"))?;
        }
        if began.elapsed() > limit {
            bail!("not within {limit:?}: {what}; {}; {}", node.cloud.run(node.said_of(name)), node.agent_said());
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn starts(options: &Options, node: &Node, runc: &Runc) -> Result<Vec<Figure>> {
    let (mut all, mut count) = (Vec::new(), 0);
    let mut ours = || -> Result<f64> {
        let (mut times, began) = (Vec::new(), Instant::now());
        while times.len() < STARTS || began.elapsed() < options.round() {
            count += 1;
            times.push(start(node, &format!("start-{count}"))?);
        }
        all.extend(times.iter().copied());
        Ok(quantile_ms(times, 0.5))
    };
    let anchor = || -> Result<f64> {
        let (mut times, began) = (Vec::new(), Instant::now());
        while times.len() < STARTS || began.elapsed() < options.round() {
            times.push(runc.run()?);
        }
        Ok(quantile_ms(times, 0.5))
    };
    say("single containers");
    let rounds = interleaved(options.rounds, &mut ours, anchor)?;
    let mut figures = Vec::new();
    if options.wants("containers", "container-start") {
        figures.push(Figure::compared("container-start", "ms p50 from accepted to running, image present", ANCHOR, rounds, Goal::AtMost(6.0)));
    }
    if options.wants("containers", "container-start-p99") {
        // Of all rounds together: one has too few.
        figures.push(Figure::at_most("container-start-p99", "ms p99 from accepted to running, image present", vec![quantile_ms(all, 0.99)], 1_000.0));
    }
    Ok(figures)
}

/// Seconds of processor time of agent, containerd, shims and containers for a hundred, from their acceptance until all run.
fn many(node: &Node) -> Result<f64> {
    let before = node.printed(0);
    let used = node.cpu()?;
    node.cloud.run(node.deploy("many", SCRIPT, MANY))?;
    wait(node, "many", PATIENCE_FOR_MANY, || node.printed(0).difference(&before).count() >= MANY, "a hundred containers run")?;
    let used = node.cpu()? - used;
    node.cloud.run(node.delete("many"))?;
    Ok(used)
}

/// The median time from the kill of a container until the one in its place has printed something.
fn crashes(node: &Node, round: usize) -> Result<f64> {
    let (name, before) = (format!("crash-{round}"), node.printed(0));
    node.cloud.run(async {
        let revision = node.deploy(&name, SCRIPT, CRASHING).await?;
        node.runs(&name, revision).await
    })?;
    let instances: BTreeSet<String> = node.printed(0).difference(&before).cloned().collect();
    let processes = node.cloud.run(node.processes())?;
    let mut times = Vec::new();
    for instance in &instances {
        let pid = *processes.get(instance).with_context(|| format!("no process of {instance}"))?;
        let killed = Instant::now();
        send(pid, Signal::Kill);
        wait(node, &name, PATIENCE, || node.printed(1).contains(instance), "it runs again")?;
        times.push(killed.elapsed());
    }
    ensure!(times.len() == CRASHING, "{} instances were killed", times.len());
    node.cloud.run(node.delete(&name))?;
    Ok(quantile_ms(times, 0.5))
}

/// What the agent takes with fifty containers behind its balancer, and what it costs to read its figures.
fn kept(options: &Options, node: &Node) -> Result<Vec<Figure>> {
    let document = format!(
        "services:\n  web:\n    image: {}\n    command: [-c, 'echo running; exec httpd -f -p 8080 -h /www']\n    ports: ['20791:8080']\n    \
         stop_grace_period: 1s\n    deploy:\n      replicas: {KEPT}\n      resources: {{reservations: {{cpus: '0.005', memory: 4M}}}}\n      \
         update_config: {{parallelism: 0, monitor: 300s}}\n",
        Node::image()
    );
    node.cloud.run(async {
        let revision = node.compose("kept", &document).await?;
        node.runs("kept", revision).await
    })?;
    sleep(SETTLING);
    let wants = |figure| options.wants("containers", figure);
    let (agent, mut memory, mut processor) = (node.agent(), Vec::new(), Vec::new());
    if wants("agent-memory") || wants("agent-idle") {
        for _ in 0..options.rounds {
            let (used, since) = (cpu_of(&[agent])?, Instant::now());
            sleep(options.round().max(IDLE));
            processor.push(100.0 * (cpu_of(&[agent])? - used) / since.elapsed().as_secs_f64());
            memory.push(resident_mib(agent)?);
        }
    }
    let mut figures = Vec::new();
    if wants("agent-memory") {
        figures.push(Figure::at_most("agent-memory", "MiB resident, 50 containers", memory, 60.0));
    }
    if wants("agent-idle") {
        figures.push(Figure::at_most("agent-idle", "% of one core, 50 containers, nothing happens", processor, 2.0));
    }
    if wants("scrape-cpu") || wants("scrape-cpu-whole") {
        figures.extend(scrapes(options, node)?);
    }
    node.cloud.run(node.delete("kept"))?;
    Ok(figures)
}

/// Processor time of one reading of all figures, over a kept connection.
fn scrapes(options: &Options, node: &Node) -> Result<Vec<Figure>> {
    install::ensure(&[Need::NodeExporter], &mut |line| eprintln!("bench: {line}"))?;
    let exporter = Exporter::new(node.cloud.ground.folder())?;
    ensure_running(&exporter, Duration::from_secs(20))?;
    let read = |url: &str| -> Result<()> {
        node.cloud.run(async {
            let text = node.cloud.http().get(url).send().await?.error_for_status()?.text().await?;
            ensure!(text.contains("# TYPE "), "no figures at {url}");
            Ok(())
        })
    };
    let (agent, url) = (node.agent(), node.metrics_url());
    let theirs = || -> Result<f64> {
        let pid = exporter.pid().context("node_exporter has ended")?;
        let used = cpu_of(&[pid])?;
        (0..SCRAPES).try_for_each(|_| read(&exporter.url()))?;
        Ok((cpu_of(&[pid])? - used) * 1e6 / f64::from(SCRAPES))
    };
    // Both of ours come from the same readings: the agent's own, and with what containerd does for it, without what that does anyway.
    let ours = || -> Result<(f64, f64)> {
        let (idle, since) = (node.cpu_of_runtime()?, Instant::now());
        sleep(IDLE / 2);
        let idle_rate = (node.cpu_of_runtime()? - idle) / since.elapsed().as_secs_f64();
        let (used, runtime, since) = (cpu_of(&[agent])?, node.cpu_of_runtime()?, Instant::now());
        (0..SCRAPES).try_for_each(|_| read(&url))?;
        let own = cpu_of(&[agent])? - used;
        let beside = (node.cpu_of_runtime()? - runtime - idle_rate * since.elapsed().as_secs_f64()).max(0.0);
        Ok((own * 1e6 / f64::from(SCRAPES), (own + beside) * 1e6 / f64::from(SCRAPES)))
    };
    read(&url)?;
    read(&exporter.url())?;
    let (mut own, mut whole) = (Vec::new(), Vec::new());
    for n in 0..options.rounds {
        let (ours, anchor) = if n % 2 == 0 {
            let anchor = theirs()?;
            (ours()?, anchor)
        } else {
            (ours()?, theirs()?)
        };
        own.push(Round { ours: ours.0, anchor });
        whole.push(Round { ours: ours.1, anchor });
    }
    stop(&exporter)?;
    let mut figures = Vec::new();
    if options.wants("containers", "scrape-cpu") {
        figures.push(Figure::compared("scrape-cpu", "us of the agent's CPU per scrape, 50 containers", "node_exporter", own, Goal::AtMost(0.5)));
    }
    if options.wants("containers", "scrape-cpu-whole") {
        let unit = "us of CPU per scrape, containerd and shims with it, 50 containers";
        figures.push(Figure::compared("scrape-cpu-whole", unit, "node_exporter", whole, Goal::AtMost(0.5)));
    }
    Ok(figures)
}
