//! Asks the suite's public door whether every part is ready.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// # Errors
/// Why it is not ready: no answer, or the parts that are not.
pub fn check(url: &str, ca: &Path, limit: Duration) -> Result<()> {
    let pem = std::fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ca = reqwest::Certificate::from_pem(&pem)?;
        let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(limit).build()?;
        let answer = client.get(format!("{url}/readyz")).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("{}", describe(status.as_u16(), &text));
        }
        Ok(())
    })
}

/// Names the parts that are not ready, whatever else the answer holds.
fn describe(status: u16, body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let mut waiting = Vec::new();
    collect(&value, "", &mut waiting);
    match waiting.is_empty() {
        true => format!("it answers {status}: {}", body.chars().take(200).collect::<String>()),
        false => format!("waiting for {}", waiting.join(", ")),
    }
}

fn collect(value: &Value, name: &str, waiting: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let own = fields.get("name").and_then(Value::as_str).unwrap_or(name);
            let no = ["ready", "ok"].iter().any(|k| fields.get(*k).and_then(Value::as_bool) == Some(false));
            if no && !own.is_empty() {
                let why = ["detail", "error", "why"].iter().find_map(|k| fields.get(*k)?.as_str());
                waiting.push(why.map_or_else(|| own.to_owned(), |w| format!("{own} ({w})")));
            }
            for (key, inner) in fields.iter().filter(|(_, v)| v.is_object() || v.is_array()) {
                collect(inner, key, waiting);
            }
        }
        Value::Array(items) => items.iter().for_each(|i| collect(i, name, waiting)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_not_ready_are_named() {
        let body = r#"{"ready":false,"parts":[{"name":"identity","ready":true},{"name":"registry","ok":false,"error":"migrating"}]}"#;
        assert_eq!(describe(503, body), "waiting for registry (migrating)");
        assert_eq!(describe(502, "nobody"), "it answers 502: nobody");
    }
}
