//! Price plans: the aggregate behind `price-plan-<name>` streams.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::billing::PricePlanEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{OrgId, ProjectId};
use thiserror::Error;

use super::bill::Prices;
use super::meter;
use super::money::{self, MoneyError};

pub struct PricePlan;

#[derive(Clone, Debug, Default)]
pub struct State {
    pub currency: Option<String>,
    pub prices: BTreeMap<String, String>,
    pub assigned: BTreeSet<(OrgId, Option<ProjectId>)>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Publish { name: String, currency: String, prices: BTreeMap<String, String> },
    Assign { name: String, org: OrgId },
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("{1}")]
    Price(String, MoneyError),
    #[error("`{0}` is no meter that can be priced")]
    Meter(String),
    #[error("{0}")]
    Currency(MoneyError),
    #[error("the plan is in {0}; publish a plan of another name for another currency")]
    CurrencyChanged(String),
    #[error("a plan has 1 to 100 prices")]
    Count,
    #[error("the plan is not published")]
    NotPublished,
}

impl Decider for PricePlan {
    type State = State;
    type Command = Command;
    type Event = PricePlanEvent;
    type Refusal = Refusal;

    fn decide(state: &State, command: Command, _: &Ctx) -> Result<Vec<PricePlanEvent>, Refusal> {
        match command {
            Command::Publish { name, currency, prices } => {
                money::check_currency(&currency).map_err(Refusal::Currency)?;
                if let Some(present) = state.currency.as_ref().filter(|c| **c != currency) {
                    return Err(Refusal::CurrencyChanged(present.clone()));
                }
                if prices.is_empty() || prices.len() > 100 {
                    return Err(Refusal::Count);
                }
                parse(&prices)?;
                if state.currency.is_some() && state.prices == prices {
                    return Ok(Vec::new());
                }
                Ok(vec![PricePlanEvent::Published { name, currency, prices }])
            }
            Command::Assign { name, org } => {
                if state.currency.is_none() {
                    return Err(Refusal::NotPublished);
                }
                // Even if this plan was assigned before: another may have taken its place since.
                Ok(vec![PricePlanEvent::Assigned { name, org, project: None }])
            }
        }
    }

    fn evolve(mut state: State, event: &PricePlanEvent) -> State {
        match event {
            PricePlanEvent::Published { currency, prices, .. } => {
                state.currency = Some(currency.clone());
                state.prices = prices.clone();
            }
            PricePlanEvent::Assigned { org, project, .. } => {
                state.assigned.insert((*org, *project));
            }
        }
        state
    }
}

/// Decimal prices of the texts.
///
/// # Errors
/// The first that is no price, or of no meter.
pub fn parse(prices: &BTreeMap<String, String>) -> Result<Prices, Refusal> {
    let one = |(name, text): (&String, &String)| {
        if !meter::is_priceable(name) {
            return Err(Refusal::Meter(name.clone()));
        }
        let price = money::parse_price(text).map_err(|error| Refusal::Price(name.clone(), error))?;
        Ok((name.clone(), price))
    };
    prices.iter().map(one).collect()
}

/// The plan everybody has until another is assigned: by use.
pub fn default_prices() -> BTreeMap<String, String> {
    texts(&[("cpu_core_hours", "0.20"), ("memory_gib_hours", "0.05"), ("storage_gib_hours", "0.0005"), ("build_minutes", "0.02")])
}

/// The second built-in plan: by time, whatever is used.
pub fn reserved_prices() -> BTreeMap<String, String> {
    texts(&[("reserved_cpu_core_hours", "0.12"), ("reserved_memory_gib_hours", "0.03"), ("reserved_storage_gib_hours", "0.0004"), ("build_minutes", "0.02")])
}

fn texts(prices: &[(&str, &str)]) -> BTreeMap<String, String> {
    prices.iter().map(|(meter, price)| ((*meter).to_owned(), (*price).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_es::spec::given;
    use gantry_kernel::Uuid;

    fn publish(currency: &str, prices: BTreeMap<String, String>) -> Command {
        Command::Publish { name: "default".into(), currency: currency.into(), prices }
    }
    fn published() -> PricePlanEvent {
        PricePlanEvent::Published { name: "default".into(), currency: "CNY".into(), prices: default_prices() }
    }

    #[test]
    fn the_built_in_plans_can_be_published_and_again_is_nothing() {
        given::<PricePlan>([]).when(publish("CNY", default_prices())).then([published()]);
        given::<PricePlan>([published()]).when(publish("CNY", default_prices())).then([]);
        assert!(parse(&reserved_prices()).is_ok());
    }

    #[test]
    fn a_bad_price_names_its_meter() {
        given::<PricePlan>([])
            .when(publish("CNY", texts(&[("requests", "-1")])))
            .then_refused(|r| *r == Refusal::Price("requests".into(), MoneyError::Malformed));
        given::<PricePlan>([]).when(publish("CNY", texts(&[("cpu_core_seconds", "1")]))).then_refused(|r| *r == Refusal::Meter("cpu_core_seconds".into()));
        given::<PricePlan>([]).when(publish("CNY", BTreeMap::new())).then_refused(|r| *r == Refusal::Count);
    }

    #[test]
    fn a_plan_keeps_its_currency() {
        given::<PricePlan>([]).when(publish("yuan", default_prices())).then_refused(|r| *r == Refusal::Currency(MoneyError::Currency));
        given::<PricePlan>([published()]).when(publish("USD", default_prices())).then_refused(|r| *r == Refusal::CurrencyChanged("CNY".into()));
    }

    #[test]
    fn only_a_published_plan_is_assigned() {
        let org = OrgId(Uuid::nil());
        let assign = || Command::Assign { name: "default".into(), org };
        given::<PricePlan>([]).when(assign()).then_refused(|r| *r == Refusal::NotPublished);
        given::<PricePlan>([published()]).when(assign()).then([PricePlanEvent::Assigned { name: "default".into(), org, project: None }]);
    }
}
