//! What a release that exchanges instances needs of a document: what is said fits its strategy, and every service has a place
//! where the new revision is seen.

use std::collections::BTreeMap;

use super::check::{MOST_MEASURES, is_host, name_of};
use super::document::Remarks;
use super::model::{CanaryStep, Measure, Model, Preview, Protocol, Publish, Release, ReleaseStrategy, Route, Service};

const MOST_STEPS: usize = 50;
const LONGEST_SECONDS: u32 = 7 * 86_400;

pub fn complete(model: &mut Model, remarks: &Remarks) {
    sound(&model.release, remarks);
    if model.release.strategy == ReleaseStrategy::Rolling {
        return;
    }
    if !model.workloads.values().any(|w| w.is_exchanged()) {
        let detail = "needs a workload of which two sets can stand beside each other: a stateless one without volumes of its own";
        remarks.wrong_at("release.strategy", detail);
    }
    let names: Vec<_> = model.services.iter().map(|s| (s.name.clone(), s.workload.clone())).collect();
    for (n, service) in model.services.iter_mut().enumerate() {
        let exchanged = model.workloads.get(&service.workload).is_some_and(|w| w.is_exchanged());
        if !exchanged || service.protocol == Protocol::Udp || service.port == 0 {
            continue;
        }
        let name = name_of(&format!("{:.55}-preview", service.name.as_str()));
        if let Some((taken, _)) = names.iter().find(|(other, _)| Some(other) == name.as_ref()) {
            remarks
                .wrong_at(&format!("services[{n}]"), format!("the new revision of `{}` is seen as `{taken}`, and another service has this name", service.name));
        }
        let routed = service.routes.iter().find_map(Route::shown_at).map(|(host, _)| host.to_owned());
        let preview = service.preview.get_or_insert_with(Preview::default);
        if preview.host.is_empty() {
            preview.host = routed.as_ref().map(|host| format!("preview.{host}")).unwrap_or_default();
        }
        preview.host.make_ascii_lowercase();
        if !is_host(&preview.host) || preview.host.starts_with('*') {
            remarks.wrong_at(&format!("services[{n}].preview"), format!("`{}` must be a host name such as preview.example.org", preview.host));
        }
        if preview.publish.is_none() && routed.is_none() && service.publish.is_some() {
            preview.publish = Some(Publish::default());
        }
    }
    apart(model, remarks);
}

/// What is asked of a preview, written or not, is asked of nothing else.
fn apart(model: &Model, remarks: &Remarks) {
    let served = |service: &Service| service.routes.iter().filter(|r| r.is_served()).cloned().collect::<Vec<_>>();
    let asked = |host: &str, r: &Route| format!("{:?}", (host, &r.path, r.path_kind, &r.headers, &r.queries, &r.method));
    let routes: BTreeMap<String, &str> =
        model.services.iter().flat_map(|s| served(s).into_iter().map(move |r| (asked(&r.host, &r), s.name.as_str()))).collect();
    let mut previews: BTreeMap<String, &str> = BTreeMap::new();
    for (n, service) in model.services.iter().enumerate() {
        let Some(preview) = service.preview.as_ref().filter(|p| !p.host.is_empty() && service.protocol != Protocol::Udp) else { continue };
        for route in served(service) {
            let asked = asked(&preview.host, &route);
            // Several hosts of a service have one preview; services that share a route by weight share what it shows.
            let shown = previews.get(&asked).copied().filter(|other| *other != service.name.as_str() && route.weight.is_none());
            if let Some(other) = routes.get(&asked).copied().or(shown) {
                let (host, path) = (&preview.host, &route.path);
                let detail = format!("the new revision is seen at `{host}{path}`, which goes to `{other}`: give the preview another `host`");
                remarks.wrong_at(&format!("services[{n}].preview"), detail);
            }
            previews.insert(asked, service.name.as_str());
        }
    }
}

fn sound(release: &Release, remarks: &Remarks) {
    let wrong = |field: &str, detail: String| remarks.wrong_at(&format!("release.{field}"), detail);
    let only = |given: bool, field: &str, strategies: &str| {
        if given {
            wrong(field, format!("is for the strategy {strategies} alone"));
        }
    };
    let is = |strategy| release.strategy == strategy;
    only(!is(ReleaseStrategy::Canary) && !release.steps.is_empty(), "steps", "canary");
    only(!is(ReleaseStrategy::BlueGreen) && release.promote_after_seconds.is_some(), "promote_after_seconds", "blue_green");
    only(is(ReleaseStrategy::Rolling) && release.keep_seconds > 0, "keep_seconds", "blue_green or canary");
    only(is(ReleaseStrategy::Rolling) && !release.checks.is_empty(), "checks", "blue_green or canary");
    if is(ReleaseStrategy::Canary) && !(1..=MOST_STEPS).contains(&release.steps.len()) {
        wrong("steps", format!("must be 1 to {MOST_STEPS} steps such as `{{weight: 10, pause_seconds: 60}}`"));
    }
    if release.checks.len() > MOST_MEASURES {
        wrong("checks", format!("must be {MOST_MEASURES} at most"));
    }
    for (field, seconds) in [("keep_seconds", release.keep_seconds), ("promote_after_seconds", release.promote_after_seconds.unwrap_or(0))] {
        if seconds > LONGEST_SECONDS {
            wrong(field, format!("must be 0 to {LONGEST_SECONDS}, which is a week"));
        }
    }
    let mut before = 0;
    for (n, one) in release.steps.iter().enumerate() {
        if let Some(detail) = fault(one, before) {
            wrong(&format!("steps[{n}]"), detail);
        }
        before = one.weight.unwrap_or(before);
    }
    for (n, check) in release.checks.iter().enumerate() {
        let at = format!("checks[{n}]");
        if check.measure == Measure::Query && check.query.trim().is_empty() {
            wrong(&at, "needs a `query` in PromQL".into());
        } else if check.measure != Measure::Query && !check.query.is_empty() {
            wrong(&at, "has a `query` only with `measure: query`".into());
        }
        if check.min.is_none() && check.max.is_none() {
            wrong(&at, "needs `max` or `min`, or it could never fail".into());
        }
        if !(1..=100).contains(&check.failures) {
            wrong(&at, "`failures` must be 1 to 100".into());
        }
    }
}

fn fault(step: &CanaryStep, before: u32) -> Option<String> {
    let weight = step.weight.unwrap_or(before);
    if weight > 100 {
        return Some("`weight` is percent of the requests: 0 to 100".into());
    }
    if step.weight.is_none() && step.header.is_none() && step.pause_seconds == 0 && !step.until_promoted {
        return Some("says nothing: give it `weight`, `header`, `pause_seconds` or `until_promoted`".into());
    }
    if step.pause_seconds > 0 && step.until_promoted {
        return Some("waits either for a time (`pause_seconds`) or for `until_promoted`".into());
    }
    if step.pause_seconds > LONGEST_SECONDS {
        return Some(format!("`pause_seconds` must be 0 to {LONGEST_SECONDS}, which is a week"));
    }
    let header = step.header.as_ref()?;
    let token = !header.name.is_empty() && header.name.len() <= 64 && header.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let plain = header.value.len() <= 200 && header.value.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && b != b'\'');
    match (token, plain) {
        (false, _) => Some(format!("`{}` is no name of a header: letters, digits, `-` and `_`", header.name)),
        (true, false) => Some("the value of a header is plain text without quotes, 200 characters at most".into()),
        (true, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::document::{Document, Level};
    use crate::domain::own;

    const WEB: &str = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: shop}\nspec:\n  workloads: {web: {image: a/b/c}, db: {image: a/b/d, kind: stateful}}\n  services:\n  - {name: web, workload: web, port: 80, protocol: http, routes: [{host: shop.test}]}\n  - {name: raw, workload: web, port: 81, protocol: tcp, publish: {wanted: 0}}\n  - {name: db, workload: db, port: 5432, protocol: tcp}\n";

    fn faults(release: &str) -> Vec<String> {
        let text = format!("{WEB}  release: {release}\n");
        own::read(&Document::alone(&text))
            .remarks
            .into_list()
            .into_iter()
            .filter(|r| r.level == Level::Wrong)
            .map(|r| format!("{}: {}", r.path, r.detail))
            .collect()
    }

    #[test]
    fn every_service_that_is_exchanged_gets_a_place_to_be_seen() {
        let text = format!("{WEB}  release: {{strategy: blue_green, keep_seconds: 5m}}\n");
        let read = own::read(&Document::alone(&text));
        assert!(!read.remarks.any_wrong(), "{:?}", read.remarks.into_list());
        let seen: Vec<_> = read.model.services.iter().map(|s| s.preview.as_ref().map(|p| (p.host.as_str(), p.publish.is_some()))).collect();
        assert_eq!(seen, [Some(("preview.shop.test", false)), Some(("", true)), None]);
        assert_eq!(read.model.release.keep_seconds, 300);
    }

    #[test]
    fn a_preview_takes_nobody_elses_requests() {
        let release = "  release: {strategy: blue_green}\n";
        let details = |services: &str| {
            let head = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: shop}\nspec:\n  workloads: {web: {image: a/b/c}, db: {image: a/b/d, kind: stateful}}\n  services:\n";
            let read = own::read(&Document::alone(&format!("{head}{services}{release}")));
            read.remarks.into_list().into_iter().filter(|r| r.level == Level::Wrong).map(|r| r.detail).collect::<Vec<_>>()
        };
        let web = "  - {name: web, workload: web, port: 80, protocol: http, routes: [{host: shop.test}, {host: www.shop.test}]}\n";
        assert_eq!(details(web), Vec::<String>::new(), "two hosts of one service have one preview");
        let taken = format!("{web}  - {{name: db, workload: db, port: 81, protocol: http, routes: [{{host: preview.shop.test}}]}}\n");
        assert!(details(&taken).iter().any(|d| d.contains("`preview.shop.test/`, which goes to `db`")), "{:?}", details(&taken));
        let own_route = web.replace("protocol: http,", "protocol: http, preview: {host: www.shop.test},");
        assert!(details(&own_route).iter().any(|d| d.contains("which goes to `web`")), "{:?}", details(&own_route));
        let beside = format!("{web}  - {{name: api, workload: web, port: 82, protocol: http, routes: [{{host: shop.test, path: /api}}]}}\n");
        assert_eq!(details(&beside), Vec::<String>::new(), "the same host with another path");
    }

    #[test]
    fn what_does_not_fit_the_strategy_is_named() {
        for (release, part) in [
            ("{strategy: rolling, keep_seconds: 5}", "blue_green or canary"),
            ("{strategy: blue_green, steps: [{weight: 5}]}", "canary alone"),
            ("{strategy: canary}", "1 to 50 steps"),
            ("{strategy: canary, promote_after_seconds: 5, steps: [{weight: 5}]}", "blue_green alone"),
            ("{strategy: canary, steps: [{weight: 101}]}", "0 to 100"),
            ("{strategy: canary, steps: [{}]}", "says nothing"),
            ("{strategy: canary, steps: [{pause_seconds: 5, until_promoted: true}]}", "either"),
            ("{strategy: canary, steps: [{header: {name: \"X Y\"}}]}", "no name of a header"),
            ("{strategy: canary, steps: [{header: {name: X, value: \"it's\"}}]}", "without quotes"),
            ("{strategy: canary, steps: [{weight: 5}], checks: [{measure: error_rate}]}", "`max` or `min`"),
            ("{strategy: canary, steps: [{weight: 5}], checks: [{measure: query, max: 1}]}", "needs a `query`"),
            ("{strategy: purple}", "unknown variant"),
        ] {
            let found = faults(release);
            assert!(found.iter().any(|f| f.contains(part)), "{release}: {found:?}");
        }
    }

    #[test]
    fn what_cannot_stand_twice_is_not_exchanged() {
        let text = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: db}\nspec:\n  workloads: {db: {image: a/b/d, kind: stateful}}\n  release: {strategy: blue_green}\n";
        assert!(own::read(&Document::alone(text)).remarks.into_list().iter().any(|r| r.detail.contains("two sets can stand")));
    }
}
