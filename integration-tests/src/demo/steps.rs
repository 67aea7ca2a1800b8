//! The steps in their order, and how their end is told.

mod s01_register;
mod s02_command_line;
mod s03_places;
mod s04_base_image;
mod s05_push;
mod s06_pipeline;
mod s07_image;
mod s08_balanced;
mod s09_rollout;
mod s10_killed;
mod s11_quota;
mod s12_bill;
mod s13_watch;
mod s14_catalog;
mod s15_audit;
mod s16_cleared;

use std::process::ExitCode;
use std::time::Instant;

use super::leftovers;
use super::shown::shown;
use super::story::Story;

/// Runs one step and marks the clauses that it shows; gives up the story at the first that fails.
macro_rules! steps {
    ($story:ident, $began:ident, $($step:ident: $title:literal, $look:literal, [$($clause:literal),*];)+) => {{
        let mut done = 0;
        $(
            done += 1;
            println!("[{done:>2}] {}", $title);
            let at = Instant::now();
            let outcome = $step::run(&mut $story).await;
            match outcome.and_then(|seen| shown(stringify!($step), &[$($clause),*]).map(|()| seen)) {
                Ok(seen) => seen.lines().for_each(|line| println!("     {line}")),
                Err(error) => {
                    println!("     FAILED after {:.1} s: {error:#}", at.elapsed().as_secs_f64());
                    println!("main job: step {done} ({}) failed; look at {}", $title, $look);
                    return ExitCode::FAILURE;
                }
            }
            println!("     {:.1} s", at.elapsed().as_secs_f64());
        )+
        println!("main job: {done} steps ok in {:.0} s", $began.elapsed().as_secs_f64());
        ExitCode::SUCCESS
    }};
}

async fn prepare(story: &mut Story) -> anyhow::Result<usize> {
    let operator = leftovers::operator(&story.suite).await?;
    let cleared = leftovers::of_earlier_stories(&operator).await?;
    story.operator = Some(operator);
    Ok(cleared)
}

/// The whole story.
pub async fn run() -> ExitCode {
    let began = Instant::now();
    let mut story = match Story::begin() {
        Ok(story) => story,
        Err(error) => {
            println!("main job: cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    println!("main job at {} as {} in {}/{}/{}", story.suite.url, story.user, story.org, story.project, story.space);
    match prepare(&mut story).await {
        Ok(0) => {}
        Ok(cleared) => println!("     {cleared} earlier stories had left something running; it is gone"),
        Err(error) => println!("     what earlier stories left could not be cleared: {error:#}"),
    }
    steps! { story, began,
        s01_register: "a new user registers and signs in (OpenID Connect, code + PKCE)", "`make logs`, services identity and gateway; the page /login", [];
        s02_command_line: "the command line signs in by the device flow", "`gantry login`; services identity and gateway", [];
        s03_places: "organisation, project and space", "`make logs`, service identity", [];
        s04_base_image: "a base image is made and pushed", "`make logs`, service registry; `skopeo copy --debug`", [];
        s05_push: "the application's code is pushed to a git repository", "`make logs`, service cicd; `git push` with GIT_CURL_VERBOSE=1", [];
        s06_pipeline: "the pipeline tests, builds, pushes and deploys", "`gantry pipeline logs <run>`; services cicd, registry, scheduler, agent", ["6.3.3.v", "6.4.2.1.d", "6.4.2.1.e", "6.4.2.1.f", "6.4.2.2.a", "6.4.2.2.g"];
        s07_image: "the registry holds and has scanned the image", "`gantry image list`; service registry", [];
        s08_balanced: "three instances answer behind the balancer", "`gantry app why web`; services scheduler and agent, HAProxy", ["6.3.2.m", "6.3.3.u"];
        s09_rollout: "a second commit rolls out under traffic", "`gantry app show web`; services scheduler and agent, HAProxy", [];
        s10_killed: "an instance killed from outside comes back", "`gantry app instances web`; service agent", [];
        s11_quota: "a deployment over quota is refused", "`gantry quota get`; services billing and scheduler", [];
        s12_bill: "the usage is on the bill", "`gantry usage`; service billing", [];
        s13_watch: "metrics and logs are read back", "`gantry app logs web`; services monitoring and agent, Prometheus", [];
        s14_catalog: "Redis from the catalogue is provisioned and used", "`gantry catalog show cache`; service catalog", ["6.3.3.a", "6.4.1.2.b"];
        s15_audit: "the audit trail has every step", "`gantry audit`; service monitoring", ["6.6.1.2.d"];
        s16_cleared: "everything that runs is deleted again", "`gantry app list`; services scheduler, agent and catalog", [];
    }
}
