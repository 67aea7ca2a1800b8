//! Invoices: the open month as it stands, the issued ones, issuing and voiding.

use gantry_es::Meta;
use gantry_es_pg::Options;
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Result, Uuid};
use rust_decimal::Decimal;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::Serialize;
use time::Duration;

use crate::App;
use crate::domain::bill::{self, Bill, Line};
use crate::domain::invoice::Command;
use crate::domain::money;
use crate::domain::period::Period;
use crate::store::entities::invoice;
use crate::store::usage;
use gantry_host::from_execute;

/// A bill. Money and quantities are decimal texts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct InvoiceView {
    /// Absent while the month is open.
    pub id: Option<Uuid>,
    /// `2026-11`.
    pub period: String,
    /// `open`, `issued` or `voided`.
    #[schema(value_type = String)]
    pub state: &'static str,
    pub currency: String,
    #[schema(value_type = String)]
    pub total: Decimal,
    /// The sum of the lines equals `total`.
    pub lines: Vec<Line>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub issued_at: Option<OffsetDateTime>,
    pub voided_reason: Option<String>,
}

impl App {
    /// The open month so far, with the prices of today.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn current_invoice(&self, org: OrgId) -> Result<InvoiceView> {
        let now = self.host.env.now();
        let period = Period::of(now);
        let bill = self.bill(org, period, now).await?;
        let lines = self.named(bill.lines);
        Ok(InvoiceView {
            id: None,
            period: period.to_string(),
            state: "open",
            currency: bill.currency,
            total: bill.total,
            lines,
            issued_at: None,
            voided_reason: None,
        })
    }

    /// Issued and voided ones, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn invoices(&self, org: OrgId) -> Result<Vec<InvoiceView>> {
        let rows = invoice::Entity::find()
            .filter(invoice::Column::Org.eq(org.0))
            .order_by_desc(invoice::Column::Period)
            .order_by_desc(invoice::Column::IssuedAt)
            .all(&self.host.db().orm)
            .await
            .map_err(Problem::internal)?;
        rows.into_iter().map(|row| self.view(row)).collect()
    }

    /// The latest of a month.
    ///
    /// # Errors
    /// None was issued.
    pub async fn invoice(&self, org: OrgId, period: Period) -> Result<InvoiceView> {
        let row = invoice::Entity::find()
            .filter(invoice::Column::Org.eq(org.0))
            .filter(invoice::Column::Period.eq(period.to_string()))
            .order_by_desc(invoice::Column::IssuedAt)
            .one(&self.host.db().orm)
            .await
            .map_err(Problem::internal)?;
        self.view(row.ok_or_else(|| Problem::not_found("invoice", period))?)
    }

    /// # Errors
    /// It is not issued, or no reason is given.
    pub async fn void(&self, org: OrgId, period: Period, reason: String, meta: Meta) -> Result<InvoiceView> {
        let done = self.invoice_store.execute(stream(org, period), Command::Void { reason }, Options::from(meta.tenant(org))).await.map_err(from_execute)?;
        self.host.settled(done.position).await;
        self.invoice(org, period).await
    }

    /// Bills every month that is over for at least `grace` (late samples) and has no bill. Returns how many it issued.
    ///
    /// # Errors
    /// When the database refuses; what was issued until then stands.
    pub async fn issue_due(&self, grace: Duration) -> Result<usize> {
        let now = self.host.env.now();
        let due = usage::unbilled(&self.host.db().pool, Period::of(now)).await.map_err(Problem::internal)?;
        let mut issued = 0;
        for (org, period) in due.into_iter().filter(|(_, period)| period.end() + grace <= now) {
            let bill = self.bill(org, period, now).await?;
            let command = Command::Issue { invoice: self.host.env.uuid(), org, period, bill: Bill { lines: self.named(bill.lines), ..bill } };
            let done = self.invoice_store.execute(stream(org, period), command, Options::from(Meta::system().tenant(org))).await.map_err(from_execute)?;
            self.host.settled(done.position).await;
            issued += done.events.len();
        }
        Ok(issued)
    }

    async fn bill(&self, org: OrgId, period: Period, now: OffsetDateTime) -> Result<Bill> {
        let plan = self.plan_of(org).await?;
        let used = usage::of_period(&self.host.db().pool, org, period, now).await.map_err(Problem::internal)?;
        bill::bill(&plan.currency, &plan.decimal()?, used).map_err(Problem::internal)
    }

    fn named(&self, lines: Vec<Line>) -> Vec<Line> {
        lines.into_iter().map(|line| Line { project_name: self.project_name(line.project), ..line }).collect()
    }

    fn view(&self, row: invoice::Model) -> Result<InvoiceView> {
        let lines: Vec<Line> = serde_json::from_value(row.lines).map_err(Problem::internal)?;
        let total = money::round(row.total, &row.currency);
        Ok(InvoiceView {
            id: Some(row.id),
            period: row.period,
            state: if row.voided_reason.is_some() { "voided" } else { "issued" },
            currency: row.currency,
            total,
            lines,
            issued_at: Some(row.issued_at),
            voided_reason: row.voided_reason,
        })
    }
}

fn stream(org: OrgId, period: Period) -> String {
    format!("{org}-{period}")
}
