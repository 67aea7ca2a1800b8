//! What instances that have to leave their node leave it for: room that somebody waits for, or another node, where they are started anew
//! or go on as they are. Beside the events, which say that they have to; without this a scheduler that starts anew would send others away
//! for the same room, and not know what it has begun to move.

use gantry_kernel::{AppId, InstanceId, Name, Uuid};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Of a workload that has no place.
    RoomFor(AppId, Name),
    /// Where its successor is to be.
    MoveTo(String),
    /// Frozen, it goes on as this one.
    GoesOn(InstanceId),
}

fn asked(sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Before the events are appended: of one that was not sent away in the end nothing is read. Those of instances that ended are forgotten.
///
/// # Errors
/// When the database refuses; so for all of this.
pub async fn save(db: &DatabaseConnection, planned: &[(InstanceId, Purpose)]) -> Result<(), DbErr> {
    if planned.is_empty() {
        return Ok(());
    }
    let sql = "delete from displacements d where d.at < now() - interval '1 hour'
               and not exists (select 1 from instances i where i.id = d.instance and i.ended_at is null)";
    db.execute_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    for (instance, purpose) in planned {
        let (app, workload): (Option<Uuid>, Option<String>) = match purpose {
            Purpose::RoomFor(app, workload) => (Some(app.0), Some(workload.to_string())),
            Purpose::MoveTo(_) | Purpose::GoesOn(_) => (None, None),
        };
        let (target, successor): (Option<String>, Option<Uuid>) = match purpose {
            Purpose::RoomFor(..) => (None, None),
            Purpose::MoveTo(node) => (Some(node.clone()), None),
            Purpose::GoesOn(successor) => (None, Some(successor.0)),
        };
        let sql = "insert into displacements (instance, app, workload, target, successor, at) values ($1, $2, $3, $4, $5, now())
                   on conflict (instance) do update set app = excluded.app, workload = excluded.workload, target = excluded.target,
                       successor = excluded.successor, at = excluded.at";
        db.execute_raw(asked(sql, [instance.0.into(), app.into(), workload.into(), target.into(), successor.into()])).await?;
    }
    Ok(())
}

/// Of all that are on their way out.
pub async fn load(db: &DatabaseConnection) -> Result<Vec<(InstanceId, Purpose)>, DbErr> {
    let sql = "select d.instance, d.app, d.workload, d.target, d.successor from displacements d join instances i on i.id = d.instance
               where i.ended_at is null and (i.displaced is not null or i.phase = 'stopping') order by d.at, d.instance";
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let mut out = Vec::new();
    for row in rows {
        let (app, workload): (Option<Uuid>, Option<String>) = (row.try_get("", "app")?, row.try_get("", "workload")?);
        let (target, successor): (Option<String>, Option<Uuid>) = (row.try_get("", "target")?, row.try_get("", "successor")?);
        let room = app.zip(workload.and_then(|w| Name::parse(&w).ok())).map(|(app, workload)| Purpose::RoomFor(AppId(app), workload));
        let goes_on = successor.map(|id| Purpose::GoesOn(InstanceId(id)));
        if let Some(purpose) = room.or(target.map(Purpose::MoveTo)).or(goes_on) {
            out.push((InstanceId(row.try_get("", "instance")?), purpose));
        }
    }
    Ok(out)
}

/// Their successors have a place, or they stay.
pub async fn arrived(db: &DatabaseConnection, instances: &[InstanceId]) -> Result<(), DbErr> {
    for instance in instances {
        db.execute_raw(asked("delete from displacements where instance = $1", [instance.0.into()])).await?;
    }
    Ok(())
}
