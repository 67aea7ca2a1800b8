//! Passkeys (W3C Web Authentication): enrolment, the second step, and signing in without a name or password. What a
//! challenge was made for is kept in Redis for five minutes, under the browser's own cookie, and used once.

use gantry_contract::factor::FactorKind;
use gantry_es::{Meta, Sealed};
use gantry_kernel::{Kind, Problem, UserId};
use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use webauthn_rs::prelude::{
    AuthenticationResult, CredentialID, DiscoverableAuthentication, Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::{Person, subject};
use crate::app::signin::Origin;
use crate::domain::policy::Way;
use crate::error::{fault, unsealed};
use crate::store::factors;

const CHALLENGE_SECONDS: u64 = 300;
/// A passkey that checked its holder is two factors by itself.
const VERIFIED: &str = "user mfa";

/// What a challenge was made for.
#[derive(Serialize, Deserialize)]
enum Ceremony {
    Add { user: UserId, state: PasskeyRegistration },
    Second { user: UserId, state: PasskeyAuthentication },
    SignIn { state: DiscoverableAuthentication },
}

pub struct Passkeys {
    webauthn: Webauthn,
    redis: ConnectionManager,
    prefix: String,
}

impl Passkeys {
    /// `None` when the public address is an IP address: passkeys belong to names.
    pub fn new(public_url: &Url, redis: ConnectionManager, prefix: &str) -> Option<Self> {
        let host = public_url.domain()?;
        let webauthn = WebauthnBuilder::new(host, public_url).ok()?.rp_name("Gantry").build().ok()?;
        Some(Self { webauthn, redis, prefix: format!("{prefix}:passkey") })
    }

    fn key(&self, browser: &str) -> String {
        format!("{}:{browser}", self.prefix)
    }

    async fn keep(&self, browser: &str, ceremony: &Ceremony) -> Result<(), Problem> {
        let text = serde_json::to_string(ceremony).map_err(fault)?;
        let kept = self.redis.clone().set_ex::<_, _, ()>(self.key(browser), text, CHALLENGE_SECONDS).await;
        kept.map_err(|error| Problem::unavailable("the store of challenges").with_source(error))
    }

    async fn take(&self, browser: &str) -> Result<Ceremony, Problem> {
        let kept: Option<String> =
            self.redis.clone().get_del(self.key(browser)).await.map_err(|error| Problem::unavailable("the store of challenges").with_source(error))?;
        serde_json::from_str(&kept.ok_or_else(refused)?).map_err(fault)
    }
}

fn refused() -> Problem {
    Problem::new(Kind::Unauthenticated, "identity.passkey_refused", "the passkey was not accepted: try again, or use another way")
}

fn refused_because(error: impl std::error::Error + Send + Sync + 'static) -> Problem {
    tracing::info!(error = %error, "a passkey was not accepted");
    refused().with_source(error)
}

/// Who a passkey proved to be, and by which methods (RFC 8176).
pub struct Proved {
    pub person: Person,
    pub amr: String,
}

impl App {
    fn passkeys(&self) -> Result<&Passkeys, Problem> {
        self.passkey_room
            .as_ref()
            .ok_or_else(|| Problem::conflict("identity.no_passkeys", "passkeys need a public URL with a host name instead of an IP address: set `public_url`"))
    }

    async fn passkeys_of(&self, user: UserId) -> Result<Vec<(gantry_kernel::Uuid, Passkey)>, Problem> {
        let mut all = Vec::new();
        for row in factors::of_user(self.orm(), user).await.map_err(fault)?.into_iter().filter(|r| r.kind == FactorKind::Passkey.as_str()) {
            let text = self.keyring.open(&subject(user), &Sealed(row.secret)).await.map_err(unsealed)?;
            all.push((row.id, serde_json::from_str(&text).map_err(fault)?));
        }
        Ok(all)
    }

    /// A challenge for a new passkey of `person`, for `navigator.credentials.create`.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn challenge_to_add(&self, person: &Person, browser: &str) -> Result<Value, Problem> {
        let room = self.passkeys()?;
        let known: Vec<CredentialID> = self.passkeys_of(person.id).await?.iter().map(|(_, p)| p.cred_id().clone()).collect();
        let (challenge, state) =
            room.webauthn.start_passkey_registration(person.id.0, &person.username, &person.display_name, Some(known)).map_err(Problem::internal)?;
        room.keep(browser, &Ceremony::Add { user: person.id, state }).await?;
        let mut challenge = serde_json::to_value(challenge).map_err(fault)?;
        // A key that remembers its holder can sign in without a name; one that cannot is welcome too.
        challenge["publicKey"]["authenticatorSelection"]["residentKey"] = "preferred".into();
        Ok(challenge)
    }

    /// # Errors
    /// When the answer does not fit the challenge, or the passkey is somebody's already.
    pub async fn add_passkey(&self, person: &Person, browser: &str, credential: &str, label: &str, meta: Meta) -> Result<Vec<String>, Problem> {
        let room = self.passkeys()?;
        let Ceremony::Add { user, state } = room.take(browser).await? else { return Err(refused()) };
        if user != person.id {
            return Err(refused());
        }
        let credential: RegisterPublicKeyCredential = serde_json::from_str(credential).map_err(refused_because)?;
        let passkey = room.webauthn.finish_passkey_registration(&credential, &state).map_err(refused_because)?;
        let text = serde_json::to_string(&passkey).map_err(fault)?;
        self.add_factor(person, self.host.env.uuid(), FactorKind::Passkey, &text, label, meta).await
    }

    /// A challenge for the second step of a person, for `navigator.credentials.get`.
    ///
    /// # Errors
    /// When the person has no passkey, or Redis is away.
    pub async fn challenge_second(&self, user: UserId, browser: &str) -> Result<Value, Problem> {
        let room = self.passkeys()?;
        let passkeys: Vec<Passkey> = self.passkeys_of(user).await?.into_iter().map(|(_, p)| p).collect();
        let (challenge, state) = room.webauthn.start_passkey_authentication(&passkeys).map_err(refused_because)?;
        room.keep(browser, &Ceremony::Second { user, state }).await?;
        serde_json::to_value(challenge).map_err(fault)
    }

    /// A challenge for whoever holds a passkey of ours.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn challenge_sign_in(&self, browser: &str) -> Result<Value, Problem> {
        let room = self.passkeys()?;
        let (challenge, state) = room.webauthn.start_discoverable_authentication().map_err(Problem::internal)?;
        room.keep(browser, &Ceremony::SignIn { state }).await?;
        serde_json::to_value(challenge).map_err(fault)
    }

    /// The person whom the answer to a challenge proves. `first`: who has taken a first step in this browser; for them it is the second
    /// one, and which ways to sign in their policy admits was judged at the first.
    ///
    /// # Errors
    /// Unauthenticated, whatever the reason; 429 after too many failures.
    pub async fn verify_passkey(&self, browser: &str, credential: &str, first: Option<UserId>, origin: &Origin) -> Result<Proved, Problem> {
        // There is no name to count by: strangers elsewhere must not lock anybody out.
        let from = format!("passkey from {}", origin.address);
        self.attempts.begin(&from, &origin.address).await?;
        let proved = match self.judge_passkey(browser, credential).await {
            Ok(proved) => {
                let way = if first == Some(proved.person.id) { None } else { Some(Way::Passkey) };
                self.admit_step(proved.person.id, way, origin).await.map(|_| proved)
            }
            Err(problem) => Err(problem),
        };
        match &proved {
            Ok(_) => self.attempts.succeeded(&from, &origin.address).await,
            Err(problem) => {
                let reason = problem.chain();
                self.record(Fact {
                    actor: "anonymous",
                    action: "session.refused",
                    object: "passkey",
                    result: "denied",
                    reason: &reason,
                    from: &origin.address,
                })
                .await;
            }
        }
        proved
    }

    async fn judge_passkey(&self, browser: &str, credential: &str) -> Result<Proved, Problem> {
        let room = self.passkeys()?;
        let ceremony = room.take(browser).await?;
        let credential: PublicKeyCredential = serde_json::from_str(credential).map_err(refused_because)?;
        let (user, passkeys, result) = match ceremony {
            Ceremony::Add { .. } => return Err(refused()),
            Ceremony::Second { user, state } => {
                let result = room.webauthn.finish_passkey_authentication(&credential, &state).map_err(refused_because)?;
                (user, self.passkeys_of(user).await?, result)
            }
            Ceremony::SignIn { state } => {
                let (user, id) = room.webauthn.identify_discoverable_authentication(&credential).map_err(refused_because)?;
                let passkeys = self.passkeys_of(UserId(user)).await?;
                let known = passkeys.iter().find(|(_, p)| p.cred_id().as_slice() == id).map(|(_, p)| p).ok_or_else(refused)?;
                let result = room.webauthn.finish_discoverable_authentication_v2(&credential, state, known).map_err(refused_because)?;
                (UserId(user), passkeys, result)
            }
        };
        self.count_use(user, &passkeys, &result).await?;
        let person = self.active_person(user).await?;
        let method = if result.backup_eligible() { "swk" } else { "hwk" };
        // Every ceremony of ours requires that the key checks its holder; what did not is one factor.
        let amr = if result.user_verified() { format!("{method} {VERIFIED}") } else { method.to_owned() };
        Ok(Proved { person, amr })
    }

    /// A counter that does not grow belongs to a copy of the key (Web Authentication section 6.1.1).
    async fn count_use(&self, user: UserId, passkeys: &[(gantry_kernel::Uuid, Passkey)], result: &AuthenticationResult) -> Result<(), Problem> {
        let (id, _) = passkeys.iter().find(|(_, p)| p.cred_id() == result.cred_id()).ok_or_else(refused)?;
        let counter = i64::from(result.counter());
        let before = factors::counter(self.pool(), *id).await.map_err(fault)?.unwrap_or(0);
        if counter > 0 && counter <= before {
            return Err(refused().with_source(std::io::Error::other("the counter of the passkey went back: it may be a copy")));
        }
        factors::used(self.pool(), user, *id, counter, self.now()).await.map_err(fault)
    }
}
