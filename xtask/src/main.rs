//! The repository's own commands: bring the suite up and down, test, check, generate. `make <target>` calls these; nothing
//! here runs in production.

mod browser;
mod check;
mod conformance;
mod down;
mod gantryd;
mod image;
mod kubernetes;
mod leftovers;
mod new_service;
mod parts;
mod pods;
mod ready;
mod rooms;
mod settings;
mod supervise;
mod test;
mod up;
mod work;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::work::{Work, run};

#[derive(Parser)]
#[command(name = "xtask", about = "Commands of this repository; `make <target>` calls them.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing, build, start the suite and wait until it is ready.
    Up {
        /// Take the programs as they are in the target folder.
        #[arg(long)]
        no_build: bool,
    },
    /// Stop what `up` started.
    Down,
    /// Which parts run, since when, on which port.
    Status,
    /// Follow the logs of the suite, or of the named parts.
    Logs {
        parts: Vec<String>,
        /// Print what is there and stop.
        #[arg(long)]
        no_follow: bool,
    },
    /// Delete the suite's data after asking (CONFIRM=yes answers for scripts).
    CleanData,
    /// The main job against the running suite, as a new user would do it.
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Everything the running suite must refuse: every operation, asked wrongly.
    Refusals,
    /// Our figures against their anchors (`list`: what there is; `show`: what was measured last; `--quick`).
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Every test, from a fresh clone.
    Test {
        /// Only unit and service tests: no suite is brought up.
        #[arg(long)]
        quick: bool,
    },
    /// The live suite against the Kubernetes cluster that GANTRY_TEST_KUBECONFIG names.
    TestKubernetes,
    /// Stop the servers that a plain `cargo test` left running.
    StopTestServers,
    /// Rewrite the golden files from the code.
    Golden,
    /// Formatting, lints, rooms.
    Check,
    /// Who may use whom, from `cargo metadata` and the `use` lines.
    Rooms {
        /// Rewrite the golden list of who calls whom.
        #[arg(long)]
        write: bool,
    },
    /// The skeleton of a service, with all rooms, that compiles and passes its test.
    NewService { name: String },
    /// Write docs/conformance.md from the last test run.
    Conformance,
    /// Run the image's entry point, unpacked from the Dockerfile, against private servers.
    Image,
    /// Draw passwords and the master key for k8s/overlays/dev, unless they are there.
    K8sDevSecrets,
    /// Be the browser of the tests; started by them.
    #[command(hide = true)]
    Browser {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Keep the suite's processes alive; started by `up`.
    #[command(hide = true)]
    Supervise,
}

fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = Arguments::parse();
    let work = Work::find()?;
    match arguments.command {
        Command::Up { no_build } => up::up(&work, !no_build),
        Command::Down => down::down(&work),
        Command::Status => down::status(&work),
        Command::Logs { parts, no_follow } => down::logs(&work, &parts, !no_follow),
        Command::CleanData => down::clean_data(&work),
        Command::Demo { arguments } => up::story(&work, "demo", &arguments),
        Command::Refusals => up::story(&work, "refusals", &[]),
        Command::Bench { arguments } => up::bench(&work, &arguments),
        Command::Test { quick } => test::test(&work, quick),
        Command::TestKubernetes => test::kubernetes(&work),
        Command::StopTestServers => gantry_servers::TestServers::stop_in(&work.test_servers()),
        Command::Golden => check::golden(&work),
        Command::Check => check::check(&work),
        Command::Rooms { write } => rooms::run(&work, write),
        Command::NewService { name } => {
            new_service::write(&work.repository, &name)?;
            // Every command of the Makefile takes the lock file as it is. What the new crate needs is in it already.
            run(&mut work.cargo(["update", "--workspace", "--offline", "--quiet"]))?;
            // Another name may break a line elsewhere.
            run(&mut work.cargo(["fmt", "-p", &format!("gantry-{name}")]))
        }
        Command::Conformance => conformance::write(&work),
        Command::Image => image::check(&work),
        Command::K8sDevSecrets => kubernetes::secrets(&work.repository.join("k8s/overlays/dev")),
        Command::Browser { arguments } => browser::become_browser(&arguments),
        Command::Supervise => supervise::run(&work),
    }
}
