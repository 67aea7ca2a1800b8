//! Self-registration. With a mail server the address is confirmed before anything is written to the log; without one
//! the account is active at once.

use gantry_contract::policy::RegistrationRule;
use gantry_es::Meta;
use gantry_es_pg::Expect;
use gantry_kernel::{Kind, Problem, Secret, UserId};
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::app::App;
use crate::app::context::{Fact, meta_of};
use crate::app::people::{Person, subject};
use crate::app::secrets::{SUBJECT, fresh, kept};
use crate::app::signin::Origin;
use crate::app::users::{By, Profile};
use crate::config::Registration;
use crate::error::{fault, unsealed};
use crate::store::{directory, registrations};

/// Why a new account is suspended where registrations are approved: what administrators look for.
const AWAITING: &str = "awaiting approval";
const CONFIRM_WITHIN: Duration = Duration::hours(24);

/// What becomes of a registration.
pub enum Registered {
    Active(Box<Person>),
    /// An administrator has to approve it: the account is suspended until then.
    Waiting,
    /// A mail is on its way.
    Unconfirmed,
}

#[derive(Serialize, Deserialize)]
struct Waiting {
    username: String,
    email: String,
    display_name: String,
    password_hash: String,
}

impl App {
    /// # Errors
    /// When registration is closed, a field is faulty, a name is taken, or too many come from one address.
    pub async fn register(&self, profile: Profile, password: &Secret, origin: &Origin) -> Result<Registered, Problem> {
        let policy = self.platform_policy().await?;
        if self.config.registration == Registration::Closed || policy.registration == RegistrationRule::Closed {
            return Err(Problem::new(Kind::Forbidden, "identity.registration_closed", "registration is closed: ask an administrator"));
        }
        if !policy.allows_email(&profile.email) {
            return Err(Problem::invalid("email", "is of a domain that may not register here"));
        }
        self.attempts.begin(&format!("register {}", self.lookup.hash(profile.username.as_str())), &origin.address).await?;
        if self.mailer.is_none() {
            let person = self.create_user(&profile, Some(password), By::Self_, false, meta_of("anonymous", &origin.address)).await?;
            return self.registered(person, origin).await;
        }
        let hash = self.checked_hash(password, &profile).await?;
        let (username_key, email_key) = (self.lookup.hash(profile.username.as_str()), self.lookup.hash(&profile.email));
        let by_name = directory::user_by_key(self.orm(), &username_key).await.map_err(fault)?;
        if by_name.is_some_and(|row| row.username_key == username_key) {
            return Err(Problem::conflict("identity.name_taken", "this user name is taken"));
        }
        // A known address gets a mail that says so; the answer here is the same, so that nobody can probe addresses.
        if directory::user_by_key(self.orm(), &email_key).await.map_err(fault)?.is_some() {
            let text = format!("Somebody tried to register with this address at {}, but there is an account already.\n此邮箱已注册过账号。\n", self.issuer);
            self.mail(&profile.email, "Gantry", text).await?;
            return Ok(Registered::Unconfirmed);
        }
        let waiting = Waiting { username: profile.username.to_string(), email: profile.email.clone(), display_name: profile.display_name, password_hash: hash };
        let sealed = self.keyring.seal(SUBJECT, &serde_json::to_string(&waiting).map_err(fault)?).await.map_err(unsealed)?;
        let token = fresh(&self.host.env, "gv_");
        let now = self.now();
        registrations::insert(self.pool(), &kept(&token), (&username_key, &email_key), &sealed.0, now, now + CONFIRM_WITHIN).await.map_err(fault)?;
        // The address comes from the configuration, never from the request.
        let text = format!(
            "Open this address to confirm your registration (valid for 24 hours):\n打开此链接以确认注册(24 小时内有效):\n\n{}/register/confirm?token={token}\n",
            self.issuer
        );
        self.mail(&waiting.email, "Gantry: confirm your registration / 确认注册", text).await?;
        Ok(Registered::Unconfirmed)
    }

    /// # Errors
    /// When the token is unknown or too old, or the name was taken meanwhile.
    pub async fn confirm_registration(&self, token: &str, origin: &Origin) -> Result<Registered, Problem> {
        let sealed = registrations::take(self.pool(), &kept(token), self.now()).await.map_err(fault)?;
        let sealed =
            sealed.ok_or_else(|| Problem::new(Kind::NotFound, "identity.confirmation_unknown", "this confirmation is not known or too old: register again"))?;
        let text = self.keyring.open(SUBJECT, &gantry_es::Sealed(sealed)).await.map_err(unsealed)?;
        let waiting: Waiting = serde_json::from_str(&text).map_err(fault)?;
        let profile = Profile::parse(&waiting.username, &waiting.email, Some(&waiting.display_name))?;
        let user = UserId(self.host.env.uuid());
        let meta = meta_of("anonymous", &origin.address);
        let person = self.create_user_with_hash(user, &profile, Some(waiting.password_hash), By::Self_, false, meta).await?;
        self.registered(person, origin).await
    }

    /// What a registration has become. Where the policy says so, an administrator has to resume the account first.
    async fn registered(&self, person: Person, origin: &Origin) -> Result<Registered, Problem> {
        let subject = subject(person.id);
        self.record(Fact { actor: &subject, action: "user.self-registered", object: &subject, result: "ok", reason: "", from: &origin.address }).await;
        if self.platform_policy().await?.registration == RegistrationRule::Approval {
            self.suspend(person.id, AWAITING, Expect::Any, Meta::system()).await?;
            return Ok(Registered::Waiting);
        }
        Ok(Registered::Active(Box::new(person)))
    }
}
