//! Signs of an intrusion: how they are shown, and acknowledging them.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::args::Sign;
use crate::output::Column;

pub const COLUMNS: &[Column] = &[
    ("NUMBER", "number"),
    ("AT", "at"),
    ("APP", "app"),
    ("INSTANCE", "instance"),
    ("CONTAINER", "container"),
    ("NODE", "node"),
    ("SIGN", "sign"),
    ("ACTION", "action"),
    ("WHAT", "detail"),
    ("ACKNOWLEDGED", "acknowledged.at"),
    ("BY", "acknowledged.by"),
    ("WHY", "acknowledged.reason"),
];

pub async fn run(cx: &mut Context, command: Sign) -> Result<()> {
    let Sign::Acknowledge { numbers, reason } = command;
    let signs = format!("{}/signs", cx.space()?);
    let mut done = Vec::new();
    for number in numbers {
        done.push(cx.client.post(&format!("{signs}/{number}/acknowledge"), &[], &json!({ "reason": reason })).await?);
    }
    cx.list(&done, COLUMNS)
}
