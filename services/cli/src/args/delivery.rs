//! What can be typed about repositories and pipelines.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Repo {
    /// Make a repository; it is empty until something is pushed.
    Create { name: String },
    /// Those there are, and where to clone them from.
    List,
    /// Delete a repository with its history, for ever.
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum Pipeline {
    /// Start a run.
    Run {
        repository: String,
        /// Branch or full ref.
        #[arg(long = "ref", default_value = "main")]
        reference: String,
        /// Do not wait for its end.
        #[arg(long)]
        no_wait: bool,
    },
    /// The last runs, newest first.
    List {
        /// Only of this repository.
        #[arg(long)]
        repository: Option<String>,
    },
    /// One run, step by step.
    Show { run: String },
    /// What the steps printed; all steps if none is named.
    Logs {
        run: String,
        step: Option<String>,
        /// Go on as lines come.
        #[arg(short, long)]
        follow: bool,
    },
    /// Let a step go on that waits for an approval.
    Approve { run: String, step: String },
    /// Stop a run with the steps that are under way.
    Cancel { run: String },
    /// Files that a run left.
    Artifacts { run: String },
    /// Save one of these files.
    Download {
        run: String,
        /// As `artifacts` shows it.
        artifact: String,
        /// The file to write; the last part of the artifact's name, here, if not given.
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: Option<PathBuf>,
    },
}
