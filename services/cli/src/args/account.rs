//! What can be typed about one's own account.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum Account {
    /// Profile and roles.
    Show,
    /// Change the profile or the password.
    Set(ProfileChange),
    /// Where you are signed in.
    Sessions,
    /// End one session with the tokens that came from it.
    EndSession { id: String },
    /// End all sessions but this one.
    EndOtherSessions,
    /// Second factors.
    Factors,
    /// Add an authenticator application: shows its secret and asks for the first code.
    AddTotp {
        /// A name for it.
        #[arg(long)]
        label: Option<String>,
    },
    /// Take a second factor away.
    RemoveFactor { id: String },
    /// Certificates that sign you in.
    Certificates,
    /// Bind the certificate that this command shows at the platform's door for certificates.
    AddCertificate {
        /// PEM file with the certificate, and those between it and its authority.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// PEM file with its private key; it stays here.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A name for it.
        #[arg(long)]
        label: Option<String>,
        /// And its successors: whatever the authority of an organisation of yours issues in the same name.
        #[arg(long)]
        by_name: bool,
    },
    /// It signs you in no longer.
    RemoveCertificate { id: String },
    /// Ten new recovery codes; the ones before are void.
    RecoveryCodes,
    /// Applications that hold tokens of yours.
    Applications,
    /// End every token that an application holds of yours.
    Disconnect { client: String },
    /// What you allowed applications of others.
    Consents,
    /// Take a consent back; the application's tokens end with it.
    WithdrawConsent { client: String },
    /// Accounts elsewhere that sign you in here.
    Links,
    /// Link an account of a directory, proven by its password.
    Link {
        upstream: String,
        username: String,
        /// File with the password there; asked for if not given.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// That account signs you in here no longer.
    Unlink { id: String },
    /// Let somebody (support staff) act for you for a while; all they do carries both names.
    AllowImpersonation {
        user: String,
        /// For how long.
        #[arg(long)]
        minutes: Option<u32>,
    },
    /// Take back what `allow-impersonation` gave.
    WithdrawImpersonation { user: String },
    /// Everything that is kept of you, without secrets, as JSON.
    Export,
    /// Erase your account for ever.
    Delete {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct ProfileChange {
    /// What people see instead of the name.
    #[arg(long)]
    pub display_name: Option<String>,
    /// Where mails go.
    #[arg(long)]
    pub email: Option<String>,
    /// File with the new password.
    #[arg(long, value_name = "FILE", requires = "current_password_file")]
    pub password_file: Option<PathBuf>,
    /// File with the password as it is now.
    #[arg(long, value_name = "FILE")]
    pub current_password_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct Registration {
    pub username: String,
    /// Where mails go.
    #[arg(long)]
    pub email: String,
    /// What people see instead of the name.
    #[arg(long)]
    pub display_name: Option<String>,
    /// File with the password; asked for if not given.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
