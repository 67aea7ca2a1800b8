//! Deploying a document: read, resolve, reserve, then one append. Nothing is written before everything has been accepted.

use std::collections::{BTreeMap, BTreeSet};

use gantry_auth::SpaceRef;
use gantry_es::{Meta, Sealed};
use gantry_es_pg::{Claim, ExecuteError, Expect, Options};
use gantry_host::from_execute;
use gantry_kernel::{AppId, Name, Problem, Role, Scope};
use serde::Serialize;

use super::change::{measured, scaled};
use super::context::Scheduler;
use super::documents::{self, Source};
use super::fleet::{self, ProspectBody};
use super::kept::{tying, using};
use super::pool_turn::{self, Tie};
use super::preview::{self, ChangePreview, Would};
use super::reserving::Reserving;
use super::space_rules::SpaceEngine;
use super::{addresses, held, models, pools, ports, space_rules};
use crate::adapters::{images, quotas};
use crate::domain::app::{App, Command, Content, Home, Refusal};
use crate::domain::document::{Parsed, Remark};
use crate::domain::model::{Container, Demand, Hook, Measure, MetricSource, Model, MountKind, Network, Tuning, WorkloadKind};
use crate::domain::stored;
use crate::error::refused_document;
use crate::store;

/// Everything a deployment needs, parsed.
pub struct Deploy {
    pub space: SpaceRef,
    pub name: Name,
    pub source: Source,
    pub allow_unsupported: bool,
    pub reason: String,
    /// Wait for room in the quota, if it is full for now, instead of being refused.
    pub queue: bool,
    pub dry_run: bool,
    /// On whose behalf.
    pub subject: String,
    pub meta: Meta,
    pub expect: Expect,
}

/// What has been, or would be, done.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Deployed {
    #[schema(value_type = String, format = Uuid)]
    pub app_id: AppId,
    pub revision: u64,
    /// False: it is already so, and nothing was written.
    pub changed: bool,
    /// Why it waits for room in the quota, if it does.
    pub queued: Option<String>,
    /// What differs from the revision before, one line each.
    pub diff: Vec<String>,
    /// What the document says that has no effect or was left out.
    pub remarks: Vec<Remark>,
    /// Of a dry run in a space on several clusters: what each of them would have.
    pub clusters: Vec<ProspectBody>,
    /// Of a dry run: what would happen to the instances and what they keep.
    pub preview: Option<ChangePreview>,
    #[serde(skip)]
    pub version: i64,
}

/// # Errors
/// A missing right, a faulty document, an unknown image, a taken port, an exceeded quota, or a part that is away.
pub async fn deploy(s: &Scheduler, mut request: Deploy) -> Result<Deployed, Problem> {
    let scope = request.space.scope();
    s.host.auth.require_subject(&request.subject, Role::Editor, scope)?;
    let engine = space_rules::engine(s, &request.space).await?;
    request.source.kept = using::known(s, &request.space).await?;
    let Parsed { mut model, mut remarks } =
        documents::read(s, &request.source, engine)?.finish(request.allow_unsupported).map_err(|remarks| refused_document(&remarks))?;
    require_host_rights(s, &request.subject, &model)?;
    let row = store::app(s.orm(), request.space.id, request.name.as_str()).await.map_err(database)?;
    let before = match &row {
        Some(row) => match s.models.get(&s.host, AppId(row.id), row.current.unsigned_abs()).await {
            Ok(model) => Some(model),
            // What cannot be read is replaced as a whole; that is the way out of it.
            Err(error) if error.is::<stored::Unreadable>() => None,
            Err(error) => return Err(Problem::internal(error)),
        },
        None => None,
    };
    resolve_images(s, &mut model).await?;
    using::pin(s, &request.space, &mut model).await?;
    if matches!(engine, SpaceEngine::Nodes) {
        remarks.extend(super::sites::of_space(s, &model).await?);
    }
    bring(s, &request, row.as_ref(), before.as_deref(), &model, remarks).await
}

/// A model, ready but for its ports and addresses, as the application's next revision.
///
/// # Errors
/// As [`deploy`].
pub async fn bring(
    s: &Scheduler,
    request: &Deploy,
    row: Option<&store::app::Model>,
    before: Option<&Model>,
    model: &Model,
    remarks: Vec<Remark>,
) -> Result<Deployed, Problem> {
    let mut model = model.clone();
    let app = row.map_or_else(|| AppId(s.host.env.uuid()), |r| AppId(r.id));
    let taken = ports::taken(s.orm(), app).await.map_err(database)?;
    let serving = match row {
        Some(row) => ports::serving(s.orm(), row).await.map_err(database)?,
        None => BTreeSet::new(),
    };
    ports::assign(&mut model, before, &taken, &serving, &s.config)?;
    let from = give_addresses(s, &request.space, app, before, &mut model).await?;
    let diff = diff(before, &model);
    let clusters = if request.dry_run { fleet::prospect(s, &request.space, row, &request.name, &model).await? } else { Vec::new() };
    let latest = store::revisions(s.orm(), app).await.map_err(database)?.first().map_or(0, |r| r.revision.unsigned_abs());
    let version = row.map_or(0, |r| r.version);
    let mut deployed = Deployed { app_id: app, revision: latest + 1, changed: true, queued: None, diff, remarks, clusters, preview: None, version };
    if let (Some(row), Some(before)) = (row, before)
        && *before == model
        && !row.stopped
        && row.failure.is_none()
    {
        return Ok(Deployed { revision: row.current.unsigned_abs(), changed: false, queued: row.queued.clone(), ..deployed });
    }
    let nodes = node_count(s).await?;
    let measured = row.map(|row| measured(row, &model)).unwrap_or_default();
    let mut demand = model.demand(&measured, nodes);
    if let Some(row) = row {
        demand = demand.plus(held::beside_next(s, row, &model, nodes).await?);
    }
    let (org, project) = (request.space.org().id, request.space.project.id);
    // Whoever asks to wait does not overtake those who wait already.
    let at_work = row.filter(|row| !row.stopped && row.queued.is_none()).zip(before);
    let holds = at_work.map(|(row, before)| before.demand(&scaled(row), nodes)).unwrap_or_default();
    let first = if request.queue && demand.exceeds(&holds) { store::queued(s.orm(), request.space.id).await.map_err(database)? } else { Vec::new() };
    let first = first.iter().find(|one| one.app != app);
    let mut begun = None;
    let reserved = if request.dry_run || first.is_some() {
        quotas::check(&s.host, org, project, app, &request.subject, &demand).await
    } else {
        begun = Some(Reserving::begin(s, &request.space, app).await?);
        quotas::reserve(&s.host, org, project, app, &request.subject, &demand).await
    };
    deployed.queued = first.map(store::Queued::says);
    if let Err(problem) = reserved {
        if !request.queue || problem.code != quotas::FULL {
            if let Some(begun) = begun {
                begun.refused(s, &problem).await;
            }
            return Err(problem);
        }
        deployed.queued = deployed.queued.or(Some(problem.detail));
    }
    if request.dry_run {
        deployed.preview = Some(foresee(s, request, app, row, (&model, from), deployed.queued.clone(), demand).await?);
        return Ok(deployed);
    }
    match append(s, request, app, (&model, from), deployed.queued.clone()).await {
        Ok((state, version)) => {
            if let Some(begun) = begun {
                begun.done(s).await;
            }
            deployed.revision = state.current;
            deployed.version = version;
            Ok(deployed)
        }
        Err(problem) => {
            match begun {
                // Billing had no room, so there is nothing to give back.
                Some(begun) if deployed.queued.is_some() => begun.done(s).await,
                Some(begun) => {
                    if row.is_none() {
                        give_back(s, request, app).await;
                    }
                    // What an application that exists holds by now, the reconciler knows better.
                    begun.doubtful(s).await;
                }
                None => {}
            }
            Err(problem)
        }
    }
}

/// What a document says was given is not believed. On clusters, whoever gives out addresses there does.
async fn give_addresses(s: &Scheduler, space: &SpaceRef, app: AppId, before: Option<&Model>, model: &mut Model) -> Result<Tie, Problem> {
    let mut asks = false;
    for address in model.services.iter_mut().filter_map(|service| service.address.as_mut()) {
        (address.given, asks) = (None, true);
    }
    if !asks || matches!(space_rules::engine(s, space).await?, SpaceEngine::Cluster { .. }) {
        return Ok(Tie::default());
    }
    let (all, tie) = pools::tied(s).await?;
    let claimed = addresses::claimed(s.orm(), app).await.map_err(database)?;
    addresses::assign(model, before, &all, space.org().id, &claimed.others)?;
    Ok(tie)
}

async fn append(s: &Scheduler, request: &Deploy, app: AppId, (model, from): (&Model, Tie), queued: Option<String>) -> Result<(App, i64), Problem> {
    let sealed = models::seal(&s.host, app, model).await.map_err(Problem::internal)?;
    let (command, options) = decision(request, app, (model, from), sealed, queued);
    let executed = tying::execute(s, app, command, options, model, refused(from, request.expect)).await?;
    s.host.settled(executed.position).await;
    Ok((executed.state, executed.version))
}

/// What [`append`] would do. Nothing is sealed: that may make a key.
async fn foresee(
    s: &Scheduler,
    request: &Deploy,
    app: AppId,
    row: Option<&store::app::Model>,
    (model, from): (&Model, Tie),
    queued: Option<String>,
    demand: Demand,
) -> Result<ChangePreview, Problem> {
    let unsealed = stored::Stored { outline: stored::outline(model), sealed: Sealed(String::new()) };
    let (command, options) = decision(request, app, (model, from), serde_json::to_value(unsealed).map_err(Problem::internal)?, queued);
    let would = s.apps.consider(app, command, &options).await.map_err(refused(from, request.expect))?;
    preview::of(s, Would { space: &request.space, app, row, events: &would.events, model: Some(model), demand: Some(demand) }).await
}

fn decision(request: &Deploy, app: AppId, (model, from): (&Model, Tie), sealed: serde_json::Value, queued: Option<String>) -> (Command, Options) {
    let content = Content {
        format: request.source.format.clone(),
        model: sealed,
        images: model.images(),
        workloads: model.workloads.iter().map(|(n, w)| (n.clone(), !matches!(w.kind, WorkloadKind::Global | WorkloadKind::CronJob))).collect(),
    };
    let space = &request.space;
    let home = Home {
        org: space.org().id,
        project: space.project.id,
        space: space.id,
        org_name: space.org().name.clone(),
        project_name: space.project.name.clone(),
        space_name: space.name.clone(),
    };
    let mut claims = ports::claims(model);
    claims.extend(addresses::claims(model));
    claims.push(Claim::take(name_scope(space), request.name.as_str()));
    let meta = Meta { tenant: Some(space.org().id), ..request.meta.clone() };
    let command = Command::Deploy { app, home, name: request.name.clone(), content, reason: request.reason.clone(), queued };
    let mut options = Options { meta, expect: request.expect, claims, ..Options::default() };
    from.add_to(&mut options);
    (command, options)
}

fn refused(from: Tie, expect: Expect) -> impl Fn(ExecuteError<Refusal>) -> Problem {
    move |error| match error {
        ExecuteError::Stale { .. } if from.is_tied() && expect == Expect::Any => pool_turn::changed(),
        ExecuteError::NameTaken { scope, name } if ports::SCOPE.contains(&scope.as_str()) => {
            Problem::conflict("scheduler.port_taken", format!("port {name} was taken by another application just now; try again"))
        }
        ExecuteError::NameTaken { scope, name } if scope == addresses::SCOPE => {
            addresses::taken_already(&format!("the address {name} was taken by another application just now; try again"))
        }
        other => from_execute(other),
    }
}

/// Unique names of applications are claimed under their space.
pub fn name_scope(space: &SpaceRef) -> String {
    format!("app.{}", space.id)
}

/// What reaches out of the container needs the platform's own right.
fn require_host_rights(s: &Scheduler, subject: &str, model: &Model) -> Result<(), Problem> {
    let measures = model.workloads.values().filter_map(|w| w.scaling.as_ref()).flat_map(|s| &s.metrics);
    let queries = model.release.checks.iter().any(|c| c.measure == Measure::Query) || measures.into_iter().any(|m| m.source == MetricSource::Query);
    if queries && s.host.auth.require_subject(subject, Role::Admin, Scope::Platform).is_err() {
        return Err(Problem::forbidden("admin on the platform, because the document asks a query of its own, and queries know no tenants"));
    }
    for (name, workload) in &model.workloads {
        let others: Vec<&Container> = workload.others().collect();
        let any = |main: bool, other: &dyn Fn(&Container) -> bool| main || others.iter().any(|c| other(c));
        let far = |source: &str| model.volumes.get(source).is_some_and(|v| v.nfs().is_some());
        let bound = |mounts: &[crate::domain::model::Mount]| mounts.iter().any(|m| matches!(m.kind, MountKind::Bind | MountKind::Nfs) || far(&m.source));
        let shared_back = |mounts: &[crate::domain::model::Mount]| mounts.iter().any(|m| m.seen_below() == "shared");
        let free = |profile: &str| profile == "unconfined" || profile.starts_with("localhost/");
        let hooks = workload.hooks.post_start.iter().chain(&workload.hooks.pre_stop);
        let (shared, tuned) = (&workload.sharing, &workload.tuning);
        let reach = [
            (any(workload.privileged, &|c| c.privileged), "privileged"),
            (hooks.into_iter().any(|h| matches!(h, Hook::Command { privileged: true, .. })), "a privileged hook"),
            (any(bound(&workload.mounts), &|c| bound(&c.mounts)), "a path of the host or of another server"),
            (any(shared_back(&workload.mounts), &|c| shared_back(&c.mounts)), "mounts that are seen on the host"),
            (any(!workload.cap_add.is_empty(), &|c| !c.cap_add.is_empty()), "added capabilities"),
            (any(!workload.devices.is_empty(), &|c| !c.devices.is_empty()), "devices of the host"),
            (any(free(&workload.seccomp), &|c| free(&c.seccomp)), "another seccomp profile than the node's"),
            (any(free(&workload.apparmor), &|c| free(&c.apparmor)), "another AppArmor profile than the node's"),
            (any(!workload.selinux.is_empty(), &|c| !c.selinux.is_empty()), "SELinux labels of its own"),
            (workload.nics.iter().any(|n| model.networks.get(&n.network).is_some_and(Network::is_of_nodes)), "an interface in a network of the nodes"),
            (tuned.cpu_shares > Tuning::USUAL_SHARES, "a larger share of the processors than others have"),
            (tuned.takes_swap(workload.limits.memory_bytes), "swap of the node"),
            (tuned.outlives(workload.limits.memory_bytes), "an OOM score with which it outlives others"),
            (shared.host_network || shared.host_pid || shared.host_ipc, "namespaces of the host"),
        ];
        if let Some((_, what)) = reach.iter().find(|(asked, _)| *asked)
            && s.host.auth.require_subject(subject, Role::Admin, Scope::Platform).is_err()
        {
            return Err(Problem::forbidden(format_args!("admin on the platform, because the service `{name}` asks for {what}")));
        }
    }
    Ok(())
}

async fn resolve_images(s: &Scheduler, model: &mut Model) -> Result<(), Problem> {
    let others = model.workloads.values().flat_map(|w| w.others()).map(|c| c.image.clone());
    let asked: BTreeSet<String> = model.workloads.values().map(|w| w.image.clone()).chain(others).collect();
    let mut found = BTreeMap::new();
    for image in asked {
        let resolved = images::resolve(&s.host, &image).await?;
        found.insert(image, resolved);
    }
    for workload in model.workloads.values_mut() {
        if let Some(resolved) = found.get(&workload.image) {
            workload.pinned = Some(resolved.pinned.clone());
            if workload.placement.architectures.is_empty() {
                workload.placement.architectures = resolved.architectures.clone();
            }
        }
        for container in workload.others_mut() {
            container.pinned = found.get(&container.image).map(|r| r.pinned.clone());
        }
    }
    Ok(())
}

/// How many nodes take instances: a workload on each node counts so often.
pub async fn node_count(s: &Scheduler) -> Result<u32, Problem> {
    let nodes = store::nodes(s.orm()).await.map_err(database)?;
    Ok(u32::try_from(nodes.iter().filter(|n| !n.lost && !n.cordoned).count()).unwrap_or(u32::MAX).max(1))
}

/// Nothing of what was reserved for it came to be.
async fn give_back(s: &Scheduler, request: &Deploy, app: AppId) {
    let space = &request.space;
    if let Err(problem) = quotas::reserve(&s.host, space.org().id, space.project.id, app, &request.subject, &Demand::default()).await {
        tracing::warn!(app.id = %app, error = problem.chain(), "a reservation could not be given back yet");
    }
}

pub fn database(error: sea_orm::DbErr) -> Problem {
    Problem::unavailable("the database").with_source(error)
}

/// What differs, for people; values of variables and contents of files are not shown.
pub fn diff(before: Option<&Model>, after: &Model) -> Vec<String> {
    let flat = |model: &Model| serde_json::to_value(stored::outline(model)).unwrap_or_default();
    let mut lines = json_diff(&flat(before.unwrap_or(&Model::default())), &flat(after));
    lines.extend(hidden_changes(before, after));
    lines
}

/// What differs between two settings of any kind, one line each.
pub fn json_diff(before: &serde_json::Value, after: &serde_json::Value) -> Vec<String> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten("", before, &mut old);
    flatten("", after, &mut new);
    let mut lines = Vec::new();
    for (path, value) in &new {
        match old.get(path) {
            None => lines.push(format!("+ {path}: {value}")),
            Some(was) if was != value => lines.push(format!("~ {path}: {was} → {value}")),
            Some(_) => {}
        }
    }
    lines.extend(old.iter().filter(|(path, _)| !new.contains_key(*path)).map(|(path, was)| format!("- {path}: {was}")));
    lines
}

fn hidden_changes(before: Option<&Model>, after: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, workload) in &after.workloads {
        let Some(old) = before.and_then(|m| m.workloads.get(name)) else { continue };
        for (variable, value) in &workload.env {
            if old.env.get(variable).is_some_and(|was| was != value) {
                lines.push(format!("~ workloads.{name}.env.{variable}: another value"));
            }
        }
        for file in &workload.files {
            if old.files.iter().any(|f| f.path == file.path && f.source.is_empty() && f.content != file.content) {
                lines.push(format!("~ workloads.{name}.files {}: another content", file.path));
            }
        }
    }
    for (name, config) in &after.configs {
        let Some(old) = before.and_then(|m| m.configs.get(name)) else { continue };
        for (key, value) in config.entries.iter().chain(&config.binary) {
            if old.get(key).is_some_and(|(was, _)| was != value) {
                lines.push(format!("~ configs.{name}.{key}: another content"));
            }
        }
    }
    lines
}

fn flatten(path: &str, value: &serde_json::Value, out: &mut BTreeMap<String, String>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        serde_json::Value::Object(map) => map.iter().for_each(|(key, v)| flatten(&join(key), v, out)),
        serde_json::Value::Array(items) => items.iter().enumerate().for_each(|(n, v)| flatten(&format!("{path}[{n}]"), v, out)),
        serde_json::Value::Null => {}
        scalar => {
            out.insert(path.to_owned(), scalar.to_string());
        }
    }
}
