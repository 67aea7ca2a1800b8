//! The query API of Prometheus (prometheus.io/docs/prometheus/latest/querying/api), read-only.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_kernel::{Kind, OffsetDateTime, Problem, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    /// Empty: there is none.
    url: String,
}

/// One series: labels and points.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    /// Pairs of Unix time in seconds and value; a value that is no finite number is left out.
    pub points: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Matrix {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// One series at one instant.
#[derive(Deserialize)]
struct Sample {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Prometheus {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(LIMIT).connect_timeout(Duration::from_secs(3)).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned() })
    }

    /// A range of one prepared query.
    ///
    /// # Errors
    /// Unavailable, or the query refused.
    pub async fn range(&self, query: &str, from: OffsetDateTime, to: OffsetDateTime, step_seconds: u64) -> Result<Vec<Series>> {
        let unix = |at: OffsetDateTime| (at.unix_timestamp_nanos() as f64 / 1e9).to_string();
        let data = self.ask("query_range", &[("query", query), ("start", &unix(from)), ("end", &unix(to)), ("step", &step_seconds.to_string())]).await?;
        let matrix: Vec<Matrix> = serde_json::from_value(data.get("result").cloned().unwrap_or_default()).map_err(Problem::internal)?;
        let series = |m: Matrix| Series {
            labels: m.metric,
            points: m.values.into_iter().filter_map(|(at, value)| Some((at, value.parse::<f64>().ok().filter(|v| v.is_finite())?))).collect(),
        };
        Ok(matrix.into_iter().map(series).collect())
    }

    /// One prepared query now: labels and value of each series. What is no finite number is left out.
    ///
    /// # Errors
    /// Unavailable, or the query refused.
    pub async fn instant(&self, query: &str) -> Result<Vec<(BTreeMap<String, String>, f64)>> {
        let data = self.ask("query", &[("query", query)]).await?;
        let samples: Vec<Sample> = serde_json::from_value(data.get("result").cloned().unwrap_or_default()).map_err(Problem::internal)?;
        let finite = |s: Sample| Some((s.metric, s.value.1.parse::<f64>().ok().filter(|v| v.is_finite())?));
        Ok(samples.into_iter().filter_map(finite).collect())
    }

    /// Passes a question on; the answer is Prometheus's own `data`.
    ///
    /// # Errors
    /// Unavailable, or the query refused.
    pub async fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        if self.url.is_empty() {
            return Err(Problem::unavailable("the metrics store (platform.prometheus_url is not set)"));
        }
        let down = |error: reqwest::Error| Problem::unavailable("the metrics store").with_source(error.without_url());
        // POST: a query may be longer than an address.
        let response = self.http.post(format!("{}/api/v1/{endpoint}", self.url)).form(parameters).send().await.map_err(down)?;
        let status = response.status();
        let mut body: Value = response.json().await.map_err(down)?;
        if body["status"] == "success" {
            return Ok(body["data"].take());
        }
        let text = body["error"].as_str().unwrap_or("no reason given").to_owned();
        match status.as_u16() {
            400 => Err(Problem::invalid("query", text)),
            422 => Err(Problem::new(Kind::Invalid, "monitoring.query_failed", text)),
            _ => Err(Problem::unavailable("the metrics store").with_source(std::io::Error::other(text))),
        }
    }
}
