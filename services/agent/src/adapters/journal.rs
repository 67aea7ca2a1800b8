//! What is to be on record of this node, on its disk until the audit stream has it: a file of one JSON fact a line, readable by root alone,
//! and how far of it was taken. It is kept in order and bounded; the part that was taken stays for a while, for whoever looks on the node.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_contract::audit::AuditFact;
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Mutex;

use super::disk::replace;

/// A file that was taken wholly is moved aside when it is larger.
const ASIDE_BYTES: u64 = 8 << 20;
/// One that nobody takes is, too, with all that is in it.
const MOST_BYTES: u64 = 64 << 20;
/// So much is read at once.
const CHUNK: u64 = 256 << 10;

/// Cheap to clone; all clones are of one journal.
#[derive(Clone)]
pub struct Journal {
    folder: PathBuf,
    taken: Arc<Mutex<Taken>>,
    most: u64,
}

#[derive(Default)]
struct Taken {
    /// Of the present file.
    offset: u64,
    /// How many files were before it.
    files: u64,
}

/// Where the next part begins, in the file that was read.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    offset: u64,
    files: u64,
}

impl Journal {
    /// # Errors
    /// When the folder cannot be made.
    pub async fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder).await?;
        fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).await?;
        let file = folder.join("engine.jsonl");
        // Half a line, of a crash, must not take the next one along. Taken away, not ended: the disk may be full.
        if let Ok(bytes) = fs::read(&file).await
            && bytes.last().is_some_and(|b| *b != b'\n')
        {
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            OpenOptions::new().write(true).open(&file).await?.set_len(whole as u64).await?;
        }
        let text = fs::read_to_string(folder.join("taken")).await.unwrap_or_default();
        let offset = text.trim().parse().unwrap_or(0);
        // Moved aside in the moment before a crash, it begins anew.
        let offset = if offset > length(&file).await { 0 } else { offset };
        Ok(Self { folder, taken: Arc::new(Mutex::new(Taken { offset, files: 0 })), most: MOST_BYTES })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("engine.jsonl")
    }

    /// Waits for the disk.
    ///
    /// # Errors
    /// When it refuses; nothing of these is in the journal then.
    pub async fn append(&self, facts: &[AuditFact]) -> io::Result<()> {
        let mut taken = self.taken.lock().await;
        if length(&self.file()).await > self.most {
            tracing::error!(path = %self.file().display(), "the audit stream has not taken what was done to the engine for too long: the oldest records stay on this node alone");
            self.aside(&mut taken).await?;
        }
        let mut lines = Vec::new();
        for fact in facts {
            serde_json::to_writer(&mut lines, fact)?;
            lines.push(b'\n');
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.file()).await?;
        let before = file.metadata().await?.len();
        let written = async {
            file.write_all(&lines).await?;
            // What is written is handed to another thread: that the disk is full is said here, and not by `sync_data`.
            file.flush().await?;
            file.sync_data().await
        };
        let written = written.await;
        if written.is_err() {
            // Half a line of them would spoil the next one.
            let _ = file.set_len(before).await;
        }
        written
    }

    /// The next that were not taken yet, oldest first. A line that is none is passed over.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn next(&self) -> io::Result<(Vec<AuditFact>, Mark)> {
        let taken = self.taken.lock().await;
        let mut mark = Mark { offset: taken.offset, files: taken.files };
        let mut file = match fs::File::open(self.file()).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), mark)),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(taken.offset)).await?;
        let mut bytes = Vec::new();
        file.take(CHUNK).read_to_end(&mut bytes).await?;
        // The last line may not be whole: of a crash, or of the end of the chunk.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        mark.offset += whole as u64;
        Ok((bytes[..whole].split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect(), mark))
    }

    /// All up to there is where it belongs.
    ///
    /// # Errors
    /// When the disk refuses; then it is taken once more, under the same ids.
    pub async fn taken(&self, mark: Mark) -> io::Result<()> {
        let mut taken = self.taken.lock().await;
        if mark.files != taken.files {
            return Ok(());
        }
        taken.offset = mark.offset;
        if mark.offset > ASIDE_BYTES && length(&self.file()).await == mark.offset {
            return self.aside(&mut taken).await;
        }
        replace(&self.folder.join("taken"), mark.offset.to_string().as_bytes(), 0o600).await
    }

    async fn aside(&self, taken: &mut Taken) -> io::Result<()> {
        // First, and without room on the disk for it: with the old mark, after a crash, the beginning of the next file would count as taken.
        match fs::remove_file(self.folder.join("taken")).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(self.file(), self.folder.join("engine.jsonl.1")).await?;
        *taken = Taken { offset: 0, files: taken.files + 1 };
        Ok(())
    }
}

async fn length(path: &Path) -> u64 {
    fs::metadata(path).await.map_or(0, |m| m.len())
}

#[cfg(test)]
mod tests {
    use gantry_kernel::{OffsetDateTime, Uuid};

    use super::*;

    fn fact(n: u128) -> AuditFact {
        AuditFact {
            id: Uuid::from_u128(n),
            at: OffsetDateTime::UNIX_EPOCH,
            service: "agent".into(),
            actor: "service:agent".into(),
            action: "engine.created".into(),
            object: "instance:1".into(),
            org: None,
            result: "ok".into(),
            reason: String::new(),
            from: "n1".into(),
            trace_id: None,
            before: None,
            after: None,
        }
    }

    async fn ids(journal: &Journal) -> (Vec<u128>, Mark) {
        let (facts, mark) = journal.next().await.unwrap();
        (facts.iter().map(|f| f.id.as_u128()).collect(), mark)
    }

    #[tokio::test]
    async fn what_was_not_taken_is_there_after_a_restart_and_what_was_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().join("audit")).await.unwrap();
        assert!(ids(&journal).await.0.is_empty());
        journal.append(&[fact(1), fact(2)]).await.unwrap();
        let (seen, mark) = ids(&journal).await;
        assert_eq!(seen, [1, 2]);
        // Not said to be taken: it comes again.
        assert_eq!(ids(&journal).await.0, [1, 2]);
        journal.taken(mark).await.unwrap();
        journal.append(&[fact(3)]).await.unwrap();
        let again = Journal::open(folder.path().join("audit")).await.unwrap();
        assert_eq!(ids(&again).await.0, [3]);
        // Half a line, as a crash leaves it, is waited for, and gone with the next start.
        let mut file = std::fs::OpenOptions::new().append(true).open(folder.path().join("audit/engine.jsonl")).unwrap();
        std::io::Write::write_all(&mut file, b"{\"id\":").unwrap();
        assert_eq!(ids(&again).await.0, [3]);
        let again = Journal::open(folder.path().join("audit")).await.unwrap();
        again.append(&[fact(4)]).await.unwrap();
        assert_eq!(ids(&again).await.0, [3, 4]);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_of_and_spoils_nothing_that_comes_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().to_owned()).await.unwrap();
        let file = folder.path().join("engine.jsonl");
        std::os::unix::fs::symlink("/dev/full", &file).unwrap();
        assert_eq!(journal.append(&[fact(1)]).await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        std::fs::remove_file(&file).unwrap();
        journal.append(&[fact(2)]).await.unwrap();
        assert_eq!(ids(&journal).await.0, [2]);
    }

    #[tokio::test]
    async fn what_follows_a_file_that_was_moved_aside_is_told_from_its_beginning_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path().to_owned()).await.unwrap();
        journal.append(&[fact(1), fact(2)]).await.unwrap();
        let (_, mark) = ids(&journal).await;
        journal.taken(mark).await.unwrap();
        journal.most = 1;
        // On a disk that takes no new file.
        std::fs::create_dir(folder.path().join("taken.new")).unwrap();
        journal.append(&[fact(3), fact(4), fact(5), fact(6)]).await.unwrap();
        assert_eq!(ids(&Journal::open(folder.path().to_owned()).await.unwrap()).await.0, [3, 4, 5, 6]);
    }

    #[tokio::test]
    async fn a_journal_that_nobody_takes_is_bounded_and_an_old_mark_counts_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path().to_owned()).await.unwrap();
        journal.most = 600;
        for n in 1..=3 {
            journal.append(&[fact(n)]).await.unwrap();
        }
        let (_, old) = ids(&journal).await;
        while ids(&journal).await.0.len() > 1 {
            journal.append(&[fact(9)]).await.unwrap();
        }
        journal.taken(old).await.unwrap();
        assert_eq!(ids(&journal).await.0, [9]);
        assert!(folder.path().join("engine.jsonl.1").exists());
    }
}
