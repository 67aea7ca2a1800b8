//! One number from the Prometheus-compatible server of the platform (prometheus.io/docs/prometheus/latest/querying/api).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    /// Empty: there is none.
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: String,
}

/// A scalar is a pair, a vector a list of samples; see "Expression query result formats".
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

impl Prometheus {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(WITHIN).connect_timeout(WITHIN).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned() })
    }

    /// The present value; `None` if there is none, or it is no finite number.
    ///
    /// # Errors
    /// In words for the user: the server is away, refuses the query, or answers with more than one series.
    pub async fn number(&self, query: &str) -> Result<Option<f64>, String> {
        if self.url.is_empty() {
            return Err("there is no metrics store (platform.prometheus_url is not set)".into());
        }
        let away = |error: reqwest::Error| {
            tracing::debug!(error = %error.without_url(), "the metrics store did not answer");
            "the metrics store does not answer".to_owned()
        };
        let response = self.http.post(format!("{}/api/v1/query", self.url)).form(&[("query", query)]).send().await.map_err(away)?;
        let answer: Answer = response.json().await.map_err(away)?;
        read(answer)
    }
}

fn read(answer: Answer) -> Result<Option<f64>, String> {
    let Some(Data { result_type, result }) = answer.data else { return Err(format!("the metrics store refuses the query: {}", answer.error)) };
    let pair = match (result_type.as_str(), result.as_array().map(Vec::as_slice)) {
        ("scalar", _) => result,
        ("vector", Some([])) => return Ok(None),
        ("vector", Some([one])) => one["value"].clone(),
        ("vector", Some(many)) => return Err(format!("the query has {} answers instead of one: sum them up", many.len())),
        _ => return Err("the query's answer is no number".into()),
    };
    Ok(pair[1].as_str().and_then(|text| text.parse().ok()).filter(|n: &f64| n.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<f64>, String> {
        read(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn one_number_is_taken_and_nothing_else() {
        assert_eq!(of(r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1.5,"2.5"]}]}}"#), Ok(Some(2.5)));
        assert_eq!(of(r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"7"]}}"#), Ok(Some(7.0)));
        assert_eq!(of(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#), Ok(None));
        assert_eq!(of(r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"NaN"]}}"#), Ok(None));
        let two = r#"{"data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"2"]}]}}"#;
        assert!(of(two).unwrap_err().contains("2 answers"));
        assert!(of(r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#).unwrap_err().contains("parse error"));
    }
}
