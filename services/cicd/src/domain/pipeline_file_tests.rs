//! What a pipeline file may say, and what it is told when it says something else.

use proptest::prelude::*;

use super::*;

const KNOWN: &[&str] = &["GANTRY_COMMIT", "GANTRY_SHORT_COMMIT"];

const GOOD: &str = r#"
env: { MODE: test }
timeout: 10m
stages:
  - name: test
    steps:
      - name: unit
        image: base:1
        run:
          - ./test.sh
          - echo "${HOME}"
        artifacts: [out/report.xml]
        reports: [out/report.xml]
        resources: { cpu: 500m, memory: 256Mi }
  - name: ship
    when: { branch: [main, "release/*"] }
    steps:
      - name: image
        build: { image: web, tags: ["${GANTRY_COMMIT}"] }
      - name: sure
        approval: Ship it?
      - name: release
        needs: [image, sure]
        deploy: { file: compose.yaml, space: test, app: web, values: { IMAGE: "${steps.image.image}" } }
"#;

fn faults(text: &str) -> String {
    parse(text, KNOWN).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    faults(&GOOD.replacen(from, to, 1))
}

#[test]
fn a_good_file_becomes_a_pipeline() {
    let pipeline = parse(GOOD, KNOWN).unwrap();
    let unit = pipeline.step("unit").unwrap();
    assert_eq!((unit.timeout_seconds, unit.stage_index, unit.stage.as_str()), (600, 0, "test"));
    assert!(matches!(&unit.work, Work::Run(run) if run.cpu_millis == 500 && run.memory_bytes == 256 << 20 && run.lines.len() == 2));
    let release = pipeline.step("release").unwrap();
    assert_eq!(release.branches, ["main", "release/*"]);
    assert!(pipeline.skips(release, "refs/heads/topic") && !pipeline.skips(release, "refs/heads/release/2") && pipeline.skips(release, "refs/tags/main"));
    assert!(Pipeline::waits_for(release, unit));
}

#[test]
fn a_pipeline_survives_the_event() {
    let pipeline = parse(GOOD, KNOWN).unwrap();
    assert_eq!(serde_json::from_value::<Pipeline>(serde_json::to_value(&pipeline).unwrap()).unwrap(), pipeline);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let text = changed("timeout: 10m", "timeuot: 10m");
    assert!(text.contains("timeuot") && text.starts_with("line 3,"), "{text}");
}

#[test]
fn broken_yaml_names_its_line() {
    let text = changed("    steps:\n      - name: image", "    steps: [\n      - name: image");
    assert!(text.starts_with("line "), "{text}");
}

#[test]
fn each_rule_is_told_where_it_is_broken() {
    for (from, to, line, says) in [
        ("name: unit", "name: Unit", 7, "`Unit` is no name"),
        ("needs: [image, sure]", "needs: [image, nobody]", 23, "needs `nobody`, which does not exist"),
        ("artifacts: [out/report.xml]", "artifacts: [../../etc/passwd]", 12, "inside the repository"),
        ("file: compose.yaml", "file: /etc/passwd", 24, "inside the repository"),
        ("timeout: 10m", "timeout: soon", 3, "must be like `90s`"),
        ("memory: 256Mi", "memory: 1Mi", 14, "must be like `512Mi`"),
        ("${GANTRY_COMMIT}", "${GANTRY_NOTHING}", 19, "`${GANTRY_NOTHING}` is not known"),
        ("name: release", "name: image", 22, "two steps `image`"),
        ("name: ship", "name: test", 15, "two stages `test`"),
        ("approval: Ship it?", "needs: []", 20, "exactly one of"),
        ("        image: base:1\n", "", 7, "no `image` to run it in"),
    ] {
        let text = changed(from, to);
        assert!(text.contains(says) && text.contains(&format!("line {line},")), "{from} -> {to}: {text}");
    }
    assert!(changed("needs: [image, sure]", "needs: [sure]").contains("must be a build step"));
    assert!(changed("MODE: test", "GANTRY_RUN: test").contains("no name for a variable"));
    assert!(faults("stages: []").contains("at least one step"));
}

#[test]
fn several_faults_are_told_at_once() {
    let text = faults(&GOOD.replace("name: unit", "name: Unit").replace("timeout: 10m", "timeout: x"));
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn needs_in_a_ring_are_refused() {
    let text = faults("stages:\n- name: a\n  steps:\n  - {name: x, needs: [y], approval: go}\n  - {name: y, needs: [x], approval: go}\n");
    assert!(text.contains("lead back to itself"), "{text}");
}

#[test]
fn an_anchor_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")));
    }
    text.push_str("stages: *a11\n");
    assert!(parse(&text, KNOWN).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,400}") {
        let _ = parse(&text, KNOWN);
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic(at in 0usize..GOOD.len(), with in "[ -~\n]{0,4}", cut in 0usize..6) {
        let end = (at + cut).min(GOOD.len());
        let text = format!("{}{with}{}", &GOOD[..at], &GOOD[end..]);
        let _ = parse(&text, KNOWN);
    }
}
