//! What goes out by mail: links to set a forgotten password, notices of new devices, invitations. The addresses in
//! mails come from the configuration, never from a request.

use gantry_es::{Meta, Sealed};
use gantry_es_pg::{Expect, Todo};
use gantry_kernel::{Kind, OrgId, Problem, Role, Secret, UserId, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::Duration;

use crate::app::App;
use crate::app::context::{Fact, meta_of};
use crate::app::people::{Person, subject};
use crate::app::secrets::{SUBJECT, fresh, kept};
use crate::app::signin::Origin;
use crate::app::users::{By, Profile};
use crate::error::{fault, unsealed};
use crate::store::directory;
use crate::store::links::{self, Invitation};

/// The lists of work that `flows::outbox` does.
pub const MAIL: &str = "identity.mail";
pub const FORGOTTEN: &str = "identity.forgotten";
/// Nobody wants a link or a notice of yesterday.
const WORTH_SECONDS: i64 = 86_400;

/// A mail as it waits to be sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
}

const RESET: &str = "reset";
const RESET_WITHIN: Duration = Duration::minutes(30);
const MOST_INVITATION_DAYS: u32 = 30;

fn stale_link() -> Problem {
    Problem::new(Kind::NotFound, "identity.link_unknown", "this link is not known, too old, or was used before")
}

impl App {
    /// Writes a mail down to be sent. Without a mail server nothing is sent.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn mail(&self, to: &str, subject: &str, text: String) -> Result<(), Problem> {
        if self.mailer.is_none() {
            return Ok(());
        }
        let letter = Letter { to: to.to_owned(), subject: subject.to_owned(), text };
        let sealed = self.keyring.seal(SUBJECT, &serde_json::to_string(&letter).map_err(fault)?).await.map_err(unsealed)?;
        let payload = json!({ "sealed": sealed.0, "until": self.now().unix_timestamp() + WORTH_SECONDS });
        Todo::enqueue(self.orm(), MAIL, &self.host.env.uuid().to_string(), &payload).await.map_err(fault)
    }

    /// Somebody says to have forgotten the password of `name`. Whether there is such an account shows neither in the
    /// answer nor in its time: the search is done later.
    ///
    /// # Errors
    /// 429 after too many requests.
    pub async fn forgotten(&self, name: &str, origin: &Origin) -> Result<(), Problem> {
        let key = self.lookup.hash(&format!("forgotten {name}"));
        self.attempts.begin(&key, &origin.address).await?;
        if self.mailer.is_none() || name.len() > 300 {
            return Ok(());
        }
        let sealed = self.keyring.seal(SUBJECT, name).await.map_err(unsealed)?;
        Todo::enqueue(self.orm(), FORGOTTEN, &key, &json!({ "sealed": sealed.0, "from": origin.address })).await.map_err(fault)
    }

    /// Sends the link, if there is an active account with a password behind `name`.
    ///
    /// # Errors
    /// When something is away; then it is tried again.
    pub async fn send_reset_link(&self, name: &str, from: &str) -> Result<(), Problem> {
        let Some(row) = directory::user_by_key(self.orm(), &self.lookup.hash(name)).await.map_err(fault)? else { return Ok(()) };
        if row.suspended_reason.is_some() || row.password_hash.is_none() {
            return Ok(());
        }
        let person = self.open(row).await?;
        let token = fresh(&self.host.env, "gf_");
        let now = self.now();
        // It counts for as long as the address is the person's.
        let sent_to = self.lookup.hash(&person.email);
        links::insert(self.pool(), &kept(&token), RESET, person.id, &sent_to, now, now + RESET_WITHIN).await.map_err(fault)?;
        let text = format!(
            "{name}: open this address to choose a new password (valid for 30 minutes, once):\n打开此链接设置新密码(30 分钟内有效,仅一次):\n\n{}/login/reset?token={token}\n\n\
             If it was not you, ignore this mail: nothing has changed.\n如非本人操作,请忽略此邮件。\n",
            self.issuer,
            name = person.username,
        );
        self.mail(&person.email, "Gantry: choose a new password / 设置新密码", text).await?;
        let object = subject(person.id);
        self.record(Fact { actor: "anonymous", action: "password.reset-asked", object: &object, result: "ok", reason: "", from }).await;
        Ok(())
    }

    /// # Errors
    /// Not found for a link that is not living, or that went to an address which is the person's no more.
    pub async fn reset_link(&self, token: &str) -> Result<Person, Problem> {
        let (user, sent_to) = links::peek(self.pool(), &kept(token), RESET, self.now()).await.map_err(fault)?.ok_or_else(stale_link)?;
        let person = self.active(UserId(user)).await?.ok_or_else(stale_link)?;
        // An older version of this service, which may run beside, notes no address.
        if sent_to.is_empty() || sent_to == self.lookup.hash(&person.email) { Ok(person) } else { Err(stale_link()) }
    }

    /// Sets a new password by a mailed link and ends every session. Second factors stay: a mailbox alone opens nothing
    /// that they protect.
    ///
    /// # Errors
    /// A stale link (then nothing happened), or a weak password (then the link is still good).
    pub async fn reset_password(&self, token: &str, new: &Secret, origin: &Origin) -> Result<Person, Problem> {
        let person = self.reset_link(token).await?;
        self.judge_password(&person, new).await?;
        links::take(self.pool(), &kept(token), RESET, self.now()).await.map_err(fault)?.ok_or_else(stale_link)?;
        let actor = subject(person.id);
        self.change_password(&person, new, false, None, Expect::Any, meta_of(&actor, &origin.address)).await?;
        self.record(Fact { actor: &actor, action: "password.reset", object: &actor, result: "ok", reason: "by mailed link", from: &origin.address }).await;
        let text = "Your password was changed just now. If it was not you, choose another one by \"Forgotten your password?\" and tell your administrator.\n\
                    您的密码刚刚被修改。如非本人操作,请立即通过“忘记密码”重新设置并联系管理员。\n";
        self.mail(&person.email, "Gantry: your password was changed / 密码已修改", text.into()).await?;
        Ok(person)
    }

    /// Puts on record that somebody signed in with a device that is new, and tells the person by mail.
    ///
    /// # Errors
    /// When the mail cannot be written down.
    pub async fn tell_new_device(&self, person: &Person, agent: &str, origin: &Origin) -> Result<(), Problem> {
        let actor = subject(person.id);
        self.record(Fact { actor: &actor, action: "device.new", object: &actor, result: "ok", reason: agent, from: &origin.address }).await;
        let text = format!(
            "{}: somebody signed in to your account with a browser that was not seen before.\n您的账号在新的浏览器上登录:\n\n{agent}\n{}\n{} UTC\n\n\
             If it was not you, sign that session out and change your password:\n如非本人操作,请退出该会话并修改密码:\n\n{}/account\n",
            person.username,
            origin.address,
            self.now().date(),
            self.issuer
        );
        self.mail(&person.email, "Gantry: new device / 新设备登录", text).await
    }

    /// Invites somebody into an organisation. Gives the invitation and its address, which is also mailed.
    ///
    /// # Errors
    /// An address that is none or that a policy forbids, a life that is out of range.
    pub async fn invite(&self, org: OrgId, name: &str, email: &str, role: Role, days: u32, meta: &Meta) -> Result<(Invitation, String), Problem> {
        // The same rules as for an account of that address.
        Profile::parse("invited", email, None)?;
        if days == 0 || days > MOST_INVITATION_DAYS {
            return Err(Problem::invalid("expires_in_days", format!("must be 1 to {MOST_INVITATION_DAYS}")));
        }
        let policies = [self.policy(None).await?.0, self.policy(Some(org)).await?.0];
        if !crate::domain::policy::Effective::of(policies).allows_email(email) {
            return Err(Problem::invalid("email", "is of a domain that the security policy does not allow"));
        }
        let token = fresh(&self.host.env, "gi_");
        let now = self.now();
        let invitation = Invitation {
            id: self.host.env.uuid(),
            org: org.0,
            sealed: self.keyring.seal(SUBJECT, email.trim()).await.map_err(unsealed)?.0,
            role: role.as_str().into(),
            invited_by: meta.actor.clone(),
            created_at: now,
            expires_at: now + Duration::days(days.into()),
        };
        links::invite(self.pool(), &kept(&token), &invitation).await.map_err(fault)?;
        let link = format!("{}/register/invitation?token={token}", self.issuer);
        let text = format!(
            "You are invited to the organisation {name}. Open this address (valid for {days} days):\n您被邀请加入组织 {name},请打开此链接({days} 天内有效):\n\n{link}\n"
        );
        self.mail(email.trim(), &format!("Gantry: invitation to {name} / 邀请加入 {name}"), text).await?;
        let (object, from) = (format!("org:{org}"), meta.from.clone().unwrap_or_default());
        self.record(Fact { actor: &meta.actor, action: "invitation.made", object: &object, result: "ok", reason: role.as_str(), from: &from }).await;
        Ok((invitation, link))
    }

    /// The open invitation of a link, with the invited address and the organisation's name.
    ///
    /// # Errors
    /// Not found for a link that is not living.
    pub async fn invitation(&self, token: &str) -> Result<(Invitation, String, String), Problem> {
        let found = links::invitation(self.pool(), &kept(token), self.now()).await.map_err(fault)?.ok_or_else(stale_link)?;
        let email = self.invited_email(&found).await?;
        let name = self.host.auth.read(|rights| rights.org_ref(found.org.into()).map(|o| o.name.to_string())).ok_or_else(stale_link)?;
        Ok((found, email, name))
    }

    /// # Errors
    /// When it cannot be opened.
    pub async fn invited_email(&self, invitation: &Invitation) -> Result<String, Problem> {
        self.keyring.open(SUBJECT, &Sealed(invitation.sealed.clone())).await.map_err(unsealed)
    }

    /// Makes somebody a member by an invitation, which is used up.
    ///
    /// # Errors
    /// A stale link.
    pub async fn accept_invitation(&self, token: &str, person: &Person, origin: &Origin) -> Result<String, Problem> {
        let (invitation, _, name) = self.invitation(token).await?;
        if !links::accept(self.pool(), &kept(token), self.now()).await.map_err(fault)? {
            return Err(stale_link());
        }
        let org = OrgId(invitation.org);
        let role: Role = invitation.role.parse().map_err(|_| stale_link())?;
        let actor = subject(person.id);
        // Who is a member already keeps the role they have.
        if !directory::is_member(self.orm(), org, person.id.0).await.map_err(fault)? {
            self.put_member(org, person.id, role, meta_of(&invitation.invited_by, &origin.address)).await?;
        }
        let object = format!("org:{org}");
        self.record(Fact { actor: &actor, action: "invitation.accepted", object: &object, result: "ok", reason: role.as_str(), from: &origin.address }).await;
        Ok(name)
    }

    /// An account for somebody who was invited, also where registration is closed. The address is the invited one: who
    /// has the link has the mailbox, or the word of the administrator who passed it on.
    ///
    /// # Errors
    /// A stale link, faulty fields, a taken name, a weak password.
    pub async fn register_invited(
        &self,
        token: &str,
        username: &str,
        display_name: Option<&str>,
        password: &Secret,
        origin: &Origin,
    ) -> Result<Person, Problem> {
        let (_, email, _) = self.invitation(token).await?;
        self.attempts.begin(&format!("register {}", self.lookup.hash(username)), &origin.address).await?;
        let profile = Profile::parse(username, &email, display_name)?;
        let person = self.create_user(&profile, Some(password), By::Self_, false, meta_of("anonymous", &origin.address)).await?;
        let actor = subject(person.id);
        self.record(Fact { actor: &actor, action: "user.self-registered", object: &actor, result: "ok", reason: "invited", from: &origin.address }).await;
        Ok(person)
    }

    /// # Errors
    /// When there is no such open invitation of the organisation.
    pub async fn withdraw_invitation(&self, org: OrgId, id: Uuid) -> Result<(), Problem> {
        if links::withdraw(self.pool(), org.0, id).await.map_err(fault)? { Ok(()) } else { Err(Problem::not_found("invitation", id)) }
    }
}
