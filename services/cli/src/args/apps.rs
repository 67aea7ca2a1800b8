//! What can be typed about applications.

use clap::Subcommand;

use super::{Charts, Logs, OptionalSource, Source};

/// Which instance; the first that runs if nothing is said.
#[derive(clap::Args)]
pub struct InstanceTarget {
    /// Id or name, as `instances` shows them.
    #[arg(long)]
    pub instance: Option<String>,
    /// Of this workload; the first instance of any that runs if not given.
    #[arg(long)]
    pub workload: Option<String>,
    /// One of its further containers, as `app instances -o json` lists them; its main one if not given.
    #[arg(short = 'c', long)]
    pub container: Option<String>,
}

/// For changes that can be tried.
#[derive(clap::Args)]
pub struct DryRun {
    /// Only show what would happen, step by step; change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Subcommand)]
pub enum App {
    /// Run an application described by a Compose file, Kubernetes manifests or a gantry document.
    Deploy {
        #[command(flatten)]
        source: Source,
        /// Go on without what the platform does not do; it is listed.
        #[arg(long, visible_alias = "allow-unsupported")]
        accept_unsupported: bool,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        /// Wait for room in the quota, if it is full for now, instead of being refused.
        #[arg(long)]
        queue: bool,
        /// Check and show the plan; change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Do not wait until it runs.
        #[arg(long)]
        no_wait: bool,
    },
    /// Say what is wrong with a document, and what it asks that is not done here. Changes nothing.
    Validate {
        #[command(flatten)]
        source: Source,
    },
    /// Turn a document into another format.
    Convert {
        #[command(flatten)]
        source: Source,
        /// The form to turn it into.
        #[arg(long, value_parser = ["compose", "kubernetes", "gantry"])]
        to: String,
    },
    /// What a document would change, or what differs between two revisions.
    Diff {
        #[command(flatten)]
        source: OptionalSource,
        /// Compare this revision ...
        #[arg(long, requires = "name", conflicts_with = "files")]
        from: Option<u64>,
        /// ... with this one; the one at work if not given.
        #[arg(long, requires = "from")]
        to: Option<u64>,
    },
    /// An application as a document.
    Export {
        name: String,
        /// The form to write it in.
        #[arg(long, value_parser = ["compose", "kubernetes", "gantry"], default_value = "gantry")]
        format: String,
        /// The one at work if not given.
        #[arg(long)]
        revision: Option<u64>,
        /// With the contents of secrets. Needs the right to administer the space, and is recorded.
        #[arg(long)]
        secrets: bool,
    },
    /// Those of the space, with state and addresses.
    List,
    /// One of them: state, workloads, addresses.
    Show { name: String },
    /// Its containers: where, since when, in which state.
    Instances { name: String },
    /// Signs of an intrusion in its instances: programs that are not of the image, rights that were not given, connections that were refused.
    Signs { name: String },
    /// What its instances print.
    Logs(Logs),
    /// Run a command in an instance. Its exit code becomes that of this program.
    Exec {
        name: String,
        #[command(flatten)]
        target: InstanceTarget,
        /// Hand on what is typed.
        #[arg(short = 'i', long)]
        stdin: bool,
        /// On a terminal.
        #[arg(short = 't', long)]
        tty: bool,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Join the streams of an instance's own process. Ctrl-P Ctrl-Q leaves it.
    Attach {
        name: String,
        #[command(flatten)]
        target: InstanceTarget,
        /// Hand on what is typed; the document must say `stdin_open`.
        #[arg(short = 'i', long)]
        stdin: bool,
    },
    /// Reach ports of an instance from here, also those only it can reach: 8080, or LOCAL:REMOTE. Until Ctrl-C.
    PortForward {
        name: String,
        #[command(flatten)]
        target: InstanceTarget,
        #[arg(required = true)]
        ports: Vec<String>,
        /// Where to listen here.
        #[arg(long, default_value = "127.0.0.1")]
        address: std::net::IpAddr,
    },
    /// Copy files out of or into an instance: one side is NAME:/PATH. The image needs no program for it.
    Cp {
        from: String,
        to: String,
        #[command(flatten)]
        target: InstanceTarget,
    },
    /// The processes of an instance.
    #[command(visible_alias = "top")]
    Ps {
        name: String,
        #[command(flatten)]
        target: InstanceTarget,
    },
    /// Move a running instance to another node as it is, with its memory and its files; it stands still for a moment. To the node where it
    /// is: into a new pod there.
    Migrate {
        name: String,
        /// Its id or its name (`gantry app instances`).
        instance: String,
        /// The node where it is to go on.
        #[arg(long)]
        to: String,
    },
    /// Send a signal to a process of an instance, by its number in `ps`.
    Signal {
        name: String,
        pid: u32,
        #[arg(default_value = "TERM")]
        signal: String,
        #[command(flatten)]
        target: InstanceTarget,
    },
    /// Set how many instances of a workload run.
    Scale {
        name: String,
        /// WORKLOAD=COUNT, or COUNT when the application has one workload.
        replicas: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Start all instances anew, one after another.
    Restart {
        name: String,
        /// Only these, and what is restarted with them; all if none is named
        #[arg(value_name = "WORKLOAD")]
        workloads: Vec<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Stop all instances; everything else stays.
    Stop {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Start a stopped one again.
    Start {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Workloads whose number follows what is measured, or a schedule.
    #[command(subcommand)]
    Scaling(Scaling),
    /// What the instances used lately, and what they should therefore reserve.
    Sizing { name: String },
    /// The release that is under way: where it is, and how it goes on.
    #[command(subcommand)]
    Release(Release),
    /// What its instances use: processor, memory, disk, network.
    Metrics {
        name: String,
        #[command(flatten)]
        charts: Charts,
    },
    /// Its revisions, the newest first: who made each, when and why.
    Revisions { name: String },
    /// Go back to an earlier revision; without one, list them.
    Rollback {
        name: String,
        revision: Option<u64>,
        /// Only show what would happen, step by step; change nothing.
        #[arg(long, requires = "revision")]
        dry_run: bool,
    },
    /// Why it is as it is: what waits for what, what would have to change, why each instance is where it is, failures.
    Why { name: String },
    /// What counts for where all workloads of the space run; with --set, from a YAML or JSON file.
    Placement {
        /// The file to set them from; without it they are shown.
        #[arg(long, value_name = "FILE")]
        set: Option<std::path::PathBuf>,
        /// Only if nobody has set them since they had this version; it is told when they are shown.
        #[arg(long, value_name = "VERSION", requires = "set")]
        if_version: Option<i64>,
        /// Only show which nodes the rules would leave; set nothing.
        #[arg(long, requires = "set")]
        dry_run: bool,
    },
    /// Delete an application, after a look at what goes with it.
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        dry: DryRun,
    },
}

#[derive(Subcommand)]
pub enum Release {
    /// Which step has begun, what it waits for, and which part of the requests goes to the new revision.
    Show { name: String },
    /// Go on to the next step now.
    Promote {
        name: String,
        /// To the end, without any further pause.
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Hold it where it is.
    Pause {
        name: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Let a paused one go on.
    Resume {
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Give it up: all requests go to the revision before.
    Abort {
        name: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        dry: DryRun,
    },
}

#[derive(Subcommand)]
pub enum Scaling {
    /// The last decision for each workload, with its reason.
    Show { name: String },
    /// Hold the number where it is; `gantry app scale` sets it then.
    Pause {
        name: String,
        workload: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Let the number follow again.
    Resume {
        name: String,
        workload: String,
        #[command(flatten)]
        dry: DryRun,
    },
}
