//! Events of the scheduler.

use gantry_es::EventData;
use gantry_kernel::{AppId, InstanceId, Name, OrgId, ProjectId, SpaceId};
use serde::{Deserialize, Serialize};

/// Stream `app-<id>`. The revision's whole model is JSON owned by the scheduler (`domain::model`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum AppEvent {
    #[serde(rename = "app.created")]
    Created { app: AppId, org: OrgId, project: ProjectId, space: SpaceId, name: Name, org_name: Name, project_name: Name, space_name: Name },
    #[serde(rename = "app.revised")]
    Revised { app: AppId, revision: u64, format: String, model: serde_json::Value, images: Vec<String>, reason: String },
    #[serde(rename = "app.release-started")]
    ReleaseStarted { app: AppId, revision: u64, from: Option<u64>, strategy: String },
    /// The quota is full for now: the revision is put to work when there is room in it.
    #[serde(rename = "app.queued")]
    Queued { app: AppId, revision: u64, reason: String },
    #[serde(rename = "app.admitted")]
    Admitted { app: AppId, revision: u64 },
    /// The next step of a release that goes step by step has begun: so many percent of the requests go to the new revision.
    #[serde(rename = "app.release-advanced")]
    ReleaseAdvanced { app: AppId, revision: u64, step: u32, percent: u32, reason: String },
    /// It takes no further step until it is resumed or promoted.
    #[serde(rename = "app.release-paused")]
    ReleasePaused { app: AppId, revision: u64, reason: String },
    #[serde(rename = "app.release-resumed")]
    ReleaseResumed { app: AppId, revision: u64 },
    /// Steps below this number need not be waited for any more.
    #[serde(rename = "app.release-promoted")]
    ReleasePromoted { app: AppId, revision: u64, step: u64 },
    #[serde(rename = "app.release-finished")]
    ReleaseFinished { app: AppId, revision: u64 },
    #[serde(rename = "app.release-failed")]
    ReleaseFailed { app: AppId, revision: u64, reason: String },
    #[serde(rename = "app.scaled")]
    Scaled { app: AppId, workload: Name, replicas: u32, from: u32 },
    /// By what was measured, or by its schedule.
    #[serde(rename = "app.autoscaled")]
    Autoscaled { app: AppId, workload: Name, replicas: u32, from: u32, reason: String },
    /// Its number of instances does not follow anything until it is resumed.
    #[serde(rename = "app.scaling-paused")]
    ScalingPaused { app: AppId, workload: Name, reason: String },
    #[serde(rename = "app.scaling-resumed")]
    ScalingResumed { app: AppId, workload: Name },
    #[serde(rename = "app.restarted")]
    Restarted { app: AppId, workloads: Vec<Name> },
    #[serde(rename = "app.stopped")]
    Stopped { app: AppId },
    #[serde(rename = "app.started")]
    Started { app: AppId },
    #[serde(rename = "app.deleted")]
    Deleted { app: AppId },
}

impl EventData for AppEvent {
    const AGGREGATE: &'static str = "app";
}

/// Stream `instance-<id>`: placements and what became of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum InstanceEvent {
    #[serde(rename = "instance.placed")]
    Placed {
        instance: InstanceId,
        app: AppId,
        org: OrgId,
        project: ProjectId,
        space: SpaceId,
        workload: Name,
        index: u32,
        revision: u64,
        node: Name,
        cpu_millis: u32,
        memory_bytes: u64,
        storage_bytes: u64,
    },
    #[serde(rename = "instance.running")]
    Running { instance: InstanceId, app: AppId, address: String },
    #[serde(rename = "instance.unhealthy")]
    Unhealthy { instance: InstanceId, app: AppId, reason: String },
    #[serde(rename = "instance.restarted")]
    Restarted { instance: InstanceId, app: AppId, restarts: u32, exit_code: i32, reason: String },
    #[serde(rename = "instance.lost")]
    Lost { instance: InstanceId, app: AppId, node: Name },
    /// It has to leave its node: others with a higher priority need the room, the node keeps it away, or the cluster is made
    /// even. It is stopped when its budget allows.
    #[serde(rename = "instance.displaced")]
    Displaced { instance: InstanceId, app: AppId, node: Name, reason: String },
    /// It does not have to leave any more: it was to go on elsewhere, and could not.
    #[serde(rename = "instance.stayed")]
    Stayed { instance: InstanceId, app: AppId },
    /// Something that an intruder would do was found in it: a program that is not of its image, a right that its container was not given,
    /// a connection that its space does not allow (`sign`: program, privilege, connection). `action`: what followed.
    #[serde(rename = "instance.suspected")]
    Suspected { instance: InstanceId, app: AppId, org: OrgId, node: Name, container: String, sign: String, detail: String, action: String },
    /// Somebody has looked into such a sign, and says what it was. Who, the event's actor says.
    #[serde(rename = "instance.sign-acknowledged")]
    SignAcknowledged { instance: InstanceId, app: AppId, container: String, sign: String, detail: String, reason: String },
    #[serde(rename = "instance.stopping")]
    Stopping { instance: InstanceId, app: AppId },
    #[serde(rename = "instance.stopped")]
    Stopped { instance: InstanceId, app: AppId, exit_code: i32, reason: String },
}

impl EventData for InstanceEvent {
    const AGGREGATE: &'static str = "instance";
}

/// Stream `node-<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum NodeEvent {
    #[serde(rename = "node.joined")]
    Joined { node: Name, facts: serde_json::Value },
    #[serde(rename = "node.facts-changed")]
    FactsChanged { node: Name, facts: serde_json::Value },
    #[serde(rename = "node.lost")]
    Lost { node: Name },
    #[serde(rename = "node.returned")]
    Returned { node: Name },
    #[serde(rename = "node.cordoned")]
    Cordoned { node: Name },
    #[serde(rename = "node.uncordoned")]
    Uncordoned { node: Name },
    #[serde(rename = "node.drained")]
    Drained { node: Name },
    #[serde(rename = "node.removed")]
    Removed { node: Name },
    /// A removed one may attach again.
    #[serde(rename = "node.admitted")]
    Admitted { node: Name },
    /// It showed a certificate of its own for the first time: the suite's certificate for agents does not speak for it any more.
    #[serde(rename = "node.certified")]
    Certified { node: Name },
    /// Labels, taints, overcommitment and reservations as operators set them, as a whole: JSON owned by the scheduler
    /// (`domain::placement::NodeSettings`).
    #[serde(rename = "node.settings-changed")]
    SettingsChanged { node: Name, settings: serde_json::Value },
}

impl EventData for NodeEvent {
    const AGGREGATE: &'static str = "node";
}

/// Stream `placement-<space id>`: what counts for where all of a space's workloads run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum PlacementEvent {
    /// As a whole: JSON owned by the scheduler (`domain::placement::SpaceRules`).
    #[serde(rename = "placement.changed")]
    Changed { space: SpaceId, org: OrgId, rules: serde_json::Value },
}

impl EventData for PlacementEvent {
    const AGGREGATE: &'static str = "placement";
}

/// Stream `pool-all`: the pools of public addresses. All are in one stream, so that no address is in two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum PoolEvent {
    /// As a whole: networks, ranges and addresses as the operator wrote them, and who may use them (empty: all).
    #[serde(rename = "pool.set")]
    Set { pool: Name, addresses: Vec<String>, orgs: Vec<OrgId> },
    #[serde(rename = "pool.deleted")]
    Deleted { pool: Name },
}

impl EventData for PoolEvent {
    const AGGREGATE: &'static str = "pool";
}
