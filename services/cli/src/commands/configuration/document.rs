//! One document, and files of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::files;
use crate::failure::Failure;

const VERSION: &str = "gantry.io/v1";

/// In the order in which they need each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Organisation,
    Project,
    Role,
    ServiceAccount,
    Team,
    Client,
    TrustedIssuer,
    Upstream,
    SecurityPolicy,
    Branding,
    Binding,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Organisation,
        Self::Project,
        Self::Role,
        Self::ServiceAccount,
        Self::Team,
        Self::Client,
        Self::TrustedIssuer,
        Self::Upstream,
        Self::SecurityPolicy,
        Self::Branding,
        Self::Binding,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Organisation => "Organisation",
            Self::Project => "Project",
            Self::Role => "Role",
            Self::Team => "Team",
            Self::ServiceAccount => "ServiceAccount",
            Self::Client => "Client",
            Self::TrustedIssuer => "TrustedIssuer",
            Self::Upstream => "Upstream",
            Self::SecurityPolicy => "SecurityPolicy",
            Self::Branding => "Branding",
            Self::Binding => "Binding",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[derive(Clone, Debug)]
pub struct Document {
    pub kind: Kind,
    pub name: String,
    /// None: the platform's, or an organisation itself.
    pub org: Option<String>,
    pub spec: Map<String, Value>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Map<String, Value>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    org: Option<String>,
}

impl Document {
    pub fn title(&self) -> String {
        let place = self.org.as_ref().map(|o| format!("{o}/")).unwrap_or_default();
        format!("{} {place}{}", self.kind.name(), self.name)
    }

    /// A text of the spec; empty if it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.spec.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The organisation that it cannot be without.
    pub fn needed_org(&self) -> Result<&str> {
        let missing = || Failure::Usage(format!("{}: metadata.org is needed", self.title()));
        Ok(self.org.as_deref().ok_or_else(missing)?)
    }

    /// As it stands in a file.
    pub fn written(&self) -> Value {
        let metadata = Metadata { name: self.name.clone(), org: self.org.clone() };
        let written = Written { api_version: VERSION.to_owned(), kind: self.kind.name().to_owned(), metadata, spec: self.spec.clone() };
        serde_json::to_value(written).unwrap_or_default()
    }
}

/// The documents of these files, in an order in which they can be made.
///
/// # Errors
/// When one is no document, or two are the same.
pub fn read(files: &[PathBuf]) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for file in files {
        let text = if file == Path::new("-") { std::io::read_to_string(std::io::stdin())? } else { files::text(file)? };
        let here: Vec<Written> = serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())?;
        for written in here {
            documents.push(parsed(written)?);
        }
    }
    let mut seen = BTreeSet::new();
    for document in &documents {
        if !seen.insert((document.kind, document.org.clone(), document.name.clone())) {
            return Err(Failure::Usage(format!("{} stands there twice", document.title())).into());
        }
    }
    // Within a kind they stay in the order of the files: a parent team comes before its child.
    documents.sort_by_key(|d| d.kind);
    Ok(documents)
}

fn parsed(written: Written) -> Result<Document> {
    let Written { api_version, kind, metadata: Metadata { name, org }, spec } = written;
    if api_version != VERSION {
        return Err(Failure::Usage(format!("{name}: apiVersion must be {VERSION}")).into());
    }
    let Some(known) = Kind::of(&kind) else {
        let all = Kind::ALL.map(Kind::name).join(", ");
        return Err(Failure::Usage(format!("{name}: kind `{kind}`: must be of {all}")).into());
    };
    Ok(Document { kind: known, name, org, spec })
}
