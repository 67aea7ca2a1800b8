//! What can be typed about repositories and pipelines.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Repo {
    Create { name: String },
    List,
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
    List,
    Show {
        run: String,
    },
    /// What the steps printed; all steps if none is named.
    Logs {
        run: String,
        step: Option<String>,
        #[arg(short, long)]
        follow: bool,
    },
    Approve {
        run: String,
        step: String,
    },
    Cancel {
        run: String,
    },
    /// Files that a run left.
    Artifacts {
        run: String,
    },
}
