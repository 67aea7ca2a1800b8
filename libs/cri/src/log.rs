//! The CRI log format: `<RFC 3339 time> <stdout|stderr> <P|F> <text>` per record, `P` = the line goes on in the next record.
//!
//! [`Record::parse`] reads one record, [`Assembler`] joins records to lines, [`Tail`] follows a growing file from an offset.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A line that never ends is cut here, so that one container cannot fill the memory of its reader.
pub const MAX_LINE_BYTES: usize = 256 * 1024;
/// A record that has not ended by then is cut, too, and the rest of it is left out: a runtime that cuts no lines, or a file that a crash has
/// filled with zeros, must not fill it either.
const LONGEST_RECORD: usize = 2 * MAX_LINE_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One record of a log file, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub at: OffsetDateTime,
    pub stream: Stream,
    /// The program has not ended this line yet.
    pub partial: bool,
    pub text: &'a [u8],
}

impl<'a> Record<'a> {
    /// `None` if it is not such a record (a file cut by a crash, or a foreign format).
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (time, rest) = cut(line)?;
        let (stream, rest) = cut(rest)?;
        // An empty line may come without the blank after its tag.
        let (tags, text) = cut(rest).unwrap_or((rest, &[]));
        let at = OffsetDateTime::parse(std::str::from_utf8(time).ok()?, &Rfc3339).ok()?;
        let stream = match stream {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        // Tags are separated by colons; only the first has a meaning so far.
        let partial = match tags.split(|b| *b == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self { at, stream, partial, text })
    }
}

fn cut(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == b' ')?;
    Some((&text[..at], &text[at + 1..]))
}

/// One line of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it began.
    pub at: OffsetDateTime,
    pub stream: Stream,
    /// Not valid UTF-8 is replaced by U+FFFD.
    pub text: String,
    /// Where its first record begins in the file.
    pub offset: u64,
}

/// Joins partial records of each stream to whole lines.
#[derive(Debug, Default)]
pub struct Assembler {
    open: [Option<Open>; 2],
}

#[derive(Debug)]
struct Open {
    at: OffsetDateTime,
    offset: u64,
    text: Vec<u8>,
}

impl Assembler {
    /// Takes the record found at `offset`; gives the line it ends, if it ends one.
    pub fn push(&mut self, record: Record<'_>, offset: u64) -> Option<Line> {
        let slot = &mut self.open[record.stream as usize];
        let open = slot.get_or_insert_with(|| Open { at: record.at, offset, text: Vec::new() });
        let room = MAX_LINE_BYTES.saturating_sub(open.text.len());
        open.text.extend_from_slice(&record.text[..record.text.len().min(room)]);
        if record.partial && open.text.len() < MAX_LINE_BYTES {
            return None;
        }
        let done = slot.take()?;
        let text = String::from_utf8_lossy(&done.text).into_owned();
        Some(Line { at: done.at, stream: record.stream, text, offset: done.offset })
    }

    /// Where the earliest line that is still open begins.
    pub fn open_since(&self) -> Option<u64> {
        self.open.iter().flatten().map(|o| o.offset).min()
    }

    /// Lines whose end never came (the program ended without one), earliest first.
    pub fn finish(&mut self) -> Vec<Line> {
        let streams = [Stream::Stdout, Stream::Stderr];
        let mut lines: Vec<Line> = Vec::new();
        for (slot, stream) in self.open.iter_mut().zip(streams) {
            if let Some(open) = slot.take() {
                let text = String::from_utf8_lossy(&open.text).into_owned();
                lines.push(Line { at: open.at, stream, text, offset: open.offset });
            }
        }
        lines.sort_by_key(|l| l.offset);
        lines
    }
}

/// Follows one log file. Reading never blocks on the writer: [`Tail::read`] gives what is there now.
pub struct Tail {
    path: PathBuf,
    /// Not tokio's, which keeps the largest buffer that it was ever read with, for every log that is followed.
    file: Option<Arc<File>>,
    /// Up to where the file was read; `rest` is the record begun before it.
    position: u64,
    rest: Vec<u8>,
    /// In the middle of a record that is left out up to its end.
    skipping: bool,
    assembler: Assembler,
}

impl Tail {
    /// Starts at a byte offset that [`Tail::resume_at`] gave before, or 0. The file may not be there yet.
    pub fn new(path: impl Into<PathBuf>, offset: u64) -> Self {
        Self { path: path.into(), file: None, position: offset, rest: Vec::new(), skipping: false, assembler: Assembler::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The offset from which a new [`Tail`] gives every line that this one has not given. A line of the other stream that came
    /// in between may come twice then; its offset is the same.
    pub fn resume_at(&self) -> u64 {
        let read = self.position - self.rest.len() as u64;
        self.assembler.open_since().map_or(read, |open| open.min(read))
    }

    /// Up to where the file was read. One that was read to its end has not moved since the last call.
    pub fn read_to(&self) -> u64 {
        self.position
    }

    /// Lines that became whole since the last call, at most about `budget` bytes of the file. Empty = nothing new.
    ///
    /// # Errors
    /// When the file cannot be read; a file that is not there (yet) is no error.
    pub async fn read(&mut self, budget: usize) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let (file, path, from, budget) = (self.file.clone(), self.path.clone(), self.position, budget.clamp(1024, 1024 * 1024));
        let part = tokio::task::spawn_blocking(move || part(file, &path, from, budget)).await.map_err(io::Error::other)??;
        let Some((file, chunk)) = part else { return Ok(lines) };
        self.file = Some(file);
        let begin = self.position - self.rest.len() as u64;
        self.position += chunk.len() as u64;
        self.rest.extend_from_slice(&chunk);
        let mut used = 0;
        if self.skipping {
            let end = self.rest.iter().position(|b| *b == b'\n');
            self.skipping = end.is_none();
            used = end.map_or(self.rest.len(), |end| end + 1);
        }
        while let Some(length) = self.rest[used..].iter().position(|b| *b == b'\n') {
            if let Some(record) = Record::parse(&self.rest[used..used + length]) {
                lines.extend(self.assembler.push(record, begin + used as u64));
            }
            used += length + 1;
        }
        self.rest.drain(..used);
        if self.rest.len() > LONGEST_RECORD {
            if let Some(record) = Record::parse(&self.rest) {
                lines.extend(self.assembler.push(record, begin + used as u64));
            }
            self.rest.clear();
            self.skipping = true;
        }
        // Most logs are quiet most of the time: what was needed for much is given back.
        self.rest.shrink_to_fit();
        Ok(lines)
    }

    /// The last lines of a program that ended without a line end.
    pub fn finish(&mut self) -> Vec<Line> {
        self.assembler.finish()
    }
}

/// What the file has from an offset on, at most so many bytes; nothing if there is no file (yet). Room is made for what is there alone.
fn part(file: Option<Arc<File>>, path: &Path, from: u64, budget: usize) -> io::Result<Option<(Arc<File>, Vec<u8>)>> {
    let file = match file {
        Some(file) => file,
        None => match File::open(path) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        },
    };
    let there = file.metadata()?.len().saturating_sub(from);
    let mut chunk = vec![0; usize::try_from(there).unwrap_or(budget).min(budget)];
    let mut read = 0;
    while read < chunk.len() {
        match file.read_at(&mut chunk[read..], from + read as u64) {
            Ok(0) => break,
            Ok(some) => read += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(read);
    Ok(Some((file, chunk)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const AT: &str = "2026-11-22T19:28:04.123456789Z";

    #[test]
    fn a_record_is_read() {
        let line = format!("{AT} stderr F hello  world ");
        let record = Record::parse(line.as_bytes()).unwrap();
        assert_eq!((record.stream, record.partial, record.text), (Stream::Stderr, false, &b"hello  world "[..]));
        assert_eq!(record.at.nanosecond(), 123_456_789);
    }

    #[test]
    fn further_tags_and_other_time_zones_are_allowed() {
        let record = Record::parse(b"2026-11-22T19:28:04+08:00 stdout P:x y").unwrap();
        assert!(record.partial);
        assert_eq!(record.text, b"y");
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        for text in ["", "hello", "2026 stdout F x", "2026-11-22T19:28:04Z stdin F x", "2026-11-22T19:28:04Z stdout X x"] {
            assert_eq!(Record::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn interleaved_partial_lines_of_both_streams_are_joined() {
        let mut assembler = Assembler::default();
        let at = OffsetDateTime::UNIX_EPOCH;
        let part = |stream, partial, text: &'static str| Record { at, stream, partial, text: text.as_bytes() };
        assert_eq!(assembler.push(part(Stream::Stdout, true, "a"), 0), None);
        assert_eq!(assembler.push(part(Stream::Stderr, false, "err"), 10).unwrap().text, "err");
        assert_eq!(assembler.open_since(), Some(0));
        let line = assembler.push(part(Stream::Stdout, false, "b"), 20).unwrap();
        assert_eq!((line.text.as_str(), line.offset), ("ab", 0));
        assert_eq!(assembler.open_since(), None);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut assembler = Assembler::default();
        let text = vec![b'x'; 100_000];
        let record = Record { at: OffsetDateTime::UNIX_EPOCH, stream: Stream::Stdout, partial: true, text: &text };
        let lines = (0..6).filter_map(|i| assembler.push(record, i)).collect::<Vec<_>>();
        assert!(lines.iter().all(|l| l.text.len() <= MAX_LINE_BYTES));
        assert_eq!(lines.len(), 2);
    }

    #[tokio::test]
    async fn a_quiet_log_takes_no_memory_for_what_was_read_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut file = std::fs::File::create(&path).unwrap();
        let mut tail = Tail::new(&path, 0);
        assert!(tail.read(4096).await.unwrap().is_empty());
        for n in 0..10_000 {
            writeln!(file, "{AT} stdout F line {n}").unwrap();
        }
        let mut lines = Vec::new();
        while lines.len() < 10_000 {
            let more = tail.read(256 * 1024).await.unwrap();
            assert!(!more.is_empty(), "all that is there is given");
            lines.extend(more);
        }
        assert_eq!((lines[0].text.as_str(), lines[9_999].text.as_str()), ("line 0", "line 9999"));
        assert!(tail.read(256 * 1024).await.unwrap().is_empty());
        assert_eq!(tail.rest.capacity(), 0);
        // The file that is followed stays that file when it is moved aside.
        std::fs::rename(&path, folder.path().join("0.log.1")).unwrap();
        writeln!(file, "{AT} stdout F last").unwrap();
        assert_eq!(tail.read(4096).await.unwrap()[0].text, "last");
    }

    #[tokio::test]
    async fn a_record_without_an_end_is_cut_and_takes_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut file = std::fs::File::create(&path).unwrap();
        writeln!(file, "{AT} stdout F before").unwrap();
        write!(file, "{AT} stdout F ").unwrap();
        for _ in 0..40 {
            file.write_all(&[b'x'; 64 * 1024]).unwrap();
        }
        writeln!(file, "\n{AT} stdout F between").unwrap();
        file.write_all(&vec![0; 3 * LONGEST_RECORD]).unwrap();
        writeln!(file, "\n{AT} stdout F after").unwrap();
        let (mut tail, mut lines) = (Tail::new(&path, 0), Vec::new());
        loop {
            let before = tail.read_to();
            lines.extend(tail.read(256 * 1024).await.unwrap());
            assert!(tail.rest.len() <= LONGEST_RECORD);
            if tail.read_to() == before {
                break;
            }
        }
        let texts: Vec<(usize, &str)> = lines.iter().map(|l| (l.text.len(), &l.text[..5.min(l.text.len())])).collect();
        assert_eq!(texts, [(6, "befor"), (MAX_LINE_BYTES, "xxxxx"), (7, "betwe"), (5, "after")]);
        assert_eq!(tail.resume_at(), std::fs::metadata(&path).unwrap().len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::parse(&bytes);
        }

        #[test]
        fn every_line_comes_once_however_the_file_grows(
            lines in proptest::collection::vec(("[a-z ]{0,20}", any::<bool>()), 0..40),
            cuts in proptest::collection::vec(1usize..60, 1..40),
        ) {
            let mut bytes = Vec::new();
            for (text, error) in &lines {
                let stream = if *error { "stderr" } else { "stdout" };
                let (head, tail) = text.split_at(text.len() / 2);
                writeln!(bytes, "{AT} {stream} P {head}").unwrap();
                writeln!(bytes, "{AT} {stream} F {tail}").unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let seen = runtime.block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("0.log");
                let mut file = std::fs::File::create(&path).unwrap();
                let mut tail = Tail::new(&path, 0);
                let mut seen = Vec::new();
                let mut rest = &bytes[..];
                let mut cuts = cuts.iter().cycle();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                    file.write_all(now).unwrap();
                    rest = later;
                    seen.extend(tail.read(4096).await.unwrap());
                    // As after a restart of the reader.
                    tail = Tail::new(&path, tail.resume_at());
                }
                seen
            });
            let texts: Vec<_> = seen.iter().map(|l| (l.text.clone(), l.stream == Stream::Stderr)).collect();
            prop_assert_eq!(texts, lines);
        }
    }
}
