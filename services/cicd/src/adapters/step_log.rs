//! What a step prints: one text file per step, secrets taken out before anything is written. A step that is done again
//! after a restart goes on in the same file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gantry_kernel::RunId;

use crate::domain::Masker;

/// More is cut off: a step that prints without end must not fill the disk.
const MAX_BYTES: u64 = 64 << 20;

/// `<home>/runs/<run>/<step>.log`; step names are DNS labels.
pub fn path(home: &Path, run: RunId, step: &str) -> PathBuf {
    home.join("runs").join(run.to_string()).join(format!("{step}.log"))
}

/// The file and the masker behind one lock, so that lines of stdout and stderr do not mix.
pub struct StepLog(Mutex<Inner>);

struct Inner {
    file: File,
    masker: Masker,
    written: u64,
    cut: bool,
}

impl StepLog {
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self(Mutex::new(Inner { file, masker: Masker::new([]), written, cut: written >= MAX_BYTES })))
    }

    /// From now on these texts become `***`.
    pub fn hide<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        let mut inner = self.inner();
        let rest = inner.masker.finish();
        inner.put(&rest);
        inner.masker = Masker::new(secrets);
    }

    /// Appends a line. A full disk loses the line, not the step.
    pub fn line(&self, text: &str) {
        let mut inner = self.inner();
        let mut masked = inner.masker.push(text.as_bytes());
        masked.extend(inner.masker.finish());
        masked.push(b'\n');
        inner.put(&masked);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, bytes: &[u8]) {
        if self.cut || bytes.is_empty() {
            return;
        }
        self.written += bytes.len() as u64;
        let result = if self.written > MAX_BYTES {
            self.cut = true;
            self.file.write_all(b"[gantry] the log is longer than 64 MiB; the rest is left out\n")
        } else {
            self.file.write_all(bytes)
        };
        if let Err(error) = result {
            tracing::warn!(%error, "a line of a step's log is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_secrets_are_not_written() {
        let home = tempfile::tempdir().unwrap();
        let path = path(home.path(), RunId(gantry_kernel::Uuid::from_u128(1)), "unit");
        StepLog::open(&path).unwrap().line("first");
        let log = StepLog::open(&path).unwrap();
        log.hide(["hunter22"]);
        log.line("the password is hunter22 hunter");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nthe password is *** hunter\n");
    }
}
