//! A document with the files that it names: read from its folder, checked by the platform, deployed or turned into
//! another format. What belongs together is known by the platform alone: it says which files it lacks, and those are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Context, files, texts};
use crate::args::{Format, More};
use crate::failure::Failure;
use crate::output::print;

/// Rounds of "it names further files". Each adds at least one.
const ROUNDS: usize = 64;
/// More than this is no document's folder.
const MOST_BYTES: u64 = 8 << 20;

pub struct Document {
    pub name: String,
    format: String,
    texts: Vec<String>,
    folder: PathBuf,
    values: Value,
    images: Value,
    profiles: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    asked: BTreeSet<String>,
}

impl Document {
    pub fn read(files: &[PathBuf], more: &More) -> Result<Self> {
        let documents: Vec<String> = files.iter().map(|file| files::text(file)).collect::<Result<_>>()?;
        let (Some(first), Some(text)) = (files.first(), documents.first()) else {
            return Err(Failure::Usage("name a document with --file".to_owned()).into());
        };
        let folder = first.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let mut out = Self {
            name: more.name.clone().map_or_else(|| name_of(first, text), Ok)?,
            format: more.format.clone().unwrap_or_else(|| format_of(text).to_owned()),
            folder,
            values: json!(texts(&more.values)?),
            images: json!(texts(&more.images)?),
            profiles: more.profiles.clone(),
            files: BTreeMap::new(),
            asked: BTreeSet::new(),
            texts: documents,
        };
        if out.format == "compose" {
            // Its values are meant without being named.
            out.add(".env")?;
        }
        Ok(out)
    }

    fn body(&self) -> Value {
        let (mut plain, mut binary) = (BTreeMap::new(), BTreeMap::new());
        for (path, bytes) in &self.files {
            match std::str::from_utf8(bytes) {
                Ok(text) => drop(plain.insert(path, text.to_owned())),
                Err(_) => drop(binary.insert(path, STANDARD.encode(bytes))),
            }
        }
        json!({
            "name": self.name, "format": self.format, "document": self.texts[0], "overrides": self.texts[1..], "values": self.values,
            "images": self.images, "profiles": self.profiles, "files": plain, "binary_files": binary,
        })
    }

    /// Sends what the platform says it lacks until it lacks nothing that is here. The last answer.
    pub async fn complete(&mut self, cx: &mut Context) -> Result<Value> {
        let path = format!("{}/documents", cx.space()?);
        for _ in 0..ROUNDS {
            let checked = cx.client.post(&path, &[], &self.body()).await?;
            let needs: Vec<String> = checked["needs"].as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect();
            let mut more = false;
            for need in needs {
                more |= self.add(&need)?;
            }
            if !more {
                return Ok(checked);
            }
        }
        Err(Failure::Usage("the document's files lead to ever more files".to_owned()).into())
    }

    /// A file, or everything in a folder. False: there is nothing new.
    fn add(&mut self, path: &str) -> Result<bool> {
        if !self.asked.insert(path.to_owned()) {
            return Ok(false);
        }
        let root = self.folder.canonicalize().with_context(|| format!("cannot read {}", self.folder.display()))?;
        let Ok(found) = self.folder.join(path).canonicalize() else { return Ok(false) };
        // A symbolic link must not carry other files of this machine along.
        if !found.starts_with(&root) {
            return Err(Failure::Usage(format!("{path}: lies outside of {} and is not sent", self.folder.display())).into());
        }
        let before = self.files.len();
        self.take(&found, if path == "." { "" } else { path })?;
        Ok(self.files.len() > before)
    }

    fn take(&mut self, at: &Path, path: &str) -> Result<()> {
        let kind = std::fs::symlink_metadata(at)?;
        if kind.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(at)?.collect::<std::io::Result<_>>()?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                let name = entry.file_name().to_string_lossy().into_owned();
                let below = if path.is_empty() { name } else { format!("{path}/{name}") };
                self.take(&entry.path(), &below)?;
            }
            return Ok(());
        }
        if !kind.is_file() {
            return Ok(());
        }
        let known: u64 = self.files.values().map(|f| f.len() as u64).sum();
        if known + kind.len() > MOST_BYTES {
            return Err(Failure::Usage(format!("{path}: the files of the document are more than {} MiB; put them into an image", MOST_BYTES >> 20)).into());
        }
        self.files.insert(path.to_owned(), files::bytes(at)?);
        Ok(())
    }

    pub async fn deploy(&self, cx: &mut Context, apps: &str, accept_unsupported: bool, reason: Option<&str>, queue: bool, dry_run: bool) -> Result<Value> {
        let mut body = self.body();
        (body["allow_unsupported"], body["reason"]) = (accept_unsupported.into(), reason.unwrap_or_default().into());
        if queue {
            body["queue"] = true.into();
        }
        let query = if dry_run { vec![("dry_run", "true".to_owned())] } else { Vec::new() };
        cx.client.post(apps, &query, &body).await
    }

    pub async fn convert(&self, cx: &mut Context, to: &str) -> Result<Value> {
        let mut body = self.body();
        body["to"] = to.into();
        let path = format!("{}/documents", cx.space()?);
        cx.client.post(&path, &[], &body).await
    }
}

/// What would be, or has been, done.
pub fn plan(cx: &Context, answer: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        return cx.one(answer);
    }
    remarks(cx, &answer["remarks"]);
    if let Some(why) = answer["queued"].as_str() {
        cx.note(&format!("waits for room in the quota: {why}"));
    }
    match answer["changed"].as_bool() {
        Some(false) => print("nothing changes"),
        _ => print(&format!("revision {}:", answer["revision"])),
    }?;
    lines(cx, answer)?;
    answer["clusters"].as_array().into_iter().flatten().try_for_each(|on| print(on_cluster(on).trim_end()))?;
    match &answer["preview"] {
        Value::Null => Ok(()),
        seen => print(super::preview::told(seen).trim_end()),
    }
}

/// What one of a space's clusters would have, and what is other on it.
pub(super) fn on_cluster(on: &Value) -> String {
    let mut out = format!("on the cluster {}:\n", on["cluster"].as_str().unwrap_or_default());
    for (workload, reason) in on["reasons"].as_object().into_iter().flatten() {
        let count = on["replicas"].get(workload).map_or("none".to_owned(), ToString::to_string);
        out.push_str(&format!("  {workload}: {count} ({})\n", reason.as_str().unwrap_or_default()));
    }
    for line in on["overrides"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.push_str(&format!("  {line}\n"));
    }
    out
}

/// The differences, one line each.
pub fn lines(cx: &Context, answer: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        return cx.one(answer);
    }
    let lines = answer["diff"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.into_iter().try_for_each(print)
}

/// Remarks go to standard error: what is printed may be read by programs.
pub fn remarks(cx: &Context, list: &Value) {
    for remark in list.as_array().into_iter().flatten() {
        cx.note(&line(remark));
    }
}

fn line(remark: &Value) -> String {
    let text = |key: &str| remark[key].as_str().unwrap_or_default();
    let word = match text("level") {
        "wrong" => "wrong",
        "unsupported" => "not supported",
        "not_yet" => "not done yet",
        _ => "note",
    };
    let place = if text("file").is_empty() { "line" } else { text("file") };
    format!("{place} {}: {}: {word}: {}", remark["line"], text("path"), text("detail"))
}

/// The remarks, and a failure if something is wrong.
pub fn verdict(cx: &Context, checked: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        cx.one(checked)?;
    } else {
        checked["remarks"].as_array().into_iter().flatten().try_for_each(|r| print(&line(r)))?;
    }
    if checked["valid"] != true {
        return Err(Failure::Usage("the document cannot be deployed".to_owned()).into());
    }
    cx.note(if checked["deployable"] == true { "the document can be deployed as it is" } else { "the document can be deployed with --accept-unsupported" });
    Ok(())
}

fn format_of(document: &str) -> &'static str {
    let starts = |word: &str| document.lines().any(|l| l.starts_with(word));
    match (
        starts("services:") || starts("include:"),
        starts("apiVersion: gantry.io/") || starts("apiVersion: \"gantry.io/"),
        starts("apiVersion:") || starts("- apiVersion:"),
    ) {
        (_, true, _) => "gantry",
        (_, false, true) => "kubernetes",
        _ => "compose",
    }
}

/// The document's own top-level `name:`, else the name of the folder the file lies in.
fn name_of(file: &Path, document: &str) -> Result<String> {
    let quoted = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let own = document.lines().find_map(|l| l.strip_prefix("name:")).map(quoted);
    // Ours has it below `metadata`.
    let mine = (format_of(document) == "gantry").then(|| document.lines().find_map(|l| l.strip_prefix("  name:")).map(quoted)).flatten();
    let folder = || Some(file.canonicalize().ok()?.parent()?.file_name()?.to_string_lossy().to_lowercase().replace(['_', ' ', '.'], "-"));
    let found = own.or(mine).filter(|n| !n.is_empty() && !n.contains('$')).or_else(folder);
    found.ok_or_else(|| Failure::Usage("name the application with --name".to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn more() -> More {
        More { name: Some("shop".into()), format: None, values: Vec::new(), images: Vec::new(), profiles: Vec::new() }
    }

    #[test]
    fn the_format_and_the_name_come_from_the_file() {
        assert_eq!(format_of("name: x\nservices:\n  web: {}\n"), "compose");
        assert_eq!(format_of("apiVersion: v1\nkind: Service\n"), "kubernetes");
        assert_eq!(format_of("apiVersion: gantry.io/v1\nkind: Application\n"), "gantry");
        assert_eq!(name_of(Path::new("/nowhere/compose.yaml"), "name: \"shop\"\n").expect("its own"), "shop");
        assert_eq!(name_of(Path::new("/nowhere/a.yaml"), "apiVersion: gantry.io/v1\nmetadata:\n  name: mine\n").expect("its own"), "mine");
    }

    #[test]
    fn files_come_from_the_folder_and_never_from_elsewhere() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("app");
        std::fs::create_dir_all(folder.join("conf/sub")).expect("folders");
        for (path, text) in [("app/compose.yaml", "services: {}"), ("app/.env", "A=1"), ("app/conf/a", "1"), ("app/conf/sub/b", "2"), ("secret", "no")] {
            std::fs::write(place.path().join(path), text).expect("a file");
        }
        std::os::unix::fs::symlink(place.path().join("secret"), folder.join("link")).expect("a link");
        std::os::unix::fs::symlink(place.path().join("secret"), folder.join("conf/link")).expect("a link");
        let mut document = Document::read(&[folder.join("compose.yaml")], &more()).expect("read");
        assert!(document.add("conf").expect("a folder is taken whole"));
        assert!(!document.add("conf").expect("once"));
        assert!(!document.add("missing").expect("nothing there"));
        assert_eq!(document.files.keys().collect::<Vec<_>>(), [".env", "conf/a", "conf/sub/b"]);
        assert!(document.add("link").is_err() && document.add("../secret").is_err());
    }
}
