//! What the steps hand on to each other: the people, names and means of one run. Names are new each time, so a run never
//! meets the remains of another.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::api::{Api, items, text};
use super::browser::Browser;
use super::suite::Suite;
use super::tools;

pub const PROJECT: &str = "shop";
pub const SPACE: &str = "test";

pub struct Story {
    pub suite: Suite,
    pub files: TempDir,
    pub browser: Browser,
    pub user: String,
    pub password: String,
    pub org: String,
    pub project: &'static str,
    pub space: &'static str,
    pub app: &'static str,
    /// The user's own calls; filled in by signing in.
    pub api: Option<Api>,
    /// The administrator's calls; hosts and sign-ins of all people are the operator's business.
    pub operator: Option<Api>,
    /// The work tree of the application.
    pub tree: PathBuf,
    /// `http://host:port` of the balanced application and the name to ask for.
    pub door: Option<Door>,
}

#[derive(Clone, Debug)]
pub struct Door {
    pub url: String,
    pub host: String,
    pub address: std::net::SocketAddr,
}

/// 32 hexadecimal digits that nobody can guess.
#[allow(clippy::disallowed_methods, reason = "a story is a program of its own, with real chance")]
pub fn random() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl Story {
    /// # Errors
    /// When the suite cannot be found.
    pub fn begin() -> Result<Self> {
        let suite = Suite::find()?;
        let browser = Browser::new(suite.client()?, &suite.url)?;
        let files = tempfile::tempdir()?;
        let id = random();
        let id = &id[..8];
        Ok(Self {
            user: format!("dev-{id}"),
            // Random, because common words are refused.
            password: random(),
            org: format!("demo-{id}"),
            project: PROJECT,
            space: SPACE,
            app: "web",
            api: None,
            operator: None,
            tree: files.path().join("web"),
            door: None,
            suite,
            files,
            browser,
        })
    }

    /// # Errors
    /// Before the user has signed in.
    pub fn api(&self) -> Result<&Api> {
        self.api.as_ref().ok_or_else(|| anyhow::anyhow!("nobody is signed in"))
    }

    pub fn project_path(&self) -> String {
        format!("/api/v1/orgs/{}/projects/{}", self.org, self.project)
    }

    pub fn space_path(&self) -> String {
        format!("{}/spaces/{}", self.project_path(), self.space)
    }

    pub fn app_path(&self) -> String {
        format!("{}/apps/{}", self.space_path(), self.app)
    }

    /// `localhost:7443/org/project/name:tag`
    pub fn image(&self, name: &str) -> String {
        format!("{}/{}/{}/{name}", self.suite.registry, self.org, self.project)
    }

    /// What the command-line client prints.
    ///
    /// # Errors
    /// When it fails.
    pub async fn cli(&self, args: &[&str]) -> Result<String> {
        let config = self.files.path().join("cli").display().to_string();
        let ca = self.suite.ca.canonicalize()?.display().to_string();
        let env = [("GANTRY_CONFIG_DIR", config.as_str()), ("GANTRY_URL", self.suite.url.as_str()), ("GANTRY_CA", ca.as_str())];
        tools::run(&self.suite.cli.display().to_string(), args, self.files.path(), &env).await
    }

    /// The instances of the application that run now.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn running(&self) -> Result<Vec<Value>> {
        let list = self.api()?.get(&format!("{}/instances", self.app_path())).await?;
        Ok(items(&list).iter().filter(|i| text(i, "state") == "running").cloned().collect())
    }

    /// # Errors
    /// Before the application is balanced.
    pub fn door(&self) -> Result<Door> {
        match &self.door {
            Some(door) => Ok(door.clone()),
            None => bail!("the application is not balanced yet"),
        }
    }
}
