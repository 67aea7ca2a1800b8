//! Whether an authority has taken a certificate back: where its list comes from, keeping it fresh, and what holds when it is stale.

use gantry_contract::certificate::WhenStale;
use gantry_es::Meta;
use gantry_es_pg::Options;
use gantry_kernel::{Kind, OffsetDateTime, OrgId, Problem, UserId, Uuid};
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::Duration;
use url::Url;
use utoipa::ToSchema;

use crate::app::App;
use crate::app::steps::Evidence;
use crate::domain::certificate::AuthorityCommand;
use crate::domain::revocation_list::{self, RevocationList};
use crate::error::{fault, refused};
use crate::store::person_certificates::{self as rows, AuthorityRow};
use crate::store::revocation_lists::{self as lists, ListRow, Taken};
use crate::store::session_certificates;

/// Between two attempts at an address; after a failure, or when the list has ended, the shorter one.
const EVERY: Duration = Duration::hours(1);
const SOONER: Duration = Duration::minutes(5);

/// How an authority says which certificates it has taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Revocation {
    /// Where its list is fetched from, every hour; none if it is given by hand.
    pub url: Option<String>,
    /// What happens to its certificates while there is no list that holds.
    #[schema(value_type = String)]
    pub when_stale: WhenStale,
    /// Whether there is a list that holds now.
    pub fresh: bool,
    /// When the list that is here was made, and until when it holds.
    #[serde(with = "time::serde::rfc3339::option")]
    pub this_update: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_update: Option<OffsetDateTime>,
    /// Certificates that it names.
    pub revoked: Option<i32>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub taken_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub tried_at: Option<OffsetDateTime>,
    /// Why the last attempt failed.
    pub fault: Option<String>,
}

/// What an administrator says about it.
#[derive(Clone, Debug, Default)]
pub struct NewRevocation {
    pub url: Option<String>,
    /// The list itself: PEM, or DER in base64.
    pub list: Option<String>,
    pub when_stale: WhenStale,
}

fn stale() -> Problem {
    let text = "whether this certificate was revoked cannot be said now, because its authority's list is out of date: sign in another way, and tell an administrator of your organisation";
    Problem::new(Kind::Unauthenticated, "identity.revocation_stale", text)
}

fn address(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::invalid("url", "must be an http or https address without a user name; LDAP addresses are not fetched");
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none();
    if plain && url.as_str().len() <= 2_000 { Ok(url.into()) } else { Err(wrong()) }
}

fn at(seconds: i64) -> Result<OffsetDateTime, Problem> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(fault)
}

impl App {
    /// What is known of the lists of `authorities`, in their order; `None` where lists are not looked at.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn revocations(&self, authorities: &[AuthorityRow]) -> Result<Vec<Option<Revocation>>, Problem> {
        let ids: Vec<Uuid> = authorities.iter().map(|a| a.id).collect();
        let found = lists::of(self.pool(), &ids).await.map_err(fault)?;
        Ok(authorities.iter().map(|a| self.shown_revocation(a, found.iter().find(|l| l.authority == a.id))).collect())
    }

    fn shown_revocation(&self, authority: &AuthorityRow, row: Option<&ListRow>) -> Option<Revocation> {
        let when_stale = authority.when_stale()?;
        let now = self.now();
        Some(Revocation {
            url: authority.revocation_url.clone(),
            when_stale,
            fresh: row.and_then(|r| r.next_update).is_some_and(|until| until > now),
            this_update: row.and_then(|r| r.this_update),
            next_update: row.and_then(|r| r.next_update),
            revoked: row.and_then(|r| r.revoked),
            taken_at: row.and_then(|r| r.taken_at),
            tried_at: row.map(|r| r.tried_at),
            fault: row.and_then(|r| r.fault.clone()),
        })
    }

    /// Sets where an authority's list comes from, and takes one in at once. An address that cannot be reached now is kept: the
    /// fault is in what is shown.
    ///
    /// # Errors
    /// Neither an address nor a list; a list that is not the authority's word, has ended or is older than the one that is here.
    pub async fn set_revocation(&self, org: OrgId, id: Uuid, new: NewRevocation, meta: Meta) -> Result<AuthorityRow, Problem> {
        let authority = self.authority(org, id).await?;
        let url = new.url.as_deref().map(address).transpose()?;
        if url.is_some() && new.list.is_some() {
            return Err(Problem::invalid("list", "comes from the address or from you, not from both"));
        }
        let given = new.list.as_deref().map(given).transpose()?;
        match &given {
            Some(der) => {
                self.take_list(&authority, der).await?.then_some(()).ok_or_else(|| {
                    Problem::conflict("identity.revocation_older", "the list that is here already is newer than this one: give the authority's latest")
                })?;
            }
            None if url.is_none() && lists::der(self.pool(), id).await.map_err(fault)?.is_none() => {
                return Err(Problem::invalid("url", "say where the authority's list is (url), or give it (list)"));
            }
            None => {}
        }
        let command = AuthorityCommand::SetRevocation { url: url.clone(), when_stale: Some(new.when_stale) };
        let executed = self.authorities.execute(id, command, Options::from(meta.tenant(org))).await.map_err(refused)?;
        self.settled(executed.position).await;
        if let Some(url) = &url {
            self.fetch_list(&authority, url).await?;
        }
        self.authority(org, id).await
    }

    /// Looks at no list of this authority any more.
    ///
    /// # Errors
    /// Not found.
    pub async fn remove_revocation(&self, org: OrgId, id: Uuid, meta: Meta) -> Result<(), Problem> {
        self.authority(org, id).await?;
        let command = AuthorityCommand::SetRevocation { url: None, when_stale: None };
        let executed = self.authorities.execute(id, command, Options::from(meta.tenant(org))).await.map_err(refused)?;
        self.settled(executed.position).await;
        lists::forget(self.pool(), id).await.map_err(fault)
    }

    /// Fetches an authority's list now.
    ///
    /// # Errors
    /// Conflict when it has no address. That it cannot be had is in what is shown.
    pub async fn fetch_revocation(&self, org: OrgId, id: Uuid) -> Result<AuthorityRow, Problem> {
        let authority = self.authority(org, id).await?;
        let none = || Problem::conflict("identity.revocation_no_url", "this authority's list is given by hand: give the next one, or set an address");
        let url = authority.revocation_url.clone().ok_or_else(none)?;
        self.fetch_list(&authority, &url).await?;
        Ok(authority)
    }

    /// Fetches the lists whose time has come.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn fetch_due_lists(&self) -> Result<(), Problem> {
        let now = self.now();
        for due in lists::due(self.pool(), now, now - EVERY, now - SOONER).await.map_err(fault)? {
            if self.host.cancel.is_cancelled() {
                return Ok(());
            }
            let Some(authority) = rows::authority(self.pool(), due.id).await.map_err(fault)? else { continue };
            self.fetch_list(&authority, &due.revocation_url).await?;
        }
        Ok(())
    }

    async fn fetch_list(&self, authority: &AuthorityRow, url: &str) -> Result<(), Problem> {
        let taken = match self.lists.fetch(url).await {
            Ok(bytes) => match revocation_list::der_of(&bytes) {
                Ok(der) => self.take_list(authority, &der).await,
                Err(error) => Err(Problem::invalid("list", error.to_string())),
            },
            Err(error) => Err(Problem::invalid("list", format!("{error:#}"))),
        };
        let why = match taken {
            Ok(true) => return Ok(()),
            Ok(false) => "the address gives an older list than the one that is here".to_owned(),
            Err(problem) if problem.kind == Kind::Invalid => problem.detail,
            Err(problem) => return Err(problem),
        };
        tracing::warn!(authority = authority.name, org.id = %authority.org, why, "a list of revoked certificates could not be fetched");
        lists::failed(self.pool(), authority.id, &why, self.now()).await.map_err(fault)
    }

    /// Checks a list and keeps it; `false` if the one that is here is newer.
    async fn take_list(&self, authority: &AuthorityRow, der: &[u8]) -> Result<bool, Problem> {
        let now = self.now();
        let list = read(der.to_vec(), authority.pem.clone(), now).await?;
        if list.next_update <= now.unix_timestamp() {
            return Err(Problem::invalid("list", "the list has ended (nextUpdate): give the authority's latest"));
        }
        let taken = Taken {
            authority: authority.id,
            der,
            sha256: &Sha256::digest(der),
            this_update: at(list.this_update)?,
            next_update: at(list.next_update)?,
            revoked: i32::try_from(list.serials.len()).unwrap_or(i32::MAX),
        };
        let taken = lists::take(self.pool(), taken, now).await.map_err(fault)?;
        if taken {
            self.end_revoked(authority, &list).await?;
        }
        Ok(taken)
    }

    /// Ends the sessions that were opened by certificates that a list names, with all that came from them.
    async fn end_revoked(&self, authority: &AuthorityRow, list: &RevocationList) -> Result<(), Problem> {
        let reason = format!("its certificate was revoked by the list of `{}`", authority.name);
        for it in session_certificates::of(self.pool(), authority.id, self.now()).await.map_err(fault)? {
            if list.names(&it.serial) {
                self.end_session_because(UserId(it.user_id), it.session_id, "system", &reason, "").await?;
            }
        }
        Ok(())
    }

    /// Notes which certificates a session stands on: it ends when their authority takes one of them back.
    ///
    /// # Errors
    /// Unauthenticated when one was taken back since it was shown; the session is over then.
    pub(super) async fn tie_to_certificates(&self, user: UserId, session: Uuid, evidence: &Evidence) -> Result<(), Problem> {
        for shown in &evidence.certificates {
            session_certificates::keep(self.pool(), session, &shown.authorities, &shown.serial).await.map_err(fault)?;
            // After it was noted: a list that came in before knew nothing of this session.
            for authority in &shown.authorities {
                let Some(authority) = rows::authority(self.pool(), *authority).await.map_err(fault)? else { continue };
                if let Err(problem) = self.not_revoked(&authority, &shown.serial).await {
                    self.end_session_because(user, session, "system", &problem.chain(), "").await?;
                    return Err(problem);
                }
            }
        }
        Ok(())
    }

    /// Whether a certificate with this serial number still is the authority's word.
    ///
    /// # Errors
    /// Unauthenticated when it is revoked, or when that cannot be said and the organisation wants to know.
    pub async fn not_revoked(&self, authority: &AuthorityRow, serial: &[u8]) -> Result<(), Problem> {
        let Some(when_stale) = authority.when_stale() else { return Ok(()) };
        let found = lists::of(self.pool(), &[authority.id]).await.map_err(fault)?;
        let row = found.first();
        if let Some(sha256) = row.and_then(|r| r.sha256.as_deref()) {
            let list = self.lists.read_once(sha256, self.kept_list(authority)).await?;
            // What was revoked stays revoked, however old the list.
            if list.names(serial) {
                let why = format!("revoked by the list of `{}`", authority.name);
                return Err(super::person_certificates::unknown().with_source(why));
            }
        }
        let fresh = row.and_then(|r| r.next_update).is_some_and(|until| until > self.now());
        if fresh || when_stale == WhenStale::Accept { Ok(()) } else { Err(stale().with_source(format!("the list of `{}` is out of date", authority.name))) }
    }

    async fn kept_list(&self, authority: &AuthorityRow) -> Result<RevocationList, Problem> {
        let der = lists::der(self.pool(), authority.id).await.map_err(fault)?.ok_or_else(stale)?;
        read(der, authority.pem.clone(), self.now()).await
    }

    async fn authority(&self, org: OrgId, id: Uuid) -> Result<AuthorityRow, Problem> {
        let found = rows::authority(self.pool(), id).await.map_err(fault)?;
        found.filter(|a| a.org == org.0).ok_or_else(|| Problem::not_found("authority", id))
    }
}

/// Large lists take a while: not on the threads that serve.
async fn read(der: Vec<u8>, pem: String, now: OffsetDateTime) -> Result<RevocationList, Problem> {
    let reading = tokio::task::spawn_blocking(move || {
        let authority = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).next().and_then(Result::ok).map(|p| p.contents).unwrap_or_default();
        revocation_list::read(&der, &authority, now.unix_timestamp())
    });
    reading.await.map_err(fault)?.map_err(|error| Problem::invalid("list", error.to_string()))
}

/// What an administrator gave: PEM, or DER in base64.
fn given(text: &str) -> Result<Vec<u8>, Problem> {
    use base64::Engine;
    let wrong = |error: revocation_list::ListFault| Problem::invalid("list", error.to_string());
    let text = text.trim();
    if text.starts_with("-----") {
        return revocation_list::der_of(text.as_bytes()).map_err(wrong);
    }
    let bare: String = text.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(bare).map_err(|_| wrong(revocation_list::ListFault::Unreadable))?;
    revocation_list::der_of(&bytes).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_fetched_by_http_only() {
        assert_eq!(address(" http://crl.example/cards.crl ").unwrap(), "http://crl.example/cards.crl");
        for bad in ["ldap://dc1/cn=cards", "file:///etc/passwd", "http://a:b@crl.example/", "crl", "", &format!("http://crl.example/{}", "a".repeat(2_000))] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
