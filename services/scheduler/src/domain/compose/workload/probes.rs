//! When an instance of a service counts as ready, and when it must be restarted.

use super::{fields, words};
use crate::domain::document::Remarks;
use crate::domain::model::{Check, Probe, Protocol, Purpose, Service, Workload};
use crate::domain::yaml::{Node, Value};

/// How often a new instance is asked whether it is ready. Shorter than a health check's interval, which would hold up every
/// release by that long.
const READY_PERIOD_MS: u32 = 1000;

/// Without a health check an instance counts as ready when the port that people reach accepts connections.
pub(super) fn default_probe(workload: &mut Workload, services: &[Service]) {
    let reached = services.iter().find(|s| s.protocol != Protocol::Udp && (s.publish.is_some() || !s.routes.is_empty()));
    if let Some(service) = reached
        && workload.probes.is_empty()
    {
        let check = Check::Tcp { port: service.port };
        workload.probes.push(Probe {
            purpose: Purpose::Ready,
            check,
            period_ms: READY_PERIOD_MS,
            timeout_ms: 1000,
            failure_threshold: 3,
            success_threshold: 1,
            initial_delay_ms: 0,
        });
    }
}

/// What holds if a health check does not say it, or says zero.
const INTERVAL_MS: u32 = 30_000;
const TIMEOUT_MS: u32 = 30_000;
const RETRIES: u32 = 3;

/// A health check says when an instance is ready (asked often) and when it must be restarted (as often as it says).
pub(super) fn health(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) {
    let (mut interval, mut timeout, mut retries, mut start) = (INTERVAL_MS, TIMEOUT_MS, RETRIES, 0);
    let mut command = Vec::new();
    let mut none = false;
    for entry in fields::entries(path, node, remarks) {
        let at = format!("{path}.{}", entry.key);
        match entry.key.as_str() {
            "test" => {
                command = match &entry.node.value {
                    Value::List(items) if items.is_empty() => Vec::new(),
                    Value::List(_) => match words(&at, &entry.node, remarks).as_slice() {
                        [first] if first == "NONE" => {
                            none = true;
                            Vec::new()
                        }
                        [first, rest @ ..] if first == "CMD" && !rest.is_empty() => rest.to_vec(),
                        [first, shell] if first == "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), shell.clone()],
                        _ => {
                            remarks.wrong(&at, entry.line, "must start with NONE, CMD or CMD-SHELL");
                            Vec::new()
                        }
                    },
                    _ => match fields::text(&at, &entry.node, remarks) {
                        text if text.is_empty() => Vec::new(),
                        text => vec!["/bin/sh".into(), "-c".into(), text],
                    },
                }
            }
            "interval" => interval = or(fields::millis(&at, &entry.node, remarks), INTERVAL_MS).max(100),
            "timeout" => timeout = or(fields::millis(&at, &entry.node, remarks), TIMEOUT_MS).max(100),
            "retries" => retries = or(fields::count(&at, &entry.node, 1000, remarks), RETRIES),
            "start_period" => start = fields::millis(&at, &entry.node, remarks),
            "start_interval" => {
                let _ = fields::millis(&at, &entry.node, remarks);
                remarks.note(&at, entry.line, "has no effect here: new instances are asked every second until they are ready");
            }
            "disable" => none |= fields::boolean(&at, &entry.node, remarks),
            _ => fields::unknown(&at, entry, remarks),
        }
    }
    if none || command.is_empty() {
        if !none {
            remarks.note(path, node.line, "the check that an image brings is not run: name `test`");
        }
        return;
    }
    let probe = |purpose, period_ms, initial_delay_ms| Probe {
        purpose,
        check: Check::Command { command: command.clone() },
        period_ms,
        timeout_ms: timeout,
        failure_threshold: retries,
        success_threshold: 1,
        initial_delay_ms,
    };
    workload.probes.push(probe(Purpose::Ready, interval.min(READY_PERIOD_MS), 0));
    workload.probes.push(probe(Purpose::Live, interval, start));
}

fn or(said: u32, standard: u32) -> u32 {
    if said == 0 { standard } else { said }
}

/// `ready: {http: /healthz, port: 8080, period: 1s}` or `ready: {tcp: 8080}`.
pub(super) fn ready(path: &str, node: &Node, workload: &mut Workload, remarks: &Remarks) {
    let port_of = |key: &str| node.get(key).and_then(Node::integer).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    let check = match (node.get("http").and_then(Node::scalar), port_of("tcp"), port_of("port")) {
        (Some(http), None, Some(port)) if http.starts_with('/') => Check::http(http, port),
        (None, Some(port), None) => Check::Tcp { port },
        _ => {
            remarks.wrong(path, node.line, "must be `{http: /path, port: N}` or `{tcp: N}`");
            return;
        }
    };
    let period_ms = node.get("period").map_or(READY_PERIOD_MS, |p| fields::millis(path, p, remarks)).max(100);
    workload.probes.push(Probe {
        purpose: Purpose::Ready,
        check,
        period_ms,
        timeout_ms: 1000,
        failure_threshold: 3,
        success_threshold: 1,
        initial_delay_ms: 0,
    });
}
