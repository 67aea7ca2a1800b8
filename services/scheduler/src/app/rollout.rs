//! A release that is under way, as people see it and as the balancers need it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_kernel::{Name, OffsetDateTime};
use serde::Serialize;

use super::change::scaled_in;
use super::context::Scheduler;
use super::view::EndpointBody;
use crate::domain::model::{HeaderMatch, Model, PathKind, Preview, Protocol, Service};
use crate::domain::rollout::{self, Door, Stage, Standing};
use crate::domain::traffic::{Share, Traffic};
use crate::store;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReleaseBody {
    pub revision: u64,
    /// The revision that is being replaced.
    pub from: Option<u64>,
    /// rolling | blue-green | canary | rollback
    pub strategy: String,
    /// Which step has begun, and how many there are; 0 of 0 for a rolling release.
    pub step: u32,
    pub steps: u32,
    /// Of the requests, that go to the new revision.
    pub percent: u32,
    /// Requests with this header go to it, too: `name: value`.
    pub header: Option<String>,
    pub paused: bool,
    /// instances | time | promotion | resumption
    pub waits_for: String,
    /// One sentence for a person.
    pub reason: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
}

/// The stages of the release under way, if it is one that exchanges instances.
pub fn stages(row: &store::app::Model, current: &Model) -> Option<Vec<Stage>> {
    super::standing::is_exchanging(row).then(|| rollout::stages(&current.release))
}

/// Where it is among so many stages; over several clusters, on the one whose turn it is.
pub fn standing(row: &store::app::Model, stages: usize, now: OffsetDateTime) -> Standing {
    let (round, step) = rollout::round(stages, usize::try_from(row.release_step).unwrap_or(0));
    Standing {
        step,
        since: Duration::try_from(now - row.release_step_at.unwrap_or(now)).unwrap_or_default(),
        paused: row.release_paused,
        promoted: rollout::promoted_in(stages, round, row.release_promoted.unsigned_abs()),
    }
}

/// Past the last stage only the old ones' end is waited for.
fn begun<'a>(row: &store::app::Model, stages: &'a [Stage]) -> Option<&'a Stage> {
    let (_, step) = rollout::round(stages.len(), usize::try_from(row.release_step).unwrap_or(0));
    stages.get(step).or(stages.last())
}

/// How many of the old instances stand beside the new ones. `scale` is the row's, or what it is to become.
pub fn beside(row: &store::app::Model, scale: &BTreeMap<Name, u32>, base: &Model, goal: &Model) -> BTreeMap<Name, u32> {
    let share = stages(row, goal).and_then(|stages| begun(row, &stages).map(|s| s.share)).unwrap_or(100);
    rollout::beside(scaled_in(&row.base_scale), scale, share, base, goal)
}

/// `current` is the outline of the row's current revision.
pub fn traffic(row: &store::app::Model, current: &Model) -> Traffic {
    let mut hidden: BTreeSet<u64> = row.hidden.as_array().into_iter().flatten().filter_map(serde_json::Value::as_u64).collect();
    hidden.remove(&row.current.unsigned_abs());
    hidden.retain(|revision| row.release_from.is_none_or(|from| from.unsigned_abs() != *revision));
    let share = stages(row, current).map(|stages| {
        let stage = begun(row, &stages);
        Share { new: row.current.unsigned_abs(), percent: stage.map_or(100, |s| s.share), header: stage.and_then(|s| s.header.clone()) }
    });
    let scale = scaled_in(&row.scale);
    let exchanged = current.workloads.iter().filter(|(_, w)| w.is_exchanged());
    let wanted = exchanged.map(|(name, w)| (name.clone(), w.count(scale.get(name).copied(), 0))).collect();
    Traffic { hidden, share, wanted }
}

pub fn sentence(row: &store::app::Model, current: &Model, now: OffsetDateTime) -> Option<String> {
    let note = if row.release_paused && !row.release_note.is_empty() { format!(": {}", row.release_note) } else { String::new() };
    match stages(row, current) {
        Some(stages) => Some(format!("{}{note}", rollout::sentence(&stages, &standing(row, stages.len(), now)))),
        None if row.release_paused => Some(format!("it is paused{note}")),
        None => None,
    }
}

pub fn body(row: &store::app::Model, current: &Model, now: OffsetDateTime) -> Option<ReleaseBody> {
    let revision = row.release_revision?.unsigned_abs();
    let stages = stages(row, current);
    let at = standing(row, stages.as_ref().map_or(0, Vec::len), now);
    let share = traffic(row, current).share;
    let door = stages.as_ref().map_or(if row.release_paused { Door::Paused } else { Door::Open }, |s| rollout::door(s, &at));
    let header = |h: &HeaderMatch| if h.value.is_empty() { h.name.clone() } else { format!("{}: {}", h.name, h.value) };
    Some(ReleaseBody {
        revision,
        from: row.release_from.map(i64::unsigned_abs),
        strategy: row.release_strategy.clone(),
        step: if stages.is_some() { u32::try_from(at.step).unwrap_or(u32::MAX) } else { row.release_step.unsigned_abs() },
        steps: u32::try_from(stages.as_ref().map_or(0, |s| s.len().saturating_sub(1))).unwrap_or(0),
        percent: share.as_ref().map_or(0, |s| s.percent),
        header: share.and_then(|s| s.header).as_ref().map(header),
        paused: row.release_paused,
        waits_for: waits_for(&door).into(),
        reason: sentence(row, current, now).unwrap_or_default(),
        since: row.release_step_at,
    })
}

/// What the next step waits for.
pub fn waits_for(door: &Door) -> &'static str {
    match door {
        Door::Open => "instances",
        Door::Paused => "resumption",
        Door::Until(_) => "time",
        Door::Promotion => "promotion",
    }
}

/// Where the new revision is seen by itself.
pub fn endpoints(service: &Service, preview: &Preview, s: &Scheduler) -> Vec<EndpointBody> {
    let name = format!("{}-preview", service.name);
    let mut out = Vec::new();
    if let Some(publish) = preview.publish.filter(|p| p.listen > 0) {
        let host = s.config.ingress_host.clone();
        let url = format!("http://{host}:{}", publish.listen);
        out.push(EndpointBody { service: name.clone(), host, port: publish.listen, protocol: service.protocol, url });
    }
    for route in service.routes.iter().filter(|r| r.is_served() && !preview.host.is_empty()) {
        let port = s.config.route_port;
        let path = if route.path_kind == PathKind::Pattern { "/" } else { route.path.as_str() };
        let url = format!("http://{}:{port}{path}", preview.host);
        out.push(EndpointBody { service: name.clone(), host: preview.host.clone(), port, protocol: Protocol::Http, url });
    }
    out
}
