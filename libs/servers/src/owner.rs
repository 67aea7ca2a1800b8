//! Postgres refuses to run as root. When we are root it runs as an unprivileged user of the machine, and its data must
//! lie where that user can reach it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::machine::is_root;

/// User and group id of the first of `postgres`, `nobody` that this machine has; `None` when we are not root.
pub fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let found = ["postgres", "nobody"].iter().find_map(|name| {
        let line = passwd.lines().find(|l| l.split(':').next() == Some(name))?;
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    });
    found.map(Some).context("Postgres must not run as root, and this machine has neither a user postgres nor nobody")
}

/// Makes `wanted` a folder that `owner` can use and returns its real place: `wanted` itself, or, when a folder above it is
/// closed to others (a checkout in /root, a `mktemp -d`), one below /var/lib/gantry with `wanted` as a link to it.
pub fn folder_for(wanted: &Path, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let real = match owner {
        None => wanted.to_owned(),
        Some(_) if wanted.is_symlink() => fs::read_link(wanted)?,
        Some(_) if wanted.is_dir() => wanted.to_owned(),
        Some(_) if open_above(wanted) => wanted.to_owned(),
        Some(_) => elsewhere(wanted),
    };
    fs::create_dir_all(&real).with_context(|| format!("cannot make {}", real.display()))?;
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700))?;
    if let Some((uid, gid)) = owner
        && fs::metadata(&real)?.uid() != uid
    {
        chown(&real, Some(uid), Some(gid))?;
    }
    if real != wanted && !wanted.is_symlink() {
        symlink(&real, wanted)?;
    }
    Ok(real)
}

/// Removes the folder, and what a link at its place points to.
pub fn remove_folder(wanted: &Path) -> Result<()> {
    if wanted.is_symlink() {
        let real = fs::read_link(wanted)?;
        if real.is_dir() {
            fs::remove_dir_all(&real)?;
        }
        fs::remove_file(wanted)?;
    } else if wanted.is_dir() {
        fs::remove_dir_all(wanted)?;
    }
    Ok(())
}

fn open_above(path: &Path) -> bool {
    path.ancestors().skip(1).all(|p| fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 0o001 != 0))
}

fn elsewhere(wanted: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    PathBuf::from("/var/lib/gantry").join(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_below_a_closed_one_is_put_elsewhere_and_linked() {
        if !is_root() {
            println!("not root: nothing is put elsewhere on this machine");
            return;
        }
        let closed = tempfile::tempdir().expect("a folder");
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).expect("closed");
        let wanted = closed.path().join("pg");
        let owner = unprivileged().expect("a user");
        let real = folder_for(&wanted, owner).expect("made");
        assert!(real.starts_with("/var/lib/gantry"), "{}", real.display());
        assert_eq!(folder_for(&wanted, owner).expect("found again"), real);
        assert_eq!(fs::metadata(&wanted).expect("linked").uid(), owner.expect("root has one").0);
        remove_folder(&wanted).expect("removed");
        assert!(!real.exists() && !wanted.is_symlink());
    }
}
