//! `instances` and `bindings`, and the work that a request or deletion makes necessary: put down in the same transaction.

use async_trait::async_trait;
use gantry_contract::catalog::ServiceInstanceEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::{Projection, Todo};
use sea_orm::{ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, Set};
use serde_json::Value;

use super::provision::{DEPROVISION, PROVISION};
use crate::store::entities::{binding, instance};

pub struct Instances;

#[async_trait]
impl Projection for Instances {
    fn name(&self) -> &'static str {
        "instances"
    }

    fn ddl(&self) -> &'static str {
        "create table instances (
            id uuid primary key, org uuid not null, project uuid not null, space uuid not null, name text not null, offering text not null, plan text not null,
            parameters json not null, state text not null, reason text not null, created_by text not null, version bigint not null,
            created_at timestamptz not null, updated_at timestamptz not null
         );
         create index instances_space on instances (space, name);
         create table bindings (id uuid primary key, instance uuid not null, name text not null, created_by text not null, created_at timestamptz not null);
         create index bindings_instance on bindings (instance, name)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["instances", "bindings"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<Event>() {
            return Ok(());
        }
        match event.decode::<Event>()? {
            Event::Requested { instance, org, project, space, name, offering, plan, parameters, .. } => {
                let row = instance::ActiveModel {
                    id: Set(instance),
                    org: Set(org.0),
                    project: Set(project.0),
                    space: Set(space.0),
                    name: Set(name.to_string()),
                    offering: Set(offering),
                    plan: Set(plan),
                    parameters: Set(parameters),
                    state: Set("provisioning".into()),
                    reason: Set(String::new()),
                    created_by: Set(event.meta.actor.clone()),
                    version: Set(event.version),
                    created_at: Set(event.at),
                    updated_at: Set(event.at),
                };
                instance::Entity::insert(row).exec_without_returning(tx).await?;
                Todo::enqueue(tx, PROVISION, &instance.to_string(), &Value::Null).await?;
            }
            Event::Provisioned { instance } => change(tx, event, instance, "ready", String::new()).await?,
            Event::Failed { instance, reason } => change(tx, event, instance, "failed", reason).await?,
            Event::Bound { instance, binding, name } => {
                let row = binding::ActiveModel {
                    id: Set(binding),
                    instance: Set(instance),
                    name: Set(name.to_string()),
                    created_by: Set(event.meta.actor.clone()),
                    created_at: Set(event.at),
                };
                binding::Entity::insert(row).exec_without_returning(tx).await?;
                touch(tx, event, instance).await?;
            }
            Event::Unbound { instance, binding, .. } => {
                binding::Entity::delete_by_id(binding).exec(tx).await?;
                touch(tx, event, instance).await?;
            }
            Event::Deleting { instance } => {
                change(tx, event, instance, "deleting", String::new()).await?;
                Todo::enqueue(tx, DEPROVISION, &instance.to_string(), &Value::Null).await?;
            }
            Event::Deleted { instance } => {
                binding::Entity::delete_many().filter(binding::Column::Instance.eq(instance)).exec(tx).await?;
                change(tx, event, instance, "deleted", String::new()).await?;
            }
        }
        Ok(())
    }
}

async fn change(tx: &DatabaseTransaction, event: &Recorded, id: uuid::Uuid, state: &str, reason: String) -> anyhow::Result<()> {
    let row = instance::ActiveModel {
        id: Set(id),
        state: Set(state.into()),
        reason: Set(reason),
        version: Set(event.version),
        updated_at: Set(event.at),
        ..Default::default()
    };
    row.update(tx).await?;
    Ok(())
}

async fn touch(tx: &DatabaseTransaction, event: &Recorded, id: uuid::Uuid) -> anyhow::Result<()> {
    instance::ActiveModel { id: Set(id), version: Set(event.version), updated_at: Set(event.at), ..Default::default() }.update(tx).await?;
    Ok(())
}
