//! Provisioning by SCIM 2.0 (RFC 7643, 7644): a directory outside keeps the people and teams of one organisation here.
//! It may change and remove the people it has made; of others it sees that they are members and may end that.

pub mod groups;
pub mod users;

use gantry_es::{Meta, Sealed};
use gantry_kernel::{Kind, Name, OffsetDateTime, OrgId, Problem, Uuid};
use serde_json::Value;
use time::Duration;

use crate::app::App;
use crate::app::context::Fact;
use crate::app::secrets::{SUBJECT, fresh, kept};
use crate::app::signin::Origin;
use crate::domain::scim::filter::{Filter, FilterError};
use crate::domain::scim::patch::PatchError;
use crate::error::{fault, unsealed};
use crate::store::scim::{self, Key, ScimToken};

pub const TOKEN_PREFIX: &str = "gscim_";
const MOST_DAYS: u32 = 730;
/// A search over more than this asks for a narrower filter.
pub const MOST_SEARCHED: u64 = 20_000;
pub const MOST_ON_A_PAGE: usize = 200;

/// A refusal in SCIM's words (RFC 7644 section 3.12).
#[derive(Debug)]
pub struct ScimError {
    pub status: u16,
    pub kind: Option<&'static str>,
    pub detail: String,
    pub problem: Option<Box<Problem>>,
}

impl ScimError {
    pub fn new(status: u16, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind: Some(kind).filter(|k| !k.is_empty()), detail: detail.into(), problem: None }
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(400, "invalidValue", detail)
    }

    pub fn missing(what: &str, id: &str) -> Self {
        Self::new(404, "", format!("there is no {what} `{id}` here"))
    }
}

impl From<Problem> for ScimError {
    fn from(problem: Problem) -> Self {
        let kind = match (problem.kind, problem.code) {
            (_, "identity.name_taken" | "identity.email_taken" | "identity.user_exists") => Some("uniqueness"),
            (Kind::Invalid, _) => Some("invalidValue"),
            (Kind::Conflict, _) => Some("mutability"),
            _ => None,
        };
        Self { status: problem.kind.status().as_u16(), kind, detail: problem.detail.clone(), problem: Some(Box::new(problem)) }
    }
}

impl From<FilterError> for ScimError {
    fn from(error: FilterError) -> Self {
        Self::new(400, "invalidFilter", error.to_string())
    }
}

impl From<PatchError> for ScimError {
    fn from(error: PatchError) -> Self {
        let kind = match &error {
            PatchError::Path(_) => "invalidPath",
            PatchError::NoTarget => "noTarget",
            PatchError::ReadOnly => "mutability",
            PatchError::TooMany => "tooMany",
            PatchError::Operation(_) => "invalidSyntax",
            PatchError::Value(_) => "invalidValue",
        };
        Self::new(400, kind, error.to_string())
    }
}

/// The directory that calls, known by its token.
#[derive(Clone, Debug)]
pub struct Provisioner {
    pub org: OrgId,
    pub org_name: Name,
    pub token: Uuid,
    pub from: String,
}

impl Provisioner {
    pub fn meta(&self) -> Meta {
        Meta { actor: format!("scim:{}", self.token), tenant: Some(self.org), from: Some(self.from.clone()), ..Meta::default() }
    }
}

/// What is asked of a list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub filter: Option<Filter>,
    pub sort_by: Option<String>,
    pub descending: bool,
    /// From 1.
    pub start: usize,
    pub count: usize,
}

/// Some of the resources that fit, and how many do.
pub struct Listed {
    pub total: usize,
    pub resources: Vec<Value>,
}

/// Filters, sorts and pages what was rendered.
pub fn narrow(query: &ListQuery, mut all: Vec<Value>) -> Result<Listed, ScimError> {
    if let Some(filter) = &query.filter {
        all.retain(|resource| filter.fits(resource));
    }
    if let Some(by) = &query.sort_by {
        let path = crate::domain::scim::filter::parse_path(by).map_err(|e| ScimError::new(400, "invalidPath", e.to_string()))?.path;
        let key = |resource: &Value| {
            let found = crate::domain::scim::filter::attribute(resource, &path.attribute);
            let found = match &path.sub {
                Some(sub) => found.and_then(|f| crate::domain::scim::filter::attribute(f.get(0).unwrap_or(f), sub)),
                None => found,
            };
            // What lacks the attribute comes last.
            (found.is_none(), found.map(|f| f.as_str().map_or_else(|| f.to_string(), str::to_lowercase)))
        };
        all.sort_by_cached_key(key);
        if query.descending {
            all.reverse();
        }
    }
    let total = all.len();
    Ok(Listed { total, resources: all.into_iter().skip(query.start - 1).take(query.count).collect() })
}

impl App {
    /// The token's row and its text, which is never seen again.
    ///
    /// # Errors
    /// A life or name out of range.
    pub async fn make_scim_token(&self, org: OrgId, name: &str, days: Option<u32>, actor: &str, origin: &Origin) -> Result<(ScimToken, String), Problem> {
        if days.is_some_and(|d| d == 0 || d > MOST_DAYS) {
            return Err(Problem::invalid("expires_in_days", format!("must be 1 to {MOST_DAYS}")));
        }
        if name.trim().is_empty() || name.chars().count() > 100 {
            return Err(Problem::invalid("name", "must have 1 to 100 characters"));
        }
        let text = fresh(&self.host.env, TOKEN_PREFIX);
        let now = self.now();
        let token = ScimToken {
            id: self.host.env.uuid(),
            org: org.0,
            name: name.trim().to_owned(),
            hint: text.chars().take(TOKEN_PREFIX.len() + 4).collect(),
            created_by: actor.to_owned(),
            created_at: now,
            expires_at: now + Duration::days(days.unwrap_or(365).into()),
            last_used_at: None,
        };
        scim::insert_token(self.pool(), &token, &kept(&text)).await.map_err(fault)?;
        let object = format!("org:{org}");
        self.record(Fact { actor, action: "scim-token.created", object: &object, result: "ok", reason: name, from: &origin.address }).await;
        Ok((token, text))
    }

    /// # Errors
    /// When there is no such token.
    pub async fn revoke_scim_token(&self, org: OrgId, id: Uuid, actor: &str, origin: &Origin) -> Result<(), Problem> {
        if !scim::revoke_token(self.pool(), org, id, self.now()).await.map_err(fault)? {
            return Err(Problem::not_found("token", id));
        }
        let object = format!("org:{org}");
        self.record(Fact { actor, action: "scim-token.revoked", object: &object, result: "ok", reason: "", from: &origin.address }).await;
        Ok(())
    }

    /// Who calls. A token of another organisation is as good as none.
    ///
    /// # Errors
    /// 401.
    pub async fn provisioner(&self, org: &str, bearer: Option<&str>, origin: &Origin) -> Result<Provisioner, ScimError> {
        let found = match bearer.filter(|text| text.starts_with(TOKEN_PREFIX)) {
            Some(text) => scim::find_token(self.pool(), &kept(text), self.now()).await.map_err(fault)?,
            None => None,
        };
        let place = self.host.auth.org(org).ok();
        match (found, place) {
            (Some(token), Some(place)) if token.org == place.id.0 => {
                Ok(Provisioner { org: place.id, org_name: place.name, token: token.id, from: origin.address.clone() })
            }
            _ => {
                let reason = "no provisioning token of this organisation";
                self.record(Fact { actor: "anonymous", action: "scim.refused", object: org, result: "denied", reason, from: &origin.address }).await;
                Err(ScimError::new(401, "", "send the organisation's provisioning token as `Authorization: Bearer gscim_...`"))
            }
        }
    }

    /// Outside names may tell of people, so they are sealed; erased with the service's own key only, or with their row.
    async fn seal_outside(&self, text: Option<&str>) -> Result<(Option<String>, Option<String>), Problem> {
        let Some(text) = text else { return Ok((None, None)) };
        let sealed: Sealed = self.keyring.seal(SUBJECT, text).await.map_err(unsealed)?;
        // Outside ids are told apart by case.
        Ok((Some(self.lookup.exact(text)), Some(sealed.0)))
    }

    /// # Errors
    /// 409 when the directory calls another resource so. `own`: the one that may.
    async fn refuse_taken_outside(&self, of: &Provisioner, kind: &str, outside: Option<&str>, own: Option<Uuid>) -> Result<(), ScimError> {
        let Some(outside) = outside else { return Ok(()) };
        let found = scim::link_by_key(self.pool(), of.org, kind, Key::External, &self.lookup.exact(outside)).await.map_err(fault)?;
        match found {
            Some(link) if Some(link.id) != own => Err(ScimError::new(409, "uniqueness", "externalId is in use")),
            _ => Ok(()),
        }
    }

    async fn open_outside(&self, sealed: Option<&str>) -> Result<Option<String>, Problem> {
        match sealed {
            Some(sealed) => self.keyring.open(SUBJECT, &Sealed(sealed.to_owned())).await.map(Some).map_err(unsealed),
            None => Ok(None),
        }
    }
}

/// `meta` of a resource; its version is a hash of all the rest, so that it changes when anything does.
pub fn with_meta(mut resource: Value, kind: &str, location: &str, created: OffsetDateTime, changed: OffsetDateTime) -> Value {
    use sha2::{Digest, Sha256};
    use time::format_description::well_known::Rfc3339;
    let digest = Sha256::digest(resource.to_string().as_bytes());
    let version: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    resource["meta"] = serde_json::json!({
        "resourceType": kind,
        "created": created.format(&Rfc3339).unwrap_or_default(),
        "lastModified": changed.format(&Rfc3339).unwrap_or_default(),
        "location": location,
        "version": format!("W/\"{version}\""),
    });
    resource
}

/// A text attribute, of reasonable length and without control characters.
///
/// # Errors
/// When it is something else.
pub fn text(resource: &Value, name: &str) -> Result<Option<String>, ScimError> {
    match crate::domain::scim::filter::attribute(resource, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= 254 && !text.chars().any(char::is_control) => {
            Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty()))
        }
        Some(_) => Err(ScimError::invalid(format!("{name}: must be text of at most 254 characters"))),
    }
}
