//! Unusual documents that the specification allows.

use super::*;

#[test]
fn extensions_may_stand_anywhere_and_other_unknown_keys_are_still_told() {
    let whole = |x: &str| {
        let lines = [
            "services:".to_owned(),
            "  web:".to_owned(),
            "    image: a".to_owned(),
            format!("    ports: [{{target: 80, published: 8080, {x}}}]"),
            format!("    healthcheck: {{test: [CMD, a], {x}}}"),
            format!("    volumes: [{{type: volume, source: v, target: /v, {x}, volume: {{{x}}}}}]"),
            format!("    configs: [{{source: c, {x}}}]"),
            "    deploy:".to_owned(),
            format!("      {x}"),
            format!("      update_config: {{{x}}}"),
            format!("      restart_policy: {{{x}}}"),
            format!("      placement: {{{x}}}"),
            format!("      resources: {{{x}, limits: {{{x}}}}}"),
            "volumes: {v: {}}".to_owned(),
            format!("configs: {{c: {{content: a, {x}}}}}"),
        ];
        lines.join("\n")
    };
    assert_eq!(good(&whole("x-own: {any: thing}")).services[0].port, 80);
    let told = bad(&whole("own: 1"));
    let places = ["ports[0]", "healthcheck", "volumes[0]", "volumes[0].volume", "configs[0]", "deploy", "deploy.update_config", "deploy.restart_policy"];
    let below = places.into_iter().chain(["deploy.placement", "deploy.resources", "deploy.resources.limits"]).map(|at| format!("services.web.{at}.own"));
    for path in below.chain(["configs.c.own".to_owned()]) {
        assert!(told.iter().any(|(p, _)| *p == path), "{path}: {told:?}");
    }
}

#[test]
fn a_quota_of_cpu_is_that_of_its_period() {
    let millis = |keys: &str| web(keys).limits.cpu_millis;
    assert_eq!(millis("    cpu_quota: 50000\n"), 500);
    assert_eq!(millis("    cpu_quota: 50000\n    cpu_period: 25000\n"), 2000);
    assert_eq!(millis("    cpu_period: 100000\n    cpu_quota: 25000\n"), 250);
    let both = "    cpu_quota: 50000\n    cpu_period: 25000\n    deploy: {resources: {limits: {cpus: '0.3'}}}\n";
    assert_eq!(millis(both), 300, "what `deploy` says counts");
    let told = said("    cpu_quota: 50000\n    cpu_period: 10\n");
    assert!(told.iter().any(|(line, level, _)| (*line, *level) == (5, Level::Wrong)), "{told:?}");
    let told = said("    cpu_period: 50000\n");
    assert!(told.iter().any(|(line, level, _)| (*line, *level) == (4, Level::Note)), "{told:?}");
}

#[test]
fn protocols_of_exposed_ports_may_be_written_in_capitals() {
    assert!(web("    expose: [80/TCP]\n").ports.contains(&80));
}

#[test]
fn the_name_of_a_network_of_its_own_and_an_unknown_format_are_told() {
    let text = "services: {web: {image: a, networks: [front]}}\nnetworks: {front: {name: shop-front}}\n";
    let told = read(&Document::alone(text)).remarks.into_list();
    assert!(told.iter().any(|r| r.path == "networks.front.name" && r.level == Level::Note), "{told:?}");
    let text = "services:\n  web:\n    image: a\n    env_file: [{path: a.env, format: json}]\n";
    let told = among(text, &[("a.env", "A=1\n")]).expect_err("refused");
    assert!(told.iter().any(|r| r.path == "services.web.env_file[0].format"), "{told:?}");
}
