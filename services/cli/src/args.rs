//! What can be typed. Addresses of places are written `org`, `org/project` or `org/project/space`.

mod account;
mod alerts;
mod apps;
mod catalog;
mod clients;
mod clusters;
mod delivery;
mod document;
mod flow;
mod images;
mod kept;
mod logs;
mod money;
mod nodes;
mod operate;
mod orgs;
mod people;
mod pools;
mod registry;
mod services;
mod signs;
mod spaces;
mod upstreams;
mod volumes;

pub use account::{Account, ProfileChange, Registration};
pub use alerts::{Alert, AlertRule, NewRule};
pub use apps::{App, DryRun, InstanceTarget, Release, Scaling};
pub use catalog::Catalog;
pub use clients::{ClientCommand, ClientSettings, KeyCommand};
pub use clusters::{Cluster, ClusterAccess};
pub use delivery::{Pipeline, Repo};
pub use document::{More, OptionalSource, Source};
pub use flow::{Cache, Endpoint, Replication, Rule, Scanner, Target, Webhook};
pub use images::Image;
pub use kept::Kept;
pub use logs::{Charts, Logs};
pub use money::{PricePlan, Quota};
pub use nodes::Node;
pub use operate::{Admin, AdminCommand, Audit, AuditCommand, Events};
pub use orgs::{Branding, CertificateAuthority, ConfigurationSet, Invitation, Issuer, Member, Org, ScimToken, SecurityPolicy};
pub use people::{Rights, Role, ServiceAccount, Team, Token, User};
pub use pools::Pool;
pub use registry::{Key, Policy, Registry, Retention};
pub use services::Service;
pub use signs::Sign;
pub use spaces::{Space, SpaceClusters};
pub use upstreams::Upstream;
pub use volumes::Volume;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::commands::SetName;

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
    /// Your own account: profile, factors, sessions, what has access to it.
    #[command(subcommand)]
    Account(Account),
    /// Make an account for yourself, where that is allowed.
    Register(Registration),
    /// Organisations.
    #[command(subcommand)]
    Org(Org),
    /// Members of an organisation.
    #[command(subcommand)]
    Member(Member),
    /// Invitations to an organisation.
    #[command(subcommand)]
    Invitation(Invitation),
    /// How safely people have to sign in.
    #[command(subcommand)]
    SecurityPolicy(SecurityPolicy),
    /// Tokens with which a directory adds and removes people.
    #[command(subcommand)]
    ScimToken(ScimToken),
    /// Outside issuers whose tokens act as service accounts.
    #[command(subcommand)]
    Issuer(Issuer),
    /// Projects (address: org/project).
    #[command(subcommand)]
    Project(Places),
    /// Spaces (address: org/project/space).
    #[command(subcommand)]
    Space(Space),
    /// Make the platform what documents say: shows the plan, asks, then changes.
    Apply {
        /// A file of `apiVersion: gantry.io/v1` documents, `-` for standard input; may be repeated.
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// The documents are this set: ORG/NAME of an organisation, NAME of the platform, which remembers what they name.
        #[arg(long, value_name = "SET")]
        set: Option<SetName>,
        /// Remove what the set named before and no document names now; organisations and projects stay.
        #[arg(long, requires = "set")]
        prune: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Show how the platform differs from documents; changes nothing, fails if it does.
    Diff {
        /// A file of documents, `-` for standard input; may be repeated.
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Show as well what --prune would remove.
        #[arg(long, value_name = "SET")]
        set: Option<SetName>,
    },
    /// Write the documents of what is there: of the organisation of --at, or of the platform. Without secrets.
    Export {
        /// At the platform instead of the place of --at.
        #[arg(long)]
        platform: bool,
    },
    /// What `gantry apply --set` keeps: which things the documents of a set named.
    #[command(subcommand)]
    ConfigurationSet(ConfigurationSet),
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
        /// At the platform instead of the place of --at.
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
    /// Configs that a space keeps for its applications.
    #[command(subcommand)]
    Config(Kept),
    /// Secrets that a space keeps for its applications.
    #[command(subcommand)]
    Secret(Kept),
    /// Services of a space: find them, and register those that run elsewhere.
    #[command(subcommand)]
    Service(Service),
    /// Volumes of a space: snapshots, copies, backups.
    #[command(subcommand)]
    Volume(Volume),
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
        /// Only of the project of --at.
        #[arg(long)]
        project: bool,
    },
    /// Bills of an organisation; the open month if none is named.
    Invoice {
        /// A month such as 2026-11.
        period: Option<String>,
        /// All months.
        #[arg(long, conflicts_with = "period")]
        list: bool,
        /// Withdraw the issued bill of this month; it is then issued anew with the prices of today (platform operators).
        #[arg(long, value_name = "REASON", requires = "period")]
        void: Option<String>,
        /// Do not ask.
        #[arg(long, requires = "void")]
        yes: bool,
    },
    /// Directories and foreign providers that people sign in by.
    #[command(subcommand)]
    Upstream(Upstream),
    /// Limits of an organisation, project or person.
    #[command(subcommand)]
    Quota(Quota),
    /// What things cost.
    #[command(subcommand)]
    PricePlan(PricePlan),
    /// OAuth clients: applications that sign people in here, and programs with credentials of their own.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Whether mail gets out: how many wait, and why (platform operators).
    Mails,
    /// The keys that sign tokens (platform operators).
    #[command(subcommand)]
    Key(KeyCommand),
    /// Nodes that run containers (platform operators).
    #[command(subcommand)]
    Node(Node),
    /// Kubernetes clusters that run containers.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Pools of public addresses, which services are given addresses from.
    #[command(subcommand)]
    Pool(Pool),
    /// Signs of an intrusion: say what they were.
    #[command(subcommand)]
    Sign(Sign),
    /// Alerts of a space, and the rules that make them.
    #[command(subcommand)]
    Alert(Alert),
    /// What happens, as it happens.
    #[command(subcommand)]
    Events(Events),
    /// Who did what, when, from where, with which result.
    #[command(args_conflicts_with_subcommands = true)]
    Audit(Audit),
    /// Work on the machine itself (platform operators).
    Admin(AdminCommand),
    /// Print a completion script for a shell.
    Completion { shell: Shell },
}

#[derive(Subcommand)]
pub enum Places {
    /// Make one. The address says where: org, org/project or org/project/space.
    Create {
        place: Place,
        /// What people see instead of the name.
        #[arg(long)]
        display_name: Option<String>,
    },
    /// Those you may see; inside --at for projects and spaces.
    List,
    /// One of them, with what is set.
    Show { place: Place },
    /// Delete one with everything in it, for ever.
    Delete {
        place: Place,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
