//! Users: creation, changes, suspension, erasure.

use gantry_contract::identity::UserEvent;
use gantry_es::Meta;
use gantry_es_pg::{Claim, Expect, Options, Store};
use gantry_kernel::{FieldFault, Kind, Problem, Secret, UserId, Username};

use crate::app::App;
use crate::app::people::{Person, subject};
use crate::domain::password::{self, Rules, Weak};
use crate::domain::policy::Effective;
use crate::domain::user::{Command, Registration, State, User};
use crate::error::{fault, refused, unsealed};
use crate::store::{directory, groups, personal, remains};

/// What somebody wants to be called, checked.
#[derive(Clone)]
pub struct Profile {
    pub username: Username,
    pub email: String,
    pub display_name: String,
}

impl Profile {
    /// # Errors
    /// Every faulty field.
    pub fn parse(username: &str, email: &str, display_name: Option<&str>) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, detail: String| faults.push(FieldFault { field: field.into(), detail });
        let parsed = Username::parse(username);
        if let Err(error) = &parsed {
            fault("username", error.to_string());
        }
        if let Err(detail) = check_email(email) {
            fault("email", detail);
        }
        let display_name = display_name.map(str::trim).filter(|n| !n.is_empty()).unwrap_or(username);
        if let Err(detail) = check_display_name(display_name) {
            fault("display_name", detail);
        }
        match parsed {
            Ok(username) if faults.is_empty() => Ok(Self { username, email: email.trim().to_owned(), display_name: display_name.to_owned() }),
            _ => Err(Problem::invalid_fields(faults)),
        }
    }
}

fn check_email(email: &str) -> Result<(), String> {
    let email = email.trim();
    let shape = email
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && domain.len() > 1 && !domain.contains('@') && !domain.starts_with('.') && !domain.ends_with('.'));
    let plain = email.len() <= 254 && !email.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';' | '"'));
    if shape && plain { Ok(()) } else { Err("must be an e-mail address".into()) }
}

fn check_display_name(name: &str) -> Result<(), String> {
    let fits = name.chars().count() <= 100 && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err("must have at most 100 characters and no control characters".into()) }
}

/// Why a new user comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Self_,
    Admin,
    FirstStart,
}

impl App {
    /// # Errors
    /// A weak password, or a name or address that is taken.
    pub async fn create_user(&self, profile: &Profile, password: Option<&Secret>, by: By, must_change: bool, meta: Meta) -> Result<Person, Problem> {
        let user = UserId(self.host.env.uuid());
        let hash = match password {
            // The operator chose it, or this program did.
            Some(password) if by == By::FirstStart => Some(self.hasher.hash(password).await?),
            Some(password) => Some(self.checked_hash(password, profile).await?),
            None => None,
        };
        self.create_user_with_hash(user, profile, hash, by, must_change, meta).await
    }

    /// The hash of a new password that is good enough.
    ///
    /// # Errors
    /// A weak password.
    pub async fn checked_hash(&self, new: &Secret, of: &Profile) -> Result<String, Problem> {
        let policy = self.platform_policy().await?;
        self.judge_new(new, of, &policy).await?;
        self.hasher.hash(new).await
    }

    async fn judge_new(&self, new: &Secret, of: &Profile, policy: &Effective) -> Result<(), Problem> {
        let rules = Rules { min_length: policy.password_min_length as usize, min_score: policy.password_min_score };
        password::check(new.expose(), &[of.username.as_str(), &of.email, &of.display_name], rules).map_err(|weak| weak_password(&weak))?;
        match &self.breached {
            Some(list) if list.holds(new).await? => Err(weak_password(&Weak::Breached)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a password is good enough for a person, by every policy that holds for them.
    ///
    /// # Errors
    /// Why not.
    pub async fn judge_password(&self, person: &Person, new: &Secret) -> Result<(), Problem> {
        let profile = Profile::parse(&person.username, &person.email, Some(&person.display_name))?;
        let policy = self.policy_for(person.id).await?;
        self.judge_new(new, &profile, &policy).await?;
        // The log remembers every hash there was.
        let mut before = Vec::new();
        if policy.password_history > 0 {
            for event in self.host.log().read_stream(&Store::<User>::stream(person.id), 0).await.map_err(fault)? {
                match event.decode::<UserEvent>().map_err(gantry_host::from_decode)? {
                    UserEvent::Registered { password_hash: Some(hash), .. } | UserEvent::PasswordChanged { password_hash: hash, .. } => before.push(hash),
                    _ => {}
                }
            }
        }
        for sealed in before.iter().rev().take(policy.password_history as usize) {
            let hash = self.keyring.open(&subject(person.id), sealed).await.map_err(unsealed)?;
            if self.hasher.verify(new, Some(&hash)).await? {
                return Err(weak_password(&Weak::Used));
            }
        }
        Ok(())
    }

    /// # Errors
    /// A name or address that is taken.
    pub async fn create_user_with_hash(
        &self,
        user: UserId,
        profile: &Profile,
        hash: Option<String>,
        by: By,
        must_change: bool,
        mut meta: Meta,
    ) -> Result<Person, Problem> {
        let subject = subject(user);
        if by == By::Self_ {
            meta.actor.clone_from(&subject);
        }
        let seal = async |text: &str| self.keyring.seal(&subject, text).await.map_err(unsealed);
        let registration = Registration {
            user,
            username: seal(profile.username.as_str()).await?,
            email: seal(&profile.email).await?,
            display_name: seal(&profile.display_name).await?,
            password_hash: match hash {
                Some(hash) => Some(seal(&hash).await?),
                None => None,
            },
            by_admin: by != By::Self_,
            must_change_password: must_change,
        };
        let claims = vec![Claim::take("username", self.lookup.hash(profile.username.as_str())), Claim::take("email", self.lookup.hash(&profile.email))];
        let options = Options { meta, claims, ..Options::default() };
        let executed = match self.users.execute(user, Command::Register(registration), options).await {
            Ok(executed) => executed,
            Err(error) => {
                // Nothing refers to the key that was just made.
                self.keyring.erase(&subject).await.map_err(unsealed)?;
                return Err(refused(error));
            }
        };
        self.settled(executed.position).await;
        // A repeated command answers with the user it made the first time.
        let (State::Active { id } | State::Suspended { id }) = executed.state else { return Err(Problem::not_found("user", user)) };
        self.person(id).await?.ok_or_else(|| Problem::unavailable("the directory"))
    }

    /// # Errors
    /// A taken address, a stale version.
    pub async fn change_profile(
        &self,
        person: &Person,
        email: Option<&str>,
        display_name: Option<&str>,
        expect: Expect,
        meta: Meta,
    ) -> Result<Person, Problem> {
        let subject = subject(person.id);
        let mut claims = Vec::new();
        let mut command = (None, None);
        if let Some(email) = email.map(str::trim).filter(|e| *e != person.email) {
            check_email(email).map_err(|detail| Problem::invalid("email", detail))?;
            let (old, new) = (self.lookup.hash(&person.email), self.lookup.hash(email));
            if old != new {
                claims = vec![Claim::take("email", new), Claim::release("email", old)];
            }
            command.0 = Some(self.keyring.seal(&subject, email).await.map_err(unsealed)?);
        }
        if let Some(name) = display_name.map(str::trim).filter(|n| *n != person.display_name) {
            check_display_name(name).map_err(|detail| Problem::invalid("display_name", detail))?;
            command.1 = Some(self.keyring.seal(&subject, name).await.map_err(unsealed)?);
        }
        let options = Options { meta, expect, claims, ..Options::default() };
        let command = Command::ChangeProfile { email: command.0, display_name: command.1 };
        let executed = self.users.execute(person.id, command, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        self.person(person.id).await?.ok_or_else(|| Problem::not_found("user", person.id))
    }

    /// Sets a new password and ends all sessions and refresh tokens but `keep`.
    ///
    /// # Errors
    /// A weak password, a stale version.
    pub async fn change_password(
        &self,
        person: &Person,
        new: &Secret,
        must_change: bool,
        keep: Option<uuid::Uuid>,
        expect: Expect,
        meta: Meta,
    ) -> Result<(), Problem> {
        self.judge_password(person, new).await?;
        let hash = self.hasher.hash(new).await?;
        let password_hash = self.keyring.seal(&subject(person.id), &hash).await.map_err(unsealed)?;
        let command = Command::ChangePassword { password_hash, must_change_password: must_change };
        let executed = self.users.execute(person.id, command, Options { meta, expect, ..Options::default() }).await.map_err(refused)?;
        self.end_sign_ins_by(person.id, keep, "password changed", executed.position).await
    }

    /// # Errors
    /// A stale version.
    pub async fn suspend(&self, user: UserId, reason: &str, expect: Expect, meta: Meta) -> Result<(), Problem> {
        if reason.chars().count() > 500 {
            return Err(Problem::invalid("reason", "must have at most 500 characters"));
        }
        let command = Command::Suspend { reason: reason.to_owned() };
        let executed = self.users.execute(user, command, Options { meta, expect, ..Options::default() }).await.map_err(refused)?;
        self.end_sign_ins_by(user, None, "suspended", executed.position).await
    }

    /// # Errors
    /// A stale version.
    pub async fn resume(&self, user: UserId, expect: Expect, meta: Meta) -> Result<(), Problem> {
        let executed = self.users.execute(user, Command::Resume, Options { meta, expect, ..Options::default() }).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok(())
    }

    /// Takes away every right, ends every token, and makes the person's data unreadable for ever.
    ///
    /// # Errors
    /// When the person owns an organisation, which must have an owner.
    pub async fn erase_user(&self, person: &Person, meta: Meta) -> Result<(), Problem> {
        if directory::owns_any(self.orm(), person.id.0).await.map_err(fault)? {
            return Err(Problem::new(Kind::Conflict, "identity.owns_organisations", "this user owns organisations: delete them first"));
        }
        self.forget_links(person.id, &meta).await?;
        self.forget_certificates(person.id, &meta).await?;
        self.revoke_all(&subject(person.id), &meta).await?;
        for (org, team) in groups::memberships_of(self.pool(), &subject(person.id)).await.map_err(fault)? {
            self.put_in_team(org.into(), team.into(), &subject(person.id), false, meta.clone()).await?;
        }
        let claims = vec![Claim::release("username", self.lookup.hash(&person.username)), Claim::release("email", self.lookup.hash(&person.email))];
        let executed = self.users.execute(person.id, Command::Delete, Options { meta, claims, ..Options::default() }).await.map_err(refused)?;
        let now = self.now();
        self.end_sessions(person.id, None, "deleted").await?;
        remains::forget(self.pool(), person.id.0).await.map_err(fault)?;
        personal::revoke_all(self.pool(), person.id, now).await.map_err(fault)?;
        // The read model does this too, should this process die here.
        self.keyring.erase(&subject(person.id)).await.map_err(unsealed)?;
        self.settled(executed.position).await;
        Ok(())
    }
}

fn weak_password(weak: &Weak) -> Problem {
    Problem::invalid("password", weak.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_lists_all_its_faults() {
        assert!(Profile::parse("ada", "ada@example.org", None).is_ok());
        let Err(problem) = Profile::parse("Ада", "x", Some("a\u{0}")) else { panic!("refused") };
        let fields: Vec<_> = problem.faults.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(fields, ["username", "email", "display_name"]);
        for bad in ["a@", "@b", "a b@c.d", "a@b@c", "a@.b", "x@y>\n", "\"a\"@b.c"] {
            assert!(check_email(bad).is_err(), "{bad}");
        }
    }
}
