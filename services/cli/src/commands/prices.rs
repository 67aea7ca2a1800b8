//! What things cost: plans, and which organisation has which.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::PricePlan;
use crate::failure::Failure;

const PLANS: &str = "/api/v1/price-plans";
const COLUMNS: &[crate::output::Column] = &[("NAME", "name"), ("CURRENCY", "currency"), ("PRICES", "prices"), ("PUBLISHED", "published_at")];

pub async fn run(cx: &mut Context, command: PricePlan) -> Result<()> {
    match command {
        PricePlan::List => {
            let items = cx.client.list(PLANS, &[], 1_000).await?;
            cx.list(&items, COLUMNS)
        }
        PricePlan::Show => {
            let plan: Value = cx.client.get(&format!("{}/price-plan", cx.org()?), &[]).await?;
            cx.one(&plan)
        }
        PricePlan::Set { name, currency, prices } => {
            let all = cx.client.list(PLANS, &[], 1_000).await?;
            let before = all.iter().find(|plan| plan["name"] == name.as_str());
            let currency = currency.or_else(|| before?["currency"].as_str().map(str::to_owned));
            let currency = currency.ok_or_else(|| Failure::Usage(format!("there is no plan {name} yet: say --currency, such as EUR")))?;
            let known = before.and_then(|plan| plan["prices"].as_object().cloned()).unwrap_or_default();
            let body = json!({ "name": name, "currency": currency, "prices": with(known, &prices)? });
            // What was read is changed, not what somebody else has published since.
            let published = cx.client.put_over(PLANS, &body, before.and_then(|plan| plan["version"].as_i64())).await?;
            cx.one(&published)
        }
        PricePlan::Assign { plan } => {
            let org = cx.org()?;
            let assigned = cx.client.put_new(&format!("{org}/price-plan"), &json!({ "plan": plan })).await?;
            cx.one(&assigned)
        }
    }
}

/// The prices with the given ones changed; they are replaced as a whole.
fn with(mut prices: Map<String, Value>, words: &[String]) -> Result<Map<String, Value>> {
    for word in words {
        let (meter, price) = word.split_once('=').ok_or_else(|| Failure::Usage(format!("{word}: must be METER=PRICE, or METER=none")))?;
        match price {
            "none" => drop(prices.remove(meter)),
            // A decimal text, as it was typed: a number of the machine would not keep it.
            price => drop(prices.insert(meter.to_owned(), Value::from(price))),
        }
    }
    Ok(prices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_that_are_not_named_stay_and_keep_their_digits() {
        let known = json!({ "requests": "0.01", "cpu_core_hours": "0.030" });
        let changed = with(known.as_object().cloned().expect("an object"), &["memory_gib_hours=0.10".into(), "requests=none".into()]).expect("changed");
        assert_eq!(Value::Object(changed), json!({ "cpu_core_hours": "0.030", "memory_gib_hours": "0.10" }));
        assert!(with(Map::new(), &["free".into()]).is_err());
    }
}
