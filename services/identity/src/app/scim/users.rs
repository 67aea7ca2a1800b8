//! SCIM users: members of the organisation.

use std::collections::{BTreeMap, HashMap};

use gantry_es::Sealed;
use gantry_es_pg::Expect;
use gantry_kernel::{OffsetDateTime, Problem, Role, Scope, Secret, UserId, Username, Uuid};
use serde_json::{Map, Value, json};

use super::{ListQuery, Listed, MOST_SEARCHED, Provisioner, ScimError, narrow, text, with_meta};
use crate::app::App;
use crate::app::people::{Person, subject};
use crate::app::users::{By, Profile};
use crate::domain::scim::filter::{attribute, truth};
use crate::domain::scim::kept;
use crate::error::{fault, unsealed};
use crate::store::scim::{self, Key, Link};
use crate::store::{directory, user_search};

pub const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const KIND: &str = "User";
/// Bytes of what is kept of a person beside what has its use here.
const MOST_KEPT: usize = 16 * 1024;
/// Why somebody is suspended whom the directory switched off: what it may take back.
const NOT_ACTIVE: &str = "not active in the directory";

/// What a directory says of a person, checked.
struct Wanted {
    user_name: String,
    display_name: Option<String>,
    formatted: Option<String>,
    email: Option<String>,
    /// None: nothing is said of it.
    active: Option<bool>,
    external_id: Option<String>,
    password: Option<Secret>,
    kept: Map<String, Value>,
}

/// What a directory calls a person, and says of them besides.
struct Said<'a> {
    outside: Option<&'a str>,
    alias: Option<&'a str>,
    /// Sealed.
    kept: Option<String>,
}

fn wanted(resource: &Value) -> Result<Wanted, ScimError> {
    let name = attribute(resource, "name");
    let part = |key: &str| name.map_or(Ok(None), |n| text(n, key));
    let formatted = part("formatted")?;
    let parts = [part("givenName")?, part("familyName")?].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let emails = match attribute(resource, "emails") {
        None => &Vec::new(),
        Some(Value::Array(emails)) => emails,
        Some(_) => return Err(ScimError::invalid("emails: must be a list")),
    };
    let primary = emails.iter().find(|e| attribute(e, "primary").and_then(truth) == Some(true)).or(emails.first());
    let active = match attribute(resource, "active") {
        None => None,
        Some(active) => Some(truth(active).ok_or_else(|| ScimError::invalid("active: must be true or false"))?),
    };
    let kept = kept::kept(resource);
    if Value::Object(kept.clone()).to_string().len() > MOST_KEPT {
        return Err(ScimError::invalid(format!("all attributes together: at most {MOST_KEPT} bytes are kept of a person")));
    }
    Ok(Wanted {
        user_name: text(resource, "userName")?.ok_or_else(|| ScimError::invalid("userName: is needed"))?,
        display_name: text(resource, "displayName")?.or(formatted.clone()).or(Some(parts).filter(|p| !p.is_empty())),
        formatted,
        email: primary.map_or(Ok(None), |e| text(e, "value"))?,
        active,
        external_id: text(resource, "externalId")?,
        password: text(resource, "password")?.map(Secret::new),
        kept,
    })
}

/// Keeps a `name.formatted` that is not the display name.
fn keep_formatted(kept: &mut Map<String, Value>, formatted: &str) {
    let name = kept.entry("name").or_insert_with(|| json!({}));
    name["formatted"] = json!(formatted);
}

impl App {
    fn scim_location(&self, of: &Provisioner, kind: &str, id: Uuid) -> String {
        format!("{}/scim/v2/orgs/{}/{kind}s/{id}", self.issuer, of.org_name)
    }

    /// # Errors
    /// A search over too many.
    pub async fn scim_users(&self, of: &Provisioner, query: &ListQuery) -> Result<Listed, ScimError> {
        let exact = match &query.filter {
            Some(filter) => match (filter.must_equal("userName"), filter.must_equal("externalId"), filter.must_equal("id")) {
                (Some(name), ..) => Some(self.scim_user_named(of, name).await?),
                (None, Some(outside), _) => {
                    let found = scim::link_by_key(self.pool(), of.org, KIND, Key::External, &self.lookup.exact(outside)).await.map_err(fault)?;
                    Some(found.map(|l| l.id))
                }
                (None, None, Some(id)) => Some(Uuid::parse_str(id).ok()),
                (None, None, None) => None,
            },
            None => None,
        };
        if let Some(found) = exact {
            return narrow(query, self.render_users(of, found.into_iter().collect()).await?);
        }
        if query.filter.is_none() && query.sort_by.is_none() {
            let (ids, total) = scim::member_page(self.pool(), of.org, query.start as u64 - 1, query.count as u64).await.map_err(fault)?;
            return Ok(Listed { total: usize::try_from(total).unwrap_or(0), resources: self.render_users(of, ids).await? });
        }
        let (ids, total) = scim::member_page(self.pool(), of.org, 0, MOST_SEARCHED).await.map_err(fault)?;
        if total.cast_unsigned() > MOST_SEARCHED {
            return Err(ScimError::new(400, "tooMany", format!("there are {total} users: search by userName, externalId or id")));
        }
        narrow(query, self.render_users(of, ids).await?)
    }

    async fn scim_user_named(&self, of: &Provisioner, name: &str) -> Result<Option<Uuid>, ScimError> {
        if let Some(link) = scim::link_by_key(self.pool(), of.org, KIND, Key::UserName, &self.lookup.hash(name)).await.map_err(fault)? {
            return Ok(Some(link.id));
        }
        let row = directory::user_by_key(self.orm(), &self.lookup.hash(name)).await.map_err(fault)?;
        Ok(row.filter(|r| r.username_key == self.lookup.hash(name)).map(|r| r.id))
    }

    /// Members only: whoever else is among `ids` is left out.
    async fn render_users(&self, of: &Provisioner, ids: Vec<Uuid>) -> Result<Vec<Value>, ScimError> {
        let subjects: Vec<String> = ids.iter().map(|id| subject((*id).into())).collect();
        self.keyring.preload(&subjects).await.map_err(crate::error::unsealed)?;
        let links: HashMap<Uuid, Link> = if ids.len() == 1 {
            scim::link(self.pool(), of.org, KIND, ids[0]).await.map_err(fault)?.into_iter().map(|l| (l.id, l)).collect()
        } else {
            scim::links(self.pool(), of.org, KIND).await.map_err(fault)?.into_iter().map(|l| (l.id, l)).collect()
        };
        let mut teams: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        for (team, subject) in scim::team_members(self.pool(), of.org).await.map_err(fault)? {
            teams.entry(subject).or_default().push(team);
        }
        let mut rows: HashMap<Uuid, _> = directory::users_by_ids(self.orm(), ids.clone()).await.map_err(fault)?.into_iter().map(|r| (r.id, r)).collect();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(row) = rows.remove(&id) else { continue };
            if !directory::is_member(self.orm(), of.org, id).await.map_err(fault)? {
                continue;
            }
            let person = self.open(row).await?;
            let teams = teams.get(&subject(person.id)).map(Vec::as_slice).unwrap_or_default();
            found.push(self.render_user(of, &person, links.get(&id), teams).await?);
        }
        Ok(found)
    }

    async fn render_user(&self, of: &Provisioner, person: &Person, link: Option<&Link>, teams: &[Uuid]) -> Result<Value, ScimError> {
        let user_name = self.open_outside(link.and_then(|l| l.user_name.as_deref())).await?.unwrap_or_else(|| person.username.clone());
        let group = |team: &Uuid| {
            let name = self.team_name((*team).into()).map(|n| n.to_string());
            json!({ "value": team, "display": name, "type": "direct", "$ref": self.scim_location(of, "Group", *team) })
        };
        let mut resource = json!({
            "schemas": [SCHEMA],
            "id": person.id,
            "userName": user_name,
            "displayName": person.display_name,
            "name": { "formatted": person.display_name },
            "emails": [{ "value": person.email, "type": "work", "primary": true }],
            "active": person.suspended.is_none(),
            "groups": teams.iter().map(group).collect::<Vec<_>>(),
        });
        if let Some(outside) = self.open_outside(link.and_then(|l| l.external_id.as_deref())).await? {
            resource["externalId"] = json!(outside);
        }
        if let Some(link) = link {
            kept::show(&mut resource, self.open_kept(person.id, link).await?);
        }
        let changed = link.map_or(person.created_at, |l| l.changed_at);
        Ok(with_meta(resource, KIND, &self.scim_location(of, KIND, person.id.0), person.created_at, changed))
    }

    /// What was said of a person by the directory of one organisation.
    pub(crate) async fn open_kept(&self, id: UserId, link: &Link) -> Result<Map<String, Value>, Problem> {
        let Some(sealed) = &link.attributes else { return Ok(Map::new()) };
        let text = self.keyring.open(&subject(id), &Sealed(sealed.clone())).await.map_err(unsealed)?;
        serde_json::from_str(&text).map_err(fault)
    }

    /// It is erased with the person.
    async fn seal_kept(&self, id: UserId, kept: Map<String, Value>) -> Result<Option<String>, Problem> {
        if kept.is_empty() {
            return Ok(None);
        }
        let sealed = self.keyring.seal(&subject(id), &Value::Object(kept).to_string()).await.map_err(unsealed)?;
        Ok(Some(sealed.0))
    }

    /// # Errors
    /// 404 also for people of other organisations.
    pub async fn scim_user(&self, of: &Provisioner, id: &str) -> Result<Value, ScimError> {
        let missing = || ScimError::missing("user", id);
        let id = Uuid::parse_str(id).map_err(|_| missing())?;
        self.render_users(of, vec![id]).await?.pop().ok_or_else(missing)
    }

    /// # Errors
    /// A name or address that is taken, here or elsewhere on the platform.
    pub async fn scim_create_user(&self, of: &Provisioner, resource: &Value) -> Result<Value, ScimError> {
        let mut wanted = wanted(resource)?;
        if let Some(formatted) = wanted.formatted.as_deref().filter(|f| wanted.display_name.as_deref() != Some(*f)) {
            keep_formatted(&mut wanted.kept, formatted);
        }
        if self.scim_user_named(of, &wanted.user_name).await?.is_some() {
            return Err(ScimError::new(409, "uniqueness", "userName is taken"));
        }
        // Before anybody is made: what is refused leaves nothing behind.
        self.refuse_taken_outside(of, KIND, wanted.external_id.as_deref(), None).await?;
        let email = match (&wanted.email, wanted.user_name.contains('@')) {
            (Some(email), _) => email.clone(),
            (None, true) => wanted.user_name.clone(),
            (None, false) => return Err(ScimError::invalid("emails: one address is needed")),
        };
        // A name that cannot be typed to sign in stays what the directory calls the person; here they get one made of it.
        let lower = wanted.user_name.to_lowercase();
        let (username, alias) = match Username::parse(&lower) {
            Ok(name) => (name.to_string(), None),
            Err(_) => (self.free_username(&lower).await?, Some(wanted.user_name.as_str())),
        };
        let profile = Profile::parse(&username, &email, wanted.display_name.as_deref())?;
        let hash = match &wanted.password {
            Some(password) => Some(self.checked_hash(password, &profile).await?),
            None => None,
        };
        let id = UserId(self.host.env.uuid());
        let person = self.create_user_with_hash(id, &profile, hash, By::Admin, false, of.meta()).await?;
        self.put_member(of.org, person.id, Role::Viewer, of.meta()).await?;
        let now = self.now();
        let kept = self.seal_kept(person.id, wanted.kept).await?;
        self.put_user_link(of, person.id, Said { outside: wanted.external_id.as_deref(), alias, kept }, true, now).await?;
        if wanted.active == Some(false) {
            self.suspend(person.id, NOT_ACTIVE, Expect::Any, of.meta()).await?;
        }
        self.scim_user(of, &person.id.to_string()).await
    }

    async fn put_user_link(&self, of: &Provisioner, id: UserId, said: Said<'_>, managed: bool, created_at: OffsetDateTime) -> Result<(), ScimError> {
        let Said { outside, alias, kept } = said;
        let (external_key, external_id) = self.seal_outside(outside).await?;
        let (_, user_name) = self.seal_outside(alias).await?;
        let user_name_key = alias.map(|a| self.lookup.hash(a));
        let link = Link {
            org: of.org.0,
            kind: KIND.into(),
            id: id.0,
            external_key,
            external_id,
            user_name_key,
            user_name,
            managed,
            created_at,
            changed_at: self.now(),
            attributes: kept,
        };
        if scim::put_link(self.pool(), &link).await.map_err(fault)? {
            Ok(())
        } else {
            Err(ScimError::new(409, "uniqueness", "externalId or userName is in use"))
        }
    }

    /// `ada.lovelace@example.org` → `ada.lovelace`, or with a number if that is taken.
    async fn free_username(&self, wanted: &str) -> Result<String, ScimError> {
        let local = wanted.split('@').next().unwrap_or_default();
        let kept: String = local.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }).take(56).collect();
        let base = kept.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
        let base = if base.is_empty() { "user".to_owned() } else { base };
        for number in 1..1_000 {
            let name = if number == 1 { base.clone() } else { format!("{base}-{number}") };
            if directory::user_by_key(self.orm(), &self.lookup.hash(&name)).await.map_err(fault)?.is_none() {
                return Ok(name);
            }
        }
        Err(ScimError::new(409, "uniqueness", "too many people have this name: send a userName of a-z, 0-9, '.', '_' and '-'"))
    }

    /// Whether somebody is or may be more than this organisation gives: a member of another one, or with a role at another one or at the
    /// platform. Their account is not this organisation's alone any more, whoever made it.
    async fn is_more_than_here(&self, of: &Provisioner, user: UserId) -> Result<bool, ScimError> {
        let orgs = user_search::orgs_of(self.pool(), user.0).await.map_err(fault)?;
        if orgs.iter().any(|(org, _)| *org != of.org.0) {
            return Ok(true);
        }
        let grants = self.host.auth.read(|rights| rights.grants_reaching(&subject(user)));
        // A place that is gone gives nothing.
        let elsewhere = |scope: Scope| matches!(scope, Scope::Platform) || self.tenant(scope).is_some_and(|org| org != of.org);
        Ok(grants.into_iter().any(|(_, scope)| elsewhere(scope)))
    }

    /// Makes the person what `resource` says. Only those the directory has made may be changed.
    ///
    /// # Errors
    /// 403 for people who have their account from elsewhere; for the password and the address of those who are more than members here, and for
    /// who was suspended by somebody else.
    pub async fn scim_replace_user(&self, of: &Provisioner, id: &str, resource: &Value) -> Result<Value, ScimError> {
        let before = self.scim_user(of, id).await?;
        let user = UserId(Uuid::parse_str(id).map_err(|_| ScimError::missing("user", id))?);
        let (mut wanted, link) = (wanted(resource)?, scim::link(self.pool(), of.org, KIND, user.0).await.map_err(fault)?);
        let person = self.person(user).await?.ok_or_else(|| ScimError::missing("user", id))?;
        let managed = link.as_ref().is_some_and(|l| l.managed);
        let email = wanted.email.as_deref().filter(|e| *e != person.email);
        let shown = wanted.display_name.as_deref().filter(|n| *n != person.display_name);
        let active = wanted.active.is_some_and(|active| active != person.suspended.is_none());
        if !managed && (email.is_some() || shown.is_some() || active || wanted.password.is_some()) {
            let detail = "this person has their account from elsewhere: only externalId and groups can be changed, and the membership ended";
            return Err(ScimError::new(403, "mutability", detail));
        }
        // Who sets somebody's password or address can become them, with all that they may do elsewhere.
        if (email.is_some() || wanted.password.is_some()) && self.is_more_than_here(of, user).await? {
            let detail = "password and emails: this person has rights outside of this organisation, so they, or an administrator of the platform, change these";
            return Err(ScimError::new(403, "mutability", detail));
        }
        let on = wanted.active == Some(true);
        if active && on && person.suspended.as_deref() != Some(NOT_ACTIVE) {
            return Err(ScimError::new(403, "mutability", "active: this person was suspended by somebody else, who has to let them in again"));
        }
        let mut alias = self.open_outside(link.as_ref().and_then(|l| l.user_name.as_deref())).await?;
        if before["userName"].as_str().is_none_or(|known| !known.eq_ignore_ascii_case(&wanted.user_name)) {
            if !managed {
                return Err(ScimError::new(403, "mutability", "userName: this person has their account from elsewhere"));
            }
            if self.scim_user_named(of, &wanted.user_name).await?.is_some_and(|other| other != user.0) {
                return Err(ScimError::new(409, "uniqueness", "userName is taken"));
            }
            // The name people sign in with stays as it is: this is what the directory calls them.
            alias = Some(wanted.user_name.clone()).filter(|name| !name.eq_ignore_ascii_case(&person.username));
        }
        self.refuse_taken_outside(of, KIND, wanted.external_id.as_deref(), Some(user.0)).await?;
        // First: of who is suspended no password is set.
        if active && on {
            self.resume(user, Expect::Any, of.meta()).await?;
        }
        if email.is_some() || shown.is_some() {
            self.change_profile(&person, email, shown, Expect::Any, of.meta()).await?;
        }
        if let Some(password) = &wanted.password {
            self.change_password(&person, password, false, None, Expect::Any, of.meta()).await?;
        }
        if active && !on {
            self.refuse_last_admin(user).await?;
            self.suspend(user, NOT_ACTIVE, Expect::Any, of.meta()).await?;
        }
        let created = link.as_ref().map_or_else(|| self.now(), |l| l.created_at);
        // What is shown as `name.formatted` is the display name if nothing else was said. Read back with a new one, it is no word of its own.
        let (showed, was_called) = (before["name"]["formatted"].as_str(), before["displayName"].as_str());
        let called = wanted.display_name.as_deref().unwrap_or(&person.display_name);
        if let Some(formatted) = wanted.formatted.as_deref().filter(|f| *f != called && (showed != was_called || showed != Some(*f))) {
            keep_formatted(&mut wanted.kept, formatted);
        }
        // Of people who have their account from elsewhere nothing more is kept.
        let kept = if managed { self.seal_kept(user, wanted.kept).await? } else { None };
        self.put_user_link(of, user, Said { outside: wanted.external_id.as_deref(), alias: alias.as_deref(), kept }, managed, created).await?;
        self.scim_user(of, id).await
    }

    /// Erases a person the directory has made and who is nowhere else; of others it ends the membership.
    ///
    /// # Errors
    /// 404, and 409 for the owner of the organisation.
    pub async fn scim_delete_user(&self, of: &Provisioner, id: &str) -> Result<(), ScimError> {
        self.scim_user(of, id).await?;
        let user = UserId(Uuid::parse_str(id).map_err(|_| ScimError::missing("user", id))?);
        let managed = scim::link(self.pool(), of.org, KIND, user.0).await.map_err(fault)?.is_some_and(|l| l.managed);
        let elsewhere = self.is_more_than_here(of, user).await?;
        self.refuse_last_admin(user).await?;
        self.remove_member(of.org, user, of.meta()).await?;
        if managed && !elsewhere {
            let person = self.person(user).await?.ok_or_else(|| ScimError::missing("user", id))?;
            self.erase_user(&person, of.meta()).await?;
        }
        scim::delete_link(self.pool(), of.org, KIND, user.0).await.map_err(fault)?;
        Ok(())
    }
}
