//! The second factors of a person: enrolment, removal, and the second step of a sign-in.

use std::collections::BTreeSet;

use gantry_contract::factor::FactorKind;
use gantry_es::{Meta, Sealed};
use gantry_kernel::{Kind, OffsetDateTime, Problem, UserId, Uuid};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::{Person, subject};
use crate::app::policies::Rules;
use crate::app::signin::Origin;
use crate::domain::factor::Command;
use crate::domain::policy::Way;
use crate::domain::totp;
use crate::error::{fault, refused, unsealed};
use crate::store::factors;

const RECOVERY_CODES: usize = 10;
/// 80 bits each: nobody guesses them, so a keyed hash keeps them well.
const RECOVERY_BYTES: usize = 10;
/// How long an enrolment may take from the QR code to the first code.
const ENROL_SECONDS: i64 = 900;

/// A factor as its owner sees it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Factor {
    pub id: Uuid,
    /// `totp` or `passkey`.
    pub kind: String,
    pub label: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// A code generator that is not confirmed yet. `pending` goes back with the first code; nothing is stored until then.
pub struct NewTotp {
    pub secret: String,
    pub uri: String,
    pub pending: String,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    secret: Vec<u8>,
    until: i64,
}

/// Which factors a person could take the second step with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    pub totp: bool,
    pub passkey: bool,
    /// A certificate, where there is a door to show it at.
    pub certificate: bool,
}

impl Choices {
    pub fn any(self) -> bool {
        self.totp || self.passkey || self.certificate
    }
}

pub fn wrong_code() -> Problem {
    Problem::new(Kind::Unauthenticated, "identity.wrong_code", "the code is wrong, too old, or was used before")
}

impl App {
    /// # Errors
    /// When the directory cannot be read.
    pub async fn factors(&self, user: UserId) -> Result<Vec<Factor>, Problem> {
        let uses: std::collections::HashMap<_, _> = factors::uses(self.pool(), user).await.map_err(fault)?.into_iter().collect();
        let mut all = Vec::new();
        for row in factors::of_user(self.orm(), user).await.map_err(fault)? {
            let label = self.keyring.open(&subject(user), &Sealed(row.label)).await.map_err(unsealed)?;
            all.push(Factor { id: row.id, kind: row.kind, label, created_at: row.created_at, last_used_at: uses.get(&row.id).copied() });
        }
        Ok(all)
    }

    /// # Errors
    /// When the directory cannot be read.
    pub async fn choices(&self, user: UserId) -> Result<Choices, Problem> {
        self.choices_under(user, &self.rules_for(user).await?).await
    }

    /// The same where the rules were read already.
    ///
    /// # Errors
    /// As [`App::choices`].
    pub async fn choices_under(&self, user: UserId, rules: &Rules) -> Result<Choices, Problem> {
        let has = |kind: FactorKind| rules.kinds.iter().any(|k| k == kind.as_str());
        // One that a policy does not admit would be asked for, and refused.
        let certificate = self.config.certificates_url.is_some() && rules.policy.allows_way(Way::Certificate) && self.has_certificate(user).await?;
        Ok(Choices { totp: has(FactorKind::Totp), passkey: has(FactorKind::Passkey), certificate })
    }

    /// A fresh secret for a code generator.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub async fn begin_totp(&self, person: &Person) -> Result<NewTotp, Problem> {
        let secret = self.host.env.random::<{ totp::SECRET_BYTES }>();
        let pending = Pending { secret: secret.to_vec(), until: self.now().unix_timestamp() + ENROL_SECONDS };
        let sealed = self.keyring.seal(&subject(person.id), &serde_json::to_string(&pending).map_err(fault)?).await.map_err(unsealed)?;
        let host = self.issuer.split_once("://").map_or(self.issuer.as_str(), |(_, host)| host);
        let uri = totp::uri(&secret, &format!("Gantry {host}"), &person.username);
        Ok(NewTotp { secret: totp::base32(&secret), uri, pending: sealed.0 })
    }

    /// The same enrolment again, when its first code was wrong.
    ///
    /// # Errors
    /// When it was begun by somebody else or too long ago.
    pub async fn resume_totp(&self, person: &Person, pending: &str) -> Result<NewTotp, Problem> {
        let secret = self.open_pending(person, pending).await?.secret;
        let host = self.issuer.split_once("://").map_or(self.issuer.as_str(), |(_, host)| host);
        let uri = totp::uri(&secret, &format!("Gantry {host}"), &person.username);
        Ok(NewTotp { secret: totp::base32(&secret), uri, pending: pending.to_owned() })
    }

    async fn open_pending(&self, person: &Person, pending: &str) -> Result<Pending, Problem> {
        let expired = || Problem::invalid("pending", "this enrolment is too old: begin again");
        let text = self.keyring.open(&subject(person.id), &Sealed(pending.to_owned())).await.map_err(|_| expired())?;
        let open: Pending = serde_json::from_str(&text).map_err(|_| expired())?;
        if self.now().unix_timestamp() > open.until { Err(expired()) } else { Ok(open) }
    }

    /// Adds the code generator once its first code is right. Gives recovery codes with a person's first factor.
    ///
    /// # Errors
    /// A wrong code, an enrolment that is too old, too many factors.
    pub async fn confirm_totp(&self, person: &Person, pending: &str, code: &str, label: &str, meta: Meta) -> Result<Vec<String>, Problem> {
        let open = self.open_pending(person, pending).await?;
        let now = self.now();
        let step = totp::matching_step(&open.secret, code, now.unix_timestamp()).ok_or_else(wrong_code)?;
        let secret = totp::base32(&open.secret);
        let factor = self.host.env.uuid();
        // The code that was just shown cannot be used again to sign in.
        factors::take_step(self.pool(), person.id, factor, step, now).await.map_err(fault)?;
        self.add_factor(person, factor, FactorKind::Totp, &secret, label, meta).await
    }

    /// # Errors
    /// Too many factors, a bad label.
    pub async fn add_factor(&self, person: &Person, factor: Uuid, kind: FactorKind, secret: &str, label: &str, meta: Meta) -> Result<Vec<String>, Problem> {
        let label = label.trim();
        if label.chars().count() > 100 || label.chars().any(char::is_control) {
            return Err(Problem::invalid("label", "must have at most 100 characters and no control characters"));
        }
        let label = if label.is_empty() { kind.as_str() } else { label };
        let subject = subject(person.id);
        let secret = self.keyring.seal(&subject, secret).await.map_err(unsealed)?;
        let label = self.keyring.seal(&subject, label).await.map_err(unsealed)?;
        let first = factors::recovery(self.orm(), person.id).await.map_err(fault)?.is_none();
        let command = Command::Add { user: person.id, factor, kind, secret, label };
        let executed = self.factor_store.execute(person.id, command, meta.clone()).await.map_err(refused)?;
        self.settled(executed.position).await;
        let from = meta.from.clone().unwrap_or_default();
        let object = format!("factor:{factor}");
        self.record(Fact { actor: &subject, action: "factor.added", object: &object, result: "ok", reason: kind.as_str(), from: &from }).await;
        if first { self.make_recovery_codes(person.id, Meta { command_id: None, ..meta }).await } else { Ok(Vec::new()) }
    }

    /// # Errors
    /// When there is no such factor of this person.
    pub async fn remove_factor(&self, user: UserId, factor: Uuid, meta: Meta) -> Result<(), Problem> {
        let from = meta.from.clone().unwrap_or_default();
        let executed = self.factor_store.execute(user, Command::Remove { user, factor }, meta).await.map_err(refused)?;
        self.settled(executed.position).await;
        let (actor, object) = (subject(user), format!("factor:{factor}"));
        self.record(Fact { actor: &actor, action: "factor.removed", object: &object, result: "ok", reason: "", from: &from }).await;
        Ok(())
    }

    /// Ten codes that each stand in for a factor once. The ones before are void.
    ///
    /// # Errors
    /// When there is no factor yet.
    pub async fn make_recovery_codes(&self, user: UserId, meta: Meta) -> Result<Vec<String>, Problem> {
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| grouped(&totp::base32(&self.host.env.random::<RECOVERY_BYTES>()).to_lowercase())).collect();
        let hashes: Vec<String> = codes.iter().map(|code| self.recovery_hash(code)).collect();
        let subject = subject(user);
        let sealed = self.keyring.seal(&subject, &serde_json::to_string(&hashes).map_err(fault)?).await.map_err(unsealed)?;
        let from = meta.from.clone().unwrap_or_default();
        let executed = self.factor_store.execute(user, Command::MakeRecoveryCodes { user, codes: sealed }, meta).await.map_err(refused)?;
        self.settled(executed.position).await;
        self.record(Fact { actor: &subject, action: "factor.recovery-codes", object: &subject, result: "ok", reason: "made", from: &from }).await;
        Ok(codes)
    }

    /// How many recovery codes are left.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn recovery_left(&self, user: UserId) -> Result<usize, Problem> {
        let used: BTreeSet<String> = factors::used_recovery(self.pool(), user).await.map_err(fault)?.into_iter().collect();
        Ok(self.recovery_hashes(user).await?.iter().filter(|hash| !used.contains(*hash)).count())
    }

    async fn recovery_hashes(&self, user: UserId) -> Result<Vec<String>, Problem> {
        let Some(row) = factors::recovery(self.orm(), user).await.map_err(fault)? else { return Ok(Vec::new()) };
        let text = self.keyring.open(&subject(user), &Sealed(row.codes)).await.map_err(unsealed)?;
        serde_json::from_str(&text).map_err(fault)
    }

    fn recovery_hash(&self, code: &str) -> String {
        let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        self.lookup.hash(&format!("recovery {}", plain.to_lowercase()))
    }

    /// Proves the second factor with what was typed: a code of the generator, or a recovery code. Gives the method
    /// (RFC 8176). A right one is used up.
    ///
    /// # Errors
    /// Unauthenticated; 429 after too many failures.
    pub async fn verify_code(&self, user: UserId, typed: &str, origin: &Origin) -> Result<&'static str, Problem> {
        let account = self.lookup.hash(&format!("second step of {user}"));
        self.attempts.begin(&account, &origin.address).await?;
        let now = self.now();
        let actor = subject(user);
        for row in factors::of_user(self.orm(), user).await.map_err(fault)?.into_iter().filter(|r| r.kind == FactorKind::Totp.as_str()) {
            let secret = self.keyring.open(&actor, &Sealed(row.secret)).await.map_err(unsealed)?;
            let step = unbase32(&secret).and_then(|secret| totp::matching_step(&secret, typed, now.unix_timestamp()));
            if let Some(step) = step
                && factors::take_step(self.pool(), user, row.id, step, now).await.map_err(fault)?
            {
                self.attempts.succeeded(&account, &origin.address).await;
                return Ok("otp");
            }
        }
        let hash = self.recovery_hash(typed);
        if self.recovery_hashes(user).await?.contains(&hash) && factors::take_recovery(self.pool(), user, &hash, now).await.map_err(fault)? {
            self.attempts.succeeded(&account, &origin.address).await;
            self.record(Fact { actor: &actor, action: "factor.recovery-code-used", object: &actor, result: "ok", reason: "", from: &origin.address }).await;
            return Ok("otp");
        }
        self.record(Fact { actor: "anonymous", action: "session.refused", object: &actor, result: "denied", reason: "wrong code", from: &origin.address })
            .await;
        Err(wrong_code())
    }
}

/// `abcd-efgh-ijkl-mnop`: easier to type.
fn grouped(code: &str) -> String {
    code.as_bytes().chunks(4).map(|c| String::from_utf8_lossy(c).into_owned()).collect::<Vec<_>>().join("-")
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_back_from_base32() {
        for secret in [&b"foobar"[..], b"12345678901234567890", b""] {
            assert_eq!(unbase32(&totp::base32(secret)).as_deref(), Some(secret));
        }
        assert_eq!(unbase32("A1"), None);
    }
}
