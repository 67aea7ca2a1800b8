//! Upstreams of identity: directories and foreign providers that vouch for people, and which account there is whose here.
//! The settings are also the body of the REST API. Secrets are never in them: they come sealed, beside.

use gantry_es::{EventData, Sealed};
use gantry_kernel::{LinkId, Name, OrgId, Role, UpstreamId, UserId};
use serde::{Deserialize, Serialize};

/// How an upstream is reached and what follows from what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What people read on the button of the sign-in page; the name if empty.
    #[serde(default)]
    pub display_name: String,
    /// Switched off, nobody comes in through it and nothing is synchronised.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Directories are asked in this order, small numbers first.
    #[serde(default = "hundred")]
    pub priority: u16,
    /// E-mail domains whose people sign in here (home realm).
    #[serde(default)]
    pub domains: Vec<String>,
    /// Domains for which this upstream's word on an address is believed: an account here with the same address is the
    /// same person. Without, the person links the two by signing in to both.
    #[serde(default)]
    pub trusted_domains: Vec<String>,
    /// May be at a private address (10.0.0.0/8, 127.0.0.0/8, ...).
    #[serde(default)]
    pub allow_private: bool,
    /// The authority that signed the upstream's certificate, in PEM; the system's ones if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    #[serde(default)]
    pub rules: Rules,
    /// What the upstream's groups mean here.
    #[serde(default)]
    pub mappings: Vec<Mapping>,
    /// Minutes between synchronisations of a directory or an OpenID provider with the scope `offline_access`; 0: only at sign-in and by hand.
    #[serde(default = "hour")]
    pub sync_minutes: u32,
    pub connection: Connection,
}

/// Who may come in for the first time, and what everybody gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Make an account at the first sign-in or synchronisation.
    pub create: bool,
    /// Only addresses in these domains; any if empty.
    pub allowed_domains: Vec<String>,
    /// Everybody becomes a member of this organisation, with `default_role`.
    pub default_org: Option<String>,
    pub default_role: Role,
    /// Suspend accounts that this upstream made, and end their sessions, when they are gone there; if not, they lose its roles only.
    pub suspend_gone: bool,
}

/// Whoever is in `group` has `role` at `at`, or is in `team`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// A distinguished name or the name (`cn`) of a directory's group; a value of the groups claim otherwise.
    pub group: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// `platform`, `acme`, `acme/shop` or `acme/shop/test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `acme/developers`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    Ldap(Ldap),
    Oidc(Oidc),
    Oauth2(Oauth2),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    #[default]
    OpenLdap,
    ActiveDirectory,
}

/// LDAPv3 (RFC 4511). Empty texts mean the flavour's usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ldap {
    #[serde(default)]
    pub flavour: Flavour,
    /// `ldaps://dc1.example.org`, `ldap://dc2.example.org:389`; the next one is asked when one does not answer.
    pub servers: Vec<String>,
    /// With `ldap://`: StartTLS before anything else is said.
    #[serde(default = "yes")]
    pub starttls: bool,
    /// Really speak without encryption; passwords can then be read on the network.
    #[serde(default)]
    pub plaintext: bool,
    /// Who searches; the password is the upstream's secret.
    pub bind_dn: String,
    pub user_base: String,
    #[serde(default)]
    pub user_filter: String,
    /// Attributes that hold what people type as their name.
    #[serde(default)]
    pub login_attributes: Vec<String>,
    #[serde(default)]
    pub attributes: Attributes,
    /// Where groups are; without one there are none.
    #[serde(default)]
    pub group_base: String,
    #[serde(default)]
    pub group_filter: String,
    /// The attribute of a group that names its members.
    #[serde(default)]
    pub member_attribute: String,
    /// What stands in it.
    #[serde(default)]
    pub member_is: MemberIs,
    /// Groups within groups; the flavour's usual way if not given.
    #[serde(default)]
    pub nested: Nested,
    /// Entries per page of a search.
    #[serde(default = "page")]
    pub page_size: u16,
    #[serde(default = "ten")]
    pub timeout_seconds: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Attributes {
    /// Never changes, whatever else does: `entryUUID`, `objectGUID`.
    pub id: String,
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub group_name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberIs {
    /// A distinguished name.
    #[default]
    Dn,
    /// A user name (`memberUid` of RFC 2307).
    Username,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nested {
    #[default]
    Usual,
    No,
    /// Asked level by level.
    Recursive,
    /// The server follows them: LDAP_MATCHING_RULE_IN_CHAIN of Active Directory.
    InChain,
}

/// OpenID Connect Core, code flow with PKCE. The client's secret is the upstream's secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    pub issuer: String,
    pub client_id: String,
    /// Beside `openid`.
    #[serde(default = "profile_email")]
    pub scopes: Vec<String>,
    /// Names of the claims; empty ones are the usual.
    #[serde(default)]
    pub claims: Claims,
    /// Send the secret in the body instead of the header.
    #[serde(default)]
    pub secret_in_body: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Claims {
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub groups: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    Github,
    Gitlab,
    Google,
    Wecom,
    Dingtalk,
    Feishu,
    /// Plain OAuth 2.0: all endpoints and fields are given.
    Custom,
}

/// Social sign-in by OAuth 2.0 (RFC 6749). What is not given is the preset's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    pub preset: Preset,
    /// WeCom: the corp id; Feishu: the app id; DingTalk: the app key.
    pub client_id: String,
    /// WeCom: the agent's id.
    #[serde(default)]
    pub agent_id: String,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub endpoints: Endpoints,
    #[serde(default)]
    pub fields: Fields,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    pub authorize: String,
    pub token: String,
    pub person: String,
    /// GitHub: the list of addresses; WeCom: a member's details.
    pub details: String,
}

/// Where in the answer about the person each value is (JSON pointers, RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    pub id: String,
    pub username: String,
    pub email: String,
    /// A truth value (or a text that is not empty) that says that the address was verified.
    pub email_verified: String,
    pub display_name: String,
    pub groups: String,
}

fn yes() -> bool {
    true
}
fn hundred() -> u16 {
    100
}
fn hour() -> u32 {
    60
}
fn page() -> u16 {
    500
}
fn ten() -> u16 {
    10
}
fn profile_email() -> Vec<String> {
    vec!["profile".into(), "email".into()]
}

impl Default for Rules {
    fn default() -> Self {
        Self { create: true, allowed_domains: Vec::new(), default_org: None, default_role: Role::Viewer, suspend_gone: true }
    }
}

/// Stream `upstream-<id>`. `secret`: sealed under `upstream:<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum UpstreamEvent {
    /// `org`: whose it is; none: the platform's.
    #[serde(rename = "upstream.created")]
    Created { upstream: UpstreamId, org: Option<OrgId>, name: Name, settings: Box<Settings>, secret: Option<Sealed> },
    /// `secret`: the new one, if it changed.
    #[serde(rename = "upstream.changed")]
    Changed { upstream: UpstreamId, settings: Box<Settings>, secret: Option<Sealed> },
    #[serde(rename = "upstream.deleted")]
    Deleted { upstream: UpstreamId, name: Name },
}

impl EventData for UpstreamEvent {
    const AGGREGATE: &'static str = "upstream";
}

/// Stream `link-<id>`: an account at an upstream is this person's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum LinkEvent {
    /// `subject`: what the upstream calls the account, under the person's key; `key`: its keyed hash, for lookups.
    /// `provisioned`: the upstream made the person's account here, and takes it away again.
    #[serde(rename = "link.made")]
    Made { link: LinkId, user: UserId, upstream: UpstreamId, subject: Sealed, key: String, provisioned: bool },
    #[serde(rename = "link.removed")]
    Removed { link: LinkId, user: UserId, upstream: UpstreamId, reason: String },
}

impl EventData for LinkEvent {
    const AGGREGATE: &'static str = "link";
}
