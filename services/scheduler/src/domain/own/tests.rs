use proptest::prelude::*;

use super::*;
use crate::domain::document::Remark;

fn good(text: &str) -> Model {
    let reading = read(&Document::alone(text));
    reading.finish(false).unwrap_or_else(|r| panic!("{r:#?}")).model
}

fn bad(text: &str) -> Vec<Remark> {
    read(&Document::alone(text)).finish(false).expect_err("refused")
}

const HEAD: &str = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: shop}\n";

#[test]
fn units_are_read_by_the_names_of_fields() {
    let text = format!(
        "{HEAD}spec:\n  workloads:\n    web:\n      image: a/b/c\n      replicas: 2\n      limits: {{cpu_millis: 250m, memory_bytes: 512Mi}}\n      stop_grace_seconds: 1m30s\n      nics: [{{up_bps: 10M}}]\n      files: [{{path: /a, source: app/x, mode: '0440'}}]\n      env_sources: {{X: app/x}}\n      probes: [{{purpose: ready, check: {{kind: http, path: /, port: 80}}, period_ms: 5s}}]\n  services: [{{name: web, workload: web, port: 80, protocol: http}}]\n  configs: {{app: {{entries: {{x: '$${{y}}'}}}}}}\n"
    );
    let model = good(&text);
    let web = &model.workloads[&Name::parse("web").unwrap()];
    assert_eq!((web.limits.cpu_millis, web.limits.memory_bytes, web.requests.memory_bytes), (250, 512 << 20, 512 << 20));
    assert_eq!((web.stop_grace_seconds, web.nics[0].up_bps, web.probes[0].period_ms), (90, 10_000_000, 5000));
    assert_eq!((web.files[0].mode, web.files[0].content.as_str(), web.env["X"].as_str()), (0o440, "${y}", "${y}"));
}

#[test]
fn limits_of_a_release_may_have_fractions() {
    let of = |limits: &str| {
        format!(
            "{HEAD}spec:\n  workloads: {{web: {{image: a/b/c}}}}\n  release:\n    strategy: canary\n    steps: [{{weight: 10, pause_seconds: 5}}]\n    checks:\n      - {{measure: error_rate, {limits}}}\n"
        )
    };
    for (text, max) in [("max: 1.5", 1.5), ("max: 2", 2.0), ("max: 2.0", 2.0), ("max: '0.25'", 0.25)] {
        assert_eq!(good(&of(text)).release.checks[0].max, Some(max), "{text}");
    }
    assert_eq!(bad(&of("max: many"))[0].line, 10);
}

#[test]
fn every_fault_is_told_with_path_and_line() {
    let text = format!(
        "{HEAD}spec:\n  workloads:\n    web:\n      image: a/b/c\n      limits:\n        memory_bytes: lots\n    other:\n      image: x\n      nonsense: 1\n    Third: {{image: x}}\n"
    );
    let found: Vec<(String, u64)> = bad(&text).into_iter().map(|r| (r.path, r.line)).collect();
    assert_eq!(
        found,
        [("spec.workloads.web.limits.memory_bytes".into(), 9), ("spec.workloads.other.nonsense".into(), 12), ("spec.workloads.Third".into(), 13)]
    );
    assert_eq!(bad("kind: Application\napiVersion: gantry.io/v2\nspec: {}\n")[0].line, 2);
    assert!(bad(&format!("{HEAD}spec: {{workloads: {{}}}}\n"))[0].detail.contains("at least one"));
}

#[test]
fn what_no_node_could_do_is_wrong() {
    for (more, expected) in [
        ("mounts: [{kind: volume, source: v, target: /v, sub_path: a/../../b}]", "leads out of its volume"),
        ("tuning: {memory_swap_bytes: 1048576}", "less than the limit of memory"),
        ("tuning: {cpuset: all}", "no list of numbers"),
    ] {
        let text = format!("{HEAD}spec:\n  workloads:\n    web:\n      image: x\n      limits: {{memory_bytes: 64Mi}}\n      {more}\n");
        assert!(bad(&text).iter().any(|r| r.detail.contains(expected) && r.line == 9), "{more}: {:#?}", bad(&text));
    }
    good(&format!(
        "{HEAD}spec:\n  workloads:\n    web:\n      image: x\n      limits: {{memory_bytes: 64Mi}}\n      tuning: {{memory_swap_bytes: -1, cpuset: '0-1,3'}}\n"
    ));
}

#[test]
fn the_engine_lacks_are_told_with_their_own_lines() {
    let text = format!("{HEAD}spec:\n  workloads:\n    web:\n      image: x\n      sharing:\n        host_network: true\n");
    let reading = read(&Document::alone(&text));
    reading.remarks.lacking(crate::domain::lacks::containerd(&reading.model));
    let refused = reading.finish(false).unwrap_err();
    assert_eq!((refused[0].path.as_str(), refused[0].line), ("spec.workloads.web.sharing.host_network", 9));
}

proptest! {
    #[test]
    fn no_document_makes_the_reader_panic(text in "(apiVersion: gantry.io/v1\n|kind: Application\n|spec:\n|  workloads:\n|    web:\n|      |image: x\n|replicas: |ports: |probes: |\\[|\\]|\\{|\\}|-1\n|5Gi\n|null\n|,|: ){0,40}") {
        let _ = read(&Document::alone(&text));
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "`make golden` says so by the environment")]
fn golden_schema_of_the_form() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/application.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var("GANTRY_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(file).unwrap_or_default();
    assert!(golden == text, "the form's schema changed; `make golden` rewrites {file}");
}
