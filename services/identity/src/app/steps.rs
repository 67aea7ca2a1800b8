//! A sign-in between its first and its second step. It lives in the browser's cookie, sealed, for a few minutes: it
//! proves the first step and is worth nothing without the second.

use gantry_es::Sealed;
use gantry_kernel::{OffsetDateTime, Problem, UserId, Uuid};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::app::factors::Choices;
use crate::app::people::Person;
use crate::app::person_certificates::METHOD;
use crate::app::policies::{Rules, least_level};
use crate::app::secrets::SUBJECT;
use crate::domain::assurance::{Level, level, with_second};
use crate::error::{fault, unsealed};
use crate::store::sessions;

const SECONDS: i64 = 600;
const PURPOSE: &str = "half a sign-in";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HalfSignIn {
    purpose: String,
    pub user: UserId,
    /// The first step.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// When it was taken.
    #[serde(default = "long_ago", with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    until: i64,
}

/// Of a cookie that an older version made.
fn long_ago() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}

/// How somebody has proved who they are so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The methods (RFC 8176), separated by spaces.
    pub amr: String,
    /// Those among them that somebody else can take back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<ShownCertificate>,
}

impl Evidence {
    pub fn by(amr: &str) -> Self {
        Self { amr: amr.to_owned(), certificates: Vec::new() }
    }

    pub fn by_certificate(shown: ShownCertificate) -> Self {
        Self { amr: METHOD.to_owned(), certificates: vec![shown] }
    }

    /// Both steps together.
    #[must_use]
    pub fn and(&self, second: &Self) -> Self {
        let certificates = self.certificates.iter().chain(&second.certificates).cloned().collect();
        Self { amr: with_second(&self.amr, &second.amr), certificates }
    }
}

/// A certificate that was shown, as far as it can be taken back: whose word it is, of those that organisations of the person trust, and its
/// number there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCertificate {
    pub authorities: Vec<Uuid>,
    pub serial: Vec<u8>,
}

/// What is due after a first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    SecondStep,
    /// A policy asks for a second factor, and there is none yet.
    Enrolment,
}

impl Choices {
    /// Without what was the first step.
    fn after(mut self, amr: &str) -> Self {
        self.certificate &= !amr.split_ascii_whitespace().any(|method| method == METHOD);
        self
    }
}

impl App {
    /// # Errors
    /// When it cannot be sealed.
    pub async fn seal_half(&self, user: UserId, evidence: &Evidence) -> Result<String, Problem> {
        let at = self.now();
        let half = HalfSignIn { purpose: PURPOSE.into(), user, evidence: evidence.clone(), at, until: at.unix_timestamp() + SECONDS };
        Ok(self.keyring.seal(SUBJECT, &serde_json::to_string(&half).map_err(fault)?).await.map_err(unsealed)?.0)
    }

    /// The first step that a cookie proves; `None` when it is not ours, too old, the account is not active any more, or all sign-ins were
    /// ended since: whoever knew the old password must not go on with it, and enrol a factor of theirs.
    pub async fn open_half(&self, cookie: &str) -> Option<(HalfSignIn, Person)> {
        let text = self.keyring.open(SUBJECT, &Sealed(cookie.to_owned())).await.ok()?;
        let half: HalfSignIn = serde_json::from_str(&text).ok()?;
        if half.purpose != PURPOSE || self.now().unix_timestamp() > half.until {
            return None;
        }
        let person = self.active_person(half.user).await.ok()?;
        let ended_at = sessions::all_ended_at(self.pool(), half.user).await.ok()?;
        if ended_at.is_some_and(|at| at > half.at) {
            return None;
        }
        Some((half, person))
    }

    /// What somebody can still prove after `amr`. What was the first step cannot be the second one: a key that did not check its holder
    /// is a certificate's.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn choices_after(&self, user: UserId, amr: &str) -> Result<Choices, Problem> {
        Ok(self.choices(user).await?.after(amr))
    }

    /// # Errors
    /// When the directory cannot be read.
    pub async fn due_after(&self, user: UserId, amr: &str, rules: &Rules) -> Result<Due, Problem> {
        let has = level(amr);
        let needed = least_level(rules.policy.second_factor);
        if has >= needed.max(Level::Two) {
            return Ok(Due::Nothing);
        }
        let choices = self.choices_under(user, rules).await?.after(amr);
        let can = if needed == Level::Phishproof { choices.passkey || choices.certificate } else { choices.any() };
        Ok(match (can, has < needed) {
            (true, _) => Due::SecondStep,
            (false, true) => Due::Enrolment,
            (false, false) => Due::Nothing,
        })
    }
}
