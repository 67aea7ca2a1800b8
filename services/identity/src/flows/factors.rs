//! Read model of second factors. Secrets stay sealed under their person's key.

use async_trait::async_trait;
use gantry_contract::factor::FactorEvent;
use gantry_contract::identity::UserEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use gantry_kernel::UserId;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use crate::store::entities::{factor, recovery};

pub struct FactorList;

#[async_trait]
impl Projection for FactorList {
    fn name(&self) -> &'static str {
        "factors"
    }

    fn ddl(&self) -> &'static str {
        "create table factors (
            id uuid primary key, user_id uuid not null, kind text not null, secret text not null, label text not null,
            created_at timestamptz not null);
         create index on factors (user_id);
         create table recovery_codes (user_id uuid primary key, codes text not null, made_at timestamptz not null);"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["factors", "recovery_codes"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<UserEvent>() {
            if let UserEvent::Deleted { user } = event.decode()? {
                forget(tx, user).await?;
            }
            return Ok(());
        }
        if !event.is::<FactorEvent>() {
            return Ok(());
        }
        match event.decode()? {
            FactorEvent::Added { user, factor, factor_kind, secret, label } => {
                let row = factor::ActiveModel {
                    id: Set(factor),
                    user_id: Set(user.0),
                    kind: Set(factor_kind.as_str().to_owned()),
                    secret: Set(secret.0),
                    label: Set(label.0),
                    created_at: Set(event.at),
                };
                factor::Entity::insert(row).exec_without_returning(tx).await?;
            }
            FactorEvent::Removed { factor, .. } => {
                factor::Entity::delete_by_id(factor).exec(tx).await?;
            }
            FactorEvent::RecoveryCodesMade { user, codes } => {
                let row = recovery::ActiveModel { user_id: Set(user.0), codes: Set(codes.0), made_at: Set(event.at) };
                let replace = OnConflict::column(recovery::Column::UserId).update_columns([recovery::Column::Codes, recovery::Column::MadeAt]).to_owned();
                recovery::Entity::insert(row).on_conflict(replace).exec_without_returning(tx).await?;
            }
        }
        Ok(())
    }
}

async fn forget(tx: &DatabaseTransaction, user: UserId) -> anyhow::Result<()> {
    factor::Entity::delete_many().filter(factor::Column::UserId.eq(user.0)).exec(tx).await?;
    recovery::Entity::delete_by_id(user.0).exec(tx).await?;
    Ok(())
}
