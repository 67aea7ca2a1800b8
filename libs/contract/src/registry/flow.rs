//! What comes into a project from other registries and goes out to them: pull-through caches, replication, webhooks. Parts of
//! the project's settings, and the bodies that REST takes and shows. Secrets are never in them: they come sealed, beside.

use serde::{Deserialize, Serialize};

fn any() -> String {
    "*".into()
}

fn yes() -> bool {
    true
}

/// Another registry, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `https://registry.example`; `http://` only with `allow_private`.
    pub url: String,
    /// Empty: without credentials.
    #[serde(default)]
    pub username: String,
    /// The authority that signed its certificate, in PEM; the machine's ones if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// May be at a private address (10.0.0.0/8, 127.0.0.0/8, ...).
    #[serde(default)]
    pub allow_private: bool,
}

/// Repositories of a project that are a cache of another registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    pub name: String,
    pub endpoint: Endpoint,
    /// First parts of the repositories here, such as `hub`: `<org>/<project>/hub/nginx` is then `<remote_prefix>/nginx` there. Empty: the
    /// whole project is a cache.
    #[serde(default)]
    pub prefix: String,
    /// First parts of the repositories there, such as `library`.
    #[serde(default)]
    pub remote_prefix: String,
    /// How long a tag is served without asking again.
    #[serde(default = "ten_minutes")]
    pub fresh_seconds: u32,
    #[serde(default)]
    pub platforms: Platforms,
    /// What nobody pulled for so many days goes; none: it stays.
    #[serde(default)]
    pub keep_days: Option<u32>,
    /// Switched off, what is here is served and nothing is asked there.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn ten_minutes() -> u32 {
    600
}

/// Which images of an index are fetched. The index itself is always kept as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Platforms {
    /// Those that somebody pulls.
    #[default]
    OnDemand,
    /// All of them, in the background, as soon as one is pulled.
    All,
}

/// A scanner outside, spoken to by Harbor's pluggable scanner API (Trivy's and Clair's adapters, and others).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scanner {
    pub name: String,
    /// Where its API begins, such as `https://trivy-adapter.example:8080`; `http://` only with `allow_private`.
    pub url: String,
    #[serde(default)]
    pub auth: ScannerAuth,
    /// With `basic`.
    #[serde(default)]
    pub username: String,
    /// The authority that signed its certificate, in PEM; the machine's ones if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// May be at a private address (10.0.0.0/8, 127.0.0.0/8, ...).
    #[serde(default)]
    pub allow_private: bool,
    /// Pattern of repositories it is given.
    #[serde(default = "any")]
    pub repositories: String,
    /// Ask it for a bill of materials, too, if it makes one.
    #[serde(default)]
    pub sbom: bool,
    /// A report older than this is asked for again; none: only when somebody asks.
    #[serde(default)]
    pub rescan_hours: Option<u32>,
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Scanner {
    /// Where it is, for whom a secret is kept.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { url: self.url.clone(), username: self.username.clone(), ca_pem: None, allow_private: self.allow_private }
    }
}

/// How a scanner knows who asks. The secret comes beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScannerAuth {
    #[default]
    None,
    Basic,
    Bearer,
    /// `X-ScannerAdapter-API-Key`.
    ApiKey,
}

/// A registry that images are replicated to or from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    pub endpoint: Endpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From here to the target.
    Push,
    /// From the target to here.
    Pull,
}

/// What is replicated, where to, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replication {
    pub name: String,
    pub direction: Direction,
    /// Name of the target.
    pub target: String,
    /// Pattern of repositories at the source, without the project and `source_prefix`.
    #[serde(default = "any")]
    pub repositories: String,
    #[serde(default = "any")]
    pub tags: String,
    /// Only images with all of these labels or annotations: `name=value`, or `name`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Only images for one of these, such as `linux/arm64` or `linux/*`; an index that has one of them goes whole.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// First parts of the repositories at the target.
    #[serde(default)]
    pub remote_prefix: String,
    /// First parts of the repositories here, after the project.
    #[serde(default)]
    pub local_prefix: String,
    /// `minute hour day month weekday`, UTC, as cron has it; none: not by time.
    #[serde(default)]
    pub schedule: Option<String>,
    /// Push only: at once when a tag moves or goes.
    #[serde(default)]
    pub on_event: bool,
    /// Tags that the source no longer has are removed at the other end.
    #[serde(default)]
    pub deletions: bool,
    /// Tags that point at something else at the other end are moved; else they are left alone.
    #[serde(default = "yes")]
    pub overwrite: bool,
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// What happened, as webhooks are asked to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A tag points at an image now.
    Pushed,
    /// A signature, a bill of materials or another artifact was attached to an image.
    Attached,
    /// Images were pulled; gathered for some seconds.
    Pulled,
    /// A tag or an image is gone.
    Deleted,
    Scanned,
    /// A push was refused because the project is full; at most once an hour.
    Quota,
    /// A replication ended.
    Replication,
}

/// Whom to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub name: String,
    /// `https://...`; `http://` only with `allow_private`.
    pub url: String,
    /// Empty: everything but pulls.
    #[serde(default)]
    pub happenings: Vec<Happening>,
    #[serde(default = "any")]
    pub repositories: String,
    #[serde(default = "any")]
    pub tags: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    #[serde(default)]
    pub allow_private: bool,
    #[serde(default = "yes")]
    pub enabled: bool,
}
