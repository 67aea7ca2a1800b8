//! Events of instances that come by the hundred, with one statement for all of one kind: a round places a thousand, a thousand come
//! up, and a thousand are lost with their node. The rows are those that one event after the other would make.

use std::collections::BTreeSet;

use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Recorded;
use gantry_kernel::{InstanceId, Uuid};
use sea_orm::{DatabaseTransaction, Value};
use serde::Serialize;

use super::projection::{number, run};

/// What one statement can take in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Placed,
    Running,
    Lost,
    Stopping,
    Stopped,
}

fn kind(event: &InstanceEvent) -> Option<(Kind, InstanceId)> {
    match event {
        InstanceEvent::Placed { instance, .. } => Some((Kind::Placed, *instance)),
        InstanceEvent::Running { instance, .. } => Some((Kind::Running, *instance)),
        InstanceEvent::Lost { instance, .. } => Some((Kind::Lost, *instance)),
        InstanceEvent::Stopping { instance, .. } => Some((Kind::Stopping, *instance)),
        InstanceEvent::Stopped { instance, .. } => Some((Kind::Stopped, *instance)),
        InstanceEvent::Unhealthy { .. }
        | InstanceEvent::Restarted { .. }
        | InstanceEvent::Displaced { .. }
        | InstanceEvent::Suspected { .. }
        | InstanceEvent::SignAcknowledged { .. }
        | InstanceEvent::Stayed { .. } => None,
    }
}

/// Those at the beginning of `events` that are of one kind, from one moment, and of different instances. Fewer than two: the first has
/// to be taken in by itself.
///
/// # Errors
/// When an event cannot be read.
pub(super) fn alike<'a>(events: &[&'a Recorded]) -> anyhow::Result<Vec<(&'a Recorded, InstanceEvent)>> {
    let mut out: Vec<(&Recorded, InstanceEvent)> = Vec::new();
    let (mut of, mut seen) = (None, BTreeSet::new());
    for &event in events {
        if !event.is::<InstanceEvent>() || out.first().is_some_and(|(first, _)| first.kind != event.kind || first.at != event.at) {
            break;
        }
        let decoded: InstanceEvent = event.decode()?;
        let Some((kind, instance)) = kind(&decoded) else { break };
        // An older version of an event may be read as another one.
        if *of.get_or_insert(kind) != kind || !seen.insert(instance) {
            break;
        }
        out.push((event, decoded));
    }
    Ok(out)
}

/// What a statement has to know of each row.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Placed {
        id: Uuid,
        app: Uuid,
        org: Uuid,
        project: Uuid,
        space: Uuid,
        workload: &'a str,
        number: i32,
        revision: i64,
        node: &'a str,
        cpu_millis: i64,
        memory_bytes: i64,
        storage_bytes: i64,
        position: i64,
    },
    Running {
        id: Uuid,
        address: &'a str,
    },
    Lost {
        id: Uuid,
        node: &'a str,
    },
    Stopped {
        id: Uuid,
        exit_code: i32,
        reason: &'a str,
    },
    Plain {
        id: Uuid,
    },
}

fn row<'a>(recorded: &Recorded, event: &'a InstanceEvent) -> Row<'a> {
    match event {
        InstanceEvent::Placed { instance, app, org, project, space, workload, index, revision, node, cpu_millis, memory_bytes, storage_bytes } => Row::Placed {
            id: instance.0,
            app: app.0,
            org: org.0,
            project: project.0,
            space: space.0,
            workload: workload.as_str(),
            number: i32::try_from(*index).unwrap_or(i32::MAX),
            revision: number(*revision),
            node: node.as_str(),
            cpu_millis: i64::from(*cpu_millis),
            memory_bytes: number(*memory_bytes),
            storage_bytes: number(*storage_bytes),
            position: recorded.position,
        },
        InstanceEvent::Running { instance, address, .. } => Row::Running { id: instance.0, address },
        InstanceEvent::Lost { instance, node, .. } => Row::Lost { id: instance.0, node: node.as_str() },
        InstanceEvent::Stopped { instance, exit_code, reason, .. } => Row::Stopped { id: instance.0, exit_code: *exit_code, reason },
        InstanceEvent::Stopping { instance, .. }
        | InstanceEvent::Unhealthy { instance, .. }
        | InstanceEvent::Restarted { instance, .. }
        | InstanceEvent::Displaced { instance, .. }
        | InstanceEvent::Suspected { instance, .. }
        | InstanceEvent::SignAcknowledged { instance, .. }
        | InstanceEvent::Stayed { instance, .. } => Row::Plain { id: instance.0 },
    }
}

/// $1: the rows as JSON, $2: when. The same changes as in `projection`, each event for itself.
fn sql(kind: Kind) -> &'static str {
    match kind {
        Kind::Placed => {
            "insert into instances (id, app, org, project, space, workload, number, revision, node, cpu_millis, memory_bytes, storage_bytes, position, phase, placed_at, changed_at)
             select r.id, r.app, r.org, r.project, r.space, r.workload, r.number, r.revision, r.node, r.cpu_millis, r.memory_bytes, r.storage_bytes, r.position, 'placed', $2::timestamptz, $2::timestamptz
             from json_to_recordset($1::text::json) as r(id uuid, app uuid, org uuid, project uuid, space uuid, workload text, number integer, revision bigint, node text,
                cpu_millis bigint, memory_bytes bigint, storage_bytes bigint, position bigint)
             on conflict (id) do update set number = excluded.number, node = excluded.node, position = excluded.position, phase = 'placed', reason = '',
                 displaced = null, running_at = null, placed_at = excluded.placed_at, changed_at = excluded.changed_at, ended_at = null
             where instances.phase = 'lost'"
        }
        Kind::Running => {
            "update instances i set phase = 'running', address = r.address, reason = '', running_at = coalesce(i.running_at, $2), changed_at = $2
             from json_to_recordset($1::text::json) as r(id uuid, address text) where i.id = r.id and i.ended_at is null"
        }
        Kind::Lost => {
            "update instances i set phase = 'lost', reason = 'node ' || r.node || ' is lost', changed_at = $2, ended_at = $2
             from json_to_recordset($1::text::json) as r(id uuid, node text) where i.id = r.id and i.ended_at is null"
        }
        Kind::Stopping => {
            "update instances i set phase = 'stopping', changed_at = $2
             from json_to_recordset($1::text::json) as r(id uuid) where i.id = r.id and i.ended_at is null"
        }
        Kind::Stopped => {
            "update instances i set exit_code = r.exit_code, reason = r.reason, changed_at = $2, ended_at = $2,
                 phase = case when i.phase = 'stopping' then 'stopped' when r.exit_code = 0 then 'completed' else 'failed' end
             from json_to_recordset($1::text::json) as r(id uuid, exit_code integer, reason text) where i.id = r.id and i.ended_at is null"
        }
    }
}

/// Takes in what [`alike`] gave.
///
/// # Errors
/// When the database refuses.
pub(super) async fn take_in(tx: &DatabaseTransaction, events: &[(&Recorded, InstanceEvent)]) -> anyhow::Result<()> {
    let Some((first, (kind, _))) = events.first().and_then(|(first, event)| Some((first, kind(event)?))) else { return Ok(()) };
    let rows: Vec<Row<'_>> = events.iter().map(|(recorded, event)| row(recorded, event)).collect();
    let values: Vec<Value> = vec![serde_json::to_string(&rows)?.into(), first.at.into()];
    run(tx, sql(kind), values).await
}

#[cfg(test)]
mod tests {
    use gantry_es::{EventData, Meta, StreamId};
    use gantry_kernel::{AppId, Name, OffsetDateTime};

    use super::*;

    fn recorded(position: i64, second: i64, event: &InstanceEvent) -> Recorded {
        let new = event.encode();
        let id = InstanceId(Uuid::from_u128(1));
        Recorded {
            position,
            stream: StreamId::of::<InstanceEvent>(id),
            version: 1,
            id: Uuid::nil(),
            kind: new.kind,
            kind_version: new.kind_version,
            data: new.data,
            meta: Meta::system(),
            at: OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second),
            origin: "scheduler".into(),
        }
    }

    fn running(n: u128) -> InstanceEvent {
        InstanceEvent::Running { instance: InstanceId(Uuid::from_u128(n)), app: AppId(Uuid::nil()), address: "10.0.0.1".into() }
    }

    fn lost(n: u128) -> InstanceEvent {
        InstanceEvent::Lost { instance: InstanceId(Uuid::from_u128(n)), app: AppId(Uuid::nil()), node: Name::parse("a").unwrap() }
    }

    fn length(events: &[Recorded]) -> usize {
        alike(&events.iter().collect::<Vec<_>>()).unwrap().len()
    }

    #[test]
    fn one_statement_is_for_one_kind_one_moment_and_each_instance_once() {
        assert_eq!(length(&[recorded(1, 1, &running(1)), recorded(2, 1, &running(2)), recorded(3, 1, &running(3))]), 3);
        assert_eq!(length(&[recorded(1, 1, &running(1)), recorded(2, 1, &lost(2))]), 1, "another kind");
        assert_eq!(length(&[recorded(1, 1, &running(1)), recorded(2, 2, &running(2))]), 1, "another moment");
        assert_eq!(length(&[recorded(1, 1, &running(1)), recorded(2, 1, &running(2)), recorded(3, 1, &running(1))]), 2, "the same instance again");
    }

    #[test]
    fn what_comes_alone_is_taken_in_alone() {
        let unhealthy = InstanceEvent::Unhealthy { instance: InstanceId(Uuid::nil()), app: AppId(Uuid::nil()), reason: "slow".into() };
        assert_eq!(length(&[recorded(1, 1, &unhealthy), recorded(2, 1, &running(2))]), 0);
        assert_eq!(length(&[]), 0);
    }
}
