//! Log lines on their way out: gathered for a moment, so that a busy service does not pay a call into the kernel for each.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait. What is worse than information does not wait.
const WAIT: Duration = Duration::from_millis(100);
/// Bytes that may wait.
const FULL: usize = 32 << 10;

/// Standard error, behind a buffer.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Starts the thread that writes out what waits.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start() -> io::Result<Self> {
        let lines = Self::default();
        let waiting = Arc::downgrade(&lines.0);
        std::thread::Builder::new().name("log".into()).spawn(move || {
            while let Some(waiting) = waiting.upgrade() {
                Self(waiting).flush();
                std::thread::sleep(WAIT);
            }
        })?;
        Ok(lines)
    }

    /// Writes out what waits.
    pub fn flush(&self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_empty() {
            // Nobody to tell if that fails.
            let _ = io::stderr().write_all(&waiting);
            waiting.clear();
        }
    }
}

/// One line.
pub struct Line<'a> {
    lines: &'a Lines,
    now: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let full = {
            let mut waiting = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.extend_from_slice(line);
            waiting.len() >= FULL
        };
        if self.now || full {
            self.lines.flush();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, now: true }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, now: *about.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_waits_and_a_warning_takes_it_along() {
        let lines = Lines::default();
        let waiting = |lines: &Lines| lines.0.lock().unwrap().len();
        Line { lines: &lines, now: false }.write_all(b"a request\n").unwrap();
        assert_eq!(waiting(&lines), 10);
        Line { lines: &lines, now: true }.write_all(b"a warning\n").unwrap();
        assert_eq!(waiting(&lines), 0);
        Line { lines: &lines, now: false }.write_all(&[b'.'; FULL]).unwrap();
        assert_eq!(waiting(&lines), 0);
    }
}
