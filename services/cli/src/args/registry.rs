//! What can be typed about a project's part of the registry.

use std::path::PathBuf;

use clap::Subcommand;

use super::flow::{Cache, Replication, Scanner, Target, Webhook};

#[derive(Subcommand)]
pub enum Registry {
    /// Everything that is set for the project's images.
    Settings,
    /// How much the project's images take, counted both ways, and the quota.
    Usage,
    /// Limit what the project's images may take: bytes, with KiB, MiB, GiB or TiB, or none.
    Quota { limit: String },
    /// Say which tags can be set once and then neither moved nor deleted; replaces the rules before. None: no tags.
    Immutable {
        /// REPOSITORIES:TAGS, both patterns, such as 'web:v*' or '*:release-*'.
        rules: Vec<String>,
    },
    /// Say for which platforms images should be there, such as linux/amd64; replaces the list before. None: nothing is missed.
    Platforms { wanted: Vec<String> },
    /// Say what scanning does besides the report.
    Scanning {
        /// Attach the bill of materials to each image as a referrer, in this form.
        #[arg(long, value_name = "FORM", value_parser = ["cyclonedx", "spdx", "none"])]
        attach_sbom: String,
    },
    /// What is kept and what may go.
    #[command(subcommand)]
    Retention(Retention),
    /// Keys and certificates whose signatures count.
    #[command(subcommand)]
    Key(Key),
    /// What an image must be before it is handed out.
    #[command(subcommand)]
    Policy(Policy),
    /// Repositories that are a cache of another registry.
    #[command(subcommand)]
    Cache(Cache),
    /// Registries to replicate with.
    #[command(subcommand)]
    Target(Target),
    /// Copying images to other registries, and from them.
    #[command(subcommand)]
    Replication(Replication),
    /// Scanners outside that the project's images are given to.
    #[command(subcommand)]
    Scanner(Scanner),
    /// Telling programs what happens.
    #[command(subcommand)]
    Webhook(Webhook),
    /// Accept a finding.
    Allow {
        /// The advisory's id or an alias, such as CVE-2026-1.
        id: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: String,
        /// RFC 3339; for good if not given.
        #[arg(long)]
        until: Option<String>,
        /// Only in this package.
        #[arg(long)]
        package: Option<String>,
    },
    /// Count a finding again.
    Disallow { id: String },
}

#[derive(Subcommand)]
pub enum Retention {
    /// Set the rules from a JSON file: { "rules": [...], "every_hours": 24, "untagged_days": 30 }.
    Set { file: PathBuf },
    /// What the rules of a file, or those that are set, would remove. Changes nothing.
    Simulate { file: Option<PathBuf> },
    /// Apply the rules now.
    Run {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum Key {
    /// Trust a public key (cosign.pub) or a certificate (Notation).
    Add {
        name: String,
        /// PEM.
        file: PathBuf,
        /// Certificates: what the signer's subject must contain, such as CN=build; may be repeated.
        #[arg(long)]
        subject: Vec<String>,
    },
    /// What it signed counts no longer.
    Remove { name: String },
}

#[derive(Subcommand)]
pub enum Policy {
    /// Make a policy, or set it as a whole.
    Set {
        name: String,
        /// Pattern of repositories it is about.
        #[arg(long, default_value = "*")]
        repositories: String,
        /// pull, deploy; both if not given.
        // Not `at`, which is the project, for every command.
        #[arg(long = "on", value_name = "MOMENT", value_parser = ["pull", "deploy"])]
        moments: Vec<String>,
        /// No finding this bad or worse.
        #[arg(long, value_parser = ["low", "medium", "high", "critical"])]
        block: Option<String>,
        /// Findings without a fix do not count.
        #[arg(long)]
        only_fixable: bool,
        /// Refuse what has not been scanned, or not in every part.
        #[arg(long)]
        must_be_scanned: bool,
        /// Name of a trusted key, or '*' for any of them; may be repeated.
        #[arg(long)]
        signed_by: Vec<String>,
        /// SLSA build level, 1 to 3.
        #[arg(long, default_value_t = 0)]
        provenance: u8,
        /// Builder id that counts for level 3; may be repeated.
        #[arg(long)]
        builder: Vec<String>,
        /// Licence that no package may have, such as 'AGPL-*'; may be repeated.
        #[arg(long)]
        deny_licence: Vec<String>,
    },
    /// Ask for it no longer.
    Remove { name: String },
}
