//! Issuing a month's bill: the aggregate behind `invoice-<org>-<period>` streams. An issued bill never changes.

use gantry_contract::billing::InvoiceEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{OrgId, Uuid};
use thiserror::Error;

use super::bill::{self, Bill};
use super::period::Period;

pub struct Invoice;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    None,
    Issued {
        invoice: Uuid,
        org: OrgId,
    },
    Voided,
}

#[derive(Clone, Debug)]
pub enum Command {
    Issue { invoice: Uuid, org: OrgId, period: Period, bill: Bill },
    Void { reason: String },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("the month is not over")]
    PeriodOpen,
    #[error("the lines do not add up to the total")]
    DoesNotAddUp,
    #[error("there is no issued invoice")]
    NotIssued,
    #[error("a reason is needed")]
    NoReason,
}

impl Decider for Invoice {
    type State = State;
    type Command = Command;
    type Event = InvoiceEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, ctx: &Ctx) -> Result<Vec<InvoiceEvent>, Refusal> {
        match command {
            Command::Issue { invoice, org, period, bill } => {
                if period.end() > ctx.now {
                    return Err(Refusal::PeriodOpen);
                }
                if bill::sum(&bill.lines) != Some(bill.total) {
                    return Err(Refusal::DoesNotAddUp);
                }
                if matches!(state, State::Issued { .. }) {
                    return Ok(Vec::new());
                }
                let lines = serde_json::to_value(&bill.lines).unwrap_or_default();
                Ok(vec![InvoiceEvent::Issued { invoice, org, period: period.to_string(), currency: bill.currency, total: bill.total.to_string(), lines }])
            }
            Command::Void { reason } => {
                let State::Issued { invoice, org } = state else { return Err(Refusal::NotIssued) };
                if reason.trim().is_empty() {
                    return Err(Refusal::NoReason);
                }
                Ok(vec![InvoiceEvent::Voided { invoice: *invoice, org: *org, reason }])
            }
        }
    }

    fn evolve(_: State, event: &InvoiceEvent) -> State {
        match event {
            InvoiceEvent::Issued { invoice, org, .. } => State::Issued { invoice: *invoice, org: *org },
            InvoiceEvent::Voided { .. } => State::Voided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_es::spec::given;
    use rust_decimal::Decimal;
    use time::macros::datetime;

    const ORG: OrgId = OrgId(Uuid::nil());
    const AFTER: time::OffsetDateTime = datetime!(2026-12-02 0:00 UTC);

    fn issue() -> Command {
        let bill = Bill { currency: "CNY".into(), lines: Vec::new(), total: Decimal::ZERO };
        Command::Issue { invoice: Uuid::nil(), org: ORG, period: "2026-11".parse().unwrap(), bill }
    }
    fn issued() -> InvoiceEvent {
        InvoiceEvent::Issued {
            invoice: Uuid::nil(),
            org: ORG,
            period: "2026-11".into(),
            currency: "CNY".into(),
            total: "0".into(),
            lines: serde_json::json!([]),
        }
    }
    fn voided() -> InvoiceEvent {
        InvoiceEvent::Voided { invoice: Uuid::nil(), org: ORG, reason: "wrong price".into() }
    }

    #[test]
    fn a_month_that_is_over_is_billed_once() {
        given::<Invoice>([]).at(AFTER).when(issue()).then([issued()]);
        given::<Invoice>([issued()]).at(AFTER).when(issue()).then([]);
        given::<Invoice>([issued(), voided()]).at(AFTER).when(issue()).then([issued()]);
    }

    #[test]
    fn an_open_month_is_not_billed() {
        given::<Invoice>([]).at(datetime!(2026-11-30 23:59:59 UTC)).when(issue()).then_refused(|r| *r == Refusal::PeriodOpen);
    }

    #[test]
    fn a_bill_that_does_not_add_up_is_refused() {
        let bill = Bill { currency: "CNY".into(), lines: Vec::new(), total: Decimal::ONE };
        let command = Command::Issue { invoice: Uuid::nil(), org: ORG, period: "2026-11".parse().unwrap(), bill };
        given::<Invoice>([]).at(AFTER).when(command).then_refused(|r| *r == Refusal::DoesNotAddUp);
    }

    #[test]
    fn only_an_issued_invoice_is_voided_and_only_with_a_reason() {
        let void = |reason: &str| Command::Void { reason: reason.into() };
        given::<Invoice>([issued()]).when(void("wrong price")).then([voided()]);
        given::<Invoice>([issued()]).when(void(" ")).then_refused(|r| *r == Refusal::NoReason);
        given::<Invoice>([]).when(void("x")).then_refused(|r| *r == Refusal::NotIssued);
    }
}
