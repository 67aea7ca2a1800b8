//! Documents without deploying them: reading and checking, turning one format into another, and giving an application
//! back as a document.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_auth::SpaceRef;
use gantry_contract::audit::AuditFact;
use gantry_kernel::{AppId, Kind, Problem, Role};
use serde::Serialize;

use super::change;
use super::context::Scheduler;
use super::deploy::{database, diff};
use super::models;
use super::space_rules::SpaceEngine;
use crate::domain::document::{Document, Kept, Level, Reading, Remark};
use crate::domain::export::{self, Format};
use crate::domain::lacks;
use crate::store;

/// A document with everything that belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub format: String,
    pub document: String,
    pub overrides: Vec<String>,
    pub files: BTreeMap<String, Vec<u8>>,
    pub values: BTreeMap<String, String>,
    pub images: BTreeMap<String, String>,
    pub profiles: BTreeSet<String>,
    /// What the space keeps: [`super::kept::using::known`].
    pub kept: Kept,
}

/// # Errors
/// A binary file that is not base64, or a path that is not inside of the document's folder.
pub fn files(texts: BTreeMap<String, String>, binary: BTreeMap<String, String>) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
    let mut out: BTreeMap<String, Vec<u8>> = texts.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    for (path, text) in binary {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| Problem::invalid("binary_files", format!("`{path}` is not base64")))?;
        out.insert(path, bytes);
    }
    for path in out.keys() {
        let plain = !path.is_empty() && !path.starts_with('/') && path.split('/').all(|p| !matches!(p, "" | "." | ".."));
        if !plain {
            return Err(Problem::invalid("files", format!("`{path}` must be a path below the document's folder, without `.` and `..`")));
        }
    }
    Ok(out)
}

/// Reads a document as the engine of its space would have it: a cluster, or the nodes with agents.
///
/// # Errors
/// An unknown format, or more bytes than allowed. What is wrong inside is among the remarks.
pub fn read(s: &Scheduler, source: &Source, engine: SpaceEngine) -> Result<Reading, Problem> {
    let limit = s.config.document_bytes;
    let all = source.document.len() + source.overrides.iter().map(String::len).sum::<usize>() + source.files.values().map(Vec::len).sum::<usize>();
    if all > limit {
        return Err(Problem::new(Kind::TooLarge, "request.too_large", format!("a document and its files have at most {limit} bytes together")));
    }
    let document = Document {
        text: &source.document,
        overrides: &source.overrides,
        files: &source.files,
        values: &source.values,
        images: &source.images,
        profiles: &source.profiles,
        kept: &source.kept,
        default_cpu_millis: s.config.default_cpu_millis,
        default_memory_bytes: s.config.default_memory_bytes,
    };
    let reading = format(&source.format)?.read(&document);
    match engine {
        SpaceEngine::Nodes => {
            reading.remarks.lacking(lacks::containerd(&reading.model));
            for (path, said) in super::sites::of_document(&reading.model, s.host.env.now()) {
                match said {
                    Ok(note) => reading.remarks.note_at(&path, note),
                    Err(fault) => reading.remarks.unsupported_at(&path, format!("{fault}; the host would be served without HTTPS")),
                }
            }
        }
        SpaceEngine::Cluster { gateway, timeouts, together, classless } => {
            reading.remarks.lacking(lacks::kubernetes(&reading.model, gateway, timeouts, together));
            reading.remarks.noting(lacks::worth_knowing(&reading.model, classless));
        }
    }
    Ok(reading)
}

/// # Errors
/// Not one of the formats.
pub fn format(text: &str) -> Result<Format, Problem> {
    Format::parse(text).ok_or_else(|| Problem::invalid("format", format!("`{text}` is not one of: {}", Format::ALL.join(", "))))
}

/// What a document is found to be.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Checked {
    /// Nothing in it is wrong.
    pub valid: bool,
    /// It would be deployed as it is: nothing is wrong, and nothing is asked that is not done.
    pub deployable: bool,
    pub remarks: Vec<Remark>,
    /// Files that it names and that did not come with it, by their path from the document's folder.
    pub needs: BTreeSet<String>,
    /// The same application in the format asked for; not there if something is wrong.
    pub document: Option<String>,
}

/// # Errors
/// As [`read`].
pub fn check(s: &Scheduler, source: &Source, name: &str, to: Option<Format>, engine: SpaceEngine) -> Result<Checked, Problem> {
    let reading = read(s, source, engine)?;
    let needs = reading.remarks.needs();
    let valid = !reading.remarks.any_wrong();
    let document = to.filter(|_| valid).map(|to| export::export(to, name, &reading.model));
    let remarks = reading.remarks.into_list();
    Ok(Checked { valid, deployable: remarks.iter().all(|r| r.level == Level::Note), remarks, needs, document })
}

/// What an application is given back as.
pub struct Export {
    pub space: SpaceRef,
    pub app: String,
    pub format: Format,
    /// The one at work if none.
    pub revision: Option<u64>,
    /// With the contents of secrets.
    pub secrets: bool,
    pub subject: String,
    /// The caller's address.
    pub from: String,
}

/// # Errors
/// A missing right, no such application or revision, or the database is away.
pub async fn export(s: &Scheduler, request: Export) -> Result<String, Problem> {
    let role = if request.secrets { Role::Admin } else { Role::Editor };
    s.host.auth.require_subject(&request.subject, role, request.space.scope())?;
    let row = change::find(s, &request.space, &request.app).await?;
    let revision = request.revision.unwrap_or(row.current.unsigned_abs());
    let app = AppId(row.id);
    known(s, app, revision).await?;
    let model = s.models.get(&s.host, app, revision).await.map_err(|e| models::refused(e, revision))?;
    if !request.secrets {
        return Ok(export::export(request.format, &row.name, &export::hidden(&model)));
    }
    // Every reading of secrets in clear leaves a trace, before anything is shown.
    let fact = AuditFact {
        org: Some(request.space.org().id),
        reason: format!("revision {revision} as a document with the contents of its secrets"),
        from: request.from,
        ..s.host.fact(request.subject, "app.secrets-exported", format!("app:{app}"), "ok")
    };
    s.host.audit(fact).await;
    Ok(export::export(request.format, &row.name, &model))
}

async fn known(s: &Scheduler, app: AppId, revision: u64) -> Result<(), Problem> {
    let number = i64::try_from(revision).unwrap_or(i64::MAX);
    let found = store::revision(s.orm(), app, number).await.map_err(database)?;
    found.map(|_| ()).ok_or_else(|| Problem::not_found("revision", revision))
}

/// What differs between two revisions, one line each; values and contents are not shown.
///
/// # Errors
/// No such application or revision, or the database is away.
pub async fn difference(s: &Scheduler, space: &SpaceRef, app: &str, from: u64, to: Option<u64>) -> Result<Vec<String>, Problem> {
    let row = change::find(s, space, app).await?;
    let app = AppId(row.id);
    let to = to.unwrap_or(row.current.unsigned_abs());
    known(s, app, from).await?;
    known(s, app, to).await?;
    let before = s.models.get(&s.host, app, from).await.map_err(|e| models::refused(e, from))?;
    let after = s.models.get(&s.host, app, to).await.map_err(|e| models::refused(e, to))?;
    Ok(diff(Some(&before), &after))
}
