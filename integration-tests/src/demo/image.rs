//! Images made on the spot from programs of this machine, so that no outside registry is needed: an OCI image layout of one layer,
//! pushed by `skopeo` with the user's own sign-in.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::story::Story;
use super::tools::run;

/// A root file system that grows, below `folder`.
pub struct Root(PathBuf);

impl Root {
    /// # Errors
    /// When the disk refuses.
    pub fn empty(folder: PathBuf) -> Result<Self> {
        for part in ["bin", "etc", "tmp", "usr", "var", "proc", "sys", "dev"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::set_permissions(folder.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::write(folder.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
        fs::write(folder.join("etc/group"), "root:x:0:\n")?;
        // Names of the space are in the hosts file.
        fs::write(folder.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
        Ok(Self(folder))
    }

    /// busybox under all its names.
    ///
    /// # Errors
    /// When busybox is not on this machine, or needs libraries.
    pub async fn busybox(&self) -> Result<()> {
        let program = "/bin/busybox";
        self.program(program).await?;
        for name in run(program, &["--list"], &self.0, &[]).await?.lines().filter(|n| !matches!(*n, "busybox" | "")) {
            let link = self.0.join("bin").join(name);
            if !link.exists() {
                symlink("busybox", link)?;
            }
        }
        Ok(())
    }

    /// A program of this machine into `/bin`, with every library it needs where it looks for it.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn program(&self, program: &str) -> Result<()> {
        let real = fs::canonicalize(program).with_context(|| format!("{program} is not on this machine"))?;
        let name = Path::new(program).file_name().context("a program has a name")?;
        fs::copy(&real, self.0.join("bin").join(name))?;
        // A static program has none, and ldd then fails.
        let libraries = run("ldd", &[&real.display().to_string()], &self.0, &[]).await.unwrap_or_default();
        let paths: BTreeSet<&str> = libraries.split_whitespace().filter(|w| w.starts_with('/')).collect();
        for path in paths {
            let to = self.0.join(path.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("a library is in a folder")?)?;
            fs::copy(fs::canonicalize(path)?, to)?;
        }
        Ok(())
    }

    /// Makes an OCI image layout of it and pushes it.
    ///
    /// # Errors
    /// When a tool fails; says which.
    pub async fn push(&self, story: &Story, name: &str, command: &[&str]) -> Result<String> {
        let work = self.0.parent().context("the root is in a folder")?;
        let store = work.join("build").display().to_string();
        let (root, run_root) = (format!("{store}/root"), format!("{store}/run"));
        let global = ["--root", &root, "--runroot", &run_root, "--storage-driver", "vfs"];
        let lines = format!("FROM scratch\nCOPY . /\nENV PATH=/bin\nCMD {}\n", serde_json::to_string(command)?);
        let file = work.join("Containerfile");
        fs::write(&file, lines)?;
        let (file, context, local) = (file.display().to_string(), self.0.display().to_string(), "localhost/demo-image");
        run("buildah", &[&global[..], &["bud", "--quiet", "--isolation", "chroot", "--tag", local, "--file", &file, &context]].concat(), work, &[]).await?;
        let layout = format!("oci:{}:latest", work.join("layout").display());
        run("buildah", &[&global[..], &["push", "--quiet", local, &layout]].concat(), work, &[]).await?;
        let certificates = story.files.path().join("certs");
        fs::create_dir_all(&certificates)?;
        fs::copy(&story.suite.ca, certificates.join("ca.crt"))?;
        let credential = format!("{}:{}", story.user, story.password);
        let image = story.image(name);
        let to = format!("docker://{image}");
        run("skopeo", &["copy", "--quiet", "--dest-creds", &credential, "--dest-cert-dir", &certificates.display().to_string(), &layout, &to], work, &[])
            .await?;
        if run("buildah", &[&global[..], &["rmi", "--force", local]].concat(), work, &[]).await.is_err() {
            bail!("the built image cannot be removed again");
        }
        Ok(image)
    }
}
