//! How an instance is asked whether it is well, and what is done at its start and before its end.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Startup,
    Live,
    Ready,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    Http {
        path: String,
        port: u16,
        #[serde(default, skip_serializing_if = "is_default")]
        https: bool,
        /// The `Host` header; the instance's address if empty.
        #[serde(default, skip_serializing_if = "is_default")]
        host: String,
        #[serde(default, skip_serializing_if = "is_default")]
        headers: BTreeMap<String, String>,
    },
    Tcp {
        port: u16,
    },
    Grpc {
        port: u16,
        /// The service that is asked for; the server as a whole if empty.
        #[serde(default, skip_serializing_if = "is_default")]
        service: String,
    },
    Command {
        command: Vec<String>,
    },
}

impl Check {
    /// A request for a path, with nothing else said.
    pub fn http(path: impl Into<String>, port: u16) -> Self {
        Self::Http { path: path.into(), port, https: false, host: String::new(), headers: BTreeMap::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub purpose: Purpose,
    pub check: Check,
    #[serde(default = "ten_seconds")]
    pub period_ms: u32,
    #[serde(default = "second")]
    pub timeout_ms: u32,
    #[serde(default = "three")]
    pub failure_threshold: u32,
    #[serde(default = "one")]
    pub success_threshold: u32,
    #[serde(default)]
    pub initial_delay_ms: u32,
}

fn ten_seconds() -> u32 {
    10_000
}

fn second() -> u32 {
    1000
}

fn three() -> u32 {
    3
}

fn one() -> u32 {
    1
}

/// What is done right after the start and before the stop signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    #[serde(skip_serializing_if = "is_default")]
    pub post_start: Vec<Hook>,
    #[serde(skip_serializing_if = "is_default")]
    pub pre_stop: Vec<Hook>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Hook {
    Command {
        command: Vec<String>,
        /// The container's user if empty.
        #[serde(default, skip_serializing_if = "is_default")]
        user: String,
        #[serde(default, skip_serializing_if = "is_default")]
        working_dir: String,
        #[serde(default, skip_serializing_if = "is_default")]
        env: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "is_default")]
        privileged: bool,
    },
    Http {
        path: String,
        port: u16,
        #[serde(default, skip_serializing_if = "is_default")]
        https: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        host: String,
        #[serde(default, skip_serializing_if = "is_default")]
        headers: BTreeMap<String, String>,
    },
    Sleep {
        seconds: u32,
    },
}
