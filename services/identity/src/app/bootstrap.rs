//! The first start: a platform administrator with a one-time password, and perhaps a first organisation.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_es::Meta;
use gantry_es_pg::Lease;
use gantry_kernel::{Kind, Role, Scope, Secret};

use crate::app::App;
use crate::app::people::{Person, subject};
use crate::app::users::{By, Profile};
use crate::domain::binding::Subject;
use crate::store::directory;

impl App {
    /// Makes what is missing of administrator, platform binding and first organisation. Harmless to repeat; two
    /// replicas that start at once wait for each other.
    ///
    /// # Errors
    /// When the database refuses or the password file cannot be read or written.
    pub async fn bootstrap(&self) -> anyhow::Result<()> {
        let Some(lease) = Lease::acquire(self.pool(), "bootstrap", &self.host.cancel).await else { return Ok(()) };
        let done = self.bootstrap_alone().await;
        lease.release().await;
        done
    }

    async fn bootstrap_alone(&self) -> anyhow::Result<()> {
        // Somebody rules already, perhaps under another name: nothing to do, now or after the administrator was renamed.
        if !directory::bindings_at(self.orm(), vec![Scope::Platform.to_string()], None, 1).await?.is_empty() {
            return Ok(());
        }
        let admin = match self.find_user(&self.config.admin_username).await? {
            Some(row) => self.open(row).await?,
            None => self.make_admin().await?,
        };
        let granted = self.grant(Subject::User(admin.id), Role::Admin, Scope::Platform, Meta::system()).await;
        match granted {
            Ok(_) => {}
            Err(problem) if problem.kind == Kind::Conflict => {}
            Err(problem) => return Err(problem.into()),
        }
        tracing::info!(actor.id = subject(admin.id), "the platform administrator is ready");
        if let Some(org) = &self.config.seed_org {
            self.create_org(org, None, admin.id, Meta::system()).await.map(|_| ()).or_else(|p| if p.kind == Kind::Conflict { Ok(()) } else { Err(p) })?;
        }
        Ok(())
    }

    async fn make_admin(&self) -> Result<Person, anyhow::Error> {
        let password = self.first_password()?;
        let name = &self.config.admin_username;
        let profile = Profile::parse(name, &format!("{name}@localhost"), Some("Administrator"))?;
        Ok(self.create_user(&profile, Some(&password), By::FirstStart, true, Meta::system()).await?)
    }

    fn first_password(&self) -> anyhow::Result<Secret> {
        let file = match &self.config.admin_password_file {
            Some(file) => file.clone(),
            None => self.password_file(),
        };
        if file.exists() {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            anyhow::ensure!(!text.trim().is_empty(), "{} is empty", file.display());
            return Ok(Secret::new(text.trim()));
        }
        let password = Secret::new(URL_SAFE_NO_PAD.encode(self.host.env.random::<15>()));
        write_secret(&file, &password).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(password)
    }

    fn password_file(&self) -> PathBuf {
        self.host.platform.home.join("admin-password")
    }
}

fn write_secret(file: &Path, secret: &Secret) -> std::io::Result<()> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(out, "{}", secret.expose())?;
    out.sync_all()
}
