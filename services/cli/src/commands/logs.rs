//! Lines that an application's instances printed: looked through, or followed.

use anyhow::Result;
use gantry_kernel::OffsetDateTime;
use serde_json::Value;
use time::Duration as Span;
use time::format_description::well_known::Rfc3339;

use super::{Context, inside};
use crate::args::{Format, Logs};
use crate::failure::Failure;
use crate::output::{self, find, print};
use crate::sse;

pub async fn run(cx: &mut Context, app: &str, wanted: &Logs) -> Result<()> {
    let mut query = vec![("limit", wanted.limit.to_string())];
    let now = cx.client.env().now();
    for (key, option, text) in [("since", "--since", &wanted.since), ("until", "--until", &wanted.until)] {
        if let Some(text) = text {
            query.push((key, moment(option, text, now)?));
        }
    }
    let other = [("q", &wanted.text), ("stream", &wanted.stream)];
    query.extend(other.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
    if wanted.previous {
        let (id, start) = inside::previous(cx, app, wanted.instance.clone()).await?;
        query.extend([("instance", id), ("attempt", start.to_string())]);
        return lines(cx, app, &query, wanted.limit).await;
    }
    if let Some(instance) = &wanted.instance {
        query.push(("instance", id_of(cx, app, instance).await?));
    }
    let written = match &wanted.container {
        Some(container) => Some(inside::written_by(cx, app, wanted.instance.as_deref(), container).await?),
        None => wanted.workload.clone(),
    };
    query.extend(written.map(|w| ("workload", w)));
    if wanted.follow { follow(cx, app, query).await } else { lines(cx, app, &query, wanted.limit).await }
}

/// Lines are kept by the instance's id; an id is taken as it is, also that of an instance which is gone.
async fn id_of(cx: &mut Context, app: &str, instance: &str) -> Result<String> {
    if instance.len() == 36 && instance.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Ok(instance.to_owned());
    }
    let all = cx.client.list(&format!("{app}/instances"), &[], 10_000).await?;
    let found = all.iter().find(|i| i["id"] == instance || i["name"] == instance).and_then(|i| i["id"].as_str());
    let missing = || anyhow::Error::from(Failure::Usage(format!("there is no instance {instance}; `gantry app instances` lists them")));
    found.map(str::to_owned).ok_or_else(missing)
}

async fn follow(cx: &mut Context, app: &str, mut query: Vec<(&str, String)>) -> Result<()> {
    query.push(("follow", "true".to_owned()));
    let format = cx.common.output;
    let answer = cx.client.stream(&format!("{app}/logs"), &query).await?;
    sse::each(answer, |event| {
        if let Ok(value) = serde_json::from_str::<Value>(&event.data) {
            let lines = value.get("items").or_else(|| value.get("lines")).and_then(Value::as_array).cloned().unwrap_or_else(|| vec![value]);
            lines.iter().try_for_each(|l| if format == Format::Table { print(&log_line(l)) } else { output::entry(format, l) })?;
        }
        Ok(true)
    })
    .await
}

async fn lines(cx: &mut Context, app: &str, query: &[(&str, String)], limit: u32) -> Result<()> {
    let items = cx.client.list(&format!("{app}/logs"), query, limit as usize).await?;
    if cx.common.output != Format::Table {
        // That there are older ones is how logs are.
        return output::list(cx.common.output, &items, &[]);
    }
    items.iter().try_for_each(|line| print(&log_line(line)))
}

fn log_line(line: &Value) -> String {
    let text = |path: &str| find(line, path).as_str().unwrap_or_default().to_owned();
    let short: String = text("instance").chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{} {}/{short} {}", text("at|time"), text("workload"), text("text|line|message"))
}

/// A time, or how far back. `option` is how it was asked for.
///
/// # Errors
/// Neither of both.
pub fn moment(option: &str, text: &str, now: OffsetDateTime) -> Result<String> {
    let unit = text.chars().last().unwrap_or_default();
    let number = text.strip_suffix(unit).and_then(|n| n.parse::<i64>().ok());
    let back = match (number, unit) {
        (Some(n), 's') => Some(Span::seconds(n)),
        (Some(n), 'm') => Some(Span::minutes(n)),
        (Some(n), 'h') => Some(Span::hours(n)),
        (Some(n), 'd') => Some(Span::days(n)),
        _ => None,
    };
    match back {
        Some(span) => Ok((now - span).format(&Rfc3339)?),
        None if OffsetDateTime::parse(text, &Rfc3339).is_ok() => Ok(text.to_owned()),
        None => Err(Failure::Usage(format!("{option} {text}: must be a time such as 2026-11-22T10:00:00Z, or 90s, 10m, 2h, 3d")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_back_is_counted_from_now() {
        let now = OffsetDateTime::UNIX_EPOCH + Span::hours(1);
        assert_eq!(moment("--since", "10m", now).expect("a time"), "1970-01-01T00:50:00Z");
        assert_eq!(moment("--since", "2026-11-22T10:00:00Z", now).expect("a time"), "2026-11-22T10:00:00Z");
        assert!(moment("--until", "yesterday", now).unwrap_err().to_string().contains("--until yesterday"));
    }
}
