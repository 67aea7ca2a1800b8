//! Issued and voided invoices. Filled by `flows::projections::Invoices`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "invoices")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org: Uuid,
    /// `2026-11`.
    pub period: String,
    pub currency: String,
    pub total: Decimal,
    /// `domain::bill::Line`s.
    pub lines: Json,
    pub issued_at: TimeDateTimeWithTimeZone,
    pub voided_reason: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
