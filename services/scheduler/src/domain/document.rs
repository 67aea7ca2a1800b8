//! What reading a document gives: a model and remarks, or everything that is wrong with it. Shared by all formats.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::Model;

/// A document and what is needed to read it.
pub struct Document<'a> {
    pub text: &'a str,
    /// Values for `${...}`.
    pub values: &'a BTreeMap<String, String>,
    /// Leave out what the platform does not do instead of refusing it.
    pub allow_unsupported: bool,
    /// What a workload reserves if it says nothing.
    pub default_cpu_millis: u32,
    pub default_memory_bytes: u64,
}

/// A remark about one place of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Remark {
    /// `services.web.ports[0]`
    pub path: String,
    /// The first line is 1.
    pub line: u64,
    pub detail: String,
    pub level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The document says something impossible.
    Wrong,
    /// The platform does not do it: refused unless the user allows leaving it out.
    Unsupported,
    /// It has no effect here and needs none.
    Note,
}

#[derive(Debug)]
pub struct Parsed {
    pub model: Model,
    /// Never [`Level::Wrong`].
    pub remarks: Vec<Remark>,
}

/// Gathers remarks while a document is read, so that a user sees all of them at once.
#[derive(Debug, Default)]
pub struct Remarks(Vec<Remark>);

impl Remarks {
    pub fn wrong(&mut self, path: &str, line: u64, detail: impl Into<String>) {
        self.add(path, line, detail.into(), Level::Wrong);
    }

    pub fn unsupported(&mut self, path: &str, line: u64, detail: impl Into<String>) {
        self.add(path, line, detail.into(), Level::Unsupported);
    }

    pub fn note(&mut self, path: &str, line: u64, detail: impl Into<String>) {
        self.add(path, line, detail.into(), Level::Note);
    }

    fn add(&mut self, path: &str, line: u64, detail: String, level: Level) {
        self.0.push(Remark { path: path.to_owned(), line, detail, level });
    }

    /// # Errors
    /// The remarks that refuse the document: wrong ones, and unsupported ones unless those are allowed.
    pub fn finish(mut self, model: Model, allow_unsupported: bool) -> Result<Parsed, Vec<Remark>> {
        self.0.sort_by_key(|r| r.line);
        let refuses = |r: &Remark| r.level == Level::Wrong || (r.level == Level::Unsupported && !allow_unsupported);
        if self.0.iter().any(refuses) {
            return Err(self.0.into_iter().filter(refuses).collect());
        }
        Ok(Parsed { model, remarks: self.0 })
    }
}

/// `512m`, `1.5gb`, `64Mi`, `1048576` as bytes: one-letter units count in 1024 (Compose), so do Kubernetes' `Ki`, `Mi`, `Gi`.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor: f64 = match unit.trim() {
        "" | "b" | "B" => 1.0,
        "k" | "kb" | "K" | "KB" | "Ki" | "KiB" => 1024.0,
        "m" | "mb" | "M" | "MB" | "Mi" | "MiB" => 1024.0 * 1024.0,
        "g" | "gb" | "G" | "GB" | "Gi" | "GiB" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "T" | "TB" | "Ti" | "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
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
                "us" => 0.001,
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
        assert_eq!([bytes("x"), bytes("-1"), bytes("")], [None; 3]);
        assert_eq!([cpu_millis("0.5"), cpu_millis("250m"), cpu_millis("2"), cpu_millis("NaN")], [Some(500), Some(250), Some(2000), None]);
        assert_eq!(
            [duration_ms("1m30s"), duration_ms("500ms"), duration_ms("10"), duration_ms("5q"), duration_ms("")],
            [Some(90_000), Some(500), Some(10_000), None, None]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_number_readers_panic(text in ".{0,12}") {
            let _ = (bytes(&text), cpu_millis(&text), duration_ms(&text));
        }
    }
}
