//! What can be typed about configs and secrets of a space: the same for both.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Kept {
    /// With versions, and who uses them; contents are not shown.
    List,
    /// One of them, without its contents.
    Show { name: String },
    /// Make it, or its next version. One content comes from --file, --value or standard input; several from --file KEY=PATH and --literal.
    Set {
        name: String,
        /// PATH, or KEY=PATH; may be repeated.
        #[arg(long, short, value_name = "[KEY=]PATH")]
        file: Vec<String>,
        /// A content by its key; may be repeated. Other programs of this machine can see it while the command runs: prefer --file.
        #[arg(long, value_name = "KEY=VALUE")]
        literal: Vec<String>,
        /// The one content. Other programs of this machine can see it while the command runs: prefer --file or standard input.
        #[arg(long, value_name = "TEXT")]
        value: Option<String>,
        /// Keys that are not given stay as they are.
        #[arg(long)]
        merge: bool,
        /// A key that goes; the others stay. May be repeated.
        #[arg(long, value_name = "KEY")]
        remove: Vec<String>,
        /// A secret's type on Kubernetes clusters, such as kubernetes.io/tls.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Refuse every further version. Only when it is made.
        #[arg(long)]
        immutable: bool,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        /// Refuse unless this is its newest version; 0: unless it is not there yet.
        #[arg(long, value_name = "VERSION")]
        expect: Option<u32>,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
        /// Then make a new revision of the applications that need one to have it.
        #[arg(long)]
        rollout: bool,
    },
    /// Its versions, newest first.
    Versions { name: String },
    /// Bring the content of an earlier version back, as a new version.
    Rollback {
        name: String,
        version: u32,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        /// Then make a new revision of the applications that need one to have it.
        #[arg(long)]
        rollout: bool,
    },
    /// Make a new revision of the applications that have it as variables; of all that need it if none is named.
    Rollout {
        name: String,
        /// Only of this application; may be repeated.
        #[arg(long, value_name = "APP")]
        app: Vec<String>,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
    },
    /// With all versions, for ever. Refused while an application uses it.
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Show a version in clear. Needs a right of its own for secrets; each reading is in the audit trail.
    Reveal {
        name: String,
        /// The newest if not given.
        #[arg(long)]
        version: Option<u32>,
        /// Why; needed for secrets.
        #[arg(long)]
        reason: Option<String>,
        /// Print only the content of this key, as it is.
        #[arg(long)]
        key: Option<String>,
    },
}
