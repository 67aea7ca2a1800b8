//! `invoices`: issued and voided ones, with their lines.

use anyhow::Context;
use async_trait::async_trait;
use gantry_contract::billing::InvoiceEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ActiveModelTrait, DatabaseTransaction, EntityTrait, Set};

use crate::store::entities::invoice;

pub struct Invoices;

#[async_trait]
impl Projection for Invoices {
    fn name(&self) -> &'static str {
        "invoices"
    }
    fn ddl(&self) -> &'static str {
        "create table invoices (
            id uuid primary key, org uuid not null, period text not null, currency text not null, total numeric not null, lines json not null,
            issued_at timestamptz not null, voided_reason text
         );
         create index invoices_org on invoices (org, period)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["invoices"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<InvoiceEvent>() {
            return Ok(());
        }
        match event.decode::<InvoiceEvent>()? {
            InvoiceEvent::Issued { invoice, org, period, currency, total, lines } => {
                let total = total.parse().with_context(|| format!("total `{total}`"))?;
                let row = invoice::ActiveModel {
                    id: Set(invoice),
                    org: Set(org.0),
                    period: Set(period),
                    currency: Set(currency),
                    total: Set(total),
                    lines: Set(lines),
                    issued_at: Set(event.at),
                    voided_reason: Set(None),
                };
                invoice::Entity::insert(row).exec_without_returning(tx).await?;
            }
            InvoiceEvent::Voided { invoice, reason, .. } => {
                invoice::ActiveModel { id: Set(invoice), voided_reason: Set(Some(reason)), ..Default::default() }.update(tx).await?;
            }
        }
        Ok(())
    }
}
