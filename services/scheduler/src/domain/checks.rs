//! What is asked of the metrics store while a new revision has requests, and what the answers mean. Pure.

use gantry_kernel::InstanceId;

use super::model::{Measure, ReleaseCheck};

/// What stands in a query for the placeholders.
#[derive(Clone, Debug)]
pub struct Placeholders<'a> {
    pub app: &'a str,
    pub revision: u64,
    pub new: &'a [InstanceId],
    pub old: &'a [InstanceId],
}

/// The PromQL of a check.
pub fn query(check: &ReleaseCheck, of: &Placeholders<'_>) -> String {
    let new = pattern(of.new);
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
            .replace("%{app}", of.app)
            .replace("%{revision}", &of.revision.to_string()),
    }
}

/// Matches nothing where there is none.
fn pattern(ids: &[InstanceId]) -> String {
    if ids.is_empty() { "none".into() } else { ids.iter().map(ToString::to_string).collect::<Vec<_>>().join("|") }
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
        let of = Placeholders { app: "shop", revision: 7, new: &new, old: &old };
        let text = query(&check(Measure::Query, "a{i=~\"%{instances}\",o=~\"%{old_instances}\",app=\"%{app}\",r=\"%{revision}\"}"), &of);
        assert_eq!(text, format!("a{{i=~\"{}|{}\",o=~\"none\",app=\"shop\",r=\"7\"}}", new[0], new[1]));
        assert!(query(&check(Measure::ErrorRate, ""), &of).contains(&format!("gantry_instance_errors_total{{instance=~\"{}|{}\"}}", new[0], new[1])));
    }

    #[test]
    fn instances_that_nobody_measures_give_no_answer() {
        let new = [InstanceId(Uuid::from_u128(1))];
        let of = Placeholders { app: "shop", revision: 7, new: &new, old: &[] };
        let texts = [Measure::ErrorRate, Measure::Latency].map(|measure| query(&check(measure, ""), &of));
        // A `vector(0)` is an answer for whatever is not scraped.
        assert!(texts.iter().all(|t| !t.contains("vector(")), "{texts:?}");
        let none = format!("or 0 * sum(gantry_instance_requests_total{{instance=~\"{}\"}})", new[0]);
        assert_eq!(texts[0].matches(&none).count(), 2, "{}", texts[0]);
    }

    #[test]
    fn limits_are_told_with_the_value() {
        let of = |value| fault(&check(Measure::ErrorRate, ""), value);
        assert_eq!((of(1.0), of(2.34567)), (None, Some("the error rate is 2.346, and at most 1 is allowed".into())));
        let least = ReleaseCheck { name: "orders".into(), min: Some(5.0), max: None, ..check(Measure::Query, "x") };
        assert_eq!((fault(&least, 5.0), fault(&least, 4.0).is_some()), (None, true));
    }
}
