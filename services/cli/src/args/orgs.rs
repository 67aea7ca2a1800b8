//! What can be typed about organisations, their members and what they trust.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Place, Places};

#[derive(Subcommand)]
pub enum Org {
    #[command(flatten)]
    Places(Places),
    /// Change what people see, or hand the organisation over.
    Set {
        place: Place,
        #[arg(long)]
        display_name: Option<String>,
        /// User name of the new owner.
        #[arg(long)]
        owner: Option<String>,
    },
}

/// In the organisation of --at.
#[derive(Subcommand)]
pub enum Member {
    List,
    /// Make somebody a member, or change the member's role at the organisation.
    Put {
        user: String,
        #[arg(long, value_parser = ["viewer", "editor", "admin"])]
        role: Option<String>,
    },
    /// Take somebody out, with every role in the organisation.
    Remove {
        user: String,
    },
}

/// In the organisation of --at.
#[derive(Subcommand)]
pub enum Invitation {
    List,
    /// Invite somebody by e-mail address; the link is shown this once.
    Create {
        email: String,
        #[arg(long, value_parser = ["viewer", "editor", "admin"])]
        role: Option<String>,
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    Delete {
        id: String,
    },
}

/// Of the organisation of --at, or with --platform of the platform; the stricter rule holds.
#[derive(Subcommand)]
pub enum SecurityPolicy {
    Show {
        #[arg(long)]
        platform: bool,
    },
    /// Change some rules; `null` takes a rule away.
    Set {
        /// For example password_min_length=14, second_factor=required, networks='["10.0.0.0/8"]'.
        #[arg(value_name = "RULE=VALUE")]
        rules: Vec<String>,
        /// JSON or YAML file with the rules; those typed come over it.
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Let the rules that are not named go, instead of keeping them.
        #[arg(long)]
        replace: bool,
        #[arg(long)]
        platform: bool,
    },
}

/// In the organisation of --at: tokens with which a directory adds and removes people (SCIM).
#[derive(Subcommand)]
pub enum ScimToken {
    List,
    /// Make a token; it is shown this once.
    Create {
        name: String,
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    Delete {
        id: String,
    },
}

/// Outside issuers whose tokens act as service accounts here: CI systems, Kubernetes, SPIFFE.
#[derive(Subcommand)]
pub enum Issuer {
    List {
        /// The organisation's; the platform's if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// From a file with its settings (YAML or JSON; docs/identity/openid-provider.md).
    Create {
        name: String,
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        #[arg(long)]
        org: Option<String>,
    },
    Delete {
        id: String,
        #[arg(long)]
        yes: bool,
    },
}
