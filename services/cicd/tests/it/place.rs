//! A project with people in it, the service, and a git client.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use gantry_auth::ProjectRef;
use gantry_cicd::{Cicd, CicdConfig};
use gantry_host::{Host, Platform};
use gantry_kernel::{Role, UserId};
use gantry_testkit::World;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Place {
    pub world: World,
    pub host: Host,
    pub project: ProjectRef,
    pub editor: UserId,
    pub files: TempDir,
}

pub const WAIT: Duration = Duration::from_secs(30);

impl Place {
    pub async fn new() -> Self {
        let world = World::new().await;
        let host = world.start::<Cicd>(CicdConfig::default()).await;
        let org = world.identity.org("acme").await;
        let project = world.identity.project(&org, "shop", false).await;
        let editor = world.user();
        world.identity.grant(&format!("user:{editor}"), Role::Editor, project.scope()).await;
        world.identity.settle(&host).await;
        Self { world, host, project, editor, files: tempfile::tempdir().unwrap() }
    }

    pub fn token(&self) -> String {
        self.world.token(self.editor, "ada")
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.world.call(&self.host, Method::GET, &format!("/api/v1/orgs/acme/projects/shop{path}"), Some(&self.token()), None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.world.call(&self.host, Method::POST, &format!("/api/v1/orgs/acme/projects/shop{path}"), Some(&self.token()), Some(&body)).await
    }

    pub async fn repository(&self) {
        let (status, body) = self.post("/repositories", json!({ "name": "web" })).await;
        assert_eq!(status, 201, "{body}");
    }

    /// Waits until the newest run has one of `states`.
    pub async fn run_in(&self, states: &[&str]) -> Value {
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let (_, runs) = self.get("/runs").await;
            let run = runs["items"][0].clone();
            if states.iter().any(|s| run["state"] == *s) {
                return run;
            }
            assert!(tokio::time::Instant::now() < deadline, "no run in {states:?}: {runs}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// `git` with our certificates and `token` as the password, as an ordinary person would have set it up.
    pub fn git(&self, token: Option<&str>, folder: &Path, args: &[&str]) -> Output {
        git(&self.world, self.files.path(), token, folder, args)
    }

    pub fn url(&self) -> String {
        format!("{}/git/acme/shop/web.git", self.host.url_of("cicd").unwrap())
    }

    /// A work tree with one commit of these files, not pushed yet.
    pub fn tree(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let tree = self.files.path().join(name);
        for (path, text) in files {
            let file = tree.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        for args in [vec!["init", "-q", "-b", "main"], vec!["add", "."], vec!["commit", "-q", "-m", "the first commit"]] {
            told(self.git(None, &tree, &args));
        }
        tree
    }

    /// Pushes a commit with this pipeline file.
    pub fn push(&self, pipeline: &str) -> PathBuf {
        let tree = self.tree("tree", &[(".gantry/pipeline.yaml", pipeline), ("compose.yaml", "services: {}\n")]);
        told(self.git(Some(&self.token()), &tree, &["push", "-q", &self.url(), "main"]));
        tree
    }
}

/// Another installation object on the same database, bus and files: what a restart finds.
pub async fn again(platform: &Platform) -> World {
    let platform = platform.clone();
    World::with(move |p| *p = platform).await
}

pub fn git(world: &World, files: &Path, token: Option<&str>, folder: &Path, args: &[&str]) -> Output {
    let leaf = world.running.pki().leaf("gateway", &[]).unwrap();
    for (name, text) in [("cert.pem", &leaf.chain_pem), ("key.pem", &leaf.key_pem), ("ca.pem", &world.running.pki().ca_pem)] {
        std::fs::write(files.join(name), text).unwrap();
    }
    let file = |name: &str| files.join(name).display().to_string();
    let mut command = Command::new("git");
    command.current_dir(folder).env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for (name, value) in [("GIT_SSL_CERT", file("cert.pem")), ("GIT_SSL_KEY", file("key.pem")), ("GIT_SSL_CAINFO", file("ca.pem"))] {
        command.env(name, value);
    }
    command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]);
    if let Some(token) = token {
        command.args(["-c", &format!("credential.helper=!f() {{ echo username=ada; echo password={token}; }}; f")]);
    }
    command.args(args).output().unwrap()
}

/// The output of a command that must have worked.
#[track_caller]
pub fn told(output: Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

/// The output of a command that must have failed.
#[track_caller]
pub fn refused(output: Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "not refused: {text}");
    text
}
