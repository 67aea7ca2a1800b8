//! Keeping accounts in step with a directory: everybody, or what has changed since the last time; who is gone is found by
//! the list of ids either way. One replica at a time works on one directory. Repeating it does no harm.

use std::collections::{HashMap, HashSet};

use futures::{FutureExt, StreamExt, stream};
use gantry_contract::upstream::Connection;
use gantry_es_pg::Lease;
use gantry_kernel::{Kind, OffsetDateTime, OrgId, Problem, TeamId, UserId, Uuid};
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::ToSchema;

use super::come_in::Done;
use super::meaning::{Meaning, Wanted};
use super::password::external;
use super::renew::asks_later;
use super::report::Report;
use super::{Upstream, unreachable};
use crate::adapters::ldap::{Entry, Fault, Memberships, Present, Session, Step, later};
use crate::app::App;
use crate::app::people::subject;
use crate::domain::upstream::person::External;
use crate::error::fault;
use crate::store::directory;
use crate::store::upstreams::{self as rows, GrantRow, LinkedRow, Mark};

/// Everything is read anew at least this often: a change that a directory did not stamp is found then.
const FULL_EVERY: Duration = Duration::hours(24);
/// Reading a whole directory takes a minute or two. One that takes longer than this is not waited for: others want to be read, too.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(20 * 60);
/// People worked on at once.
const AT_ONCE: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    Full,
    Changes,
}

/// What was read from the directory.
struct Read {
    entries: Vec<Entry>,
    present: Vec<Present>,
    memberships: Memberships,
    useless: u64,
    mark: Mark,
    extent: Extent,
}

impl App {
    /// Synchronises now, unless another replica is at it. The id of the run, at once; the work goes on by itself.
    ///
    /// # Errors
    /// Conflict when it runs already, or as many as may are running; invalid when it can only be asked at sign-ins.
    pub async fn begin_sync(&self, of: &Upstream, extent: Option<Extent>) -> Result<Uuid, Problem> {
        let Some(mut room) = self.upstreams.rooms.take(of.org.is_some()) else {
            return Err(Problem::conflict("identity.sync_running", "as many upstreams as go at once are being synchronised: try again in a moment"));
        };
        let Some(lease) = self.sync_lease(of).await? else {
            return Err(Problem::conflict("identity.sync_running", "this upstream is being synchronised right now: wait for the report"));
        };
        let (app, of, id) = (self.clone(), of.clone(), self.host.env.uuid());
        rows::sync_begun(self.pool(), id, of.id.0, "running", self.now()).await.map_err(fault)?;
        room.begun();
        self.host.tracker.spawn(async move {
            app.sync_leased(&of, extent, id).await;
            lease.release().await;
            drop(room);
        });
        Ok(id)
    }

    async fn sync_lease(&self, of: &Upstream) -> Result<Option<Lease>, Problem> {
        if !of.is_directory() && !asks_later(of) {
            let text = "says what it knows at each sign-in only: directories are synchronised, and OpenID providers with the scope `offline_access`";
            return Err(Problem::invalid("upstream", text));
        }
        Lease::try_acquire(self.pool(), &format!("upstream-sync-{}", of.id)).await.map_err(fault)
    }

    async fn sync_leased(&self, of: &Upstream, extent: Option<Extent>, id: Uuid) {
        let (began, mut report) = (self.now(), Report::default());
        // Not dropped when the service stops: each step looks for itself where it may break off.
        let outcome = self.sync(of, extent, &mut report).await;
        report.milliseconds = u64::try_from((self.now() - began).whole_milliseconds()).unwrap_or(0);
        let (kind, result) = match outcome {
            Ok(Extent::Full) => ("full", "ok"),
            Ok(Extent::Changes) => ("changes", "ok"),
            Err(problem) => {
                tracing::error!(upstream = of.name, error = problem.chain(), "an upstream could not be synchronised");
                report.fault = Some(std::error::Error::source(&problem).map_or_else(|| problem.detail.clone(), ToString::to_string));
                ("interrupted", "failed")
            }
        };
        tracing::info!(
            upstream = of.name,
            kind,
            result,
            seen = report.seen,
            created = report.created,
            duration_ms = report.milliseconds,
            "upstream synchronised"
        );
        let body = serde_json::to_value(&report).unwrap_or_default();
        if let Err(error) = rows::sync_ended(self.pool(), id, kind, result, &body, self.now()).await {
            tracing::error!(error = %error, "the report of a synchronisation could not be kept");
        }
    }

    async fn sync(&self, of: &Upstream, extent: Option<Extent>, report: &mut Report) -> Result<Extent, Problem> {
        if let Connection::Oidc(oidc) = &of.settings.connection {
            return self.renew_all(of, oidc, report).await.map(|()| Extent::Full);
        }
        let asked = self.directory(of).await?.ok_or_else(|| Problem::invalid("upstream", "is not a directory"))?;
        let meaning = self.meaning(of).await;
        for (place, why) in &meaning.missing {
            report.remark(format!("mapping to `{place}` gives nothing: {why}"));
        }
        let mark = rows::mark(self.pool(), of.id.0).await.map_err(fault)?;
        let now = self.now();
        let reading = async {
            let mut session = asked.session().await?;
            let read = read(&mut session, &meaning, extent, mark, of.version, now).await?;
            session.close().await;
            Ok(read)
        };
        // A question to the directory changes nothing anywhere: it may be left without an answer.
        let read = tokio::select! {
            () = self.host.cancel.cancelled() => return Err(stopping()),
            read = tokio::time::timeout(LONGEST, reading) => match read {
                Ok(read) => read.map_err(|f: Fault| unreachable(&of.name, &f))?,
                Err(_) => {
                    let text = format!("was not read within {} minutes: narrow user_base, user_filter and group_base", LONGEST.as_secs() / 60);
                    return Err(unreachable(&of.name, &Fault::new(Step::Filter, &of.name, text)));
                }
            },
        };
        report.seen = read.present.len() as u64;
        report.groups = read.memberships.groups() as u64;
        report.skipped = read.useless;
        if read.useless > 0 {
            report.remark(format!("{} entries have no id or no user name", read.useless));
        }
        let links = rows::links_at(self.pool(), of.id.0).await.map_err(fault)?;
        // An empty answer is a mistake of the settings or the directory far more often than everybody's departure.
        if read.present.is_empty() && !links.is_empty() {
            return Err(Problem::conflict("identity.directory_empty", "the directory shows nobody at all: nothing was changed; test the connection"));
        }
        let mut held: HashMap<Uuid, Vec<GrantRow>> = HashMap::new();
        for grant in rows::grants(self.pool(), of.id.0, None).await.map_err(fault)? {
            held.entry(grant.user_id).or_default().push(grant);
        }
        self.bring_all(of, &meaning, &read, &links, &held, report).await?;
        self.remove_gone(of, &read, &links, report).await?;
        rows::set_mark(self.pool(), of.id.0, &read.mark).await.map_err(fault)?;
        Ok(read.extent)
    }

    /// Makes and updates accounts, and gives everybody present the roles of their groups.
    async fn bring_all(
        &self,
        of: &Upstream,
        meaning: &Meaning,
        read: &Read,
        links: &[LinkedRow],
        held: &HashMap<Uuid, Vec<GrantRow>>,
        report: &mut Report,
    ) -> Result<(), Problem> {
        let by_key: HashMap<&str, &LinkedRow> = links.iter().map(|l| (l.key.as_str(), l)).collect();
        let entries: HashMap<&str, &Entry> = read.entries.iter().map(|e| (e.id.as_str(), e)).collect();
        let work = read.present.iter().map(|present| {
            let key = self.link_key(of, &present.id);
            let groups = read.memberships.of(&present.dn, &present.username);
            let wanted = meaning.wanted(&groups);
            let link = by_key.get(key.as_str()).map(|l| (*l).clone());
            let entry = entries.get(present.id.as_str()).map(|e| (*e).clone());
            let held = link.as_ref().and_then(|l| held.get(&l.user_id)).cloned().unwrap_or_default();
            (present.username.clone(), Person { entry, link, groups, wanted, held })
        });
        let work: Vec<(String, Person)> = work.collect();
        // Nobody else is begun with once the service stops; those who were are finished.
        let begun = stream::iter(work).take_until(Box::pin(self.host.cancel.cancelled()));
        let mut done = begun.map(|(name, person)| one(self.clone(), of.clone(), name, person).boxed()).buffer_unordered(AT_ONCE);
        let (mut last, mut belonging) = (0, HashMap::<OrgId, Vec<UserId>>::new());
        let (mut seen_links, mut seen) = (Vec::new(), Vec::new());
        let mut teams: HashMap<(OrgId, TeamId), HashSet<Uuid>> = HashMap::new();
        while let Some((name, outcome, wanted)) = done.next().await {
            match outcome {
                Ok(one) => {
                    report.created += u64::from(one.created.is_some());
                    report.linked += u64::from(one.linked);
                    report.changed += u64::from(one.done.changed);
                    report.resumed += u64::from(one.done.resumed);
                    report.suspended += one.suspended;
                    report.roles_given += one.given;
                    report.roles_taken += one.taken;
                    one.done.remark.into_iter().for_each(|r| report.remark(r));
                    for (team, user) in wanted.teams.iter().filter_map(|team| Some((*team, one.user?))) {
                        teams.entry(team).or_default().insert(user.0);
                    }
                    last = last.max(one.position);
                    for (org, user) in wanted.orgs.iter().filter_map(|org| Some((*org, one.user?))) {
                        belonging.entry(org).or_default().push(user);
                    }
                    if let Some((link, what)) = one.seen {
                        seen_links.push(link);
                        seen.push(what);
                    }
                }
                Err(problem) if matches!(problem.kind, Kind::Internal | Kind::Unavailable) => return Err(problem),
                Err(problem) => {
                    report.skipped += 1;
                    report.remark(format!("{name}: {}", problem.detail));
                }
            }
        }
        drop(done);
        self.unless_stopping()?;
        self.settled(last).await;
        for (links, seen) in seen_links.chunks(1_000).zip(seen.chunks(1_000)) {
            rows::saw(self.pool(), links, seen, self.now()).await.map_err(fault)?;
        }
        for (org, users) in belonging {
            // Whoever was made by a run that broke off is not in it yet.
            let members = directory::member_ids(self.orm(), org).await.map_err(fault)?;
            let users: Vec<UserId> = users.into_iter().filter(|user| !members.contains(&user.0)).collect();
            let one = Wanted { orgs: [org].into(), ..Wanted::default() };
            self.join(&one, &users, of).await?;
        }
        self.teams_in_step(of, teams).await
    }

    /// Puts people into teams and out of those that the directory put them in.
    async fn teams_in_step(&self, of: &Upstream, mut wanted: HashMap<(OrgId, TeamId), HashSet<Uuid>>) -> Result<(), Problem> {
        let mut changes: HashMap<(OrgId, TeamId), Vec<(String, bool)>> = HashMap::new();
        for held in rows::memberships(self.pool(), of.id.0, None).await.map_err(fault)? {
            let team = (OrgId(held.org), TeamId(held.team));
            if !wanted.get_mut(&team).is_some_and(|users| users.remove(&held.user_id)) {
                changes.entry(team).or_default().push((subject(UserId(held.user_id)), false));
            }
        }
        for (team, users) in wanted {
            changes.entry(team).or_default().extend(users.into_iter().map(|user| (subject(UserId(user)), true)));
        }
        for ((org, team), changes) in changes {
            self.put_many_in_team(org, team, changes, &of.meta(None)).await?;
        }
        Ok(())
    }

    async fn bring_one(
        &self,
        of: &Upstream,
        entry: Option<&Entry>,
        link: Option<&LinkedRow>,
        groups: Vec<String>,
        wanted: &Wanted,
        held: &[GrantRow],
    ) -> Result<One, Problem> {
        let meta = of.meta(None);
        let Some(link) = link else {
            // Nobody here yet, and nothing read of them: they come with the next full reading.
            let Some(entry) = entry.filter(|e| !e.disabled) else { return Ok(One::default()) };
            let external = external(entry, groups);
            if let Some(user) = self.same_person(of, &external).await? {
                let position = self.link(of, user, &external.subject, false, &meta).await?;
                let (given, taken) = self.give(of, user, &external, wanted, &[], &meta).await?;
                return Ok(One { user: Some(user), linked: true, given, taken, position, ..One::default() });
            }
            let (user, position) = self.make_account(of, &external, wanted, meta).await?;
            return Ok(One { user: Some(user), created: Some(user), given: wanted.grants.len() as u64, position, ..One::default() });
        };
        let user = UserId(link.user_id);
        let mut one = One::default();
        if let Some(entry) = entry {
            let external = external(entry, groups);
            let fingerprint = self.seen(&external);
            if external.disabled {
                if link.suspended_reason.is_none() {
                    one.taken = self.gone(of, user, link.provisioned, &meta).await?;
                    one.suspended = u64::from(link.provisioned && of.settings.rules.suspend_gone);
                }
                return Ok(One { seen: Some((link.id, fingerprint)), ..one });
            }
            if link.seen.as_deref() != Some(&fingerprint) || link.suspended_reason.is_some() {
                one.done = self.bring_up(of, user, link.provisioned, &external, &meta).await?;
                one.seen = Some((link.id, fingerprint));
            }
            (one.given, one.taken) = self.give_if_other(of, user, &external, wanted, held).await?;
            one.user = Some(user);
        } else if link.suspended_reason.is_none() {
            let external = External { groups: Some(groups), ..External::default() };
            (one.given, one.taken) = self.give_if_other(of, user, &external, wanted, held).await?;
            one.user = Some(user);
        }
        Ok(one)
    }

    /// Most people have what they should have: nothing is asked or waited for then.
    async fn give_if_other(&self, of: &Upstream, user: UserId, external: &External, wanted: &Wanted, held: &[GrantRow]) -> Result<(u64, u64), Problem> {
        let same =
            held.len() == wanted.grants.len() && held.iter().all(|g| wanted.grants.iter().any(|(s, r)| s.to_string() == g.scope && r.as_str() == g.role));
        if same {
            return Ok((0, 0));
        }
        self.give(of, user, external, wanted, held, &of.meta(None)).await
    }

    /// # Errors
    /// When the service stops: what is left is for the next run.
    pub(super) fn unless_stopping(&self) -> Result<(), Problem> {
        if self.host.cancel.is_cancelled() { Err(stopping()) } else { Ok(()) }
    }

    async fn remove_gone(&self, of: &Upstream, read: &Read, links: &[LinkedRow], report: &mut Report) -> Result<(), Problem> {
        let present: HashSet<String> = read.present.iter().map(|p| self.link_key(of, &p.id)).collect();
        for link in links.iter().filter(|l| !present.contains(&l.key) && l.suspended_reason.is_none()) {
            self.unless_stopping()?;
            match self.gone(of, UserId(link.user_id), link.provisioned, &of.meta(None)).await {
                Ok(taken) => {
                    report.roles_taken += taken;
                    report.suspended += u64::from(link.provisioned && of.settings.rules.suspend_gone);
                }
                Err(problem) if matches!(problem.kind, Kind::Internal | Kind::Unavailable) => return Err(problem),
                Err(problem) => report.remark(format!("user:{} is gone there and stays here: {}", link.user_id, problem.detail)),
            }
        }
        Ok(())
    }
}

fn stopping() -> Problem {
    Problem::unavailable("the service, which is stopping,")
}

/// What is known of one person before.
struct Person {
    entry: Option<Entry>,
    link: Option<LinkedRow>,
    groups: Vec<String>,
    wanted: Wanted,
    held: Vec<GrantRow>,
}

async fn one(app: App, of: Upstream, name: String, person: Person) -> (String, Result<One, Problem>, Wanted) {
    let Person { entry, link, groups, wanted, held } = person;
    let outcome = app.bring_one(&of, entry.as_ref(), link.as_ref(), groups, &wanted, &held).await;
    (name, outcome, wanted)
}

/// What was done for one person.
#[derive(Default)]
struct One {
    /// Whoever is active here now.
    user: Option<UserId>,
    created: Option<UserId>,
    linked: bool,
    done: Done,
    suspended: u64,
    given: u64,
    taken: u64,
    position: i64,
    seen: Option<(Uuid, Vec<u8>)>,
}

/// Reads what is needed: with a mark that still counts, only what has changed since.
async fn read(session: &mut Session, meaning: &Meaning, extent: Option<Extent>, mark: Mark, version: i64, now: OffsetDateTime) -> Result<Read, Fault> {
    let server = session.counter().await?;
    let usable = mark.mark.is_some() && mark.server == server && mark.version == version && mark.full_at.is_some_and(|at| now - at < FULL_EVERY);
    let extent = match extent {
        Some(Extent::Full) => Extent::Full,
        _ if !usable => Extent::Full,
        _ => Extent::Changes,
    };
    let since = mark.mark.clone().filter(|_| extent == Extent::Changes);
    let (entries, useless) = session.people(since.as_deref()).await?;
    let present = match extent {
        Extent::Full => entries.iter().map(|e| Present { dn: e.dn.clone(), id: e.id.clone(), username: e.username.clone() }).collect(),
        Extent::Changes => session.present().await?,
    };
    let memberships = session.memberships(&meaning.groups()).await?;
    let newest = entries.iter().map(|e| e.stamp.clone()).fold(since, later);
    let full_at = if extent == Extent::Full { Some(now) } else { mark.full_at };
    Ok(Read { entries, present, memberships, useless, mark: Mark { mark: newest, server, version, full_at }, extent })
}
