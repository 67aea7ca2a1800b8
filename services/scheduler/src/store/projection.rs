//! Applications, revisions, instances and nodes as rows, from the scheduler's own events.

use super::runs;
use crate::domain::rollout;
use async_trait::async_trait;
use gantry_contract::scheduler::{AppEvent, InstanceEvent, NodeEvent, PlacementEvent};
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

pub struct SchedulerProjection;

#[async_trait]
impl Projection for SchedulerProjection {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn version(&self) -> i32 {
        6
    }

    fn ddl(&self) -> &'static str {
        "create table apps (id uuid primary key, org uuid not null, project uuid not null, space uuid not null, org_name text not null, project_name text not null,
            space_name text not null, name text not null, version bigint not null, current bigint not null default 0, finished bigint, release_revision bigint,
            release_from bigint, release_at timestamptz, failure text, queued text,
            release_strategy text not null default '', release_step integer not null default 0, release_percent integer not null default 0,
            release_step_at timestamptz, release_paused boolean not null default false, release_note text not null default '', release_promoted bigint not null default 0,
            hidden jsonb not null default '[]', base_scale jsonb not null default '{}', autoscale jsonb not null default '{}',
            scaling_paused jsonb not null default '{}', stopped boolean not null default false, deleted boolean not null default false,
            scale jsonb not null default '{}', restarts jsonb not null default '{}', created_at timestamptz not null, updated_at timestamptz not null);
         create unique index apps_name on apps (space, name) where not deleted;
         create index apps_project on apps (project) where not deleted;
         create table revisions (app uuid not null, revision bigint not null, format text not null, model jsonb not null, images jsonb not null, reason text not null,
            actor text not null, at timestamptz not null, primary key (app, revision));
         create table instances (id uuid primary key, app uuid not null, org uuid not null, project uuid not null, space uuid not null, workload text not null,
            number integer not null, revision bigint not null, node text not null, cpu_millis bigint not null, memory_bytes bigint not null, storage_bytes bigint not null,
            position bigint not null, phase text not null, address text not null default '', restarts integer not null default 0, exit_code integer,
            reason text not null default '', displaced text, placed_at timestamptz not null, running_at timestamptz, changed_at timestamptz not null, ended_at timestamptz);
         create index instances_app on instances (app, placed_at);
         create index instances_alive on instances (node) where ended_at is null;
         create index instances_ended on instances (ended_at) where ended_at is not null;
         create table placements (space uuid primary key, org uuid not null, rules jsonb not null, version bigint not null);
         create table nodes (name text primary key, facts jsonb not null, settings jsonb not null default '{}', settings_at timestamptz, lost boolean not null default false, cordoned boolean not null default false,
            draining boolean not null default false, removed boolean not null default false, certified boolean not null default false,
            settings_version bigint not null default 0, version bigint not null, joined_at timestamptz not null, changed_at timestamptz not null)"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["apps", "revisions", "instances", "placements", "nodes"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<AppEvent>() {
            app(tx, event, event.decode()?).await
        } else if event.is::<InstanceEvent>() {
            instance(tx, event, event.decode()?).await
        } else if event.is::<NodeEvent>() {
            node(tx, event, event.decode()?).await
        } else if event.is::<PlacementEvent>() {
            let PlacementEvent::Changed { space, org, rules } = event.decode()?;
            let sql = "insert into placements (space, org, rules, version) values ($1, $2, $3, $4) on conflict (space) do update set rules = excluded.rules, version = excluded.version";
            run(tx, sql, vec![space.0.into(), org.0.into(), rules.into(), event.version.into()]).await
        } else {
            Ok(())
        }
    }

    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        let mut rest = events;
        while let Some((first, others)) = rest.split_first() {
            let alike = runs::alike(rest)?;
            rest = if alike.len() > 1 {
                runs::take_in(tx, &alike).await?;
                &rest[alike.len()..]
            } else {
                gantry_es_pg::apply(self, tx, first).await?;
                others
            };
        }
        Ok(())
    }
}

pub(super) async fn run(tx: &DatabaseTransaction, sql: &str, values: Vec<Value>) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

pub(super) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

async fn app(tx: &DatabaseTransaction, recorded: &Recorded, event: AppEvent) -> anyhow::Result<()> {
    let (at, version): (Value, Value) = (recorded.at.into(), recorded.version.into());
    let set = |changes: &str| format!("update apps set version = $2, updated_at = $3, {changes} where id = $1");
    match event {
        AppEvent::Created { app, org, project, space, name, org_name, project_name, space_name } => {
            let sql = "insert into apps (id, org, project, space, org_name, project_name, space_name, name, version, created_at, updated_at)
                       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)";
            let names = [org_name, project_name, space_name, name].map(|n| Value::from(n.as_str()));
            let mut values = vec![app.0.into(), org.0.into(), project.0.into(), space.0.into()];
            values.extend(names);
            values.extend([version, at]);
            run(tx, sql, values).await
        }
        AppEvent::Revised { app, revision, format, model, images, reason } => {
            let sql = "insert into revisions (app, revision, format, model, images, reason, actor, at) values ($1, $2, $3, $4, $5, $6, $7, $8)";
            // As `domain::app` does: of a model that cannot be read it is not known what follows something, and what was measured stays.
            let scaled = crate::domain::stored::scaled(&model).inspect_err(|error| {
                tracing::error!(app.id = %app, revision, %error, "a revision cannot be read: its application is left as it is");
            });
            let scaled: Option<Vec<String>> = scaled.ok().map(|all| all.into_iter().map(|n| n.to_string()).collect());
            let images = serde_json::to_value(images)?;
            let actor = recorded.meta.actor.as_str().into();
            run(tx, sql, vec![app.0.into(), number(revision).into(), format.into(), model.into(), images.into(), reason.into(), actor, at.clone()]).await?;
            let Some(scaled) = scaled else { return run(tx, &set("autoscale = autoscale"), vec![app.0.into(), version, at]).await };
            let sql = set("autoscale = (select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(autoscale) where $4::jsonb @> to_jsonb(key))");
            run(tx, &sql, vec![app.0.into(), version, at, serde_json::to_value(scaled)?.into()]).await
        }
        AppEvent::ReleaseStarted { app, revision, from, strategy } => {
            // What failed stays to be read while the revision before is put back.
            let failure = if strategy == "rollback" { "failure" } else { "null" };
            // The same as `domain::app` does: replicas set by hand belong to their revision and come back with it. Revisions that a
            // release tried to put to work, or has replaced already, get no requests.
            let gone_back = from.is_none() && strategy == "rollback";
            let sql = set(&format!(
                "current = $4, release_revision = $4, release_from = $5, release_at = $3, release_strategy = $6, release_step = 0, release_percent = 0,
                 release_step_at = $3, release_paused = false, release_note = '', release_promoted = 0, queued = null, failure = {failure},
                 hidden = case when release_revision is not null and release_strategy in ('blue-green', 'canary')
                    then hidden || to_jsonb(case when release_percent >= 100 then release_from else release_revision end) else hidden end,
                 base_scale = case when release_revision is not null and release_from = $5 then base_scale else scale end,
                 scale = case when (release_revision is not null and release_from = $4) or (release_revision is null and {gone_back})
                    then base_scale else '{{}}' end
                    || (select coalesce(jsonb_object_agg(key, value), '{{}}') from jsonb_each(autoscale), revisions r
                        where r.app = $1 and r.revision = $4 and r.model::jsonb #>> array['outline', 'workloads', key, 'scaling'] is not null)"
            ));
            run(tx, &sql, vec![app.0.into(), version, at, number(revision).into(), from.map(number).into(), strategy.into()]).await
        }
        AppEvent::Queued { app, reason, .. } => run(tx, &set("queued = $4"), vec![app.0.into(), version, at, reason.into()]).await,
        // It begins only now.
        AppEvent::Admitted { app, .. } => run(tx, &set("queued = null, release_at = $3"), vec![app.0.into(), version, at]).await,
        AppEvent::ReleaseAdvanced { app, step, percent, reason, .. } => {
            let sql = set("release_step = $4, release_percent = $5, release_step_at = $3, release_note = $6");
            run(tx, &sql, vec![app.0.into(), version, at, i64::from(step).into(), i64::from(percent).into(), reason.into()]).await
        }
        AppEvent::ReleasePaused { app, reason, .. } => {
            run(tx, &set("release_paused = true, release_note = $4"), vec![app.0.into(), version, at, reason.into()]).await
        }
        // What was waited for begins anew, as does the time without progress.
        AppEvent::ReleaseResumed { app, .. } => {
            run(tx, &set("release_paused = false, release_note = '', release_at = $3"), vec![app.0.into(), version, at]).await
        }
        AppEvent::ReleasePromoted { app, step, .. } => {
            // Who has promoted all and does so again while the old ones are kept means these, too.
            let sql = set("release_promoted = case when release_promoted < $5 then greatest(release_promoted, $4)
                           when release_percent >= 100 then $5 + 1 else release_promoted end");
            run(tx, &sql, vec![app.0.into(), version, at, number(step).into(), number(rollout::ALL).into()]).await
        }
        AppEvent::ReleaseFinished { app, revision } => {
            // After a rollback the reason stays to be read; what failed and came up after all has not failed.
            let sql = set("finished = $4, release_revision = null, release_from = null, release_at = null, release_paused = false, hidden = '[]',
                           failure = case when failure like $5 then null else failure end");
            run(tx, &sql, vec![app.0.into(), version, at, number(revision).into(), format!("revision {revision}: %").into()]).await
        }
        AppEvent::ReleaseFailed { app, revision, reason } => {
            let sql = set("failure = $4, release_revision = null, release_from = null, release_at = null, release_paused = false,
                           hidden = case when release_strategy in ('blue-green', 'canary') then hidden || to_jsonb(release_revision) else hidden end");
            run(tx, &sql, vec![app.0.into(), version, at, format!("revision {revision}: {reason}").into()]).await
        }
        AppEvent::Scaled { app, workload, replicas, .. } => {
            // The same as `domain::app` does: while scaling is held, a number set by hand stays over revisions as a measured one does.
            let sql = set("scale = scale || jsonb_build_object($4::text, $5::bigint),
                           autoscale = case when jsonb_exists(scaling_paused, $4::text) then autoscale || jsonb_build_object($4::text, $5::bigint) else autoscale end");
            run(tx, &sql, vec![app.0.into(), version, at, workload.as_str().into(), i64::from(replicas).into()]).await
        }
        AppEvent::Autoscaled { app, workload, replicas, .. } => {
            let sql = set("scale = scale || jsonb_build_object($4::text, $5::bigint), autoscale = autoscale || jsonb_build_object($4::text, $5::bigint)");
            run(tx, &sql, vec![app.0.into(), version, at, workload.as_str().into(), i64::from(replicas).into()]).await
        }
        AppEvent::ScalingPaused { app, workload, reason } => {
            let sql = set("scaling_paused = scaling_paused || jsonb_build_object($4::text, $5::text)");
            run(tx, &sql, vec![app.0.into(), version, at, workload.as_str().into(), reason.into()]).await
        }
        AppEvent::ScalingResumed { app, workload } => {
            run(tx, &set("scaling_paused = scaling_paused - $4::text"), vec![app.0.into(), version, at, workload.as_str().into()]).await
        }
        AppEvent::Restarted { app, workloads } => {
            let restarts: serde_json::Map<String, serde_json::Value> = workloads.iter().map(|w| (w.to_string(), recorded.position.into())).collect();
            let sql = set("restarts = restarts || $4::jsonb");
            run(tx, &sql, vec![app.0.into(), version, at, serde_json::Value::Object(restarts).into()]).await
        }
        AppEvent::Stopped { app } => run(tx, &set("stopped = true"), vec![app.0.into(), version, at]).await,
        AppEvent::Started { app } => run(tx, &set("stopped = false"), vec![app.0.into(), version, at]).await,
        AppEvent::Deleted { app } => run(tx, &set("deleted = true, release_revision = null, release_at = null"), vec![app.0.into(), version, at]).await,
    }
}

async fn instance(tx: &DatabaseTransaction, recorded: &Recorded, event: InstanceEvent) -> anyhow::Result<()> {
    let at: Value = recorded.at.into();
    match event {
        InstanceEvent::Placed { instance, app, org, project, space, workload, index, revision, node, cpu_millis, memory_bytes, storage_bytes } => {
            let sql = "insert into instances (id, app, org, project, space, workload, number, revision, node, cpu_millis, memory_bytes, storage_bytes, position, phase, placed_at, changed_at)
                       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'placed', $14, $14)
                       on conflict (id) do update set number = excluded.number, node = excluded.node, position = excluded.position, phase = 'placed', reason = '',
                           displaced = null, running_at = null, placed_at = excluded.placed_at, changed_at = excluded.changed_at, ended_at = null
                       where instances.phase = 'lost'";
            let ids = [instance.0, app.0, org.0, project.0, space.0].map(Value::from);
            let mut values = ids.to_vec();
            values.extend([workload.as_str().into(), i32::try_from(index).unwrap_or(i32::MAX).into(), number(revision).into(), node.as_str().into()]);
            values.extend([i64::from(cpu_millis).into(), number(memory_bytes).into(), number(storage_bytes).into(), recorded.position.into(), at]);
            run(tx, sql, values).await
        }
        InstanceEvent::Running { instance, address, .. } => {
            let sql = "update instances set phase = 'running', address = $3, reason = '', running_at = coalesce(running_at, $2), changed_at = $2 where id = $1 and ended_at is null";
            run(tx, sql, vec![instance.0.into(), at, address.into()]).await
        }
        InstanceEvent::Unhealthy { instance, reason, .. } => {
            let sql = "update instances set phase = 'unhealthy', reason = $3, changed_at = $2 where id = $1 and ended_at is null";
            run(tx, sql, vec![instance.0.into(), at, reason.into()]).await
        }
        InstanceEvent::Restarted { instance, restarts, exit_code, reason, .. } => {
            let sql = "update instances set restarts = $3, exit_code = $4, reason = $5, changed_at = $2 where id = $1";
            run(tx, sql, vec![instance.0.into(), at, i32::try_from(restarts).unwrap_or(i32::MAX).into(), exit_code.into(), reason.into()]).await
        }
        InstanceEvent::Lost { instance, node, .. } => {
            let sql = "update instances set phase = 'lost', reason = $3, changed_at = $2, ended_at = $2 where id = $1 and ended_at is null";
            run(tx, sql, vec![instance.0.into(), at, format!("node {node} is lost").into()]).await
        }
        InstanceEvent::Displaced { instance, reason, .. } => {
            run(tx, "update instances set displaced = $3, changed_at = $2 where id = $1 and ended_at is null", vec![instance.0.into(), at, reason.into()]).await
        }
        InstanceEvent::Stayed { instance, .. } => {
            run(tx, "update instances set displaced = null, changed_at = $2 where id = $1 and ended_at is null", vec![instance.0.into(), at]).await
        }
        // The one is kept beside the events, the other in rows of its own.
        InstanceEvent::Suspected { .. } | InstanceEvent::SignAcknowledged { .. } => Ok(()),
        InstanceEvent::Stopping { instance, .. } => {
            run(tx, "update instances set phase = 'stopping', changed_at = $2 where id = $1 and ended_at is null", vec![instance.0.into(), at]).await
        }
        InstanceEvent::Stopped { instance, exit_code, reason, .. } => {
            let sql = "update instances set exit_code = $3, reason = $4, changed_at = $2, ended_at = $2,
                       phase = case when phase = 'stopping' then 'stopped' when $3 = 0 then 'completed' else 'failed' end where id = $1 and ended_at is null";
            run(tx, sql, vec![instance.0.into(), at, exit_code.into(), reason.into()]).await
        }
    }
}

async fn node(tx: &DatabaseTransaction, recorded: &Recorded, event: NodeEvent) -> anyhow::Result<()> {
    let (at, version): (Value, Value) = (recorded.at.into(), recorded.version.into());
    let set = |changes: &str| format!("update nodes set version = $2, changed_at = $3, {changes} where name = $1");
    match event {
        NodeEvent::Joined { node, facts } => {
            let sql = "insert into nodes (name, facts, version, joined_at, changed_at) values ($1, $4, $2, $3, $3)
                       on conflict (name) do update set joined_at = case when nodes.facts = 'null' then excluded.joined_at else nodes.joined_at end,
                           facts = excluded.facts, lost = false, removed = false, version = excluded.version, changed_at = excluded.changed_at";
            run(tx, sql, vec![node.as_str().into(), version, at, facts.into()]).await
        }
        NodeEvent::FactsChanged { node, facts } => run(tx, &set("facts = $4"), vec![node.as_str().into(), version, at, facts.into()]).await,
        NodeEvent::Lost { node } => run(tx, &set("lost = true"), vec![node.as_str().into(), version, at]).await,
        NodeEvent::Returned { node } => run(tx, &set("lost = false"), vec![node.as_str().into(), version, at]).await,
        NodeEvent::Cordoned { node } => run(tx, &set("cordoned = true"), vec![node.as_str().into(), version, at]).await,
        NodeEvent::Uncordoned { node } => run(tx, &set("cordoned = false, draining = false"), vec![node.as_str().into(), version, at]).await,
        NodeEvent::Drained { node } => run(tx, &set("cordoned = true, draining = true"), vec![node.as_str().into(), version, at]).await,
        NodeEvent::SettingsChanged { node, settings } => {
            // Of one that has not joined yet there are no facts; it is not shown before it has.
            let sql = "insert into nodes (name, facts, settings, settings_at, settings_version, removed, version, joined_at, changed_at) values ($1, 'null', $4, $3, $2, true, $2, $3, $3)
                       on conflict (name) do update set settings = excluded.settings, settings_at = excluded.settings_at, settings_version = excluded.settings_version, version = excluded.version, changed_at = excluded.changed_at";
            run(tx, sql, vec![node.as_str().into(), version, at, settings.into()]).await
        }
        // Before it joins there are no facts either.
        NodeEvent::Certified { node } => {
            let sql = "insert into nodes (name, facts, certified, removed, version, joined_at, changed_at) values ($1, 'null', true, true, $2, $3, $3)
                       on conflict (name) do update set certified = true, version = excluded.version, changed_at = excluded.changed_at";
            run(tx, sql, vec![node.as_str().into(), version, at]).await
        }
        // Until it attaches it is away; what operators set for it counts again, but not that it was closed.
        NodeEvent::Admitted { node } => {
            run(tx, &set("removed = false, lost = true, cordoned = false, draining = false"), vec![node.as_str().into(), version, at]).await
        }
        NodeEvent::Removed { node } => run(tx, &set("removed = true"), vec![node.as_str().into(), version, at]).await,
    }
}
