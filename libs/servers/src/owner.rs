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

/// Makes `wanted` a folder that `owner` can use and returns its real place, with no link in it: `wanted` itself, or, when a folder above it
/// is closed to others (a checkout in /root, a `mktemp -d`), one below /var/lib/gantry with `wanted` as a link to it.
pub fn folder_for(wanted: &Path, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let real = match owner {
        _ if wanted.is_symlink() => target_of(wanted)?,
        None => wanted.to_owned(),
        Some(_) if wanted.is_dir() => wanted.to_owned(),
        Some(_) if open_above(wanted) => wanted.to_owned(),
        Some(_) => elsewhere(wanted)?,
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
    // What looks for processes at work in it is told places by the kernel, which knows no links.
    real.canonicalize().with_context(|| format!("cannot find {}", real.display()))
}

/// Where a link leads, which may be told from the folder it lies in.
fn target_of(link: &Path) -> Result<PathBuf> {
    let target = fs::read_link(link)?;
    Ok(link.parent().unwrap_or(Path::new("")).join(target))
}

/// Removes the folder, and what a link at its place points to.
pub fn remove_folder(wanted: &Path) -> Result<()> {
    if wanted.is_symlink() {
        let real = target_of(wanted)?;
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

fn elsewhere(wanted: &Path) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    let above = PathBuf::from("/var/lib/gantry");
    passable(&above)?;
    Ok(above.join(format!("{:016x}", hasher.finish())))
}

/// Makes a folder through which others may reach what is theirs in it, whatever the caller's umask (077 would close it to them).
fn passable(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o001 == 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o011)).with_context(|| format!("cannot open {} to others", folder.display()))?;
    }
    Ok(())
}

/// What an owner made is no other's to use: a server refuses it, and to take the folder itself over would lock out the one whose it is.
///
/// # Errors
/// When `file` is there and belongs to another user than the server's, who is `owner` or whoever runs this.
pub fn must_own(file: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let Ok(found) = fs::metadata(file) else { return Ok(()) };
    let ours = match owner {
        Some((uid, _)) => uid,
        None => fs::metadata("/proc/self")?.uid(),
    };
    let (theirs, folder) = (found.uid(), file.parent().unwrap_or(file).display());
    anyhow::ensure!(
        theirs == ours,
        "{folder} was made for the user with number {theirs}, and this one would use it as {ours}: run it as the one who ran it first (with or without root), or give it to this one with `chown -R {ours} {folder}`"
    );
    Ok(())
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
        assert!(real.starts_with(Path::new("/var/lib/gantry").canonicalize().expect("made")), "{}", real.display());
        assert_eq!(folder_for(&wanted, owner).expect("found again"), real);
        assert_eq!(fs::metadata(&wanted).expect("linked").uid(), owner.expect("root has one").0);
        remove_folder(&wanted).expect("removed");
        assert!(!real.exists() && !wanted.is_symlink());
    }

    #[test]
    fn a_link_is_told_from_where_it_lies_and_its_end_has_no_link_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, passed) = (folder.path().join("disk"), folder.path().join("mnt"));
        fs::create_dir(&real).expect("made");
        symlink(&real, &passed).expect("linked");
        let wanted = folder.path().join("pg");
        symlink("mnt/data", &wanted).expect("linked");
        let found = folder_for(&wanted, None).expect("made where the link leads");
        assert_eq!(found, real.canonicalize().expect("there").join("data"));
        assert_eq!(fs::metadata(&found).expect("there").permissions().mode() & 0o777, 0o700);
        remove_folder(&wanted).expect("removed");
        assert!(!found.exists() && !wanted.is_symlink() && real.is_dir());
    }

    #[test]
    fn a_folder_on_the_way_is_open_to_others_whatever_the_umask_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let way = folder.path().join("gantry");
        fs::create_dir(&way).expect("made");
        // As `umask 077` leaves it.
        fs::set_permissions(&way, fs::Permissions::from_mode(0o700)).expect("closed");
        passable(&way).expect("opened");
        assert_eq!(fs::metadata(&way).expect("there").permissions().mode() & 0o777, 0o711);
        passable(&way).expect("again");
    }

    #[test]
    fn what_another_user_made_is_not_taken_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("PG_VERSION");
        must_own(&file, None).expect("nobody made it");
        fs::write(&file, "15\n").expect("written");
        must_own(&file, None).expect("ours");
        let own = fs::metadata(&file).expect("there").uid();
        must_own(&file, Some((own, 0))).expect("ours as well");
        let error = must_own(&file, Some((own + 1, 0))).expect_err("another's").to_string();
        assert!(error.contains("chown") && error.contains(&folder.path().display().to_string()), "{error}");
    }
}
