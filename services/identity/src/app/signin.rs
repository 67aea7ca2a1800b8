//! Proving who one is with a password. Every failure looks and lasts the same, whether the account exists or not.

use gantry_es::{Meta, Sealed};
use gantry_kernel::{OffsetDateTime, Problem, Secret, UserId, Uuid};
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::passwords::{Place, is_outdated};
use crate::app::people::{Person, subject};
use crate::app::policies::{Rules, effective, least_level};
use crate::app::secrets::{fresh, kept};
use crate::app::steps::Evidence;
use crate::domain::assurance::{Level, level};
use crate::domain::password::MAX_LENGTH;
use crate::domain::policy::{Effective, Way};
use crate::domain::token_scope;
use crate::domain::user::Command;
use crate::error::{fault, refused, unsealed};
use crate::store::entities::user;
use crate::store::sessions::{self, Along, Living, Session};
use crate::store::{directory, links, personal};

/// Where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub address: String,
    pub user_agent: String,
    /// The cookie of a browser that somebody has signed in with before.
    pub device: Option<String>,
}

pub const PERSONAL_PREFIX: &str = "gpat_";
const WRONG: &str = "the user name or the password is wrong";

impl App {
    /// The person behind a user name (or e-mail address) and password.
    ///
    /// # Errors
    /// Unauthenticated, whatever the reason; 429 after too many failures or when too many sign in at once.
    pub async fn verify_password(&self, name: &str, password: &Secret, origin: &Origin) -> Result<Person, Problem> {
        self.prove_password(self.hasher.enter()?, name, password, origin).await.map(|(person, _)| person)
    }

    /// The same for who has a place at the hashes, with the rules that admitted the person, for what comes next. Who got no place is not
    /// asked for here, and has made no attempt.
    ///
    /// # Errors
    /// As [`App::verify_password`].
    pub async fn prove_password(&self, place: Place, name: &str, password: &Secret, origin: &Origin) -> Result<(Person, Rules), Problem> {
        let begun = self.now();
        let key = self.lookup.hash(name);
        let found = directory::user_by_key(self.orm(), &key).await.map_err(fault)?;
        let known = match (&found, &origin.device) {
            (Some(row), Some(device)) => links::device_known(self.pool(), row.id, &kept(device)).await.map_err(fault)?,
            (Some(_) | None, Some(_) | None) => false,
        };
        let device = origin.device.as_deref().filter(|_| known).map(|device| self.lookup.hash(device));
        self.attempts.begin_from(&key, &origin.address, device.as_deref()).await?;
        let hash = match &found {
            Some(row) => self.password_hash(UserId(row.id), row.password_hash.as_deref()).await?,
            None => None,
        };
        let too_long = password.expose().len() > 4 * MAX_LENGTH;
        let fits = self.hasher.verify_at(place, if too_long { &EMPTY } else { password }, hash.as_deref()).await? && !too_long;
        if !fits && let Some((person, directory)) = self.directory_password(name, password, found.as_ref(), &origin.address).await? {
            self.attempts.succeeded(&key, &origin.address).await;
            let rules = self.admit(person.id, Way::Directory(&directory), origin).await?;
            return if rules.ended_since(begun) { Err(Problem::unauthenticated(WRONG)) } else { Ok((person, rules)) };
        }
        let reason = match &found {
            None => "no such account",
            Some(_) if !fits => "wrong password",
            Some(row) if row.suspended_reason.is_some() => "suspended",
            Some(row) => {
                self.attempts.succeeded(&key, &origin.address).await;
                let person = self.open(row.clone()).await?;
                let rules = self.admit(person.id, Way::Password, origin).await?;
                if !rules.ended_since(begun) {
                    if hash.as_deref().is_some_and(is_outdated) {
                        self.upgrade_hash(&person, password).await;
                    }
                    return Ok((person, rules));
                }
                "all sign-ins were ended meanwhile"
            }
        };
        let object = found.map_or_else(|| "user:unknown".to_owned(), |row| subject(UserId(row.id)));
        self.record(Fact { actor: "anonymous", action: "session.refused", object: &object, result: "denied", reason, from: &origin.address }).await;
        Err(Problem::unauthenticated(WRONG))
    }

    /// Replaces a hash of another system, or of weaker parameters, by one of ours. If that fails, the next sign-in does it.
    async fn upgrade_hash(&self, person: &Person, password: &Secret) {
        let upgraded = async {
            let password_hash = self.keyring.seal(&subject(person.id), &self.hasher.hash(password).await?).await.map_err(unsealed)?;
            let command = Command::ChangePassword { password_hash, must_change_password: person.must_change_password };
            self.users.execute(person.id, command, Meta::system()).await.map_err(refused)
        };
        if let Err(error) = upgraded.await {
            tracing::warn!(error = error.chain(), user.id = subject(person.id), "a password hash could not be upgraded");
        }
    }

    async fn password_hash(&self, user: UserId, sealed: Option<&str>) -> Result<Option<String>, Problem> {
        let Some(sealed) = sealed else { return Ok(None) };
        self.keyring.open(&subject(user), &Sealed(sealed.to_owned())).await.map(Some).map_err(unsealed)
    }

    /// Whom a personal access token or an access token in the place of a password stands for, and its scope; `None`: it is neither.
    ///
    /// # Errors
    /// Unauthenticated for one that does not count, and for an access token that was lent.
    pub async fn verify_token(&self, text: &str, origin: &Origin) -> Result<Option<(Person, String)>, Problem> {
        if text.starts_with(PERSONAL_PREFIX) {
            let (person, token) = self.verify_personal_token(text, origin).await?;
            return Ok(Some((person, token.scope)));
        }
        if !text.starts_with("eyJ") || text.matches('.').count() != 2 {
            return Ok(None);
        }
        let claims = self.access_claims(text).await?;
        // Whoever acts for somebody does so where both names are seen.
        let user = Self::person_of(&claims).filter(|_| claims.act.is_none()).ok_or_else(|| Problem::unauthenticated(WRONG))?;
        Ok(Some((self.active_person(user).await?, claims.scope)))
    }

    /// The person behind a user name with a password, or one of the tokens in its place that may do everything. With a token the name is
    /// not looked at.
    ///
    /// # Errors
    /// As [`App::verify_password`] and [`App::verify_token`]; forbidden for a token that may not do everything.
    pub async fn verify_basic(&self, name: &str, secret: &Secret, origin: &Origin) -> Result<Person, Problem> {
        match self.verify_token(secret.expose(), origin).await? {
            Some((person, scope)) if token_scope::is_whole(&scope) => Ok(person),
            Some(_) => Err(Problem::forbidden("a token with the scope `api`; this one is limited")),
            None => self.verify_bare(name, secret, origin).await,
        }
    }

    /// The person behind a user name with the password itself, as programs send it.
    ///
    /// # Errors
    /// As [`App::verify_password`].
    pub async fn verify_bare(&self, name: &str, secret: &Secret, origin: &Origin) -> Result<Person, Problem> {
        let (person, rules) = self.prove_password(self.hasher.enter()?, name, secret, origin).await?;
        // Programs that send a password cannot take a second step, and the password alone must not do for it.
        let needed = least_level(rules.policy.second_factor);
        if needed > Level::One || self.choices_under(person.id, &rules).await?.any() {
            return Err(Problem::unauthenticated("this account has a second factor: use a personal access token in place of the password"));
        }
        Ok(person)
    }

    /// The person of a personal access token, with the token, whose scope limits what it may be used for.
    ///
    /// # Errors
    /// Unauthenticated for an unknown, expired or revoked token; 429 after too many of them.
    pub async fn verify_personal_token(&self, token: &str, origin: &Origin) -> Result<(Person, personal::PersonalToken), Problem> {
        let found = personal::find(self.pool(), &kept(token), self.now()).await.map_err(fault)?;
        let Some(found) = found else {
            self.attempts.begin("personal-token", &origin.address).await.ok();
            let fact =
                Fact { actor: "anonymous", action: "token.refused", object: "personal-token", result: "denied", reason: "unknown", from: &origin.address };
            self.record(fact).await;
            return Err(Problem::unauthenticated(WRONG));
        };
        Ok((self.active_person(UserId(found.user_id)).await?, found))
    }

    /// The person, unless deleted or suspended meanwhile.
    ///
    /// # Errors
    /// When the directory cannot be read, which says nothing of the person.
    pub async fn active(&self, user: UserId) -> Result<Option<Person>, Problem> {
        Ok(self.person(user).await?.filter(|p| p.suspended.is_none()))
    }

    /// The same for whoever must be there.
    ///
    /// # Errors
    /// Unauthenticated, or as [`App::active`].
    pub async fn active_person(&self, user: UserId) -> Result<Person, Problem> {
        self.if_active(directory::user(self.orm(), user.0).await.map_err(fault)?).await
    }

    /// The same of a row that was read along with something else.
    ///
    /// # Errors
    /// Unauthenticated.
    pub async fn if_active(&self, row: Option<user::Model>) -> Result<Person, Problem> {
        let person = match row {
            Some(row) => Some(self.open(row).await?),
            None => None,
        };
        person.filter(|p| p.suspended.is_none()).ok_or_else(|| Problem::unauthenticated("this account is not active"))
    }

    /// Opens a browser session under the rules that hold for the person; the text is the cookie. `evidence`: how the person proved who
    /// they are. `device`: the cookie of the browser, which is known from now on; a new one is told to the person.
    ///
    /// # Errors
    /// Unauthenticated when a certificate was revoked since it was shown, or all sign-ins were ended since the rules were read.
    pub async fn open_session(
        &self,
        person: &Person,
        origin: &Origin,
        evidence: &Evidence,
        rules: &Rules,
        device: Option<&str>,
    ) -> Result<(Session, String), Problem> {
        let amr = evidence.amr.as_str();
        let now = self.now();
        let hours = rules.policy.session_hours.map_or(self.config.session_hours, |h| h.min(self.config.session_hours));
        let secret = fresh(&self.host.env, "gs_");
        let session = Session {
            id: self.host.env.uuid(),
            user_id: person.id.0,
            created_at: now,
            last_seen_at: now,
            auth_time: now,
            amr: amr.to_owned(),
            expires_at: now + Duration::hours(hours.into()),
            from_addr: origin.address.clone(),
            user_agent: origin.user_agent.chars().take(200).collect(),
        };
        let device = device.map(kept);
        // Where a certificate may turn out to be revoked, the browser is known only after that was looked at.
        let at_once = device.as_deref().filter(|_| evidence.certificates.is_empty());
        let opened = sessions::open(self.pool(), &session, &kept(&secret), at_once, rules.ended_at).await.map_err(fault)?;
        let mut new = opened.ok_or_else(|| Problem::unauthenticated("all sign-ins were ended meanwhile: sign in again"))?;
        self.tie_to_certificates(person.id, session.id, evidence).await?;
        if let Some(device) = device.filter(|_| !evidence.certificates.is_empty()) {
            let noted = links::note_device(self.pool(), person.id, &device, &session.user_agent, &origin.address, now).await;
            // A failure to do so does not undo the sign-in.
            new = noted.inspect_err(|error| tracing::warn!(error = %error, "a device could not be remembered")).unwrap_or(false);
        }
        let actor = subject(person.id);
        let object = format!("session:{}", session.id);
        let opened = self.record(Fact { actor: &actor, action: "session.opened", object: &object, result: "ok", reason: amr, from: &origin.address });
        let told = async {
            if new && let Err(problem) = self.tell_new_device(person, &session.user_agent, origin).await {
                tracing::warn!(error = problem.chain(), "nobody is told of a new device");
            }
        };
        // Together, so that both facts go into one statement of the record.
        tokio::join!(opened, told);
        Ok((session, secret))
    }

    /// A session whose person has proved more. It gets a new secret; gives the cookie.
    ///
    /// # Errors
    /// Unauthenticated when it has ended meanwhile.
    pub async fn strengthen_session(&self, person: &Person, id: Uuid, evidence: &Evidence, origin: &Origin) -> Result<String, Problem> {
        let (secret, amr) = (fresh(&self.host.env, "gs_"), evidence.amr.as_str());
        if !sessions::strengthen(self.pool(), person.id, id, amr, &kept(&secret)).await.map_err(fault)? {
            return Err(Problem::unauthenticated("the session has ended: sign in again"));
        }
        self.tie_to_certificates(person.id, id, evidence).await?;
        let (actor, object) = (subject(person.id), format!("session:{id}"));
        self.record(Fact { actor: &actor, action: "session.strengthened", object: &object, result: "ok", reason: amr, from: &origin.address }).await;
        Ok(secret)
    }

    /// The living session of a cookie, with its person.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn session(&self, cookie: &str) -> Result<Option<(Session, Person)>, Problem> {
        let now = self.now();
        let Some(Living { session, user, policies }) = sessions::find(self.pool(), &kept(cookie), now).await.map_err(fault)? else { return Ok(None) };
        let person = self.open(user).await?;
        if person.suspended.is_some() {
            return Ok(None);
        }
        let policy = effective(&policies)?;
        // A policy that became stricter holds for the sessions that are open, too.
        let over = policy.session_hours.is_some_and(|h| now - session.created_at > Duration::hours(h.into()));
        let too_weak = level(&session.amr) < least_level(policy.second_factor);
        if over || too_weak || self.is_idle(&session, &policy, now).await? {
            self.announce_end(&[session.id]).await?;
            let along = if too_weak { Along::Everything } else { Along::Online };
            sessions::end(self.pool(), person.id, session.id, along, now).await.map_err(fault)?;
            return Ok(None);
        }
        if now - session.last_seen_at > sessions::SEEN_EVERY {
            sessions::seen(self.pool(), session.id, now).await.map_err(fault)?;
        }
        Ok(Some((session, person)))
    }

    /// Whether neither the browser nor a token that came from the session was used for as long as the policy says.
    async fn is_idle(&self, session: &Session, policy: &Effective, now: OffsetDateTime) -> Result<bool, Problem> {
        let Some(minutes) = policy.session_idle_minutes else { return Ok(false) };
        let since = now - Duration::minutes(minutes.into());
        if session.last_seen_at >= since {
            return Ok(false);
        }
        let given_since = since - self.token_lasts();
        Ok(!sessions::worked_since(self.pool(), session.id, given_since).await.map_err(fault)?)
    }

    /// Ends a session and the tokens that came from it, but those for when the person is away.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_session(&self, user: UserId, id: Uuid, by: &str, from: &str) -> Result<bool, Problem> {
        // Somebody else's session is nobody's to announce.
        if sessions::by_id(self.pool(), user, id, self.now()).await.map_err(fault)?.is_none() {
            return Ok(false);
        }
        self.announce_end(&[id]).await?;
        self.ended(user, id, Along::Online, by, "", from).await
    }

    /// Ends a session because what was proved when it was opened counts for nothing any more: with all tokens that came from it, also where
    /// the session itself was over before.
    ///
    /// # Errors
    /// As [`App::end_session`].
    pub async fn end_session_because(&self, user: UserId, id: Uuid, by: &str, reason: &str, from: &str) -> Result<bool, Problem> {
        if sessions::by_id(self.pool(), user, id, self.now()).await.map_err(fault)?.is_some() {
            self.announce_end(&[id]).await?;
        }
        self.ended(user, id, Along::Everything, by, reason, from).await
    }

    async fn ended(&self, user: UserId, id: Uuid, along: Along, by: &str, reason: &str, from: &str) -> Result<bool, Problem> {
        let ended = sessions::end(self.pool(), user, id, along, self.now()).await.map_err(fault)?;
        if ended {
            let object = format!("session:{id}");
            self.record(Fact { actor: by, action: "session.ended", object: &object, result: "ok", reason, from }).await;
        }
        Ok(ended)
    }
}

static EMPTY: std::sync::LazyLock<Secret> = std::sync::LazyLock::new(Secret::default);
