//! What can be typed. Addresses of places are written `org`, `org/project` or `org/project/space`.

mod people;
mod registry;

pub use people::{Rights, Role, ServiceAccount, Team, Token, User};
pub use registry::{Key, Policy, Registry, Retention};

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

#[derive(Parser)]
#[command(name = "gantry", version, about = "Works with a Gantry platform from the command line.", max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The platform's address; the last one signed in to if not given.
    #[arg(long, global = true, env = "GANTRY_URL", hide_env_values = true, value_name = "URL")]
    pub url: Option<String>,
    /// File with the CA that signed the platform's certificate.
    #[arg(long, global = true, env = "GANTRY_CA", hide_env_values = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The place to work in: org, org/project or org/project/space (`gantry use` remembers one).
    #[arg(long = "at", global = true, env = "GANTRY_AT", hide_env_values = true, value_name = "PLACE")]
    pub at: Option<Place>,
    /// How to print.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Yaml,
}

/// One to three names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Vec<String>);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split('/').map(str::to_owned).collect();
        let fine = |n: &String| !n.is_empty() && n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        match names.len() {
            1..=3 if names.iter().all(fine) => Ok(Self(names)),
            _ => Err("must be org, org/project or org/project/space, of a-z, 0-9 and '-'".to_owned()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

impl Place {
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Sign in: opens a device authorization and waits until you confirmed it in a browser.
    Login,
    /// Forget the sign-in here and end it at the platform.
    Logout,
    /// Who is signed in, and where.
    Whoami,
    /// Remember a place, so that --at need not be typed.
    Use { place: Place },
    /// Organisations.
    #[command(subcommand)]
    Org(Places),
    /// Projects (address: org/project).
    #[command(subcommand)]
    Project(Places),
    /// Spaces (address: org/project/space).
    #[command(subcommand)]
    Space(Places),
    /// Make the platform what documents say: shows the plan, asks, then changes.
    Apply {
        /// A file of `apiVersion: gantry.io/v1` documents, `-` for standard input; may be repeated.
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Show how the platform differs from documents; changes nothing, fails if it does.
    Diff {
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// People (administrators of the platform; others see their colleagues).
    #[command(subcommand)]
    User(User),
    /// Teams of an organisation.
    #[command(subcommand)]
    Team(Team),
    /// Roles and the permissions they are made of.
    #[command(subcommand)]
    Role(Role),
    /// Who may do what where.
    #[command(subcommand)]
    Rights(Rights),
    /// Whether you may do something at the place of --at, and why.
    CanI {
        /// For example apps.write; `gantry role permissions` lists all.
        permission: String,
        /// Ask about somebody else: a user name, team:NAME or robot:NAME.
        #[arg(long = "as", value_name = "SUBJECT")]
        subject: Option<String>,
        #[arg(long)]
        platform: bool,
    },
    /// Service accounts (robots) of an organisation and their keys.
    #[command(subcommand)]
    ServiceAccount(ServiceAccount),
    /// Your personal access tokens.
    #[command(subcommand)]
    Token(Token),
    /// Applications of a space.
    #[command(subcommand)]
    App(App),
    /// Images of a project.
    #[command(subcommand)]
    Image(Image),
    /// What a project wants of its images: quota, immutable tags, retention, keys, policies.
    #[command(subcommand)]
    Registry(Registry),
    /// Git repositories of a project.
    #[command(subcommand)]
    Repo(Repo),
    /// Pipeline runs of a project.
    #[command(subcommand)]
    Pipeline(Pipeline),
    /// Ready-made services.
    #[command(subcommand)]
    Catalog(Catalog),
    /// What an organisation used, by project, application and meter.
    Usage {
        /// RFC 3339; the beginning of this month if not given.
        #[arg(long)]
        from: Option<String>,
        /// RFC 3339; now if not given.
        #[arg(long)]
        to: Option<String>,
    },
    /// Bills of an organisation; the open month if none is named.
    Invoice {
        /// A month such as 2026-11.
        period: Option<String>,
        /// All months.
        #[arg(long, conflicts_with = "period")]
        list: bool,
    },
    /// Directories and foreign providers that people sign in by.
    #[command(subcommand)]
    Upstream(Upstream),
    /// Limits of an organisation or project.
    #[command(subcommand)]
    Quota(Quota),
    /// OAuth clients: applications that sign people in here, and programs with credentials of their own.
    #[command(subcommand)]
    Client(ClientCommand),
    /// The keys that sign tokens (platform operators).
    #[command(subcommand)]
    Key(KeyCommand),
    /// Nodes that run containers (platform operators).
    #[command(subcommand)]
    Node(Node),
    /// What happens, as it happens.
    #[command(subcommand)]
    Events(Events),
    /// Who did what, when, from where, with which result.
    Audit {
        #[arg(long)]
        actor: Option<String>,
        #[arg(long)]
        kind: Option<String>,
        #[arg(long)]
        object: Option<String>,
        /// ok, denied or failed.
        #[arg(long)]
        result: Option<String>,
        /// RFC 3339.
        #[arg(long)]
        from: Option<String>,
        /// RFC 3339.
        #[arg(long)]
        to: Option<String>,
        /// Words to look for.
        #[arg(short)]
        q: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Work on the machine itself (platform operators).
    Admin(AdminCommand),
    /// Print a completion script for a shell.
    Completion { shell: Shell },
}

#[derive(Subcommand)]
pub enum Places {
    Create {
        place: Place,
        /// What people see instead of the name.
        #[arg(long)]
        display_name: Option<String>,
    },
    /// Those you may see; inside --at for projects and spaces.
    List,
    Delete {
        place: Place,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum App {
    /// Run an application described by a Compose file, Kubernetes manifests or a gantry document.
    Deploy {
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// The application's name; the file's own, or its folder's, if not given.
        #[arg(long)]
        name: Option<String>,
        /// Told from the file if not given.
        #[arg(long, value_parser = ["compose", "kubernetes", "gantry"])]
        format: Option<String>,
        /// A value the document asks for: KEY=VALUE, may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        values: Vec<String>,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        /// Check and show the plan; change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Do not wait until it runs.
        #[arg(long)]
        no_wait: bool,
    },
    List,
    Show {
        name: String,
    },
    /// Its containers: where, since when, in which state.
    Instances {
        name: String,
    },
    Logs {
        name: String,
        /// Go on as lines come.
        #[arg(short, long)]
        follow: bool,
        /// RFC 3339, or how far back: 90s, 10m, 2h.
        #[arg(long)]
        since: Option<String>,
        #[arg(long)]
        instance: Option<String>,
        #[arg(long, default_value_t = 200)]
        limit: u32,
    },
    Scale {
        name: String,
        /// WORKLOAD=COUNT, or COUNT when the application has one workload.
        replicas: String,
    },
    Restart {
        name: String,
    },
    Stop {
        name: String,
    },
    Start {
        name: String,
    },
    /// Go back to an earlier revision; without one, list them.
    Rollback {
        name: String,
        revision: Option<u64>,
    },
    /// Why it is as it is: placement, waiting, failures.
    Why {
        name: String,
    },
    Delete {
        name: String,
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum Image {
    List,
    /// What the scanner found in an image.
    Scan {
        repository: String,
        digest: String,
        /// sarif or html: printed as they are.
        #[arg(long, value_parser = ["sarif", "html"])]
        format: Option<String>,
    },
    /// The bill of materials of an image.
    Sbom {
        repository: String,
        digest: String,
        #[arg(long, value_parser = ["cyclonedx", "cyclonedx-1.5", "spdx"], default_value = "cyclonedx")]
        format: String,
    },
    /// Who signed an image, how it was built, and whether the project's policies hand it out.
    Signatures {
        repository: String,
        digest: String,
    },
    /// Remove a tag.
    Delete {
        repository: String,
        tag: String,
    },
    /// Who moved and deleted which tag when, newest first.
    History {
        repository: String,
        /// Only this tag.
        tag: Option<String>,
    },
    /// Bring a deleted tag back while its content lives.
    Restore {
        repository: String,
        tag: String,
        /// One it pointed at before; the last one if not given.
        #[arg(long)]
        digest: Option<String>,
    },
    /// Remove content that no image needs, on the whole platform.
    Collect {
        /// Only say how much there is.
        #[arg(long)]
        dry_run: bool,
        /// How long nobody must have needed it, in seconds.
        #[arg(long)]
        older_than: Option<u64>,
    },
    /// Have all content of the platform compared with its digest now.
    Check,
    /// The images that damaged content hurts.
    Damage,
}

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

#[derive(Subcommand)]
pub enum Catalog {
    /// What is on offer.
    List,
    /// What this space has.
    Instances,
    Create {
        offering: String,
        name: String,
        #[arg(long)]
        plan: Option<String>,
        /// KEY=VALUE, may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        parameters: Vec<String>,
        #[arg(long)]
        no_wait: bool,
    },
    Show {
        name: String,
    },
    Delete {
        name: String,
        #[arg(long)]
        yes: bool,
    },
    /// Credentials to use it with.
    Bind {
        instance: String,
        name: String,
    },
    Unbind {
        instance: String,
        name: String,
    },
}

#[derive(Subcommand)]
pub enum Upstream {
    List,
    Show {
        name: String,
    },
    /// From a file with its settings (YAML or JSON; docs/identity/upstreams.md).
    Create {
        name: String,
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// File with the password of the searching account, or the client's secret.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// The organisation it is for; the platform's if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// Replace the settings.
    Change {
        name: String,
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// A new secret; the old one stays if not given.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    Delete {
        name: String,
        #[arg(long)]
        yes: bool,
    },
    /// Try the connection out, step by step.
    Test {
        name: String,
        /// Somebody to look up.
        #[arg(long)]
        user: Option<String>,
    },
    /// Bring accounts in step with a directory now.
    Sync {
        name: String,
        /// Read everybody, not only what has changed.
        #[arg(long)]
        full: bool,
        #[arg(long)]
        no_wait: bool,
    },
    /// What the last synchronisations did.
    Report {
        name: String,
    },
}

#[derive(Subcommand)]
pub enum Quota {
    Get,
    /// Set limits: cpu_millis=4000 memory_bytes=8GiB containers=none
    Set {
        #[arg(required = true, value_name = "LIMIT=VALUE")]
        limits: Vec<String>,
    },
}

#[derive(Subcommand)]
pub enum Node {
    /// Make a token that lets one node in, once; it is shown this once.
    JoinToken {
        /// Good for this node only.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        #[arg(long, value_name = "MINUTES")]
        expires_in_minutes: Option<u32>,
    },
    /// Certificates that nodes were given.
    Certificates {
        name: Option<String>,
    },
    /// Revoke all certificates of a node: it has to join anew.
    RevokeCertificates {
        name: String,
        #[arg(long)]
        reason: Option<String>,
    },
    List,
    /// No new instances.
    Cordon {
        name: String,
    },
    Uncordon {
        name: String,
    },
    /// No new instances, and those that are there move away.
    Drain {
        name: String,
    },
}

#[derive(Subcommand)]
pub enum Events {
    /// Print events until interrupted.
    Tail {
        /// Stop after this many.
        #[arg(short = 'n', long)]
        count: Option<usize>,
    },
}

#[derive(Args)]
pub struct AdminCommand {
    #[command(subcommand)]
    pub command: Admin,
    /// The services' configuration.
    #[arg(long, default_value = ".gantry/gantry.toml", value_name = "FILE", global = true)]
    pub config: PathBuf,
}

#[derive(Subcommand)]
pub enum Admin {
    /// Check the hash chain of the event logs; runs on the platform's machine.
    VerifyLog {
        /// One service; all if not given.
        #[arg(long)]
        service: Option<String>,
    },
    /// How far each projection of a service is, and why it stands still if it does; runs on the platform's machine.
    Projections { service: String },
    /// Have a projection built anew beside the live one and swapped in; runs on the platform's machine.
    Rebuild {
        service: String,
        projection: String,
        /// Do not wait until it is done.
        #[arg(long)]
        no_wait: bool,
    },
    /// Pass over the event that a projection cannot take in; runs on the platform's machine.
    SkipEvent { service: String, projection: String, position: i64 },
}

#[derive(Subcommand)]
pub enum ClientCommand {
    /// Those of an organisation; without --org all (platform operators).
    List {
        #[arg(long)]
        org: Option<String>,
    },
    Show {
        id: String,
    },
    /// Register one. Its secret is shown once.
    Create {
        /// Made if not given.
        id: Option<String>,
        /// The organisation it belongs to; the platform if not given.
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        settings: ClientSettings,
    },
    /// Change some settings.
    Set {
        id: String,
        #[command(flatten)]
        settings: ClientSettings,
    },
    Delete {
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Make a second secret, so that the first can be replaced without a gap.
    AddSecret {
        id: String,
        /// Days until it expires; never if not given.
        #[arg(long)]
        days: Option<u32>,
    },
    RemoveSecret {
        id: String,
        secret: String,
    },
    /// A token with which a client registers itself (RFC 7591).
    RegistrationToken {
        #[arg(long)]
        org: Option<String>,
        /// How many clients.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// Hours until it expires.
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
}

#[derive(Args, Clone, Debug, Default)]
pub struct ClientSettings {
    /// JSON file with all settings; the other options come over it.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What people see.
    #[arg(long)]
    pub name: Option<String>,
    /// Where people are sent back to; may be given several times.
    #[arg(long, value_name = "URL")]
    pub redirect_uri: Vec<String>,
    /// Where people may be sent after signing out.
    #[arg(long, value_name = "URL")]
    pub post_logout_redirect_uri: Vec<String>,
    /// authorization_code, refresh_token, client_credentials, or the URN of the device flow or token exchange.
    #[arg(long)]
    pub grant: Vec<String>,
    /// openid, profile, email, groups, roles, offline_access, api.
    #[arg(long)]
    pub scope: Vec<String>,
    /// none, client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth, self_signed_tls_client_auth.
    #[arg(long)]
    pub auth: Option<String>,
    /// How ID tokens are signed: RS256, ES256 or EdDSA.
    #[arg(long)]
    pub alg: Option<String>,
    /// Any other setting, for example consent_required=true.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

#[derive(Subcommand)]
pub enum KeyCommand {
    List,
    /// A new key now instead of when the schedule says.
    Rotate {
        /// RS256, ES256 or EdDSA.
        alg: String,
        /// Seconds until it signs (60 to 86400; 600 if not given); it is published at once.
        #[arg(long)]
        after_seconds: Option<u32>,
        /// The earlier keys are in somebody's hands: nothing they signed counts any more.
        #[arg(long)]
        compromised: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
