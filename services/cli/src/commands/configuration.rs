//! Configuration as code: documents say what shall be there, `diff` shows what differs, `apply` makes it so, `export` writes the documents
//! of what is there. What the documents do not name is left alone, unless they belong to a set that named it before (`set`); what they name
//! and do not mention a field of keeps that field.

mod document;
mod export;
mod kept;
mod kinds;
mod plan;
mod set;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Context, confirm};
use crate::failure::Failure;
pub use export::export;
pub use kept::sets;
use plan::{Step, plan, show};
use set::Set;
pub use set::SetName;

/// # Errors
/// A file that is no such document, or a refusal of the platform; and when something differs.
pub async fn diff(cx: &mut Context, files: &[PathBuf], set: Option<&SetName>) -> Result<()> {
    let documents = document::read(files)?;
    let mut steps = plan(cx, &documents).await?;
    if let Some(name) = set {
        let set = Set::read(cx, name).await?;
        steps.extend(set.gone(cx, &documents).await?);
    }
    show(cx, &steps)?;
    let open = steps.iter().filter(|s| s.open()).count();
    if open == 0 { Ok(()) } else { Err(Failure::Usage(format!("{open} of {} differ", steps.len())).into()) }
}

/// # Errors
/// As [`diff`], and when a change is refused: what was changed before it stays, and applying again goes on from there.
pub async fn apply(cx: &mut Context, files: &[PathBuf], set: Option<&SetName>, prune: bool, yes: bool) -> Result<()> {
    let documents = document::read(files)?;
    let mut steps = plan(cx, &documents).await?;
    let mut set = match set {
        Some(name) => Some(Set::read(cx, name).await?),
        None => None,
    };
    let mut left = 0;
    if let Some(set) = &set {
        let gone = set.gone(cx, &documents).await?;
        if prune {
            steps.extend(gone);
        } else {
            left = gone.len();
        }
    }
    show(cx, &steps)?;
    if left > 0 {
        cx.note(&format!("{left} that this set named before are named no more and stay; --prune removes them"));
    }
    let open: Vec<&Step> = steps.iter().filter(|s| s.open()).collect();
    if !open.is_empty() {
        let removals = open.iter().filter(|s| s.removes()).count();
        let removing = if removals > 0 { format!(", {removals} of them removals") } else { String::new() };
        confirm(&format!("Make these {} changes{removing}", open.len()), yes)?;
    }
    if let Some(set) = &mut set {
        // Whatever happens in between, nothing that was made is forgotten.
        set.keep_all(cx, &documents).await?;
    }
    for step in &open {
        kinds::take(cx, step).await.with_context(|| step.title())?;
        cx.note(&format!("{} {}", step.done(), step.title()));
    }
    if let Some(set) = &mut set
        && prune
    {
        set.keep_only(cx, &documents, &steps).await?;
    }
    if open.is_empty() {
        cx.note("nothing to do");
    }
    Ok(())
}
