//! Requesting, showing and deleting instances.

use gantry_auth::SpaceRef;
use gantry_es::Meta;
use gantry_es_pg::{Claim, ExecuteError, Expect, Options};
use gantry_host::from_execute;
use gantry_kernel::{Name, OffsetDateTime, OrgId, Problem, Result, SpaceId, Uuid};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::App;
use crate::domain::instance::{Command, Request};
use crate::store::entities::{binding, instance};
use crate::store::secrets;

/// Of the application's name, `svc-` is ours.
const LONGEST_NAME: usize = 50;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BindingView {
    pub id: Uuid,
    pub name: String,
    pub created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct InstanceView {
    pub id: Uuid,
    pub name: String,
    pub offering: String,
    pub plan: String,
    pub parameters: Value,
    /// `provisioning`, `ready`, `failed`, `deleting`.
    pub state: String,
    /// Why it failed.
    pub reason: String,
    pub bindings: Vec<BindingView>,
    pub created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    pub version: i64,
}

/// What somebody wants.
pub struct Wanted {
    pub id: Uuid,
    pub name: Name,
    pub offering: String,
    pub plan: String,
    pub parameters: Map<String, Value>,
}

impl App {
    pub(crate) fn names_of(space: SpaceId) -> String {
        format!("instances of {space}")
    }

    /// Puts the request down; provisioning goes on by itself.
    ///
    /// # Errors
    /// Unknown offering or plan, bad parameters, a taken name.
    pub async fn request(&self, space: &SpaceRef, wanted: Wanted, subject: &str, meta: Meta) -> Result<InstanceView> {
        let offering = self.offering(&wanted.offering)?;
        if offering.plan(&wanted.plan).is_none() {
            let known: Vec<_> = offering.plans.iter().map(|p| p.name.as_str()).collect();
            return Err(Problem::invalid("plan", format!("{} has no plan `{}`; it has: {}", offering.name, wanted.plan, known.join(", "))));
        }
        if wanted.name.as_str().len() > LONGEST_NAME {
            return Err(Problem::invalid("name", format!("must have at most {LONGEST_NAME} characters")));
        }
        let parameters = offering.parameters.check(&wanted.parameters).map_err(Problem::invalid_fields)?;
        let org = space.org();
        let request = Request {
            instance: wanted.id,
            org: org.id,
            project: space.project.id,
            space: space.id,
            org_name: org.name.clone(),
            project_name: space.project.name.clone(),
            space_name: space.name.clone(),
            name: wanted.name,
            offering: wanted.offering,
            plan: wanted.plan,
            parameters: Value::Object(parameters),
            subject: subject.to_owned(),
        };
        if offering.password {
            self.make_password(&request).await?;
        }
        let claims = vec![Claim::take(Self::names_of(space.id), request.name.as_str())];
        let options = Options { meta: meta.tenant(org.id), expect: Expect::Any, claims, ..Options::default() };
        let done = match self.instances.execute(wanted.id, Command::Request(Box::new(request)), options).await {
            Ok(done) => done,
            // An id that exists keeps its password; one that was not taken has none to keep.
            Err(error @ ExecuteError::NameTaken { .. }) => {
                secrets::delete(&self.host.db().pool, wanted.id).await.map_err(Problem::internal)?;
                return Err(from_execute(error));
            }
            Err(error) => return Err(from_execute(error)),
        };
        self.host.settled(done.position).await;
        // A repeated command made the instance the first time, under another id.
        let id = done.state.request.map_or(wanted.id, |r| r.instance);
        if id != wanted.id {
            secrets::delete(&self.host.db().pool, wanted.id).await.map_err(Problem::internal)?;
        }
        self.by_id(id).await?.ok_or_else(|| Problem::unavailable("the list of instances"))
    }

    /// All of a space but the deleted ones, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list(&self, space: SpaceId) -> Result<Vec<InstanceView>> {
        let rows = instance::Entity::find()
            .filter(instance::Column::Space.eq(space.0))
            .filter(instance::Column::State.ne("deleted"))
            .order_by_asc(instance::Column::Name)
            .all(&self.host.db().orm)
            .await
            .map_err(Problem::internal)?;
        self.views(rows).await
    }

    /// # Errors
    /// There is none of that name.
    pub async fn find(&self, space: &SpaceRef, name: &str) -> Result<InstanceView> {
        let row = instance::Entity::find()
            .filter(instance::Column::Space.eq(space.id.0))
            .filter(instance::Column::Name.eq(name))
            .filter(instance::Column::State.ne("deleted"))
            .one(&self.host.db().orm)
            .await
            .map_err(Problem::internal)?;
        let row = row.ok_or_else(|| Problem::not_found("service instance", name))?;
        self.views(vec![row]).await?.pop().ok_or_else(|| Problem::not_found("service instance", name))
    }

    /// Also deleted ones.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn by_id(&self, id: Uuid) -> Result<Option<InstanceView>> {
        let row = instance::Entity::find_by_id(id).one(&self.host.db().orm).await.map_err(Problem::internal)?;
        Ok(self.views(row.into_iter().collect()).await?.pop())
    }

    /// Starts the deletion; it goes on by itself.
    ///
    /// # Errors
    /// It is gone.
    pub async fn delete(&self, id: Uuid, expect: Expect, meta: Meta) -> Result<()> {
        let done = self.instances.execute(id, Command::Delete, Options { meta, expect, ..Options::default() }).await.map_err(from_execute)?;
        self.host.settled(done.position).await;
        Ok(())
    }

    /// # Errors
    /// When the database refuses.
    pub async fn org_of(&self, id: Uuid) -> Result<Option<OrgId>> {
        let row = instance::Entity::find_by_id(id).one(&self.host.db().orm).await.map_err(Problem::internal)?;
        Ok(row.map(|r| OrgId(r.org)))
    }

    pub(crate) async fn created_at(&self, id: Uuid) -> anyhow::Result<OffsetDateTime> {
        let row = instance::Entity::find_by_id(id).one(&self.host.db().orm).await?;
        Ok(row.map_or_else(|| self.host.env.now(), |r| r.created_at))
    }

    async fn views(&self, rows: Vec<instance::Model>) -> Result<Vec<InstanceView>> {
        let bindings = binding::Entity::find()
            .filter(binding::Column::Instance.is_in(rows.iter().map(|r| r.id)))
            .order_by_asc(binding::Column::Name)
            .all(&self.host.db().orm)
            .await
            .map_err(Problem::internal)?;
        let of = |id: Uuid| {
            let own = bindings.iter().filter(move |b| b.instance == id);
            own.map(|b| BindingView { id: b.id, name: b.name.clone(), created_by: b.created_by.clone(), created_at: b.created_at }).collect()
        };
        let view = |row: instance::Model| InstanceView {
            bindings: of(row.id),
            id: row.id,
            name: row.name,
            offering: row.offering,
            plan: row.plan,
            parameters: row.parameters,
            state: row.state,
            reason: row.reason,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        };
        Ok(rows.into_iter().map(view).collect())
    }
}
