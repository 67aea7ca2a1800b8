//! The OCI runtimes of this machine and the shims of others, as containerd's handlers name them: what a workload can ask for as its
//! runtime class.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::machine::which;

/// The default first.
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];
/// Runtimes with a shim of their own: handler, program, type.
const SHIMS: [(&str, &str, &str); 3] = [
    ("kata", "containerd-shim-kata-v2", "io.containerd.kata.v2"),
    ("runsc", "containerd-shim-runsc-v1", "io.containerd.runsc.v1"),
    ("wasmtime", "containerd-shim-wasmtime-v1", "io.containerd.wasmtime.v1"),
];
/// The second hierarchy of a machine that has both.
const UNIFIED: &str = "/sys/fs/cgroup/unified";
/// What starts runc where CRIU is: it can let a container go on from a checkpoint, which containerd's CRI has no word for.
const RESTORING: &str = include_str!("oci/restoring.sh");

/// Every OCI runtime of this machine with the program to start. `place`: where a starter is put for one that needs it.
///
/// # Errors
/// When there is none, or the starter cannot be written.
pub fn runtimes(place: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut found: Vec<_> = RUNTIMES.into_iter().filter_map(|name| Some((name, which(name, &[])?))).collect();
    if found.is_empty() {
        bail!("none of {} is on this machine", RUNTIMES.join(", "));
    }
    if mixed(&fs::read_to_string(format!("{UNIFIED}/cgroup.controllers")).unwrap_or_default()) {
        for (_, program) in found.iter_mut().filter(|(name, _)| *name == "crun") {
            *program = starter(place, program)?;
        }
    }
    if criu().is_some() {
        for (_, program) in found.iter_mut().filter(|(name, _)| *name == "runc") {
            *program = restoring(place, program)?;
        }
    }
    Ok(found)
}

/// The tables of containerd's configuration for all of them, below `plugins."io.containerd.grpc.v1.cri".containerd`.
///
/// # Errors
/// As [`runtimes`].
pub fn handlers(place: &Path) -> Result<String> {
    const TABLE: &str = r#"plugins."io.containerd.grpc.v1.cri".containerd.runtimes"#;
    let mut text = String::new();
    for (name, program) in runtimes(place)? {
        write!(
            text,
            r#"    [{TABLE}.{name}]
      runtime_type = "io.containerd.runc.v2"
      [{TABLE}.{name}.options]
        BinaryName = "{program}"
        Root = "{place}/{name}"
        SystemdCgroup = false
"#,
            program = program.display(),
            place = place.display(),
        )?;
    }
    for (name, shim, kind) in SHIMS {
        if which(shim, &[]).is_some() {
            write!(text, "    [{TABLE}.{name}]\n      runtime_type = \"{kind}\"\n")?;
        }
    }
    Ok(text)
}

/// crun takes a second hierarchy with controllers for a mixture that it will not work with. Controllers of the first one are never
/// in the second, so it is right to work with the first alone.
fn mixed(controllers: &str) -> bool {
    !controllers.trim().is_empty()
}

/// A program that starts `program` where it does not see the second hierarchy: in a mount namespace of its own, which still gets
/// what is mounted on the machine later.
fn starter(place: &Path, program: &Path) -> Result<PathBuf> {
    let text = format!(
        "#!/bin/sh\n# Written by gantry at every start: {program} without {UNIFIED}, which it refuses to see beside the first hierarchy.\n\
         exec unshare --mount --propagation slave /bin/sh -c 'umount -l {UNIFIED} && exec \"$0\" \"$@\"' {program} \"$@\"\n",
        program = program.display(),
    );
    program_at(place.join("crun-v1"), &text)
}

/// CRIU, if it is on this machine.
pub fn criu() -> Option<PathBuf> {
    which("criu", &[])
}

/// The same program for all but containers that have a folder of their id in `place/restore`, put there by the agent: `image` and, if
/// its own layer had changed, `layer.tar`. These go on from there.
///
/// # Errors
/// When it cannot be written.
pub fn restoring(place: &Path, program: &Path) -> Result<PathBuf> {
    let text = RESTORING.replace("{program}", &program.display().to_string()).replace("{place}", &place.display().to_string());
    program_at(place.join("runc-restoring"), &text)
}

/// Put into place at once: a container may be starting.
fn program_at(path: PathBuf, text: &str) -> Result<PathBuf> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_hierarchy_with_controllers_is_in_the_way() {
        assert!(mixed("hugetlb misc\n"));
        assert!(!mixed("\n") && !mixed(""));
    }

    /// Runs it with a program that prints what it is called with.
    fn called(place: &Path, words: &[&str]) -> String {
        let echo = program_at(place.join("echo"), "#!/bin/sh\necho \"$@\"\n").unwrap();
        let starter = restoring(place, &echo).unwrap();
        let output = std::process::Command::new(starter).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn only_a_container_with_a_checkpoint_is_restored() {
        let place = tempfile::tempdir().unwrap();
        let create = ["--root", "/r", "create", "--bundle", "/a b", "c1"];
        assert_eq!(called(place.path(), &create), "--root /r create --bundle /a b c1");
        fs::create_dir_all(place.path().join("restore/c1")).unwrap();
        let restored = called(place.path(), &create);
        assert!(restored.starts_with("--root /r restore --detach ") && restored.ends_with("--bundle /a b c1"), "{restored}");
        assert!(restored.contains(&format!("--image-path {}/restore/c1/image", place.path().display())), "{restored}");
        assert_eq!(called(place.path(), &["start", "c1"]), "", "it runs already");
        assert_eq!(called(place.path(), &["kill", "c1", "9"]), "kill c1 9");
        assert_eq!(called(place.path(), &["start", "c2"]), "start c2");
    }

    #[test]
    fn the_starter_hands_on_what_it_is_given() {
        let place = tempfile::tempdir().unwrap();
        let path = starter(place.path(), Path::new("/usr/bin/crun")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#!/bin/sh\n") && text.ends_with("/usr/bin/crun \"$@\"\n"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
