//! What can be typed about people and rights.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum User {
    /// Those you may see.
    List {
        /// The beginning of a name, or a whole e-mail address.
        #[arg(short)]
        q: Option<String>,
        /// Only those.
        #[arg(long, value_parser = ["active", "suspended"])]
        state: Option<String>,
        /// Members of this organisation.
        #[arg(long)]
        org: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// One person, with state and roles.
    Show { user: String },
    /// Make an account for somebody.
    Create {
        username: String,
        /// Where mails go.
        #[arg(long)]
        email: String,
        /// What people see instead of the name.
        #[arg(long)]
        display_name: Option<String>,
        /// File with the first password; without one an administrator or a mail sets it later.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Change what somebody is called and how they are reached.
    Set {
        user: String,
        /// What people see instead of the name.
        #[arg(long)]
        display_name: Option<String>,
        /// Where mails go.
        #[arg(long)]
        email: Option<String>,
        /// File with a new password.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Accounts elsewhere that sign somebody in here.
    Links { user: String },
    /// What still names somebody, erased or not, and whether any of it can be read: proof of erasure.
    Remains {
        /// The id, which stays after erasure, or the name of somebody who is here.
        user: String,
    },
    /// Certificates that sign somebody in.
    Certificates { user: String },
    /// It signs the person in no longer.
    RevokeCertificate {
        user: String,
        id: String,
        /// Kept in the record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Where somebody is signed in.
    Sessions { user: String },
    /// End one of somebody's sessions with the tokens that came from it.
    EndSession { user: String, id: String },
    /// Names of ids, as far as you may know them.
    Resolve {
        /// user:ID, or the id alone.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Let somebody in no longer, until `resume`; sessions and tokens end.
    Suspend {
        user: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a suspended person in again.
    Resume { user: String },
    /// Erase for ever.
    Delete {
        user: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Make somebody choose a new password; ends their sessions.
    ResetPassword {
        user: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Make two accounts one: what FROM has moves to USER, then FROM is erased.
    Merge {
        user: String,
        /// The account that is given up.
        #[arg(long, value_name = "FROM")]
        from: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Create users from a file: CSV with the columns username, email, display_name, password_hash; or a JSON list.
    Import {
        file: PathBuf,
        /// Say for each line what would happen; change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// All users, as CSV or JSON.
    Export {
        /// The form to write it in.
        #[arg(long, value_parser = ["csv", "json"], default_value = "csv")]
        format: String,
    },
}

/// In the organisation of --at.
#[derive(Subcommand)]
pub enum Team {
    /// Those there are.
    List,
    /// Make a team.
    Create {
        name: String,
        /// What people see instead of the name.
        #[arg(long)]
        display_name: Option<String>,
        /// The team above: its rights hold here as well.
        #[arg(long)]
        parent: Option<String>,
    },
    /// One team.
    Show { name: String },
    /// Change what people see instead of the name.
    Set {
        name: String,
        /// What people see instead of the name.
        #[arg(long)]
        display_name: String,
    },
    /// Put a team below another one, or (without --parent) on its own.
    Move {
        name: String,
        /// The team above.
        #[arg(long)]
        parent: Option<String>,
    },
    /// Delete a team, with the roles it gives; its members stay.
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Who belongs to it.
    Members { name: String },
    /// MEMBER is a user name, or robot:NAME.
    Add { name: String, member: String },
    /// Take a member out.
    Remove { name: String, member: String },
}

#[derive(Subcommand)]
pub enum Role {
    /// Built-in roles, the platform's, and those of the organisation of --at.
    List,
    /// What roles can be put together from.
    Permissions,
    /// Put a role together from permissions.
    Create {
        name: String,
        /// May be repeated.
        #[arg(long = "permission", value_name = "PERMISSION", required = true)]
        permissions: Vec<String>,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// A role of the platform instead of the organisation of --at.
        #[arg(long)]
        platform: bool,
    },
    /// ID is that of the list; of a built-in role its name.
    Show { id: String },
    /// Change a role; it counts everywhere within a second.
    Set {
        id: String,
        /// All permissions it shall have; may be repeated.
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<String>,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
    },
    /// Delete a role that is not built in.
    Delete { id: String },
}

/// At the place of --at, or with --platform at the platform.
#[derive(Subcommand)]
pub enum Rights {
    /// Who has which role, exactly there.
    Bindings {
        /// At the platform instead of the place of --at.
        #[arg(long)]
        platform: bool,
    },
    /// SUBJECT is a user name, team:NAME or robot:NAME; ROLE viewer, editor, admin or a custom role.
    Grant {
        subject: String,
        role: String,
        /// At the platform instead of the place of --at.
        #[arg(long)]
        platform: bool,
        /// Only from this network; may be repeated.
        #[arg(long = "network", value_name = "CIDR")]
        networks: Vec<String>,
        /// Only after a sign-in with this factor (otp, hwk, ...); may be repeated.
        #[arg(long = "factor", value_name = "FACTOR")]
        factors: Vec<String>,
        /// Only until then (RFC 3339).
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Take a role back: BINDING is an id that `bindings` shows.
    Revoke { binding: String },
    /// Everybody who may do it there, and why.
    WhoCan {
        permission: String,
        /// At the platform instead of the place of --at.
        #[arg(long)]
        platform: bool,
    },
    /// Who may what there.
    Matrix {
        /// At the platform instead of the place of --at.
        #[arg(long)]
        platform: bool,
    },
}

/// In the organisation of --at.
#[derive(Subcommand)]
pub enum ServiceAccount {
    /// Those there are.
    List,
    /// Make one; `create-key` then makes its credential.
    Create {
        name: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// Repositories it may use without a role: PATTERN=ACTIONS, e.g. acme/shop/*=pull,push; may be repeated.
        #[arg(long = "repository", value_name = "PATTERN=ACTIONS")]
        repositories: Vec<String>,
    },
    /// One of them.
    Show { name: String },
    /// Change the description or the repositories.
    Set {
        name: String,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        /// All repositories it may use without a role: PATTERN=ACTIONS; may be repeated.
        #[arg(long = "repository", value_name = "PATTERN=ACTIONS")]
        repositories: Vec<String>,
        /// It uses no repository without a role.
        #[arg(long, conflicts_with = "repositories")]
        no_repositories: bool,
    },
    /// Its keys and tokens count no longer, until `resume`.
    Suspend {
        name: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a suspended one work again.
    Resume { name: String },
    /// Delete one with its keys, for ever.
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Its keys, without the secrets.
    Keys { name: String },
    /// Make a key; it is shown this once. Two may live at the same time.
    CreateKey {
        name: String,
        /// How long it counts; 90 days if not given.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// A key counts no longer.
    RevokeKey { name: String, id: String },
}

#[derive(Subcommand)]
pub enum Token {
    /// Those there are; the tokens themselves are not shown.
    List,
    /// Make a personal access token; it is shown this once.
    Create {
        name: String,
        /// api, api:read, registry:pull, registry:push; may be repeated.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// How long it counts; 90 days if not given.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// A token counts no longer.
    Revoke { id: String },
}
