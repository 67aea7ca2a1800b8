//! Figures of an application or a node: the newest of each, the least and the most; JSON and YAML have every point.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, logs};
use crate::args::{Charts, Format};

const COLUMNS: &[crate::output::Column] = &[("FIGURE", "figure"), ("OF", "of"), ("UNIT", "unit"), ("NOW", "now"), ("LEAST", "least"), ("MOST", "most")];

/// Those that lie below `of`, the path of an application or a node.
pub async fn show(cx: &mut Context, of: &str, wanted: &Charts) -> Result<()> {
    let now = cx.client.env().now();
    let mut query = vec![("from", logs::moment("--from", &wanted.from, now)?)];
    if let Some(to) = &wanted.to {
        query.push(("to", logs::moment("--to", to, now)?));
    }
    query.extend(wanted.step.clone().map(|step| ("step", step)));
    let answer: Value = cx.client.get(&format!("{of}/metrics"), &query).await?;
    if cx.common.output == Format::Table { cx.list(&rows(&answer), COLUMNS) } else { cx.one(&answer) }
}

/// A line for each series that has a point.
fn rows(answer: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for chart in answer["charts"].as_array().into_iter().flatten() {
        for series in chart["series"].as_array().into_iter().flatten() {
            let values: Vec<f64> = series["points"].as_array().into_iter().flatten().filter_map(|p| p[1].as_f64()).collect();
            let Some(now) = values.last() else { continue };
            let labels = series["labels"].as_object().into_iter().flatten();
            let of: Vec<String> = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
            let (least, most) = values.iter().fold((*now, *now), |(least, most), v| (least.min(*v), most.max(*v)));
            rows.push(json!({
                "figure": chart["name"], "of": of.join(" "), "unit": chart["unit"], "now": short(*now), "least": short(least), "most": short(most),
            }));
        }
    }
    rows
}

/// Small figures are shares of a core; of bytes nobody wants a fraction.
fn short(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.3}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_a_line_and_one_without_points_is_none() {
        let points = json!([[1.0, 0.25], [2.0, 0.5], [3.0, 0.375]]);
        let series = json!([{ "labels": { "instance": "web-0" }, "points": points }, { "labels": {}, "points": [] }]);
        let seen = rows(&json!({ "charts": [{ "name": "cpu", "unit": "cores", "series": series }] }));
        let wanted = json!([{ "figure": "cpu", "of": "instance=web-0", "unit": "cores", "now": "0.375", "least": "0.250", "most": "0.500" }]);
        assert_eq!(json!(seen), wanted);
        assert_eq!(short(1_073_741_824.4), "1073741824");
    }
}
