//! Questions to the operating system: who am I, what is on the PATH, which version is it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// True when this process may install packages and run the node agent.
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user of this process.
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// A setting of the surrounding shell, if set and not empty.
#[allow(clippy::disallowed_methods, reason = "the one place of this crate that reads the environment")]
pub fn text_from_env(key: &str) -> Option<String> {
    std::env::var(key).ok().filter(|v| !v.is_empty())
}

/// # Errors
/// When the variable is set to something that is not a number.
pub fn number_from_env(key: &str) -> Result<Option<u16>> {
    text_from_env(key).map(|v| v.parse().with_context(|| format!("{key}={v}: must be a number of 1 to 65535"))).transpose()
}

/// The first executable file of that name on the PATH, `extra` folders or the usual system folders.
pub fn which(name: &str, extra: &[PathBuf]) -> Option<PathBuf> {
    let path = text_from_env("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let folders = extra.iter().cloned().chain(std::env::split_paths(&path)).chain(system);
    folders.map(|f| f.join(name)).find(|p| is_executable(p))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Major, minor, patch; missing parts are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The first thing in `text` that looks like `15.18` or `v2.11.3`. A lone number counts only when nothing dotted is there.
    pub fn find(text: &str) -> Option<Self> {
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '='));
        let tokens = words.map(|w| w.trim_start_matches('v')).filter(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        let mut lone = None;
        for token in tokens {
            let numbers: Vec<u32> = token
                .split('.')
                .map_while(|part| {
                    let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
                    part[..end].parse().ok()
                })
                .collect();
            let version = Self(numbers[0], numbers.get(1).copied().unwrap_or(0), numbers.get(2).copied().unwrap_or(0));
            if numbers.len() > 1 {
                return Some(version);
            }
            lone = lone.or(Some(version));
        }
        lone
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Runs to the end and returns standard output.
///
/// # Errors
/// When it cannot be started or fails; the text has its standard error.
pub fn output<S: AsRef<OsStr>>(program: impl AsRef<Path>, args: &[S]) -> Result<String> {
    let program = program.as_ref();
    let done = Command::new(program).args(args).output().with_context(|| format!("cannot run {}", program.display()))?;
    if !done.status.success() {
        let line: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{} {}: {}: {}", program.display(), line.join(" "), done.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_servers_print() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Version(15, 18, 0)),
            ("nats-server: v2.15.1", Version(2, 15, 1)),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", Version(7, 0, 15)),
            ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1", Version(1, 6, 20)),
            ("prometheus, version 2.42.0+ds (branch: debian/sid)", Version(2, 42, 0)),
            ("runc version 1.1.5+ds1", Version(1, 1, 5)),
            ("postgres 18beta", Version(18, 0, 0)),
        ];
        for (text, want) in cases {
            assert_eq!(Version::find(text), Some(want), "{text}");
        }
        assert_eq!(Version::find("no number here"), None);
    }

    #[test]
    fn an_older_minor_is_less() {
        assert!(Version(2, 9, 10) < Version(2, 11, 0));
    }
}
