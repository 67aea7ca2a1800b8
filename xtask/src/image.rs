//! Runs the image's entry point without a container engine: the last stage of the Dockerfile, read from the file itself, becomes
//! a folder (the program where `COPY` puts it, what the packages of `RUN` hold, the libraries they are linked with); compose's
//! `init` and `gantryd` are then started in it by `chroot`, as the user the file names, against private servers, until compose's
//! own health check passes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gantry_servers::server::free_port;
use gantry_servers::{TestServers, is_root, until};
use serde_json::Value;

use crate::work::{Work, run, say};

const READY_WITHIN: Duration = Duration::from_secs(120);

/// # Errors
/// When the folder cannot be made, or the program in it does not become ready, or does not end well.
pub fn check(work: &Work) -> Result<()> {
    if !is_root() {
        say("not root: the image's entry point needs chroot and is not run here");
        return Ok(());
    }
    let dockerfile = fs::read_to_string(work.repository.join("Dockerfile"))?;
    let stage = Stage::last(&dockerfile)?;
    let compose: Value = serde_saphyr::from_str(&fs::read_to_string(work.repository.join("docker-compose.yml"))?)?;
    let root = work.target.join("image-root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    unpack(work, &stage, &root)?;
    let outcome = start(work, &stage, &compose, &root);
    if let Err(error) = &outcome {
        eprintln!("{error:#}\n{}", fs::read_to_string(work.target.join("image.log")).unwrap_or_default());
    }
    fs::remove_dir_all(&root)?;
    outcome
}

/// What the last stage of a Dockerfile says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stage {
    packages: Vec<String>,
    /// Programs of the build stage, and the folder they are copied to.
    programs: Vec<String>,
    into: String,
    user: u32,
    folder: String,
    entry: Vec<String>,
}

impl Stage {
    fn last(dockerfile: &str) -> Result<Self> {
        let joined = dockerfile.replace("\\\n", " ");
        let at = joined.rfind("\nFROM ").context("the Dockerfile has no stage")?;
        let mut stage = Self::default();
        for line in joined[at..].lines().map(str::trim).filter(|l| !l.starts_with('#')) {
            let Some((word, rest)) = line.split_once(' ') else { continue };
            match word {
                "RUN" => {
                    let install = rest.split("&&").find_map(|c| c.trim().strip_prefix("apt-get install ")).unwrap_or_default();
                    stage.packages.extend(install.split_whitespace().filter(|p| !p.starts_with('-')).map(str::to_owned));
                }
                "COPY" => {
                    let mut words: Vec<&str> = rest.split_whitespace().filter(|w| !w.starts_with("--")).collect();
                    stage.into = words.pop().context("COPY has a target")?.to_owned();
                    stage.programs.extend(words.iter().filter_map(|w| w.rsplit('/').next()).map(str::to_owned));
                }
                "USER" => stage.user = rest.split(':').next().unwrap_or_default().parse().context("USER is a number")?,
                "WORKDIR" => stage.folder = rest.to_owned(),
                "ENTRYPOINT" => stage.entry = serde_json::from_str(rest).context("ENTRYPOINT is a list")?,
                _ => {}
            }
        }
        ensure!(!stage.entry.is_empty() && !stage.programs.is_empty() && stage.user > 0, "the last stage of the Dockerfile is not as expected: {stage:?}");
        Ok(stage)
    }
}

fn unpack(work: &Work, stage: &Stage, root: &Path) -> Result<()> {
    say("the image's root, unpacked: the last stage of the Dockerfile");
    for folder in ["dev", "etc/ssl/certs", "tmp", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"] {
        fs::create_dir_all(root.join(folder))?;
    }
    // Debian's layout since 12: what was in / is in /usr.
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    for (name, minor) in [("null", "3"), ("zero", "5"), ("urandom", "9")] {
        run(Command::new("mknod").args(["-m", "666"]).arg(root.join("dev").join(name)).args(["c", "1", minor]))?;
    }
    fs::write(root.join("etc/passwd"), format!("root:x:0:0::/root:/bin/sh\ngantry:x:{0}:{0}::{1}:/bin/sh\n", stage.user, stage.folder))?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if bundle.exists() {
        fs::copy(bundle, root.join("etc/ssl/certs/ca-certificates.crt"))?;
    }
    let home = root.join(stage.folder.trim_start_matches('/'));
    fs::create_dir_all(&home)?;
    chown(&home, Some(stage.user), Some(stage.user))?;

    let mut binaries = Vec::new();
    for name in &stage.programs {
        let target = root.join(stage.into.trim_start_matches('/')).join(name);
        place(&work.program(name), &target)?;
        binaries.push(work.program(name));
    }
    for package in &stage.packages {
        let Ok(list) = Command::new("dpkg").args(["-L", package]).output() else { continue };
        if !list.status.success() {
            say(&format!("package {package} is not on this machine: the image's root is without it"));
            continue;
        }
        for file in String::from_utf8_lossy(&list.stdout).lines().map(PathBuf::from).filter(|f| f.is_file() && !f.starts_with("/usr/share/doc")) {
            place(&file, &inside(root, &file))?;
            if ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/lib/git-core"].iter().any(|f| file.parent() == Some(Path::new(f))) {
                binaries.push(file);
            }
        }
    }
    for library in libraries(&binaries)? {
        place(&library, &inside(root, &library))?;
    }
    Ok(())
}

/// Where a file of this machine belongs in the folder; `/lib/x` and `/usr/lib/x` are one.
fn inside(root: &Path, file: &Path) -> PathBuf {
    root.join(file.strip_prefix("/").unwrap_or(file))
}

/// A second name where the file system allows it, else a copy.
fn place(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let real = from.canonicalize().with_context(|| format!("{} is not there", from.display()))?;
    if fs::hard_link(&real, to).is_err() {
        fs::copy(&real, to).with_context(|| format!("cannot copy {}", real.display()))?;
    }
    Ok(())
}

/// Everything these programs are linked with, the loader included.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").args(programs).stderr(Stdio::null()).output().context("ldd")?;
    Ok(linked(&String::from_utf8_lossy(&output.stdout)))
}

/// Paths in what `ldd` prints: `libc.so.6 => /lib/x/libc.so.6 (0x7f)`, `/lib64/ld-linux-x86-64.so.2 (0x7f)`.
fn linked(text: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let line = line.trim();
        let path = line.split_once("=> ").map_or(line, |(_, path)| path).split(" (0x").next()?;
        (path.starts_with('/') && line.contains(" (0x")).then(|| PathBuf::from(path))
    };
    text.lines().filter_map(path).collect()
}

fn start(work: &Work, stage: &Stage, compose: &Value, root: &Path) -> Result<()> {
    let servers = TestServers::in_folder(&work.test_servers())?;
    let port = free_port()?;
    let url = format!("https://localhost:{port}");
    let schema = format!("image{}", std::process::id());
    let own = [
        ("GANTRYD__PLATFORM__PUBLIC_URL", url.clone()),
        ("GANTRYD__PLATFORM__DATABASE_URL", servers.database_url.clone()),
        ("GANTRYD__PLATFORM__NATS_URL", servers.nats_url.clone()),
        ("GANTRYD__PLATFORM__REDIS_URL", servers.redis_url.clone()),
        ("GANTRYD__PLATFORM__PREFIX", schema),
        ("GANTRYD__PLATFORM__PORT_BASE", "0".to_owned()),
        ("GANTRYD__PLATFORM__LISTEN", "127.0.0.1".to_owned()),
        ("GANTRYD__GATEWAY__LISTEN", format!("127.0.0.1:{port}")),
    ];
    let log = File::create(work.target.join("image.log"))?;
    let service = |name: &str| -> Result<Command> {
        let part = &compose["services"][name];
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={0}:{0}", stage.user)).arg(root).args(&stage.entry);
        command.args(part["command"].as_array().with_context(|| format!("compose has no {name}"))?.iter().filter_map(Value::as_str));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/usr/sbin").env("HOME", &stage.folder);
        let given = part["environment"].as_object().into_iter().flatten().chain(compose["x-platform"].as_object().into_iter().flatten());
        command.envs(given.filter_map(|(key, value)| Some((key, value.as_str()?))));
        command.envs(own.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(command)
    };
    run(&mut service("init")?).context("the image's `init`")?;
    let began = Instant::now();
    let mut child = service("gantryd")?.spawn().context("chroot")?;
    let ready = until("the image's entry point", READY_WITHIN, || {
        if let Some(status) = child.try_wait()? {
            return Err(gantry_servers::Hopeless(format!("it ended with {status}")).into());
        }
        probe(compose, stage, root, &url)
    });
    let said = began.elapsed().as_secs_f32();
    let ended = end(&mut child);
    ready?;
    ended?;
    say(&format!("the image's entry point became ready in {said:.1} s as user {}, and ended when told to", stage.user));
    Ok(())
}

/// Compose's health check, run inside.
fn probe(compose: &Value, stage: &Stage, root: &Path, url: &str) -> Result<()> {
    let test = compose["services"]["gantryd"]["healthcheck"]["test"].as_array().context("compose has a health check")?;
    let words = test.iter().filter_map(Value::as_str).skip(1).map(|w| w.replace("https://localhost:7443", url));
    let mut command = Command::new("chroot");
    command.arg(format!("--userspec={0}:{0}", stage.user)).arg(root).args(words).env_clear().env("PATH", "/usr/bin:/usr/sbin");
    let output = command.output()?;
    ensure!(output.status.success(), "the health check fails: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// As an engine stops a container.
fn end(child: &mut Child) -> Result<()> {
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    let over = until("the end of the entry point", Duration::from_secs(30), || match child.try_wait()? {
        Some(status) => Ok(status),
        None => bail!("it still runs"),
    });
    if over.is_err() {
        child.kill()?;
    }
    let status = over?;
    ensure!(told.success() && status.success(), "after SIGTERM it ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfiles_last_stage_is_understood() {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Dockerfile")).expect("read");
        let stage = Stage::last(&text).expect("understood");
        assert_eq!((stage.programs.as_slice(), stage.into.as_str()), (["gantryd".to_owned(), "gantry".to_owned()].as_slice(), "/usr/local/bin/"));
        assert_eq!((stage.user, stage.folder.as_str(), stage.entry.as_slice()), (10_001, "/var/lib/gantry", ["/usr/local/bin/gantryd".to_owned()].as_slice()));
        assert!(["git", "curl", "buildah"].iter().all(|p| stage.packages.iter().any(|s| s == p)), "{:?}", stage.packages);
    }

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let text = "/usr/bin/git:\n\tlinux-vdso.so.1 (0x7ffd)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n\tnot a dynamic executable\n";
        let found: Vec<_> = linked(text).into_iter().collect();
        assert_eq!(found, [PathBuf::from("/lib/x86_64-linux-gnu/libz.so.1"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]);
    }
}
