//! Scanners outside: who is asked about which image, with what key to it, and what becomes of the answer.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use gantry_contract::registry::flow::{Scanner, ScannerAuth};
use gantry_es::Sealed;
use gantry_es_pg::Todo;
use gantry_kernel::{OffsetDateTime, ProjectId, Secret, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::App;
use super::scan::{Job, SCAN};
use crate::adapters::scanner::{Client, Looked, ScannerError};
use crate::app::cache::Verified;
use crate::config::PlatformScanner;
use crate::domain::access::Access;
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::domain::pattern;
use crate::domain::scan::external::{self, Abilities, Subject};
use crate::domain::scan::report::{Finding, Report};
use crate::domain::settings::Settings;
use crate::error::{Error, Result};
use crate::store::scanner_reports::{self, Question};

/// Name of the work.
pub const EXTERNAL: &str = "external-scan";
/// How long a scanner may take for one image.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Until an image is asked about again whose scan went wrong, times the tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Tries until an image's scan by this scanner is given up; it can be asked for again.
const MOST_TRIES: i32 = 5;
/// How long a scanner's key to one repository is good: longer than it may take. Each request comes with its own.
const KEY_LIFE: i64 = 3600;
/// What the clocks of two replicas may differ by.
const SKEW: i64 = 300;
/// No key is longer.
const LONGEST_KEY: usize = 4096;
/// Bytes of what is sealed that are not content: nonce and tag.
const SEALED_LEAST: usize = 12 + 16;
/// Mark of such keys.
const KEY: &str = "gantry-scan.";

/// One image for one scanner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    pub image: Job,
    pub scanner: String,
    /// Tries that went wrong before this one.
    #[serde(default)]
    failed: i32,
    /// None: it is to be asked.
    #[serde(default)]
    under_way: Option<UnderWay>,
}

/// What the scanner was asked and has not answered yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct UnderWay {
    /// What it calls the scan, and the other one for the bill of materials.
    report: String,
    sbom: Option<String>,
    /// When it was asked, in seconds.
    since: i64,
    /// When somebody wished for it, in microseconds: who wishes again begins another one, and this one is over.
    wished: Option<i64>,
    looks: u32,
}

/// What one look at a scanner brought.
enum Outcome {
    Done(Abilities, Vec<Finding>, Option<Value>),
    Wait(UnderWay, Duration),
}

impl Ask {
    /// Each look has its own: the work that puts it down is forgotten by its key when it is done.
    fn key(&self) -> String {
        let key = format!("{} {}", self.scanner, self.image.key());
        match &self.under_way {
            None => key,
            Some(UnderWay { report, looks, .. }) => format!("{key} {looks} {report}"),
        }
    }
}

/// A scanner with what opens it.
#[derive(Clone)]
pub struct Known {
    pub scanner: Scanner,
    secret: Option<Locked>,
    /// Of the platform, not of one project.
    pub platform: bool,
}

/// Who is asked about an image although it was before.
#[derive(Clone, Copy, Debug)]
pub enum Again<'a> {
    Nobody,
    Everybody,
    Only(&'a str),
}

#[derive(Clone)]
enum Locked {
    Sealed(Sealed),
    File(std::path::PathBuf),
}

/// What a key to a repository says. Sealed under a subject that nothing else is sealed under, so nobody else can make one: what people
/// choose and have sealed for their project is no such key, whatever they wrote.
#[derive(Serialize, Deserialize)]
struct Pass {
    repository: String,
    scanner: String,
    until: i64,
}

impl Known {
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }
}

impl App {
    /// The scanners that a project's images are given to: its own, and the platform's under other names.
    pub fn scanners(&self, settings: &Settings) -> Vec<Known> {
        let own = settings.scanners.values().map(|k| Known { scanner: k.scanner.clone(), secret: k.secret.clone().map(Locked::Sealed), platform: false });
        let mut all: Vec<Known> = own.collect();
        let others = self.config.scanners.iter().filter(|p| !settings.scanners.contains_key(&p.name));
        all.extend(others.filter_map(|p| {
            let secret = (!p.secret_file.as_os_str().is_empty()).then(|| Locked::File(p.secret_file.clone()));
            Some(Known { scanner: of_platform(p)?, secret, platform: true })
        }));
        all
    }

    async fn scanner_client(&self, project: ProjectId, known: &Known) -> anyhow::Result<Client> {
        let secret = match &known.secret {
            None => None,
            Some(Locked::Sealed(sealed)) => Some(self.unseal(project, sealed).await?),
            Some(Locked::File(path)) => {
                let text = tokio::fs::read_to_string(path).await.with_context(|| format!("the secret of scanner {}", known.scanner.name))?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        };
        Ok(Client::new(&known.scanner, secret.map(Secret::new))?)
    }

    /// What a scanner says about itself.
    ///
    /// # Errors
    /// Why it is of no use, for people.
    pub async fn try_scanner(&self, project: ProjectId, known: &Known) -> std::result::Result<Abilities, String> {
        let client = self.scanner_client(project, known).await.map_err(|e| format!("{e:#}"))?;
        client.abilities().await.map_err(|e| e.to_string())
    }

    /// Puts an image down for each scanner that has not been asked about it, or once more for those that `again` says.
    ///
    /// # Errors
    /// The store.
    pub async fn ask_scanners(&self, image: &Job, settings: &Settings, again: Again<'_>) -> anyhow::Result<usize> {
        let name = RepositoryName::parse(&image.repository)?;
        let known = scanner_reports::of(&self.host.db().pool, &image.repository, &image.digest).await?;
        let mut asked = 0;
        for scanner in self.scanners(settings).into_iter().map(|k| k.scanner) {
            let about = scanner.enabled && pattern::matches(&scanner.repositories, name.rest());
            let again = match again {
                Again::Nobody => false,
                Again::Everybody => true,
                Again::Only(name) => name == scanner.name,
            };
            if !about || (!again && known.iter().any(|k| k.scanner == scanner.name)) {
                continue;
            }
            let at = (image.repository.as_str(), image.digest.as_str());
            scanner_reports::ask(&self.host.db().pool, at, &scanner.name, self.host.env.now()).await?;
            let ask = Ask { image: image.clone(), scanner: scanner.name, failed: 0, under_way: None };
            Todo::enqueue(&self.host.db().orm, EXTERNAL, &ask.key(), &serde_json::to_value(&ask)?).await?;
            asked += 1;
        }
        Ok(asked)
    }

    /// Adds to an image's report what the project's scanners found in it.
    ///
    /// # Errors
    /// The store.
    pub(super) async fn merge_scanners(&self, image: &Job, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
        let names: Vec<String> = self.scanners(settings).into_iter().filter(|k| k.scanner.enabled).map(|k| k.scanner.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        for (scanner, found) in scanner_reports::findings(&self.host.db().pool, &image.repository, &image.digest, &names).await? {
            let found: Vec<Finding> = serde_json::from_value(found).with_context(|| format!("the kept findings of {scanner}"))?;
            external::merge(report, found);
        }
        Ok(())
    }

    /// Has one image scanned by one scanner. Repeating it is harmless.
    ///
    /// # Errors
    /// It is to be tried again.
    pub async fn external_scan(&self, ask: &Ask, tries: i32) -> anyhow::Result<()> {
        let (name, digest) = (RepositoryName::parse(&ask.image.repository)?, Digest::parse(&ask.image.digest)?);
        let at = (name.as_str(), digest.as_str());
        let pool = &self.host.db().pool;
        let settings = self.settings(ask.image.project).await?;
        let known = self.scanners(&settings).into_iter().find(|k| k.scanner.name == ask.scanner && k.scanner.enabled);
        if !self.repositories.load(&name).await?.state.has(&digest) {
            return Ok(scanner_reports::forget(pool, at.0, at.1, None).await?);
        }
        let Some(known) = known else { return Ok(scanner_reports::forget(pool, at.0, at.1, Some(&ask.scanner)).await?) };
        // Taken back: the scanner that was asked is gone, and one of the same name is asked by itself.
        let Some(asked) = scanner_reports::of(pool, at.0, at.1).await?.into_iter().find(|k| k.scanner == ask.scanner) else { return Ok(()) };
        let wished = i64::try_from(asked.asked_at.unix_timestamp_nanos() / 1_000).ok();
        if ask.under_way.as_ref().is_some_and(|u| u.wished != wished) {
            return Ok(());
        }
        let question = Question { repository: at.0, digest: at.1, scanner: &ask.scanner, asked_at: asked.asked_at };
        match self.looked_outside(ask, wished, &known, &name, &digest).await {
            Ok(Outcome::Done(abilities, findings, sbom)) => {
                let identity = serde_json::to_value(&abilities.scanner)?;
                let findings = serde_json::to_value(findings)?;
                if scanner_reports::done(pool, question, (&identity, &findings, sbom.as_ref()), self.host.env.now()).await? {
                    // The report is made once more, with this.
                    Todo::enqueue(&self.host.db().orm, SCAN, &ask.image.key(), &serde_json::to_value(&ask.image)?).await?;
                }
                Ok(())
            }
            Ok(Outcome::Wait(under_way, pause)) => {
                let failed = if ask.under_way.is_some() { ask.failed } else { ask.failed + tries - 1 };
                self.ask_later(&Ask { failed, under_way: Some(under_way), ..ask.clone() }, pause).await
            }
            Err(error) => {
                // A scan that was begun is begun anew, by other work than this, which may not have been its only try.
                let failed = ask.failed + if ask.under_way.is_some() { 1 } else { tries };
                let last = failed >= MOST_TRIES;
                scanner_reports::failed(pool, question, &format!("{error:#}"), last).await?;
                match ask.under_way {
                    _ if last => Ok(()),
                    None => Err(error),
                    Some(_) => self.ask_later(&Ask { failed, under_way: None, ..ask.clone() }, PAUSE * failed.unsigned_abs()).await,
                }
            }
        }
    }

    /// Puts the work down for later: nothing here waits for a scanner.
    async fn ask_later(&self, ask: &Ask, pause: Duration) -> anyhow::Result<()> {
        Ok(Todo::enqueue_after(&self.host.db().orm, EXTERNAL, &ask.key(), &serde_json::to_value(ask)?, pause).await?)
    }

    /// Asks the scanner, or looks whether it has answered.
    async fn looked_outside(&self, ask: &Ask, wished: Option<i64>, known: &Known, name: &RepositoryName, digest: &Digest) -> anyhow::Result<Outcome> {
        let client = self.scanner_client(ask.image.project, known).await?;
        let abilities = client.abilities().await?;
        let now = self.host.env.now().unix_timestamp();
        let under_way = match &ask.under_way {
            Some(under_way) => UnderWay { looks: under_way.looks.saturating_add(1), ..under_way.clone() },
            None => {
                let report = self.begin_outside(&client, ask, &abilities, (name, digest), false).await?;
                let sbom = match abilities.sbom.filter(|_| known.scanner.sbom) {
                    Some(_) => Some(self.begin_outside(&client, ask, &abilities, (name, digest), true).await?),
                    None => None,
                };
                UnderWay { report, sbom, since: now, wished, looks: 0 }
            }
        };
        let wait = |pause| {
            let waited = u64::try_from(now - under_way.since).unwrap_or_default();
            anyhow::ensure!(waited < PATIENCE.as_secs(), "there is no report after {} minutes", PATIENCE.as_secs() / 60);
            Ok(Outcome::Wait(under_way.clone(), pause))
        };
        let report = match client.report(&under_way.report, abilities.report, None).await? {
            Looked::Report(report) => report,
            Looked::Wait(pause) => return wait(pause),
        };
        let unusable = |why| ScannerError::Answer(known.scanner.name.clone(), why);
        let sbom = match &under_way.sbom {
            Some(id) => match client.report(id, external::SBOM_REPORT, abilities.sbom).await? {
                Looked::Report(report) => Some(external::sbom(&report).map_err(unusable)?),
                Looked::Wait(pause) => return wait(pause),
            },
            None => None,
        };
        let findings = external::findings(&report, &ask.scanner).map_err(unusable)?;
        Ok(Outcome::Done(abilities, findings, sbom))
    }

    /// Asks for a scan, with a key to the repository that outlives it; the scanner's id of it.
    async fn begin_outside(
        &self,
        client: &Client,
        ask: &Ask,
        abilities: &Abilities,
        (name, digest): (&RepositoryName, &Digest),
        sbom: bool,
    ) -> anyhow::Result<String> {
        let row = self.manifest_row(name, &crate::domain::name::Reference::Digest(digest.clone())).await?;
        let pass = self.pass(ask.image.project, name, &ask.scanner).await?;
        let authorization = format!("Bearer {pass}");
        let subject = Subject {
            registry: &self.host.platform.public_url,
            authorization: &authorization,
            repository: name.as_str(),
            digest: digest.as_str(),
            media_type: &row.media_type,
        };
        Ok(client.begin(&external::request(&subject, abilities, sbom)).await?)
    }

    /// A key that lets a scanner pull from one repository for an hour.
    async fn pass(&self, project: ProjectId, name: &RepositoryName, scanner: &str) -> Result<String> {
        let until = self.host.env.now().unix_timestamp() + KEY_LIFE;
        let pass = Pass { repository: name.to_string(), scanner: scanner.to_owned(), until };
        let sealed = self.host.keyring().seal(&passes_of(project), &json!(pass).to_string()).await;
        let Sealed(sealed) = sealed.map_err(|e| Error::Internal(e.into()))?;
        Ok(format!("{KEY}{}.{}", project.0.simple(), URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// What such a key allows; none if it is none, or over.
    pub async fn opened_pass(&self, token: &str, now: OffsetDateTime) -> Option<Verified> {
        let (project, sealed) = token.strip_prefix(KEY).filter(|_| token.len() <= LONGEST_KEY)?.split_once('.')?;
        let project = ProjectId(Uuid::parse_str(project).ok()?);
        let sealed = String::from_utf8(URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()?;
        // Anybody may send anything: the database is asked about nothing that cannot be a key.
        if STANDARD_NO_PAD.decode(&sealed).ok()?.len() <= SEALED_LEAST || !self.host.auth.read(|r| r.project_ref(project).is_some()) {
            return None;
        }
        let pass: Pass = serde_json::from_str(&self.host.keyring().open(&passes_of(project), &Sealed(sealed)).await.ok()?).ok()?;
        // The repository must be the project's own.
        let name = RepositoryName::parse(&pass.repository).ok()?;
        let place = self.host.auth.project(name.org().as_str(), name.project().as_str()).ok()?;
        if pass.until <= now.unix_timestamp() || pass.until > now.unix_timestamp() + KEY_LIFE + SKEW || place.id != project {
            return None;
        }
        let access = vec![Access { kind: "repository".into(), name: pass.repository, actions: vec!["pull".into()] }];
        Some(Verified { subject: format!("{SCANNER}{}", pass.scanner), access, expires: pass.until })
    }
}

/// Whom scanners' keys to a project's repositories are sealed for.
fn passes_of(project: ProjectId) -> String {
    format!("scan-pass:{}", project.0)
}

/// How scanners are called in records.
pub const SCANNER: &str = "scanner:";

/// A scanner of the configuration; none with words that validation refuses.
fn of_platform(p: &PlatformScanner) -> Option<Scanner> {
    let auth = match p.auth.as_str() {
        "none" | "" => ScannerAuth::None,
        "basic" => ScannerAuth::Basic,
        "bearer" => ScannerAuth::Bearer,
        "api_key" => ScannerAuth::ApiKey,
        _ => return None,
    };
    Some(Scanner {
        name: p.name.clone(),
        url: p.url.clone(),
        auth,
        username: p.username.clone(),
        ca_pem: None,
        // Whoever writes the configuration may reach what the platform can.
        allow_private: true,
        repositories: "*".into(),
        sbom: p.sbom,
        rescan_hours: p.rescan_hours,
        enabled: true,
    })
}
