//! Service instances, deleted ones included. Filled by `flows::projection`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "instances")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org: Uuid,
    pub project: Uuid,
    pub space: Uuid,
    pub name: String,
    pub offering: String,
    pub plan: String,
    pub parameters: Json,
    /// As `domain::instance::Phase` writes it.
    pub state: String,
    /// Why it failed.
    pub reason: String,
    pub created_by: String,
    pub version: i64,
    pub created_at: TimeDateTimeWithTimeZone,
    pub updated_at: TimeDateTimeWithTimeZone,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
