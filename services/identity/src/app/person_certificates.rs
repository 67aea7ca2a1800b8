//! Certificates that people sign in with: bound by showing them, found again by their fingerprint, or by the name that an authority of
//! the person's organisation vouches for. Whether the key is the bearer's, the TLS layer has checked.

use gantry_es::{Meta, Sealed};
use gantry_es_pg::{Claim, ExecuteError, Options};
use gantry_kernel::{Kind, OffsetDateTime, OrgId, Problem, UserId, Uuid};
use serde::Serialize;
use time::Duration;
use utoipa::ToSchema;

use crate::app::App;
use crate::app::certificates::{Said, in_time, issuer_hash, said};
use crate::app::client_auth::Vouched;
use crate::app::context::Fact;
use crate::app::orgs::name_of;
use crate::app::people::{Person, subject};
use crate::app::secrets::{fresh, kept};
use crate::app::signin::Origin;
use crate::app::steps::ShownCertificate;
use crate::domain::certificate::{AuthorityCommand, Binding, Command};
use crate::domain::policy::Way;
use crate::error::{fault, refused, unsealed};
use crate::store::directory;
use crate::store::person_certificates::{self as rows, AuthorityRow, CertificateRow};

/// The method of a certificate (RFC 8176): nothing attests that its key is in hardware.
pub const METHOD: &str = "swk";
const MOST: usize = 20;
const MOST_AUTHORITIES: usize = 20;
const LARGEST: usize = 16 * 1024;
/// From the door for certificates back to the page.
const PROOF_SECONDS: i64 = 120;
const NOTICE: Duration = Duration::days(14);

/// A certificate as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PersonCertificate {
    pub id: Uuid,
    pub label: String,
    pub subject: String,
    pub issuer: String,
    /// Hex.
    pub serial: String,
    /// Of the certificate that was shown when it was bound; lower-case hex.
    pub sha256: String,
    /// `certificate`: this one only; `name`: every one in which this organisation's authority says the same name.
    pub by: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    pub bound_at: OffsetDateTime,
    /// When the certificate that was shown ends.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// What attempts are counted by: there is no name yet.
fn shown_from(origin: &Origin) -> String {
    format!("certificate from {}", origin.address)
}

fn not_usable(detail: &str) -> Problem {
    Problem::new(Kind::Invalid, "identity.certificate_unusable", detail)
}

pub(super) fn unknown() -> Problem {
    Problem::new(Kind::Unauthenticated, "identity.certificate_unknown", "this certificate signs nobody in here")
}

/// An authority whose own certificate has ended vouches for nobody.
fn authority_vouches(authority: &AuthorityRow, der: &[u8], now: i64) -> bool {
    let in_force = x509_parser::pem::Pem::iter_from_buffer(authority.pem.as_bytes()).all(|pem| pem.is_ok_and(|p| in_time(&p.contents, now)));
    in_force && Vouched::new(&authority.pem).is_ok_and(|v| v.vouches(der))
}

impl App {
    fn exact_key(&self, it: &Said) -> String {
        self.lookup.exact(&format!("certificate {}", it.sha256))
    }

    fn name_key(&self, authority: Uuid, name: &str) -> String {
        self.lookup.exact(&format!("certificate name {authority} {name}"))
    }

    /// What a certificate says, if it is one that a person may sign in with now.
    fn usable(&self, der: &[u8]) -> Result<Said, Problem> {
        let it = Some(der).filter(|d| d.len() <= LARGEST).and_then(said).ok_or_else(|| not_usable("this is no certificate that can be read"))?;
        let now = self.now().unix_timestamp();
        if now < it.not_before || now > it.not_after {
            return Err(not_usable("this certificate is not in force now: it has ended, or begins later"));
        }
        if it.authority || !it.for_clients {
            return Err(not_usable("this certificate is not for signing people in (RFC 5280: it is an authority's, or for other uses)"));
        }
        Ok(it)
    }

    /// # Errors
    /// When the database refuses.
    pub async fn has_certificate(&self, user: UserId) -> Result<bool, Problem> {
        rows::has_usable(self.pool(), user.0, self.now()).await.map_err(fault)
    }

    /// # Errors
    /// When the database refuses.
    pub async fn certificates_of(&self, user: UserId) -> Result<Vec<PersonCertificate>, Problem> {
        let mut all = Vec::new();
        for row in rows::of_user(self.pool(), user.0).await.map_err(fault)? {
            all.push(self.shown_certificate(row).await?);
        }
        Ok(all)
    }

    async fn shown_certificate(&self, row: CertificateRow) -> Result<PersonCertificate, Problem> {
        let own = subject(UserId(row.user_id));
        let details = self.keyring.open(&own, &Sealed(row.details)).await.map_err(unsealed)?;
        let label = self.keyring.open(&own, &Sealed(row.label)).await.map_err(unsealed)?;
        let Said { subject, issuer, serial, sha256, .. } = serde_json::from_str(&details).map_err(fault)?;
        let by = if row.authority.is_some() { "name" } else { "certificate" };
        Ok(PersonCertificate { id: row.id, label, subject, issuer, serial, sha256, by, bound_at: row.bound_at, expires_at: row.not_after })
    }

    /// Binds a certificate that was just shown to a person who has just proved who they are.
    ///
    /// # Errors
    /// One that is not usable, bound already, or by name without an authority that vouches for it.
    pub async fn bind_certificate(&self, person: &Person, der: &[u8], by_name: bool, label: &str, meta: Meta) -> Result<PersonCertificate, Problem> {
        let it = self.usable(der)?;
        let label = label.trim();
        if label.chars().count() > 100 || label.chars().any(char::is_control) {
            return Err(Problem::invalid("label", "must have at most 100 characters and no control characters"));
        }
        if rows::of_user(self.pool(), person.id.0).await.map_err(fault)?.len() >= MOST {
            return Err(Problem::conflict("identity.too_many_factors", format!("there are {MOST} certificates already: remove some first")));
        }
        let (authority, key) = if by_name {
            let (authority, name) = self.vouched_name(person.id, der, &it).await?;
            (Some(authority), self.name_key(authority, &name))
        } else {
            (None, self.exact_key(&it))
        };
        let own = subject(person.id);
        let seal = async |text: &str| self.keyring.seal(&own, text).await.map_err(unsealed);
        let certificate = self.host.env.uuid();
        let label = if label.is_empty() { it.subject.chars().take(100).collect() } else { label.to_owned() };
        let details = seal(&serde_json::to_string(&it).map_err(fault)?).await?;
        let binding = Binding { certificate, user: person.id, key: key.clone(), authority, details, label: seal(&label).await?, not_after: it.not_after };
        let from = meta.from.clone().unwrap_or_default();
        let options = Options { meta, claims: vec![Claim::take("certificate", key.as_str())], ..Options::default() };
        let executed = match self.certificates.execute(certificate, Command::Bind(binding), options).await {
            Ok(executed) => executed,
            Err(ExecuteError::NameTaken { scope, .. }) if scope == "certificate" => {
                return Err(Problem::conflict("identity.certificate_taken", "this certificate signs somebody in already: remove it there first"));
            }
            Err(error) => return Err(refused(error)),
        };
        self.settled(executed.position).await;
        let object = format!("certificate:{certificate}");
        self.record(Fact {
            actor: &own,
            action: "certificate.bound",
            object: &object,
            result: "ok",
            reason: if by_name { "name" } else { "certificate" },
            from: &from,
        })
        .await;
        let row = rows::of_user(self.pool(), person.id.0).await.map_err(fault)?.into_iter().find(|r| r.id == certificate);
        self.shown_certificate(row.ok_or_else(|| Problem::not_found("certificate", certificate))?).await
    }

    /// The authority of one of the person's organisations that vouches for a certificate, and the name in it.
    async fn vouched_name(&self, user: UserId, der: &[u8], it: &Said) -> Result<(Uuid, String), Problem> {
        let nobody = "this certificate has neither an e-mail address nor a user principal name among its alternative names: bind the certificate itself";
        let name = it.names.first().cloned().ok_or_else(|| not_usable(nobody))?;
        let now = self.now().unix_timestamp();
        for authority in rows::authorities_of(self.pool(), user.0, &issuer_hash(der)).await.map_err(fault)? {
            if authority_vouches(&authority, der, now) {
                self.not_revoked(&authority, &it.serial_bytes())
                    .await
                    .map_err(|p| not_usable("its authority has revoked it, or cannot say now whether it has").with_source(p.chain()))?;
                return Ok((authority.id, name));
            }
        }
        Err(not_usable("no organisation of yours trusts the authority that issued this certificate: bind the certificate itself, or ask an administrator"))
    }

    /// Removes a certificate of `user`: it signs nobody in from now on.
    ///
    /// # Errors
    /// Not found.
    pub async fn remove_certificate(&self, user: UserId, id: Uuid, reason: &str, meta: Meta) -> Result<(), Problem> {
        if reason.chars().count() > 500 || reason.chars().any(char::is_control) {
            return Err(Problem::invalid("reason", "must have at most 500 characters and no control characters"));
        }
        let all = rows::of_user(self.pool(), user.0).await.map_err(fault)?;
        let row = all.iter().find(|r| r.id == id).ok_or_else(|| Problem::not_found("certificate", id))?;
        let (actor, from) = (meta.actor.clone(), meta.from.clone().unwrap_or_default());
        let options = Options { meta, claims: vec![Claim::release("certificate", row.key.as_str())], ..Options::default() };
        let executed = self.certificates.execute(id, Command::Remove { reason: reason.to_owned() }, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        let object = format!("certificate:{id}");
        self.record(Fact { actor: &actor, action: "certificate.removed", object: &object, result: "ok", reason, from: &from }).await;
        Ok(())
    }

    /// Before a person is erased: their certificates may be bound again.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_certificates(&self, user: UserId, meta: &Meta) -> Result<(), Problem> {
        for row in rows::of_user(self.pool(), user.0).await.map_err(fault)? {
            self.remove_certificate(user, row.id, "the person was deleted", Meta { command_id: None, ..meta.clone() }).await?;
        }
        Ok(())
    }

    /// Keeps a certificate that was shown at the door, for the page that asked for it. Gives the text that the browser takes back.
    /// Each counts as a failure until [`Self::shown_well`]: anybody can make certificates.
    ///
    /// # Errors
    /// One that is not usable; 429 for whoever shows too many.
    pub async fn keep_shown(&self, nonce: &str, der: &[u8], origin: &Origin) -> Result<String, Problem> {
        self.attempts.begin(&shown_from(origin), &origin.address).await?;
        self.usable(der)?;
        let token = fresh(&self.host.env, "gx_");
        rows::keep_proof(self.pool(), &kept(&token), nonce, der, self.now() + Duration::seconds(PROOF_SECONDS)).await.map_err(fault)?;
        Ok(token)
    }

    /// What was shown was right: it signed somebody in, or was bound.
    pub async fn shown_well(&self, origin: &Origin) {
        self.attempts.succeeded(&shown_from(origin), &origin.address).await;
    }

    /// The certificate behind what a browser took back; good once, and only with the nonce it began with.
    ///
    /// # Errors
    /// Invalid when there is none.
    pub async fn take_shown(&self, token: &str, nonce: &str) -> Result<Vec<u8>, Problem> {
        let found = rows::take_proof(self.pool(), &kept(token), nonce, self.now()).await.map_err(fault)?;
        found.ok_or_else(|| Problem::new(Kind::Invalid, "identity.errand_unknown", "this was not begun in this browser, or too long ago: begin again"))
    }

    /// Whom a certificate signs in that was shown at the door, where attempts are counted. Policy and record included.
    ///
    /// # Errors
    /// Unauthenticated, whatever the reason.
    pub async fn verify_certificate(&self, der: &[u8], origin: &Origin) -> Result<(Person, ShownCertificate), Problem> {
        let judged = match self.bearer_of(der).await {
            Ok((person, shown)) => self.admit(person.id, Way::Certificate, origin).await.map(|_| (person, shown)),
            Err(problem) => Err(problem),
        };
        match &judged {
            Ok(_) => self.shown_well(origin).await,
            Err(problem) => {
                let reason = problem.chain();
                let (actor, action, object) = ("anonymous", "session.refused", "certificate");
                self.record(Fact { actor, action, object, result: "denied", reason: &reason, from: &origin.address }).await;
            }
        }
        judged
    }

    async fn bearer_of(&self, der: &[u8]) -> Result<(Person, ShownCertificate), Problem> {
        let it = self.usable(der)?;
        let mut shown = ShownCertificate { authorities: Vec::new(), serial: it.serial_bytes() };
        if let Some(row) = rows::by_key(self.pool(), &self.exact_key(&it)).await.map_err(fault)? {
            // Bound by itself; its authority may have taken it back all the same, where an organisation of the person listens.
            for authority in rows::authorities_of(self.pool(), row.user_id, &issuer_hash(der)).await.map_err(fault)? {
                if authority_vouches(&authority, der, self.now().unix_timestamp()) {
                    self.not_revoked(&authority, &shown.serial).await?;
                    shown.authorities.push(authority.id);
                }
            }
            let person = self.active(UserId(row.user_id)).await?.ok_or_else(unknown)?;
            return Ok((person, shown));
        }
        if it.names.is_empty() {
            return Err(unknown());
        }
        let now = self.now().unix_timestamp();
        // Anybody can make certificates: only authorities of the name it is from are read, and signatures computed only where somebody
        // has bound one of its names.
        let candidates = rows::authorities_called(self.pool(), &issuer_hash(der)).await.map_err(fault)?;
        let keys_of = |authority: &AuthorityRow| it.names.iter().map(|name| self.name_key(authority.id, name)).collect::<Vec<String>>();
        let keys: Vec<String> = candidates.iter().flat_map(keys_of).collect();
        let bound = rows::by_keys(self.pool(), &keys).await.map_err(fault)?;
        for authority in candidates {
            let found: Vec<&CertificateRow> = bound.iter().filter(|row| row.authority == Some(authority.id)).collect();
            let Some(row) = found.first() else { continue };
            // The names of several people prove none of them.
            if found.iter().any(|other| other.user_id != row.user_id) || !authority_vouches(&authority, der, now) {
                continue;
            }
            // Who left the organisation is not signed in by its authority.
            if directory::is_member(self.orm(), OrgId(authority.org), row.user_id).await.map_err(fault)? {
                self.not_revoked(&authority, &shown.serial).await?;
                shown.authorities.push(authority.id);
                let person = self.active(UserId(row.user_id)).await?.ok_or_else(unknown)?;
                return Ok((person, shown));
            }
        }
        Err(unknown())
    }

    /// Trusts an authority for the certificates of an organisation's people, who bind them by name themselves.
    ///
    /// # Errors
    /// A PEM text that is not one authority's certificate in force, a taken name, too many.
    pub async fn trust_authority(&self, org: OrgId, name: &str, pem: &str, meta: Meta) -> Result<AuthorityRow, Problem> {
        let name = name_of("name", name)?;
        let wrong = |detail: &str| Problem::invalid("pem", detail);
        if pem.len() > LARGEST {
            return Err(wrong("must have at most 16 KiB"));
        }
        let found = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let one = found.ok().filter(|all| all.len() == 1).and_then(|mut all| all.pop()).ok_or_else(|| wrong("must be one certificate in PEM"))?;
        let it = said(&one.contents).ok_or_else(|| wrong("is no certificate that can be read"))?;
        if !it.authority {
            return Err(wrong("is not an authority's certificate (basic constraints: CA)"));
        }
        if self.now().unix_timestamp() > it.not_after {
            return Err(wrong("has ended"));
        }
        if rows::authorities(self.pool(), org.0).await.map_err(fault)?.len() >= MOST_AUTHORITIES {
            return Err(Problem::new(Kind::QuotaExceeded, "identity.too_many", format!("an organisation trusts {MOST_AUTHORITIES} authorities at most")));
        }
        let authority = self.host.env.uuid();
        let claims = vec![Claim::take("authority", format!("{org}/{name}"))];
        let command = AuthorityCommand::Trust { authority, org, name: name.clone(), pem: pem.to_owned() };
        let executed = self.authorities.execute(authority, command, Options { meta: meta.tenant(org), claims, ..Options::default() }).await;
        let executed = match executed {
            Err(ExecuteError::NameTaken { scope, .. }) if scope == "authority" => {
                return Err(Problem::conflict("identity.name_taken", format!("the name `{name}` is taken")));
            }
            other => other.map_err(refused)?,
        };
        self.settled(executed.position).await;
        let all = rows::authorities(self.pool(), org.0).await.map_err(fault)?;
        all.into_iter().find(|a| a.id == authority).ok_or_else(|| Problem::not_found("authority", name))
    }

    /// # Errors
    /// Not found.
    pub async fn distrust_authority(&self, org: OrgId, id: Uuid, meta: Meta) -> Result<(), Problem> {
        let all = rows::authorities(self.pool(), org.0).await.map_err(fault)?;
        let row = all.into_iter().find(|a| a.id == id).ok_or_else(|| Problem::not_found("authority", id))?;
        let claims = vec![Claim::release("authority", format!("{org}/{}", row.name))];
        let options = Options { meta: meta.tenant(org), claims, ..Options::default() };
        let executed = self.authorities.execute(id, AuthorityCommand::Remove, options).await.map_err(refused)?;
        self.settled(executed.position).await;
        crate::store::revocation_lists::forget(self.pool(), id).await.map_err(fault)
    }

    /// Tells people, once for each, that a certificate of theirs ends within two weeks.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn notify_ending(&self) -> Result<(), Problem> {
        let now = self.now();
        for row in rows::ending(self.pool(), now, now + NOTICE).await.map_err(fault)? {
            let Ok(person) = self.active_person(UserId(row.user_id)).await else { continue };
            let id = row.id;
            let it = match self.shown_certificate(row).await {
                Ok(it) => it,
                Err(problem) => {
                    // One that cannot be read keeps nobody else from being told.
                    tracing::error!(certificate = %id, error = problem.chain(), "a certificate that ends soon cannot be read");
                    continue;
                }
            };
            let text = format!(
                "{}: your certificate \"{}\" signs you in until {} UTC. Bind the next one before that:\n您的证书“{}”将于 {} UTC 到期,请在此之前绑定新证书:\n\n{}/account\n",
                person.username,
                it.label,
                it.expires_at.date(),
                it.label,
                it.expires_at.date(),
                self.issuer
            );
            self.mail(&person.email, "Gantry: a certificate ends soon / 证书即将到期", text).await?;
            // After the mail: twice, should the process die here, is better than never.
            rows::noticed(self.pool(), id, now).await.map_err(fault)?;
        }
        Ok(())
    }
}
