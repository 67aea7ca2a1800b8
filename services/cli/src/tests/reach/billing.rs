//! The same for the API of use, bills, limits and prices.

use serde_json::json;

use super::held;

const COMMANDS: &[&str] = &[
    "usage --from 2026-10-01T00:00:00Z --to 2026-11-01T00:00:00Z --at acme",
    "usage --project --from 2026-10-01T00:00:00Z --to 2026-11-01T00:00:00Z --at acme/shop",
    "invoice --at acme",
    "invoice --list --at acme",
    "invoice 2026-10 --at acme",
    "invoice 2026-10 --void wrong --yes --at acme",
    "quota get --at acme",
    "quota set containers=1 --at acme",
    "quota set containers=1 --at acme/shop",
    "quota set containers=1 --user ada",
    "price-plan list",
    "price-plan show --at acme",
    "price-plan set default --currency EUR --price requests=0.01",
    "price-plan assign default --at acme",
];

#[tokio::test]
async fn every_operation_of_billing_can_be_typed() {
    let yes = json!({ "items": [], "next": null, "id": "1", "limits": {}, "used": {}, "version": 1, "lines": [] });
    let elsewhere = [("GET", "/api/v1/users/ada")];
    held(include_str!("../../../../../schemas/openapi/billing.json"), COMMANDS, yes, &[], &elsewhere, "").await;
}
