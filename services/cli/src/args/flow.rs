//! What can be typed about caches, replication and webhooks of a project's images.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where another registry is.
#[derive(Args)]
pub struct Endpoint {
    /// https://registry.example
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// Who signs in there; nobody if not given.
    #[arg(long, default_value = "")]
    pub username: String,
    /// File with the password; `-` reads it from the standard input. Left out, the one before stays.
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    /// File with the authority that signed its certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// It may be at a private address; needs a platform administrator.
    #[arg(long)]
    pub allow_private: bool,
}

#[derive(Subcommand)]
pub enum Cache {
    /// The caches and how their upstreams are.
    List,
    /// Make repositories of the project a cache of another registry.
    Set {
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
        /// First parts of the repositories here; the whole project if not given.
        #[arg(long, default_value = "")]
        prefix: String,
        /// First parts of the repositories there, such as library.
        #[arg(long, default_value = "")]
        remote_prefix: String,
        /// How long a tag is served without asking again.
        #[arg(long, default_value_t = 600)]
        fresh_seconds: u32,
        /// Fetch every platform of an index, not only those that are pulled.
        #[arg(long)]
        all_platforms: bool,
        /// Remove what nobody pulled for so many days.
        #[arg(long)]
        keep_days: Option<u32>,
        /// Serve what is here, and ask nothing there.
        #[arg(long)]
        disabled: bool,
    },
    /// What a cache has, and how it was last compared with its upstream.
    Contents { name: String },
    /// Ask the upstream whether it answers and takes the credentials.
    Test { name: String },
    /// End a cache; its images stay.
    Remove { name: String },
}

#[derive(Subcommand)]
pub enum Scanner {
    /// Those there are, and how they are.
    List,
    /// Give the project's images to a scanner that speaks Harbor's pluggable scanner API.
    Set {
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
        /// How it knows who asks; the secret is in the password file.
        #[arg(long, value_parser = ["none", "basic", "bearer", "api_key"], default_value = "none")]
        auth: String,
        /// Pattern of repositories it is given.
        #[arg(long, default_value = "*")]
        repositories: String,
        /// Ask it for a bill of materials, too.
        #[arg(long)]
        sbom: bool,
        /// Ask again when a report is older than this.
        #[arg(long)]
        rescan_hours: Option<u32>,
        /// Keep the settings, but ask nothing.
        #[arg(long)]
        disabled: bool,
    },
    /// Ask a scanner what it is and can.
    Test { name: String },
    /// Stop giving images to a scanner.
    Remove { name: String },
}

#[derive(Subcommand)]
pub enum Target {
    /// The registries that images are replicated with.
    List,
    /// Make a target, or set it as a whole.
    Set {
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Ask the target whether it answers and takes the credentials.
    Test { name: String },
    /// Forget a target; what is there stays.
    Remove { name: String },
}

#[derive(Subcommand)]
pub enum Replication {
    /// The rules, and how they went last.
    List,
    /// Say what is replicated, where to, and when.
    Set(Box<Rule>),
    /// Replicate by this rule no longer; what was copied stays.
    Remove { name: String },
    /// Replicate now and wait for the end.
    Run {
        name: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Do not wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// The last runs.
    Runs { name: String },
    /// One run.
    Show { run: String },
    /// What a run did, tag by tag.
    Report { run: String },
    /// End a run after the tag it is at.
    Cancel { run: String },
}

#[derive(Args)]
pub struct Rule {
    pub name: String,
    /// To the target, or from it.
    #[arg(value_parser = ["push", "pull"])]
    pub direction: String,
    /// The registry at the other end, as `gantry registry target list` names it.
    #[arg(long)]
    pub target: String,
    /// Pattern of repositories at the source.
    #[arg(long, default_value = "*")]
    pub repositories: String,
    /// Pattern of tags.
    #[arg(long, default_value = "*")]
    pub tags: String,
    /// Only images with this label: name=value, or name; may be repeated.
    #[arg(long)]
    pub label: Vec<String>,
    /// Only images for this platform, such as linux/arm64; may be repeated.
    #[arg(long)]
    pub platform: Vec<String>,
    /// First parts of the repositories at the target.
    #[arg(long, default_value = "")]
    pub remote_prefix: String,
    /// First parts of the repositories here.
    #[arg(long, default_value = "")]
    pub local_prefix: String,
    /// By time, as cron has it: 'minute hour day month weekday', UTC.
    #[arg(long)]
    pub schedule: Option<String>,
    /// At once when a tag moves or goes.
    #[arg(long)]
    pub on_event: bool,
    /// Remove tags that the source no longer has.
    #[arg(long)]
    pub deletions: bool,
    /// Leave tags alone that point at something else at the other end.
    #[arg(long)]
    pub keep_differing: bool,
    /// At most so much in a second: bytes, with KiB, MiB or GiB.
    #[arg(long)]
    pub bandwidth: Option<String>,
    /// Keep the settings, but do nothing.
    #[arg(long)]
    pub disabled: bool,
}

#[derive(Subcommand)]
pub enum Webhook {
    /// The webhooks, and how their receivers are.
    List,
    /// Have somebody told what happens; the signing secret is shown once, unless you gave it.
    Set {
        name: String,
        /// https://ci.example/hook
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// pushed, attached, pulled, deleted, scanned, quota, replication; may be repeated; all but pulled if not given.
        #[arg(long = "on", value_parser = ["pushed", "attached", "pulled", "deleted", "scanned", "quota", "replication"])]
        happenings: Vec<String>,
        /// Pattern of repositories.
        #[arg(long, default_value = "*")]
        repositories: String,
        /// Pattern of tags.
        #[arg(long, default_value = "*")]
        tags: String,
        /// File with the authority that signed the receiver's certificate, in PEM.
        #[arg(long, value_name = "FILE")]
        authority: Option<PathBuf>,
        /// It may be at a private address; needs a platform administrator.
        #[arg(long)]
        allow_private: bool,
        /// Keep the settings, but do nothing.
        #[arg(long)]
        disabled: bool,
        /// File with the secret to sign with, whsec_...; `-` reads it from the standard input. Left out, one is made, or the one before stays.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Tell that receiver nothing any more.
    Remove { name: String },
    /// Sign with a new secret, and with the one before, too.
    Rotate {
        name: String,
        /// No longer with the one before.
        #[arg(long)]
        only: bool,
        /// File with the new secret, whsec_...; `-` reads it from the standard input. Left out, one is made.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Send an event that says nothing, and show what came of it.
    Test { name: String },
    /// Send again to a receiver that was paused.
    Resume { name: String },
    /// What was told.
    Log {
        name: String,
        /// Only those.
        #[arg(long, value_parser = ["waiting", "delivered", "dead"])]
        state: Option<String>,
    },
    /// One delivery with its body and its last tries.
    Show { delivery: String },
    /// Send one event once more.
    Resend { delivery: String },
    /// Tell once more what was given up, or with --all everything that still is in the log.
    Replay {
        name: String,
        /// Everything that still is in the log.
        #[arg(long)]
        all: bool,
        /// What happened since then; RFC 3339.
        #[arg(long)]
        since: Option<String>,
    },
}
