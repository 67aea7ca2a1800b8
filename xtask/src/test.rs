//! `make test`: every layer from a fresh clone, each installing what it needs: unit and service tests, the console's tests,
//! then a suite of its own (other folder, other ports) with the main job and the browser's view of it.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use gantry_servers::{Need, TestServers, install, is_root};
use serde_json::Value;

use crate::work::{Work, own_program, run, say};
use crate::{browser, conformance, down, image, settings, up};

/// Far from the default, so that a user's suite may run beside it.
const PORT_BASE: &str = "17400";
/// The browser tests' results among the others', as JUnit.
const BROWSER: &str = "browser.xml";
/// Those of the files that were run once more.
const BROWSER_AGAIN: &str = "browser-again.xml";
/// Where more of them fail, nothing of the moment did it.
const MOST_AGAIN: usize = 3;

/// # Errors
/// When any layer fails, after all of them ran.
pub fn test(work: &Work, quick: bool) -> Result<()> {
    let start = Instant::now();
    let results = work.results();
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    fs::create_dir_all(&results)?;
    let mut failed = Vec::new();
    let mut totals = Totals::default();

    say("layer 1: unit and service tests");
    // With containers and clients at hand, no test passes by.
    let needs: Vec<Need> = if is_root() {
        Need::ALL
            .into_iter()
            .chain([Need::Chromium, Need::Podman, Need::Moto, Need::KubernetesValidate, Need::Slapd, Need::Samba, Need::ModAuthOpenidc, Need::DockerRegistry])
            .collect()
    } else {
        Need::TESTS.to_vec()
    };
    install::ensure(&needs, &mut |line| say(line))?;
    TestServers::in_folder(&work.test_servers()).context("the test servers")?;
    let rust = rust_tests(work);
    match conformance::totals(&work.results().join("junit.xml")) {
        Ok(seen) => totals.of_tests("rust", seen),
        Err(error) => totals.push(format!("rust: no totals ({error:#})")),
    }
    note(&mut failed, "unit and service tests", rust);
    TestServers::stop_in(&work.test_servers())?;

    if !quick {
        say("the image's entry point, unpacked");
        let outcome = image::check(work);
        totals.push(format!("image: {}", if outcome.is_ok() { "ok" } else { "failed" }));
        note(&mut failed, "the image", outcome);
        TestServers::stop_in(&work.test_servers())?;
    }
    if work.console().join("src").is_dir() {
        say("layer 2: console tests");
        let outcome = console_tests(work);
        totals.push(format!("console: {}", if outcome.is_ok() { "ok" } else { "failed" }));
        note(&mut failed, "console tests", outcome);
    }
    if quick {
        totals.push("main job: not run (--quick)".to_owned());
    } else {
        say("layer 3: the suite, brought up for this run");
        let outcome = suite_tests(work, &mut totals);
        note(&mut failed, "the suite", outcome);
    }
    if quick {
        totals.push("a Kubernetes cluster: not run (--quick)".to_owned());
    } else if gantry_servers::text_from_env("GANTRY_TEST_KUBECONFIG").is_none() {
        totals.push("a Kubernetes cluster: not run (GANTRY_TEST_KUBECONFIG names none)".to_owned());
    } else {
        say("the live suite on the Kubernetes cluster");
        let outcome = kubernetes(work);
        totals.push(format!("a Kubernetes cluster: {}", if outcome.is_ok() { "ok" } else { "failed" }));
        note(&mut failed, "the Kubernetes cluster", outcome);
    }
    for line in totals.lines() {
        println!("{line}");
    }
    if !failed.is_empty() {
        bail!("failed after {} s: {}", start.elapsed().as_secs(), failed.join("; "));
    }
    println!("all layers ok in {} s", start.elapsed().as_secs());
    Ok(())
}

/// What the run ends with.
#[derive(Default)]
struct Totals {
    layers: Vec<String>,
    /// Tests that failed and then passed when they were run once more.
    passed_later: Vec<String>,
}

impl Totals {
    fn push(&mut self, line: String) {
        self.layers.push(line);
    }

    fn of_tests(&mut self, layer: &str, seen: conformance::Totals) {
        self.layers.push(format!("{layer}: {}", seen.text));
        self.passed_later.extend(seen.passed_later);
    }

    /// The layers, and after them what must not go unseen.
    fn lines(&self) -> impl Iterator<Item = String> {
        self.layers.iter().cloned().chain(self.passed_later.iter().map(|test| format!("passed at the second try: {test}")))
    }
}

/// The live suite; see docs/kubernetes.md. Without a cluster nothing is run, and that is a failure: what was asked for did not happen.
///
/// # Errors
/// When no cluster is named, or a test fails.
pub fn kubernetes(work: &Work) -> Result<()> {
    for (name, what) in
        [("GANTRY_TEST_KUBECONFIG", "a kubeconfig of a cluster that may be used"), ("GANTRY_TEST_IMAGE", "an image with an HTTP server on port 8080")]
    {
        if gantry_servers::text_from_env(name).is_none() {
            bail!("the live suite was NOT run: {name} is not set; it names {what} (docs/kubernetes.md)");
        }
    }
    install::ensure(&Need::TESTS, &mut |line| say(line))?;
    TestServers::in_folder(&work.test_servers()).context("the test servers")?;
    // They wait for the cluster most of the time, whatever this machine has.
    let mut command =
        work.cargo(["test", "--locked", "-p", "gantry-scheduler", "--test", "it", "--", "--ignored", "--nocapture", "--test-threads=4", "live::"]);
    command.env("GANTRY_TEST_DIR", work.test_servers());
    if let Some(file) = gantry_servers::text_from_env("GANTRY_TEST_KUBECONFIG") {
        // Tests run in the folder of their crate.
        command.env("GANTRY_TEST_KUBECONFIG", std::path::absolute(file)?);
    }
    let outcome = run(&mut command);
    TestServers::stop_in(&work.test_servers())?;
    outcome
}

fn note(failed: &mut Vec<String>, layer: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("{layer}: {error:#}");
        failed.push(layer.to_owned());
    }
}

fn rust_tests(work: &Work) -> Result<()> {
    let clauses = work.results().join("clauses.jsonl");
    let nextest = work.cargo(["nextest", "--version"]).output().is_ok_and(|o| o.status.success());
    // Most tests wait for servers now and then: one more than there are cores keeps these busy. .config/nextest.toml says which run alone.
    let at_once = std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1).to_string();
    let args: &[&str] = if nextest {
        &["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--test-threads", &at_once]
    } else {
        say("cargo-nextest is not installed: cargo test runs instead, and its results do not reach docs/conformance.md");
        &["test", "--workspace", "--locked", "--no-fail-fast"]
    };
    // One build for all layers: another choice of packages would build many dependencies again with other features.
    say("cargo build (everything)");
    run(&mut work.cargo(["build", "--workspace", "--all-targets", "--locked", "--quiet"]))?;
    let mut command = work.cargo(args);
    command.env("GANTRY_TEST_DIR", work.test_servers()).env("GANTRY_CLAUSES", &clauses);
    let outcome = run(&mut command);
    // Beside the repository, whatever CARGO_TARGET_DIR says.
    let junit = work.repository.join("target/nextest/default/junit.xml");
    if nextest && junit.exists() {
        fs::copy(junit, work.results().join("junit.xml"))?;
    }
    outcome
}

fn console_tests(work: &Work) -> Result<()> {
    up::build_console(&work.console())?;
    let scripts = scripts(work)?;
    for script in ["lint", "typecheck", "test"].into_iter().filter(|s| scripts.contains(&(*s).to_owned())) {
        say(&format!("npm run {script} (console)"));
        run(Command::new("npm").args(["run", script]).current_dir(work.console()).env("CI", "true"))?;
    }
    Ok(())
}

fn scripts(work: &Work) -> Result<Vec<String>> {
    let package: Value = serde_json::from_str(&fs::read_to_string(work.console().join("package.json"))?)?;
    Ok(package["scripts"].as_object().map(|s| s.keys().cloned().collect()).unwrap_or_default())
}

fn suite_tests(work: &Work, totals: &mut Totals) -> Result<()> {
    let own = work.with_home(&work.target.join("suite"))?;
    // Left over from a run that was killed.
    down::remove_suite(&own)?;
    let outcome = with_suite(work, totals);
    if let Err(error) = &outcome {
        eprintln!("the suite's logs:");
        let _ = Command::new("sh").arg("-c").arg(format!("tail -n 40 {}/*.log", own.home.file("log").display())).status();
        eprintln!("{error:#}");
    }
    let removed = down::remove_suite(&own.with_home(own.home.root())?);
    outcome.and(removed)
}

fn with_suite(work: &Work, totals: &mut Totals) -> Result<()> {
    let home = work.target.join("suite");
    let program = own_program()?;
    let own = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).env("GANTRY_HOME", &home).env("GANTRY_PORT_BASE", PORT_BASE);
        command.env("GANTRY_CLAUSES", work.results().join("clauses.jsonl")).current_dir(&work.repository);
        run(&mut command)
    };
    own(&["up", "--no-build"])?;
    own(&["up", "--no-build"]).context("a second `make up` must be harmless")?;
    own(&["status"])?;
    if !work.with_agent() {
        say("not root: the main job needs containers and is not run here");
        return own(&["down"]);
    }
    // The browser comes before the main job: containers that come and go change the machine's interfaces, and Chromium then drops
    // its requests.
    let browser = browser_tests(work, &home);
    let (first, again) = (work.results().join(BROWSER), work.results().join(BROWSER_AGAIN));
    let seen = if again.exists() { conformance::totals_of_two(&first, &again) } else { conformance::totals(&first) };
    if let Ok(seen) = seen {
        totals.of_tests("browser", seen);
    }
    let mut failed = Vec::new();
    note(&mut failed, "the browser tests", browser);
    for (layer, task) in [("the refusals", "refusals"), ("the main job", "demo")] {
        let outcome = own(&[task]);
        totals.push(format!("{layer}: {}", if outcome.is_ok() { "ok" } else { "failed" }));
        note(&mut failed, layer, outcome);
    }
    own(&["down"])?;
    if failed.is_empty() { Ok(()) } else { bail!("{} failed", failed.join(", ")) }
}

/// The console in a real browser, against the suite in `home`.
fn browser_tests(work: &Work, home: &std::path::Path) -> Result<()> {
    let folder = work.repository.join("integration-tests/browser");
    let Ok(chromium) = Need::Chromium.find() else {
        say("Chromium is not installed: the browser tests are not run");
        return Ok(());
    };
    let chromium = browser::wrapper(&work.results(), &own_program()?, &chromium.path)?;
    say("npm ci, npm test (browser tests)");
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder))?;
    let env = settings::read_env(&work.with_home(home)?.home)?;
    let npm_test = |files: &[String], results: &str| {
        let mut command = Command::new("npm");
        command.args(["test", "--"]).args(files).current_dir(&folder).envs(&env).env("CI", "true").env("CHROMIUM", &chromium);
        command.env("GANTRY_BROWSER_RESULTS", work.results().join(results)).env("GANTRY_CLAUSES", work.results().join("clauses.jsonl"));
        run(&mut command)
    };
    let Err(error) = npm_test(&[], BROWSER) else { return Ok(()) };
    let failed = conformance::failed(&work.results().join(BROWSER))?;
    let files = files_with(&folder, &failed)?;
    if files.is_empty() || files.len() > MOST_AGAIN {
        return Err(error);
    }
    // As for the others (.config/nextest.toml): a second try, which the last lines name.
    say(&format!("once more: {}", files.join(", ")));
    npm_test(&files, BROWSER_AGAIN)
}

/// The files of browser tests in which one of these stands.
fn files_with(folder: &std::path::Path, tests: &[String]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".test.mjs") {
            let text = fs::read_to_string(folder.join(&name))?;
            files.extend(tests.iter().any(|test| text.contains(test)).then_some(name));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_browser_test_is_found_by_what_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.test.mjs", "it('works', f)"), ("a.test.mjs", "it('fails now and then', f)"), ("suite.mjs", "'fails now and then'")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let found = |tests: &[&str]| files_with(folder.path(), &tests.iter().map(|&test| test.to_owned()).collect::<Vec<_>>()).unwrap();
        assert_eq!(found(&["fails now and then"]), ["a.test.mjs"]);
        assert_eq!(found(&["fails now and then", "works"]), ["a.test.mjs", "b.test.mjs"]);
        assert!(found(&["unheard of"]).is_empty() && found(&[]).is_empty());
    }

    #[test]
    fn the_last_lines_name_what_passed_only_at_the_second_try() {
        let mut totals = Totals::default();
        totals.of_tests("rust", conformance::Totals { text: "2 run, 2 passed, 0 failed".into(), passed_later: vec!["gantry-registry::it shaky".into()] });
        totals.push("console: ok".into());
        let lines: Vec<String> = totals.lines().collect();
        assert_eq!(lines, ["rust: 2 run, 2 passed, 0 failed", "console: ok", "passed at the second try: gantry-registry::it shaky"]);
    }
}
