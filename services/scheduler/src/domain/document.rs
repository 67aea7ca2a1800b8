//! What reading a document gives: a model and remarks, or everything that is wrong with it. Shared by all formats.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::lacks::Lack;
use super::model::Model;

/// What a reader has to know of the configs and secrets of the space: by name and whether it is a secret, the keys of the newest version.
/// One of each kind may have the same name, as in Compose and on Kubernetes.
pub type Kept = BTreeMap<(String, bool), BTreeSet<String>>;

/// A document and what is needed to read it.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    pub text: &'a str,
    /// Further documents that are laid over it, in this order.
    pub overrides: &'a [String],
    /// Files that lie beside the document, by their path from its folder.
    pub files: &'a BTreeMap<String, Vec<u8>>,
    /// Values for `${...}`.
    pub values: &'a BTreeMap<String, String>,
    /// Images for services that are built elsewhere, by service.
    pub images: &'a BTreeMap<String, String>,
    /// Which optional parts are wanted.
    pub profiles: &'a BTreeSet<String>,
    /// Configs and secrets of the space.
    pub kept: &'a Kept,
    /// What a workload reserves if it says nothing.
    pub default_cpu_millis: u32,
    pub default_memory_bytes: u64,
}

impl Document<'_> {
    /// A document with nothing beside it.
    pub fn alone(text: &str) -> Document<'_> {
        static NO_FILES: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        static NO_TEXTS: BTreeMap<String, String> = BTreeMap::new();
        static NO_NAMES: BTreeSet<String> = BTreeSet::new();
        static NO_KEPT: Kept = BTreeMap::new();
        Document {
            text,
            overrides: &[],
            files: &NO_FILES,
            values: &NO_TEXTS,
            images: &NO_TEXTS,
            profiles: &NO_NAMES,
            kept: &NO_KEPT,
            default_cpu_millis: 100,
            default_memory_bytes: 128 << 20,
        }
    }
}

/// A remark about one place of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Remark {
    /// The file if it is not the document itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// `services.web.ports[0]`
    pub path: String,
    /// The first line is 1; 0 if no line says it.
    pub line: u64,
    pub detail: String,
    pub level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The document says something impossible.
    Wrong,
    /// The platform does not know it: refused unless the user allows leaving it out.
    Unsupported,
    /// The platform knows and keeps it, but what would run it here does not do it yet: refused unless the user accepts that it
    /// has no effect.
    NotYet,
    /// It has no effect here and needs none, or has one that is worth knowing.
    Note,
}

#[derive(Debug)]
pub struct Parsed {
    pub model: Model,
    /// Never [`Level::Wrong`].
    pub remarks: Vec<Remark>,
}

/// What reading has found so far: the model as far as it could be read, and everything to be said about the document.
#[derive(Debug)]
pub struct Reading {
    pub model: Model,
    pub remarks: Remarks,
}

/// Gathers remarks while a document is read, so that a user sees all of them at once, and where each part of the model comes from.
/// A line carries the number of its file in its upper half (see [`Remarks::file`]).
#[derive(Debug, Default)]
pub struct Remarks {
    list: RefCell<Vec<Remark>>,
    files: RefCell<Vec<String>>,
    /// Model path to document path and line.
    places: RefCell<BTreeMap<String, (String, u64)>>,
    /// Files that the document names and that were not delivered.
    needs: RefCell<BTreeSet<String>>,
}

const FILE_SHIFT: u32 = 32;

impl Remarks {
    pub fn wrong(&self, path: &str, line: u64, detail: impl Into<String>) {
        self.add(path, line, detail.into(), Level::Wrong);
    }

    pub fn unsupported(&self, path: &str, line: u64, detail: impl Into<String>) {
        self.add(path, line, detail.into(), Level::Unsupported);
    }

    pub fn note(&self, path: &str, line: u64, detail: impl Into<String>) {
        self.add(path, line, detail.into(), Level::Note);
    }

    fn add(&self, path: &str, line: u64, detail: String, level: Level) {
        let (file, line) = self.position(line);
        let remark = Remark { file, path: path.to_owned(), line, detail, level };
        let mut list = self.list.borrow_mut();
        // What two workloads have from one place is said once.
        if !list.contains(&remark) {
            list.push(remark);
        }
    }

    /// How to mark the lines of a further file.
    pub fn file(&self, name: &str) -> impl Fn(u64) -> u64 + use<> {
        let mut files = self.files.borrow_mut();
        files.push(name.to_owned());
        let number = u64::try_from(files.len()).unwrap_or(0) << FILE_SHIFT;
        move |line| line | number
    }

    fn position(&self, line: u64) -> (String, u64) {
        let number = usize::try_from(line >> FILE_SHIFT).unwrap_or(0);
        let file = number.checked_sub(1).and_then(|n| self.files.borrow().get(n).cloned()).unwrap_or_default();
        (file, line & ((1 << FILE_SHIFT) - 1))
    }

    /// Notes that `model_path` comes from here.
    pub fn place(&self, model_path: impl Into<String>, path: &str, line: u64) {
        self.places.borrow_mut().insert(model_path.into(), (path.to_owned(), line));
    }

    /// What was noted for the path or the nearest one above it.
    fn placed(&self, model_path: &str) -> (String, u64) {
        let places = self.places.borrow();
        let mut path = model_path;
        loop {
            if let Some(found) = places.get(path) {
                return found.clone();
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = &path[..cut],
                None => return (model_path.to_owned(), 0),
            }
        }
    }

    /// The line of a part of the model, with its file.
    pub fn line_of(&self, model_path: &str) -> u64 {
        self.placed(model_path).1
    }

    /// Something about the model instead of a place.
    pub fn wrong_at(&self, model_path: &str, detail: impl Into<String>) {
        let (path, line) = self.placed(model_path);
        self.add(&path, line, detail.into(), Level::Wrong);
    }

    pub fn unsupported_at(&self, model_path: &str, detail: impl Into<String>) {
        let (path, line) = self.placed(model_path);
        self.add(&path, line, detail.into(), Level::Unsupported);
    }

    pub fn note_at(&self, model_path: &str, detail: impl Into<String>) {
        let (path, line) = self.placed(model_path);
        self.add(&path, line, detail.into(), Level::Note);
    }

    /// What an engine does not do of the model.
    pub fn lacking(&self, lacks: Vec<Lack>) {
        for lack in lacks {
            let (path, line) = self.placed(&lack.at);
            self.add(&path, line, lack.detail, Level::NotYet);
        }
    }

    /// What is done as it is asked, and has consequences there that somebody may not have meant.
    pub fn noting(&self, notes: Vec<Lack>) {
        for note in notes {
            self.note_at(&note.at, note.detail);
        }
    }

    /// A file that should have come with the document.
    pub fn need(&self, file: impl Into<String>) {
        self.needs.borrow_mut().insert(file.into());
    }

    pub fn needs(&self) -> BTreeSet<String> {
        self.needs.borrow().clone()
    }

    pub fn any_wrong(&self) -> bool {
        self.list.borrow().iter().any(|r| r.level == Level::Wrong)
    }

    /// All of them, by line.
    pub fn into_list(self) -> Vec<Remark> {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        list
    }
}

impl Reading {
    /// # Errors
    /// The remarks that refuse the document: wrong ones, and others than notes unless those are accepted.
    pub fn finish(self, accept_unsupported: bool) -> Result<Parsed, Vec<Remark>> {
        let list = self.remarks.into_list();
        let refuses = |r: &Remark| match r.level {
            Level::Wrong => true,
            Level::Unsupported | Level::NotYet => !accept_unsupported,
            Level::Note => false,
        };
        if list.iter().any(refuses) {
            return Err(list.into_iter().filter(refuses).collect());
        }
        Ok(Parsed { model: self.model, remarks: list })
    }
}

/// `512m`, `1.5gb`, `64Mi`, `1048576` as bytes: one-letter units count in 1024 (Compose), so do Kubernetes' `Ki`, `Mi`, `Gi`.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "ki" | "kib" => 1024.0,
        "m" | "mb" | "mi" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "ti" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "p" | "pb" | "pi" | "pib" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within u64")]
    (bytes.is_finite() && (0.0..9.0e18).contains(&bytes)).then_some(bytes as u64)
}

/// `0.5`, `2`, `250m` as thousandths of a core.
pub fn cpu_millis(text: &str) -> Option<u32> {
    let text = text.trim();
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<f64>().ok()?,
        None => text.parse::<f64>().ok()? * 1000.0,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within u32")]
    (millis.is_finite() && (0.0..4.0e9).contains(&millis)).then_some(millis.round() as u32)
}

/// `1m30s`, `500ms`, `2h`, or plain seconds, in milliseconds.
pub fn duration_ms(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return seconds.checked_mul(1000);
    }
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 0.000_001,
                // Both signs for micro are in use.
                "us" | "\u{b5}s" | "\u{3bc}s" => 0.001,
                "ms" => 1.0,
                "s" => 1000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within u32")]
    (total.is_finite() && (0.0..4.0e9).contains(&total) && !text.is_empty()).then_some(total as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_shares_and_durations_are_read() {
        assert_eq!([bytes("512m"), bytes("1.5g"), bytes("64Mi"), bytes("7")], [Some(512 << 20), Some(3 << 29), Some(64 << 20), Some(7)]);
        assert_eq!([bytes("2Gb"), bytes("3 kib"), bytes("1P"), bytes("1mB")], [Some(2 << 30), Some(3 << 10), Some(1 << 50), Some(1 << 20)]);
        assert_eq!([bytes("x"), bytes("-1"), bytes("")], [None; 3]);
        assert_eq!([cpu_millis("0.5"), cpu_millis("250m"), cpu_millis("2"), cpu_millis("NaN")], [Some(500), Some(250), Some(2000), None]);
        assert_eq!(
            [duration_ms("1m30s"), duration_ms("500ms"), duration_ms("10"), duration_ms("5q"), duration_ms("")],
            [Some(90_000), Some(500), Some(10_000), None, None]
        );
        assert_eq!([duration_ms("1.5s"), duration_ms("3000\u{b5}s"), duration_ms("5000000ns")], [Some(1500), Some(3), Some(5)]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_number_readers_panic(text in ".{0,12}") {
            let _ = (bytes(&text), cpu_millis(&text), duration_ms(&text));
        }
    }
}
