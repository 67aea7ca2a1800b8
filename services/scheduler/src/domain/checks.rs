//! What is asked of the metrics store while a new revision has requests, and what the answers mean. Pure.

use std::collections::BTreeMap;

use gantry_kernel::{InstanceId, OffsetDateTime};

use super::model::{Measure, ReleaseCheck};

/// What stands in a query for the placeholders.
#[derive(Clone, Debug)]
pub struct Placeholders<'a> {
    pub app: &'a str,
    pub revision: u64,
    pub new: &'a [InstanceId],
    pub old: &'a [InstanceId],
    /// Where they are pods of a cluster.
    pub pods: Option<Pods>,
}

/// Pods as the metrics that are scraped of a cluster name them, by the labels `namespace` and `pod`.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    pub namespace: String,
    pub new: Vec<String>,
    pub old: Vec<String>,
}

/// An instance of the new revision that is not being stopped.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub id: InstanceId,
    pub workload: &'a str,
    pub placed_at: OffsetDateTime,
}

/// Whom a stage that began at `began` asks about: those that were there by then, and as many as it has (`size`, of a workload) also if they
/// came later, for one that was lost or because there are to be more by now. What starts for the next stage is not asked about before.
pub fn of_stage(mut new: Vec<Candidate<'_>>, began: Option<OffsetDateTime>, size: impl Fn(&str) -> u32) -> Vec<InstanceId> {
    new.sort_by_key(|i| (i.placed_at, i.id));
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut out = Vec::new();
    for one in new {
        let count = seen.entry(one.workload).or_default();
        *count += 1;
        if began.is_none_or(|began| one.placed_at <= began) || *count <= size(one.workload) {
            out.push(one.id);
        }
    }
    out
}

/// The PromQL of a check.
pub fn query(check: &ReleaseCheck, of: &Placeholders<'_>) -> String {
    let new = pattern(of.new);
    if let (Some(pods), true) = (&of.pods, check.measure != Measure::Query) {
        return of_pods(check.measure, pods);
    }
    let pods = of.pods.clone().unwrap_or_default();
    match check.measure {
        // Without requests nothing has failed. The zero is the series' own: of instances that nobody measures there is no answer.
        Measure::ErrorRate => {
            let none = format!("0 * sum(gantry_instance_requests_total{{instance=~\"{new}\"}})");
            format!(
                "100 * (sum(rate(gantry_instance_errors_total{{instance=~\"{new}\"}}[1m])) or {none}) / \
                 clamp_min((sum(rate(gantry_instance_requests_total{{instance=~\"{new}\"}}[1m])) or {none}), 0.000001)"
            )
        }
        Measure::Latency => format!("1000 * avg(gantry_instance_response_seconds{{instance=~\"{new}\"}})"),
        Measure::Query => check
            .query
            .replace("%{instances}", &new)
            .replace("%{old_instances}", &pattern(of.old))
            .replace("%{pods}", &any_of(&pods.new))
            .replace("%{old_pods}", &any_of(&pods.old))
            .replace("%{namespace}", &pods.namespace)
            .replace("%{app}", of.app)
            .replace("%{revision}", &of.revision.to_string()),
    }
}

/// By what applications themselves say of their requests, as OpenTelemetry calls it (opentelemetry.io/docs/specs/semconv/http,
/// `http.server.request.duration`): nobody of ours is between the clients and a cluster's pods.
fn of_pods(measure: Measure, pods: &Pods) -> String {
    let labels = format!("namespace=\"{}\",pod=~\"{}\"", pods.namespace, any_of(&pods.new));
    let rate = |part: &str, more: &str| format!("sum(rate(http_server_request_duration_seconds_{part}{{{labels}{more}}}[1m]))");
    let (all, time) = (rate("count", ""), rate("sum", ""));
    if measure == Measure::Latency {
        return format!("1000 * {time} / ({all} > 0)");
    }
    let none = format!("0 * sum(http_server_request_duration_seconds_count{{{labels}}})");
    let failed = rate("count", ",http_response_status_code=~\"5..\"");
    format!("100 * ({failed} or {none}) / clamp_min(({all} or {none}), 0.000001)")
}

/// Matches nothing where there is none.
fn pattern(ids: &[InstanceId]) -> String {
    any_of(&ids.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn any_of(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join("|") }
}

/// What is wrong with a measured value.
pub fn fault(check: &ReleaseCheck, value: f64) -> Option<String> {
    let name = name(check);
    if let Some(max) = check.max.filter(|max| value > *max) {
        return Some(format!("{name} is {}, and at most {max} is allowed", rounded(value)));
    }
    check.min.filter(|min| value < *min).map(|min| format!("{name} is {}, and at least {min} is needed", rounded(value)))
}

pub fn name(check: &ReleaseCheck) -> &str {
    match (check.name.as_str(), check.measure) {
        ("", Measure::ErrorRate) => "the error rate",
        ("", Measure::Latency) => "the latency",
        ("", Measure::Query) => "the query's answer",
        (name, _) => name,
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    fn check(measure: Measure, query: &str) -> ReleaseCheck {
        ReleaseCheck { name: String::new(), measure, query: query.into(), min: None, max: Some(1.0), failures: 3 }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let (new, old) = ([InstanceId(Uuid::from_u128(1)), InstanceId(Uuid::from_u128(2))], []);
        let of = Placeholders { app: "shop", revision: 7, new: &new, old: &old, pods: None };
        let text = query(&check(Measure::Query, "a{i=~\"%{instances}\",o=~\"%{old_instances}\",app=\"%{app}\",r=\"%{revision}\"}"), &of);
        assert_eq!(text, format!("a{{i=~\"{}|{}\",o=~\"none\",app=\"shop\",r=\"7\"}}", new[0], new[1]));
        assert!(query(&check(Measure::ErrorRate, ""), &of).contains(&format!("gantry_instance_errors_total{{instance=~\"{}|{}\"}}", new[0], new[1])));
    }

    #[test]
    fn an_instance_that_took_a_lost_ones_place_is_asked_about() {
        let at = |seconds| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
        let one = |n: u128, workload, seconds| Candidate { id: InstanceId(Uuid::from_u128(n)), workload, placed_at: at(seconds) };
        let asked = |new: &[Candidate<'_>]| of_stage(new.to_vec(), Some(at(100)), |w| if w == "web" { 2 } else { u32::MAX });
        let ids = |all: &[u128]| all.iter().map(|n| InstanceId(Uuid::from_u128(*n))).collect::<Vec<_>>();
        let before = [one(1, "web", 10), one(2, "web", 20)];
        assert_eq!(asked(&[before[0], before[1], one(3, "web", 110)]), ids(&[1, 2]), "the third one starts for the next stage");
        assert_eq!(asked(&[one(3, "web", 110), before[1]]), ids(&[2, 3]), "the first one was lost");
        assert_eq!(asked(&[one(4, "web", 120), one(3, "web", 110)]), ids(&[3, 4]), "both were: else nothing would ever be measured");
        assert_eq!(asked(&[one(5, "db", 130)]), ids(&[5]), "of what is replaced one by one, all");
        assert_eq!(asked(&[before[0], before[1], one(6, "web", 30)]), ids(&[1, 2, 6]), "on another cluster");
    }

    #[test]
    fn instances_that_nobody_measures_give_no_answer() {
        let new = [InstanceId(Uuid::from_u128(1))];
        let of = Placeholders { app: "shop", revision: 7, new: &new, old: &[], pods: None };
        let texts = [Measure::ErrorRate, Measure::Latency].map(|measure| query(&check(measure, ""), &of));
        // A `vector(0)` is an answer for whatever is not scraped.
        assert!(texts.iter().all(|t| !t.contains("vector(")), "{texts:?}");
        let none = format!("or 0 * sum(gantry_instance_requests_total{{instance=~\"{}\"}})", new[0]);
        assert_eq!(texts[0].matches(&none).count(), 2, "{}", texts[0]);
    }

    #[test]
    fn pods_are_asked_about_by_their_names() {
        let new = [InstanceId(Uuid::from_u128(1))];
        let pods = Pods { namespace: "shop".into(), new: vec!["web-r2-a".into(), "web-r2-b".into()], old: Vec::new() };
        let of = Placeholders { app: "shop", revision: 2, new: &new, old: &[], pods: Some(pods) };
        let own = query(&check(Measure::Query, "x{namespace=\"%{namespace}\",pod=~\"%{pods}\"} / y{pod=~\"%{old_pods}\"}"), &of);
        assert_eq!(own, "x{namespace=\"shop\",pod=~\"web-r2-a|web-r2-b\"} / y{pod=~\"none\"}");
        let rate = query(&check(Measure::ErrorRate, ""), &of);
        assert!(
            rate.contains("http_server_request_duration_seconds_count{namespace=\"shop\",pod=~\"web-r2-a|web-r2-b\",http_response_status_code=~\"5..\"}[1m]")
        );
        assert!(!rate.contains("gantry_instance") && !query(&check(Measure::Latency, ""), &of).contains("vector("));
    }

    #[test]
    fn limits_are_told_with_the_value() {
        let of = |value| fault(&check(Measure::ErrorRate, ""), value);
        assert_eq!((of(1.0), of(2.34567)), (None, Some("the error rate is 2.346, and at most 1 is allowed".into())));
        let least = ReleaseCheck { name: "orders".into(), min: Some(5.0), max: None, ..check(Measure::Query, "x") };
        assert_eq!((fault(&least, 5.0), fault(&least, 4.0).is_some()), (None, true));
    }
}
