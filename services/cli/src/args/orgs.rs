//! What can be typed about organisations, their members and what they trust.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Place, Places};
use crate::commands::SetName;

#[derive(Subcommand)]
pub enum Org {
    #[command(flatten)]
    Places(Places),
    /// Change what people see, or hand the organisation over.
    Set {
        place: Place,
        /// What people see instead of the name.
        #[arg(long)]
        display_name: Option<String>,
        /// User name of the new owner.
        #[arg(long)]
        owner: Option<String>,
    },
    /// Authorities whose certificates the organisation's people may bind by name.
    #[command(subcommand)]
    CertificateAuthority(CertificateAuthority),
    /// How the organisation's sign-in pages look.
    #[command(subcommand)]
    Branding(Branding),
}

#[derive(Subcommand)]
pub enum CertificateAuthority {
    /// Those the organisation trusts, and how their lists of revoked certificates stand.
    List { place: Place },
    /// Trust an authority: whoever bound a certificate of it by name is signed in by the next one, too.
    Trust {
        place: Place,
        name: String,
        /// PEM file with the authority's own certificate.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Trust an authority no longer: its certificates sign nobody in.
    Distrust {
        place: Place,
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Look at the authority's list of revoked certificates (CRL): those it names sign nobody in.
    SetRevocation {
        place: Place,
        id: String,
        /// Where the list is; it is fetched every hour.
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        /// The list itself (PEM or DER). Give the next one before it ends.
        #[arg(short, long, value_name = "FILE", conflicts_with = "from")]
        file: Option<PathBuf>,
        /// While no list holds: `refuse`, the authority's certificates sign nobody in; `accept`, they do.
        #[arg(long, value_parser = ["refuse", "accept"], default_value = "refuse")]
        when_stale: String,
    },
    /// Fetch the list now.
    FetchRevocation { place: Place, id: String },
    /// Look at no list of this authority any more.
    RemoveRevocation { place: Place, id: String },
}

#[derive(Subcommand)]
pub enum Branding {
    /// What is set.
    Show { place: Place },
    /// Change texts and colours; an empty text takes one away.
    Set {
        place: Place,
        #[command(flatten)]
        look: Look,
    },
    /// Set the logo: PNG, JPEG or WebP, at most 100 KiB, sides of 16 to 1024 pixels.
    Logo {
        place: Place,
        #[arg(value_name = "FILE", required_unless_present = "remove")]
        file: Option<PathBuf>,
        /// Take the logo away.
        #[arg(long, conflicts_with = "file")]
        remove: bool,
    },
    /// Let the pages look as the platform's own again.
    Reset {
        place: Place,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct Look {
    /// Shown above the form.
    #[arg(long)]
    pub title: Option<String>,
    /// Colour of buttons and links: #rrggbb, readable on white.
    #[arg(long, value_name = "COLOUR")]
    pub accent: Option<String>,
    /// The same for dark pages: readable on #1b212a.
    #[arg(long, value_name = "COLOUR")]
    pub accent_dark: Option<String>,
    /// Where people get help: an e-mail or https address.
    #[arg(long)]
    pub support: Option<String>,
    /// Shown above the form on English pages.
    #[arg(long)]
    pub notice_en: Option<String>,
    /// The same on Chinese pages.
    #[arg(long)]
    pub notice_zh: Option<String>,
    /// Where the privacy notice is.
    #[arg(long, value_name = "URL")]
    pub privacy_url: Option<String>,
    /// Where the terms of use are.
    #[arg(long, value_name = "URL")]
    pub terms_url: Option<String>,
}

impl Look {
    /// Those that were typed, by their names in the API.
    pub fn typed(self) -> Vec<(&'static str, String)> {
        let Self { title, accent, accent_dark, support, notice_en, notice_zh, privacy_url, terms_url } = self;
        let all = [
            ("title", title),
            ("accent", accent),
            ("accent_dark", accent_dark),
            ("support", support),
            ("notice_en", notice_en),
            ("notice_zh", notice_zh),
            ("privacy_url", privacy_url),
            ("terms_url", terms_url),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Sets are named as for `gantry apply --set`: ORG/NAME of an organisation, NAME of the platform.
#[derive(Subcommand)]
pub enum ConfigurationSet {
    /// Those there are, and when each was applied last.
    List {
        /// The organisation's; the platform's if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// What the documents of a set named when they were applied last.
    Show { set: SetName },
    /// Forget a set; what its documents made stays.
    Delete {
        set: SetName,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// In the organisation of --at.
#[derive(Subcommand)]
pub enum Member {
    /// Who belongs to it, with which role.
    List,
    /// Make somebody a member, or change the member's role at the organisation.
    Put {
        user: String,
        /// What they may do in the organisation.
        #[arg(long, value_parser = ["viewer", "editor", "admin"])]
        role: Option<String>,
    },
    /// Take somebody out, with every role in the organisation.
    Remove { user: String },
}

/// In the organisation of --at.
#[derive(Subcommand)]
pub enum Invitation {
    /// Those that nobody has taken up yet.
    List,
    /// Invite somebody by e-mail address; the link is shown this once.
    Create {
        email: String,
        /// What they may do in the organisation.
        #[arg(long, value_parser = ["viewer", "editor", "admin"])]
        role: Option<String>,
        /// How long it can be taken up; a week if not given.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// Take one back: its link is void.
    Delete { id: String },
}

/// Of the organisation of --at, or with --platform of the platform; the stricter rule holds.
#[derive(Subcommand)]
pub enum SecurityPolicy {
    /// The rules that are set.
    Show {
        /// Of the platform instead of the organisation of --at.
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
        /// Of the platform instead of the organisation of --at.
        #[arg(long)]
        platform: bool,
    },
}

/// In the organisation of --at: tokens with which a directory adds and removes people (SCIM).
#[derive(Subcommand)]
pub enum ScimToken {
    /// Those there are; the tokens themselves are not shown.
    List,
    /// Make a token; it is shown this once.
    Create {
        name: String,
        /// How long it counts; a year if not given.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// The token counts no longer.
    Delete { id: String },
}

/// Outside issuers whose tokens act as service accounts here: CI systems, Kubernetes, SPIFFE.
#[derive(Subcommand)]
pub enum Issuer {
    /// Those that are trusted.
    List {
        /// The organisation's; the platform's if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// From a file with its settings (YAML or JSON; docs/identity/openid-provider.md).
    Create {
        name: String,
        /// The file with the settings.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// The organisation it is for; the platform if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// Trust it no longer: what it issues is refused.
    Delete {
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
