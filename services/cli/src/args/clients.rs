//! What can be typed about OAuth clients and signing keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum ClientCommand {
    /// Those of an organisation; without --org all (platform operators).
    List {
        /// Only those of this organisation.
        #[arg(long)]
        org: Option<String>,
    },
    /// One of them, without its secrets.
    Show { id: String },
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
    /// Delete one: it signs nobody in any more, and its tokens end.
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
    /// A secret counts no longer: SECRET is an id that `show` tells.
    RemoveSecret { id: String, secret: String },
    /// Tokens with which clients may still register themselves.
    RegistrationTokens {
        /// Of this organisation; the platform's if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// No client registers itself with it any more.
    DeleteRegistrationToken {
        id: String,
        /// Of this organisation; the platform's if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// A token with which a client registers itself (RFC 7591).
    RegistrationToken {
        /// Of this organisation; the platform's if not given.
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
    /// Those there are, and since when and until when each signs.
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
