//! `make up`: install, build, start, wait; and the commands that use a running suite.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use gantry_servers::suite::Choices;
use gantry_servers::{Home, Launch, Need, Server, Signal, install, is_root, ports_are_free, text_from_env, until};

use crate::parts::Parts;
use crate::settings;
use crate::work::{Work, own_program, run, say};

/// How long a port may still be held by a process that is just ending.
const FREED: Duration = Duration::from_secs(10);
/// Certificates that were written so long ago are looked at: `gantryd init` renews them when it is time.
const CERTIFICATES: Duration = Duration::from_secs(30 * 86_400);

/// # Errors
/// When a step fails; the text names it and what to look at.
pub fn up(work: &Work, with_build: bool) -> Result<()> {
    let start = Instant::now();
    install_needs(work)?;
    if with_build {
        build(work)?;
    }
    let url = start_suite(work)?;
    let env = settings::read_env(&work.home)?;
    println!("\nGantry is ready after {} s.", start.elapsed().as_secs());
    println!("  console        {url}");
    println!("  administrator  {}", env["GANTRY_ADMIN_USER"]);
    println!("  password       {}   (one-time: you choose your own at the first sign-in)", env["GANTRY_ADMIN_PASSWORD"]);
    println!("  CA             {}   (import it into the browser, or accept the warning)", env["GANTRY_CA"]);
    println!("  for scripts    . {}", work.home.file("env").display());
    if !work.with_agent() {
        println!("\nThis is not root: everything but the node agent runs, so applications can be described but no container starts.");
    }
    Ok(())
}

/// Installs what this suite needs and has no configured address for.
///
/// # Errors
/// When something is missing that cannot be installed.
pub fn install_needs(work: &Work) -> Result<()> {
    let external = Choices::load(&work.home)?.external;
    let given = |need: Need| match need {
        Need::Postgres => external.postgres.is_some(),
        Need::Nats => external.nats.is_some(),
        Need::Redis => external.redis.is_some(),
        Need::Prometheus => external.prometheus.is_some(),
        Need::Containerd => external.containerd.is_some(),
        _ => false,
    };
    let wanted: Vec<Need> = Need::ALL.into_iter().filter(|n| !given(*n) && (work.with_agent() || !n.agent_only())).collect();
    // Skopeo is a convenience for people; nothing of the suite calls it.
    let wanted: Vec<Need> = wanted.into_iter().filter(|n| is_root() || *n != Need::Skopeo).collect();
    install::ensure(&wanted, &mut |line| say(line))
}

/// Builds the console and the programs of the suite.
///
/// # Errors
/// When a build fails.
pub fn build(work: &Work) -> Result<()> {
    build_console(&work.console())?;
    say("cargo build (gantryd, gantry, demo)");
    let packages = ["gantry-all", "gantry-cli", "gantry-integration-tests", "xtask"].map(|p| ["-p", p]).concat();
    let profile = work.release.then_some("--release");
    run(&mut work.cargo(["build", "--locked", "--quiet"].into_iter().chain(profile).chain(packages)))
}

/// Builds the web console when its sources are newer than what was built.
///
/// # Errors
/// When npm is missing or fails.
pub fn build_console(console: &Path) -> Result<()> {
    if !console.join("src").is_dir() {
        return Ok(());
    }
    let npm = |args: &[&str]| {
        say(&format!("npm {} (console)", args.join(" ")));
        run(Command::new("npm").args(args).args(["--no-audit", "--no-fund", "--loglevel=error"]).current_dir(console))
            .context("the console needs Node 20 or newer with npm")
    };
    let (lock, installed) = (console.join("package-lock.json"), console.join("node_modules/.package-lock.json"));
    if changed(&installed).is_none() || changed(&lock) > changed(&installed) {
        npm(if lock.exists() { &["ci"] } else { &["install"] })?;
    }
    let built = changed(&console.join("dist/index.html"));
    if built.is_none() || newest(console) > built {
        npm(&["run", "build"])?;
    }
    Ok(())
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten().map(|e| e.path());
    let own = entries.filter(|p| !["node_modules", "dist", "coverage"].iter().any(|n| p.ends_with(n)));
    own.filter_map(|p| if p.is_dir() { newest(&p) } else { changed(&p) }).max()
}

/// Starts what does not run and waits until everything is ready. Returns the public address.
///
/// # Errors
/// When a part does not become ready; names its log.
pub fn start_suite(work: &Work) -> Result<String> {
    let _turn = turn(&work.home)?;
    let (home, choices) = (&work.home, Choices::load(&work.home)?);
    let parts = Parts::of(work, &choices)?;
    let before = fs::read(home.file("choices.json")).ok();
    choices.save(home)?;
    // The supervisor alone counts, too: it would go on with the settings that it began with.
    let running = parts.supervisor().alive().is_some() || parts.all.iter().any(|p| p.pid_file().alive().is_some());
    if running && before.is_some() && before != fs::read(home.file("choices.json")).ok() {
        fs::write(home.file("choices.json"), before.unwrap_or_default())?;
        bail!("the suite runs with other ports or servers; run `make down` first, then `make up` with the new settings");
    }
    let suite = settings::write(home, &choices, &parts.urls)?;
    // The certificates come first: containerd and Prometheus read them.
    let aged = changed(&home.file("ca/prometheus.pem")).is_none_or(|since| since.elapsed().is_ok_and(|age| age > CERTIFICATES));
    if aged || !home.ca().exists() {
        run(Command::new(work.program("gantryd")).args(["init", "--config"]).arg(home.file("gantry.toml")))?;
    }
    let gantryd = parts.all.last().context("gantryd is a part")?;
    if let Some(pid) = gantryd.pid_file().alive()
        && (suite.changed || replaced(pid, &work.program("gantryd")))
    {
        say("gantryd was rebuilt or configured anew: starting it again");
        gantryd.pid_file().stop(Signal::Term, Duration::from_secs(30))?;
    }
    if parts.supervisor().alive().is_none() {
        for part in &parts.all {
            ports_are_free(part.as_ref(), FREED).with_context(|| {
                let base = choices.ports.base();
                format!("the suite's ports begin at {base}; choose others, as by GANTRY_PORT_BASE={} make up", if base < 60_000 { base + 1_000 } else { 8_400 })
            })?;
        }
        let launch = Launch::new(own_program()?, &["supervise"]).env("GANTRY_HOME", home.root().display().to_string());
        let mut child = launch.detach(&parts.folders.log.join("supervisor.log"), &parts.supervisor())?;
        // It outlives this process; should it die before us, somebody must collect it.
        std::thread::spawn(move || child.wait());
    }
    let supervisor = || match parts.supervisor().alive() {
        Some(_) => Ok(()),
        None => Err(gantry_servers::Hopeless("the supervisor ended; see log/supervisor.log".to_owned()).into()),
    };
    for part in &parts.all {
        wait_for(part.as_ref(), &supervisor).with_context(|| {
            let logs = &parts.folders.log;
            format!("{} is not ready; see {} and {}", part.name(), part.log_file().display(), logs.join("supervisor.log").display())
        })?;
    }
    Ok(suite.url)
}

/// One start at a time, until this is dropped: two would each start a supervisor, and the two of them every part twice.
fn turn(home: &Home) -> Result<File> {
    let path = home.file("up.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        say("another `make up` is at it; waiting for it");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn wait_for(part: &dyn Server, supervisor: &dyn Fn() -> Result<()>) -> Result<()> {
    let (start, mut said) = (Instant::now(), String::new());
    let limit = Duration::from_secs(if part.name() == "gantryd" { 180 } else { 60 });
    until(part.name(), limit, || {
        supervisor()?;
        part.probe().and_then(|()| part.settle()).inspect_err(|error| {
            let now = format!("{error:#}");
            if start.elapsed() > Duration::from_secs(2) && now != said {
                say(&format!("{}: {now}", part.name()));
                said = now;
            }
        })
    })?;
    say(&format!("{} is ready ({:.1} s)", part.name(), start.elapsed().as_secs_f32()));
    Ok(())
}

/// Whether the program a process runs is no longer the file at that path.
fn replaced(pid: u32, program: &Path) -> bool {
    let running = fs::metadata(format!("/proc/{pid}/exe")).map(|m| (m.dev(), m.ino())).ok();
    running.is_some() && running != fs::metadata(program).map(|m| (m.dev(), m.ino())).ok()
}

/// Runs a story of integration-tests against the running suite: `demo` (the main job) or `refusals`.
///
/// # Errors
/// When the suite does not run or the story fails.
pub fn story(work: &Work, name: &str, arguments: &[String]) -> Result<()> {
    let env = settings::read_env(&work.home)?;
    run(Command::new(work.program(name)).args(arguments).envs(env).current_dir(&work.repository))
}

/// Measures our figures and their anchors, with programs that are built with optimisation.
///
/// # Errors
/// When the build or a measurement fails.
pub fn bench(work: &Work, arguments: &[String]) -> Result<()> {
    let profile = if text_from_env("GANTRY_BENCH_DEBUG").is_some() { "debug" } else { "release" };
    // Whoever only wants to know what there is waits for no build.
    let looks = arguments.iter().any(|a| ["list", "--list", "show", "--show", "--help"].contains(&a.as_str()));
    if !(looks && work.target.join(profile).join("bench").exists()) {
        install_needs(work)?;
        if profile == "release" {
            say("cargo build --release (bench, gantryd)");
            run(&mut work.cargo(["build", "--locked", "--quiet", "--release", "-p", "gantry-integration-tests", "-p", "gantry-all"]))?;
        }
    }
    let env = settings::read_env(&work.home).unwrap_or_default();
    let program = work.target.join(profile).join("bench");
    run(Command::new(program).args(arguments).envs(env).current_dir(&work.repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_starts_of_one_suite_take_turns_and_those_of_two_do_not() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (one, two) = (Home::at(one.path()).expect("a home"), Home::at(two.path()).expect("a home"));
        let first = turn(&one).expect("free");
        let other = File::open(one.file("up.lock")).expect("there");
        assert!(other.try_lock().is_err(), "taken");
        drop(turn(&two).expect("another suite's"));
        drop(first);
        other.try_lock().expect("free again");
    }
}
