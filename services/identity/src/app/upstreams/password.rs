//! Signing in with a directory's password through the ordinary page. Who is asked follows from the name: the directories
//! of its domain, else those of the platform in their order. What fails takes as long and says the same, whether or not
//! there is such a name here or there.

use std::time::Duration;

use gantry_kernel::{Problem, Secret, UserId};

use super::{Upstream, unreachable};
use crate::adapters::ldap::{Directory, Entry};
use crate::app::App;
use crate::app::people::Person;
use crate::domain::password::MAX_LENGTH;
use crate::domain::upstream::person::{External, domain_of, is_address};
use crate::error::fault;
use crate::store::entities::user;
use crate::store::upstreams as rows;

/// Failures end at multiples of this since they began.
const STEP: Duration = Duration::from_millis(250);
/// Names longer than this are nobody's.
const LONGEST: usize = 256;

impl App {
    /// The person behind a name and a password in one of the directories. `found`: the account here of that name,
    /// which has a password of its own that did not fit, or none. With the directory's name. `None`: nobody; the caller says so as it always does.
    ///
    /// # Errors
    /// Unavailable when a directory that should be asked does not answer; what the rules refuse.
    pub async fn directory_password(
        &self,
        name: &str,
        password: &Secret,
        found: Option<&user::Model>,
        from: &str,
    ) -> Result<Option<(Person, String)>, Problem> {
        let all = self.all_upstreams().await?;
        let asked = asked(&all, name);
        if asked.is_empty() {
            return Ok(None);
        }
        let began = tokio::time::Instant::now();
        let outcome = self.ask(&asked, name, password, found, from).await;
        if !matches!(outcome, Ok(Some(_))) {
            let steps = began.elapsed().as_millis() / STEP.as_millis() + 1;
            tokio::time::sleep_until(began + STEP * u32::try_from(steps).unwrap_or(u32::MAX)).await;
        }
        outcome
    }

    async fn ask(
        &self,
        asked: &[&Upstream],
        name: &str,
        password: &Secret,
        found: Option<&user::Model>,
        from: &str,
    ) -> Result<Option<(Person, String)>, Problem> {
        let linked = match found {
            Some(row) => rows::links_of(self.pool(), row.id).await.map_err(fault)?.into_iter().map(|l| l.upstream).collect(),
            None => Vec::new(),
        };
        let mut down = None;
        for by in asked {
            // Somebody with an account and a password here is in a directory only if the two were linked. The directory
            // is asked all the same, for nobody, so that the time tells nothing.
            let theirs = found.is_none_or(|row| row.password_hash.is_none() || linked.contains(&by.id.0));
            let usable = theirs && !password.is_empty() && password.expose().len() <= 4 * MAX_LENGTH && !name.trim().is_empty() && name.len() <= LONGEST;
            let nobody = format!("-{}", self.host.env.uuid());
            let who = if usable { name.trim() } else { nobody.as_str() };
            let Some(directory) = self.directory(by).await? else { continue };
            match self.prove_entry(&directory, who, password).await {
                Ok(Some((entry, groups))) => {
                    let external = external(&entry, groups);
                    let (person, _) = self.come_in(by, &external, from).await?;
                    if found.is_some_and(|row| linked.contains(&by.id.0) && UserId(row.id) != person.id) {
                        // The name here is one person's and there another's: neither is let in by the other's name.
                        return Ok(None);
                    }
                    return Ok(Some((person, by.name.clone())));
                }
                Ok(None) => {}
                Err(fault) => {
                    tracing::error!(upstream = by.name, step = fault.step.name(), error = %fault, "a directory cannot be used for sign-ins");
                    down = down.or(Some(unreachable(by.shown(), &fault)));
                }
            }
        }
        down.map_or(Ok(None), Err)
    }

    /// The entry of `name`, if `password` is its. A name that is not there costs a bind as well.
    async fn prove_entry(&self, directory: &Directory, name: &str, password: &Secret) -> Result<Option<(Entry, Vec<String>)>, crate::adapters::ldap::Fault> {
        let mut session = directory.session().await?;
        let found = session.find(name).await?;
        let (dn, real) = match &found {
            Some(entry) => (entry.dn.clone(), !password.is_empty()),
            None => (format!("cn={},{}", self.host.env.uuid(), directory.settings().user_base), false),
        };
        let wrong = Secret::new("-");
        let fits = directory.verify(&dn, if real { password } else { &wrong }).await? && real;
        let proven = match found {
            Some(entry) if fits => {
                let groups = session.groups_of(&entry.dn, &entry.username).await?;
                Some((entry, groups))
            }
            _ => None,
        };
        session.close().await;
        Ok(proven)
    }

    /// Proof that somebody has an account in a directory, for linking it.
    ///
    /// # Errors
    /// Unauthenticated when the password does not fit.
    pub async fn directory_proof(&self, by: &Upstream, name: &str, password: &Secret) -> Result<External, Problem> {
        let directory = self.directory(by).await?.ok_or_else(|| Problem::invalid("upstream", "is not a directory"))?;
        if name.trim().is_empty() || name.len() > LONGEST || password.is_empty() {
            return Err(Problem::unauthenticated("the user name or the password is wrong"));
        }
        let proven = self.prove_entry(&directory, name.trim(), password).await.map_err(|f| unreachable(by.shown(), &f))?;
        let (entry, groups) = proven.ok_or_else(|| Problem::unauthenticated("the user name or the password is wrong"))?;
        Ok(external(&entry, groups))
    }
}

/// The directories a name is looked for in.
fn asked<'a>(all: &'a [Upstream], name: &str) -> Vec<&'a Upstream> {
    let usable = || all.iter().filter(|u| u.settings.enabled && u.is_directory());
    let domain = domain_of(name);
    let of_domain: Vec<_> = usable().filter(|u| domain.as_deref().is_some_and(|d| u.settings.domains.iter().any(|x| x.eq_ignore_ascii_case(d)))).collect();
    if of_domain.is_empty() { usable().filter(|u| u.org.is_none()).collect() } else { of_domain }
}

/// A directory's administrators give out the addresses in it: they count as verified.
pub fn external(entry: &Entry, groups: Vec<String>) -> External {
    External {
        subject: entry.id.clone(),
        username: entry.username.clone(),
        email: entry.email.clone().filter(|e| is_address(e)),
        email_verified: true,
        display_name: entry.display_name.clone(),
        groups: Some(groups),
        disabled: entry.disabled,
    }
}
