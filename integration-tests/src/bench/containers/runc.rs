//! The anchor: `runc run`, with the file system of the image that our containers have, in namespaces of its own, for a command that
//! says that it runs and ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gantry_servers::{Need, busybox};

use crate::bench::usage::cpu_of_waited;

pub struct Runc {
    program: PathBuf,
    state: PathBuf,
    bundle: PathBuf,
}

impl Runc {
    /// # Errors
    /// When there is no runc, or the bundle cannot be made.
    pub fn new(folder: &Path) -> Result<Self> {
        let found = Need::Runc.find().map_err(|why| anyhow::anyhow!("runc: {why}"))?;
        let name = found.path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        ensure!(name == "runc", "runc is not on this machine: {name} would be measured");
        let (state, bundle) = (folder.join("runc/state"), folder.join("runc/bundle"));
        fs::create_dir_all(&bundle)?;
        busybox::unpack(&bundle.join("rootfs"))?;
        let made = Command::new(&found.path).arg("spec").current_dir(&bundle).output().context("cannot run runc")?;
        ensure!(made.status.success(), "runc spec: {}", String::from_utf8_lossy(&made.stderr));
        let file = bundle.join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", "echo running"]);
        fs::write(&file, config.to_string())?;
        Ok(Self { program: found.path, state, bundle })
    }

    /// One, from its beginning to its end.
    ///
    /// # Errors
    /// When it fails; says what runc says.
    pub fn run(&self) -> Result<Duration> {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.state).arg("run").arg("--bundle").arg(&self.bundle).arg("gantry-bench").stdin(Stdio::null());
        let began = Instant::now();
        let done = command.output().context("cannot run runc")?;
        let took = began.elapsed();
        ensure!(done.status.success() && done.stdout == b"running\n", "runc run: {}: {}", done.status, String::from_utf8_lossy(&done.stderr));
        Ok(took)
    }

    /// Seconds of processor time of so many, one after the other.
    ///
    /// # Errors
    /// As [`Runc::run`].
    pub fn cpu_of(&self, count: usize) -> Result<f64> {
        let before = cpu_of_waited()?;
        for _ in 0..count {
            self.run()?;
        }
        Ok(cpu_of_waited()? - before)
    }
}
