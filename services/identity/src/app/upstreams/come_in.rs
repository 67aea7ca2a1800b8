//! Somebody comes in by an upstream's word: the linked account, the one with the same trusted address, or a new one.
//! Afterwards the account has the roles that the upstream's groups mean, no more and no fewer; what people gave by hand stays.

use std::collections::BTreeSet;

use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Claim, ExecuteError, Expect, Options, StreamWrite};
use gantry_kernel::{Kind, LinkId, Problem, UserId, Username};
use sha2::{Digest, Sha256};

use super::Upstream;
use super::meaning::Wanted;
use crate::app::App;
use crate::app::people::{Person, subject};
use crate::domain::binding::Subject;
use crate::domain::upstream::person::{self, External};
use crate::domain::user::{self, Registration};
use crate::error::{fault, refused, unsealed};
use crate::store::directory;
use crate::store::upstreams::{self as rows, GrantRow};

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Known,
    Linked,
    Created,
}

/// What was done for somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub changed: bool,
    pub resumed: bool,
    pub remark: Option<String>,
}

/// Marks a suspension as this upstream's, so that it may take it back.
pub fn suspension(upstream: &Upstream) -> String {
    format!("gone or switched off in {} ({})", upstream.name, upstream.actor())
}

fn is_ours(upstream: &Upstream, reason: &str) -> bool {
    reason.ends_with(&format!("({})", upstream.actor()))
}

impl App {
    /// What the link of an account is found by. Upstreams tell subjects apart by case, the lookup hash does not.
    pub fn link_key(&self, of: &Upstream, subject: &str) -> String {
        let digest: String = Sha256::digest(subject.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        self.lookup.hash(&format!("{}/{digest}", of.id))
    }

    /// What was last seen of somebody; equal means that nothing has to be done.
    pub fn seen(&self, external: &External) -> Vec<u8> {
        let text = format!("{}\n{:?}\n{}\n{}", external.username, external.email, external.display_name, external.disabled);
        let digest: String = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        self.lookup.hash(&digest).into_bytes()
    }

    /// Lets somebody in at a sign-in: finds or makes the account and brings it up to date.
    ///
    /// # Errors
    /// Forbidden when the rules do not admit them; conflict when the address is another account's; unauthenticated when
    /// the account is suspended.
    pub async fn come_in(&self, by: &Upstream, external: &External, from: &str) -> Result<(Person, How), Problem> {
        let meaning = self.meaning(by).await;
        let meta = by.meta(Some(from));
        let wanted = meaning.wanted(external.groups.as_deref().unwrap_or_default());
        let key = self.link_key(by, &external.subject);
        if let Some(link) = rows::link(self.pool(), by.id.0, &key).await.map_err(fault)? {
            let user = UserId(link.user_id);
            if external.disabled {
                return Err(Problem::unauthenticated("this account is not active"));
            }
            self.bring_up(by, user, link.provisioned, external, &meta).await?;
            let held = rows::grants(self.pool(), by.id.0, Some(user.0)).await.map_err(fault)?;
            self.give(by, user, external, &wanted, &held, &meta).await?;
            self.give_teams(by, user, external, &wanted, &meta).await?;
            rows::saw(self.pool(), &[link.id], &[self.seen(external)], self.now()).await.map_err(fault)?;
            return Ok((self.active_person(user).await?, How::Known));
        }
        if external.disabled {
            return Err(Problem::unauthenticated("this account is not active"));
        }
        if let Some(user) = self.same_person(by, external).await? {
            let position = self.link(by, user, &external.subject, false, &meta).await?;
            self.settled(position).await;
            self.give(by, user, external, &wanted, &[], &meta).await?;
            self.give_teams(by, user, external, &wanted, &meta).await?;
            return Ok((self.active_person(user).await?, How::Linked));
        }
        let (user, position) = self.make_account(by, external, &wanted, meta.clone()).await?;
        self.settled(position).await;
        self.join(&wanted, &[user], by).await?;
        self.give_teams(by, user, external, &wanted, &meta).await?;
        Ok((self.active_person(user).await?, How::Created))
    }

    /// The account whose address is the external one's, when the upstream's word on that domain is believed and the
    /// account's own address is proven: else whoever registered first with somebody's address would share their account.
    pub async fn same_person(&self, by: &Upstream, external: &External) -> Result<Option<UserId>, Problem> {
        let Some(email) = external.email.as_deref().filter(|_| person::trusted(&by.settings, external)) else { return Ok(None) };
        let found = directory::user_by_key(self.orm(), &self.lookup.hash(email)).await.map_err(fault)?;
        let Some(found) = found.filter(|row| row.email_key == self.lookup.hash(email)) else { return Ok(None) };
        let here = UserId(found.id);
        let others = rows::links_of(self.pool(), here.0).await.map_err(fault)?;
        if self.mailer.is_none() || !others.is_empty() {
            return Ok(None);
        }
        Ok(Some(here))
    }

    /// Makes the link between an account there and a person here.
    ///
    /// # Errors
    /// When it is somebody else's already, or the person has another one there.
    pub async fn link(&self, by: &Upstream, user: UserId, external: &str, provisioned: bool, meta: &Meta) -> Result<i64, Problem> {
        let (link, key) = (LinkId(self.host.env.uuid()), self.link_key(by, external));
        let sealed = self.keyring.seal(&subject(user), external).await.map_err(unsealed)?;
        let claims = link_claims(by, &key, user);
        let command = crate::domain::upstream::link::Command::Make { link, user, upstream: by.id, subject: sealed, key, provisioned };
        let executed = self.upstreams.links.execute(link, command, Options { meta: meta.clone(), claims, ..Options::default() }).await;
        match executed {
            Ok(executed) => Ok(executed.position),
            Err(ExecuteError::NameTaken { scope, .. }) if scope == "link-of" => {
                Err(Problem::conflict("identity.link_exists", format!("you have another account of {} linked: unlink that one first", by.shown())))
            }
            Err(ExecuteError::NameTaken { scope, .. }) if scope == "link" => {
                Err(Problem::conflict("identity.link_taken", format!("this account of {} is linked to somebody else here", by.shown())))
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// A new account with its link and roles, in one transaction. The position is to be waited for.
    ///
    /// # Errors
    /// Forbidden when the rules do not admit them; conflict when the address is taken.
    pub async fn make_account(&self, by: &Upstream, external: &External, wanted: &Wanted, meta: Meta) -> Result<(UserId, i64), Problem> {
        if let Err(why) = person::admitted(&by.settings, external) {
            return Err(Problem::new(Kind::Forbidden, "identity.not_admitted", format!("{why}: ask an administrator of {}", by.shown())));
        }
        let user = UserId(self.host.env.uuid());
        let own = subject(user);
        let made = self.make_account_as(by, external, wanted, &meta, user, &own).await;
        if made.is_err() {
            // Nothing refers to the key that was just made.
            self.keyring.erase(&own).await.map_err(unsealed)?;
        }
        made.map(|position| (user, position))
    }

    async fn make_account_as(&self, by: &Upstream, external: &External, wanted: &Wanted, meta: &Meta, user: UserId, own: &str) -> Result<i64, Problem> {
        let seal = async |text: &str| self.keyring.seal(own, text).await.map_err(unsealed);
        let (link, key) = (LinkId(self.host.env.uuid()), self.link_key(by, &external.subject));
        let made = by.linked(link, user, seal(&external.subject).await?, key.clone(), true);
        let mut also = vec![StreamWrite { stream: StreamId::of::<gantry_contract::upstream::LinkEvent>(link), expected: Some(0), events: vec![made.encode()] }];
        let mut fixed = link_claims(by, &key, user);
        for (scope, role) in &wanted.grants {
            let (write, claim) = self.binding_write(Subject::User(user), *role, *scope);
            also.push(write);
            fixed.push(claim);
        }
        let display_name = shown_name(&external.display_name);
        for name in self.names_for(by, external) {
            let email = external.email.clone().unwrap_or_else(|| person::no_address(&name, &by.name));
            let registration = Registration {
                user,
                username: seal(name.as_str()).await?,
                email: seal(&email).await?,
                display_name: seal(display_name.as_deref().unwrap_or(name.as_str())).await?,
                password_hash: None,
                by_admin: true,
                must_change_password: false,
            };
            let names = [Claim::take("username", self.lookup.hash(name.as_str())), Claim::take("email", self.lookup.hash(&email))];
            let claims = fixed.iter().cloned().chain(names).collect();
            let options = Options { meta: meta.clone(), claims, also: also.clone(), ..Options::default() };
            match self.users.execute(user, user::Command::Register(registration), options).await {
                Ok(executed) => return Ok(executed.position),
                Err(ExecuteError::NameTaken { scope, .. }) if scope == "username" => {}
                Err(ExecuteError::NameTaken { scope, .. }) if scope == "email" => {
                    let text = format!("an account with this e-mail address is here already: sign in to it, then link {} to it in your account", by.shown());
                    return Err(Problem::conflict("identity.link_needed", text));
                }
                Err(ExecuteError::NameTaken { scope, .. }) if scope == "link" => {
                    return Err(Problem::conflict("identity.link_taken", "this account comes in at another place right now: try again"));
                }
                Err(error) => return Err(refused(error)),
            }
        }
        Err(Problem::conflict("identity.name_taken", "this user name is taken"))
    }

    /// User names to try, best first.
    fn names_for(&self, by: &Upstream, external: &External) -> Vec<Username> {
        let tag: String = self.link_key(by, &external.subject).chars().filter(char::is_ascii_alphanumeric).take(6).collect::<String>().to_lowercase();
        let first = person::username(&external.username);
        let second = first.as_ref().and_then(|n| person::second_name(n, &by.name));
        let third = Username::parse(&format!("user-{tag}")).ok();
        [first, second, third].into_iter().flatten().collect()
    }

    /// Profile and suspension of a linked account, as the upstream has them. What the person had before the link stays theirs.
    pub async fn bring_up(&self, by: &Upstream, user: UserId, provisioned: bool, external: &External, meta: &Meta) -> Result<Done, Problem> {
        let mut done = Done::default();
        let Some(found) = self.person(user).await?.filter(|_| provisioned) else { return Ok(done) };
        if found.suspended.as_deref().is_some_and(|reason| is_ours(by, reason)) {
            self.resume(user, Expect::Any, meta.clone()).await?;
            done.resumed = true;
        } else if found.suspended.is_some() {
            return Ok(done);
        }
        let email = external.email.as_deref().filter(|e| !e.eq_ignore_ascii_case(&found.email));
        let name = shown_name(&external.display_name).filter(|n| *n != found.display_name);
        if email.is_none() && name.is_none() {
            return Ok(done);
        }
        let version = Expect::Any;
        match self.change_profile(&found, email, name.as_deref(), version, meta.clone()).await {
            Ok(_) => done.changed = true,
            Err(problem) if problem.code == "identity.email_taken" || problem.kind == Kind::Invalid => {
                done.remark = Some(format!("{}: the address was not taken over: {}", found.username, problem.detail));
                if name.is_some() {
                    self.change_profile(&found, None, name.as_deref(), version, meta.clone()).await?;
                    done.changed = true;
                }
            }
            Err(problem) => return Err(problem),
        }
        Ok(done)
    }

    /// Gives and takes roles until the person has what the groups mean. An upstream that says nothing about groups
    /// takes nothing away. How many were given and taken.
    pub async fn give(&self, by: &Upstream, user: UserId, external: &External, wanted: &Wanted, held: &[GrantRow], meta: &Meta) -> Result<(u64, u64), Problem> {
        let had: BTreeSet<(String, String)> = held.iter().map(|g| (g.scope.clone(), g.role.clone())).collect();
        let (mut given, mut taken) = (0, 0);
        for (scope, role) in &wanted.grants {
            if had.contains(&(scope.to_string(), role.as_str().to_owned())) {
                continue;
            }
            match self.grant(Subject::User(user), *role, *scope, meta.clone()).await {
                Ok(_) => given += 1,
                // Somebody gave it by hand: it is theirs to take away.
                Err(problem) if problem.code == "identity.binding_exists" => {}
                Err(problem) => return Err(problem),
            }
        }
        if given > 0 || !wanted.orgs.is_empty() {
            self.join(wanted, &[user], by).await?;
        }
        if external.groups.is_some() {
            for grant in held.iter().filter(|g| !wanted.grants.iter().any(|(s, r)| s.to_string() == g.scope && r.as_str() == g.role)) {
                self.take_back(grant, meta).await?;
                taken += 1;
            }
        }
        Ok((given, taken))
    }

    /// The same for teams: memberships that people gave by hand stay.
    pub async fn give_teams(&self, by: &Upstream, user: UserId, external: &External, wanted: &Wanted, meta: &Meta) -> Result<(), Problem> {
        let held = rows::memberships(self.pool(), by.id.0, Some(user.0)).await.map_err(fault)?;
        let own = subject(user);
        for (org, team) in wanted.teams.iter().filter(|(_, team)| !held.iter().any(|m| m.team == team.0)) {
            self.put_in_team(*org, *team, &own, true, meta.clone()).await?;
        }
        for gone in held.iter().filter(|m| external.groups.is_some() && !wanted.teams.iter().any(|(_, team)| team.0 == m.team)) {
            self.put_in_team(gone.org.into(), gone.team.into(), &own, false, meta.clone()).await?;
        }
        Ok(())
    }

    /// Revokes a role that an upstream gave; one that is gone already is fine.
    pub async fn take_back(&self, grant: &GrantRow, meta: &Meta) -> Result<(), Problem> {
        match self.revoke(grant.binding.into(), meta.clone()).await {
            Err(problem) if problem.kind == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Makes people members of the organisations they have roles in.
    pub async fn join(&self, wanted: &Wanted, users: &[UserId], by: &Upstream) -> Result<(), Problem> {
        for org in &wanted.orgs {
            // A sign-in does not read an organisation's whole history to learn that somebody is in it.
            if let [user] = users
                && directory::is_member(self.orm(), *org, user.0).await.map_err(fault)?
            {
                continue;
            }
            let meta = by.meta(None).tenant(*org);
            for some in users.chunks(500) {
                let command = crate::domain::org::Command::AddMembers { users: some.to_vec() };
                let executed = self.orgs.execute(*org, command, Options::from(meta.clone())).await.map_err(refused)?;
                self.settled(executed.position).await;
            }
        }
        Ok(())
    }

    /// Takes away what an upstream gave somebody: roles now, the account too if it made it.
    pub async fn gone(&self, by: &Upstream, user: UserId, provisioned: bool, meta: &Meta) -> Result<u64, Problem> {
        let held = rows::grants(self.pool(), by.id.0, Some(user.0)).await.map_err(fault)?;
        for grant in &held {
            self.take_back(grant, meta).await?;
        }
        if provisioned && by.settings.rules.suspend_gone {
            self.refuse_last_admin(user).await?;
            self.suspend(user, &suspension(by), Expect::Any, meta.clone()).await?;
        }
        Ok(held.len() as u64)
    }
}

/// One account there is one person here, and one person has one account there.
fn link_claims(by: &Upstream, key: &str, user: UserId) -> Vec<Claim> {
    vec![Claim::take("link", format!("{}/{key}", by.id)), Claim::take("link-of", format!("{}/{user}", by.id))]
}

/// The claims of a link that goes.
pub fn link_releases(upstream: gantry_kernel::UpstreamId, key: &str, user: UserId) -> Vec<Claim> {
    vec![Claim::release("link", format!("{upstream}/{key}")), Claim::release("link-of", format!("{upstream}/{user}"))]
}

fn shown_name(text: &str) -> Option<String> {
    let plain: String = text.trim().chars().filter(|c| !c.is_control()).take(100).collect();
    Some(plain).filter(|n| !n.is_empty())
}
