//! Passwords that became known elsewhere: a file of upper-case SHA-1 hashes in hexadecimal, sorted, one a line, perhaps
//! with `:count` after it (as the published lists come). It is searched where it lies; nothing of it is held in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::Context;
use aws_lc_rs::digest;
use gantry_kernel::{Problem, Secret};

/// Hexadecimal digits of a SHA-1 hash.
const DIGITS: usize = 40;
/// A block this small is read from end to end.
const SMALL: u64 = 512;

#[derive(Clone, Debug)]
pub struct Breached(PathBuf);

impl Breached {
    /// # Errors
    /// When the file cannot be read or does not begin with a hash.
    pub fn open(path: &std::path::Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("identity.breached_passwords_file: {} cannot be read", path.display()))?;
        let mut line = String::new();
        BufReader::new(file).read_line(&mut line)?;
        let first = line.get(..DIGITS).unwrap_or_default();
        anyhow::ensure!(
            first.len() == DIGITS && first.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)),
            "identity.breached_passwords_file: {} must hold sorted SHA-1 hashes in upper-case hexadecimal, one a line",
            path.display()
        );
        Ok(Self(path.to_owned()))
    }

    /// # Errors
    /// When the file cannot be read any more: then no new password is taken, rather than an unsafe one.
    pub async fn holds(&self, password: &Secret) -> Result<bool, Problem> {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.expose().as_bytes());
        let hash: String = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        let path = self.0.clone();
        let found = tokio::task::spawn_blocking(move || search(File::open(path)?, &hash)).await.map_err(Problem::internal)?;
        found.map_err(Problem::internal)
    }
}

/// Bisects by bytes; lines may differ in length.
fn search(file: File, hash: &str) -> std::io::Result<bool> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    while high - low > SMALL {
        let middle = low + (high - low) / 2;
        reader.seek(SeekFrom::Start(middle))?;
        // The line that was cut by the jump does not count.
        line.clear();
        let skipped = reader.read_line(&mut line)?;
        line.clear();
        reader.read_line(&mut line)?;
        match line.get(..DIGITS) {
            Some(found) if found == hash => return Ok(true),
            Some(found) if found < hash => low = middle + skipped as u64,
            Some(_) | None => high = middle + skipped as u64,
        }
    }
    reader.seek(SeekFrom::Start(low))?;
    let mut at = low;
    while at <= high {
        line.clear();
        let read = reader.read_line(&mut line)?;
        match line.get(..DIGITS) {
            Some(found) if found == hash => return Ok(true),
            Some(found) if found > hash => return Ok(false),
            Some(_) => at += read as u64,
            None => return Ok(false),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sha1(text: &str) -> String {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02X}")).collect()
    }

    #[tokio::test]
    async fn every_hash_of_the_file_is_found_and_no_other() {
        let mut hashes: Vec<String> = (0..3_000).map(|i| sha1(&format!("password {i}"))).collect();
        hashes.sort();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for (i, hash) in hashes.iter().enumerate() {
            if i % 3 == 0 { writeln!(file, "{hash}:{i}").unwrap() } else { writeln!(file, "{hash}").unwrap() }
        }
        let breached = Breached::open(file.path()).unwrap();
        for i in 0..3_000 {
            assert!(breached.holds(&Secret::new(format!("password {i}"))).await.unwrap(), "{i}");
            assert!(!breached.holds(&Secret::new(format!("another {i}"))).await.unwrap(), "{i}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_refused_at_the_start() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "password1").unwrap();
        assert!(Breached::open(file.path()).is_err());
        assert!(Breached::open(std::path::Path::new("/nowhere")).is_err());
    }
}
