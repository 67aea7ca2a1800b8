//! The tables that lists and pages read. A push also becomes durable work here (see `pushes`), in the same transaction.

use async_trait::async_trait;
use gantry_contract::cicd::{RunEvent, SourceEvent};
use gantry_es::Recorded;
use gantry_es_pg::{Projection, Todo};
use gantry_kernel::RunId;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, Statement, Value};

use super::pushes::{Pushed, PushedTodo};
use crate::domain::{Pipeline, ZERO, branch_of};
use crate::store::{self, artifact, repository, run, run_step};

pub struct CicdTables;

#[async_trait]
impl Projection for CicdTables {
    fn name(&self) -> &'static str {
        "cicd_tables"
    }

    fn ddl(&self) -> &'static str {
        store::DDL
    }

    fn tables(&self) -> &'static [&'static str] {
        store::TABLES
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<SourceEvent>() {
            source(tx, event, event.decode()?).await?;
        } else if event.is::<RunEvent>() {
            run_event(tx, event, event.decode()?).await?;
        }
        Ok(())
    }
}

async fn source(tx: &DatabaseTransaction, event: &Recorded, data: SourceEvent) -> Result<(), DbErr> {
    match data {
        SourceEvent::Created { org, project, org_name, project_name, name } => {
            let row = repository::ActiveModel {
                project_id: Set(project.0),
                name: Set(name.into()),
                org_id: Set(org.0),
                org: Set(org_name.into()),
                project: Set(project_name.into()),
                created_at: Set(event.at),
                version: Set(event.version),
            };
            repository::Entity::insert(row).exec_without_returning(tx).await?;
        }
        SourceEvent::Pushed { project, name, reference, after, .. } => {
            if branch_of(&reference).is_some() && after != ZERO {
                let key = format!("{}@{}", event.stream, event.version);
                let payload = Pushed { project, repository: name, reference, commit: after, actor: event.meta.actor.clone() };
                Todo::enqueue(tx, PushedTodo::NAME, &key, &serde_json::to_value(payload).map_err(|e| DbErr::Json(e.to_string()))?).await?;
            }
        }
        SourceEvent::Deleted { project, name, .. } => {
            repository::Entity::delete_by_id((project.0, String::from(name))).exec(tx).await?;
        }
    }
    Ok(())
}

async fn run_event(tx: &DatabaseTransaction, event: &Recorded, data: RunEvent) -> Result<(), DbErr> {
    let at: Value = event.at.into();
    let run = match data {
        RunEvent::Created { run, org, project, org_name, project_name, repository, reference, commit, trigger, number, subject, message, pipeline } => {
            let row = run::ActiveModel {
                id: Set(run.0),
                org_id: Set(org.0),
                project_id: Set(project.0),
                org: Set(org_name.into()),
                project: Set(project_name.into()),
                repository: Set(repository.into()),
                reference: Set(reference.clone()),
                commit_id: Set(commit),
                message: Set(message),
                trigger: Set(trigger),
                number: Set(i64::try_from(number).unwrap_or(i64::MAX)),
                subject: Set(subject),
                state: Set("queued".into()),
                reason: Set(String::new()),
                created_at: Set(event.at),
                started_at: Set(None),
                finished_at: Set(None),
                version: Set(event.version),
            };
            run::Entity::insert(row).exec_without_returning(tx).await?;
            steps(tx, run, &reference, &serde_json::from_value(pipeline).unwrap_or_default()).await?;
            run
        }
        RunEvent::Started { run } => {
            exec(tx, "update runs set state = 'running', started_at = $2 where id = $1", [run.0.into(), at]).await?;
            run
        }
        RunEvent::StepStarted { run, step, .. } => {
            exec(tx, "update run_steps set state = 'running', started_at = $3 where run_id = $1 and step = $2", [run.0.into(), step.into(), at]).await?;
            run
        }
        RunEvent::StepFinished { run, step, ok, exit_code, reason, duration_ms, .. } => {
            let state = if ok { "succeeded" } else { "failed" };
            let values = [run.0.into(), step.into(), at, state.into(), exit_code.into(), reason.into(), i64::try_from(duration_ms).unwrap_or(i64::MAX).into()];
            exec(
                tx,
                "update run_steps set finished_at = $3, state = $4, exit_code = $5, reason = $6, duration_ms = $7 where run_id = $1 and step = $2",
                values,
            )
            .await?;
            run
        }
        RunEvent::ImagePushed { run, step, image, .. } => {
            exec(tx, "update run_steps set image = $3 where run_id = $1 and step = $2", [run.0.into(), step.into(), image.into()]).await?;
            run
        }
        RunEvent::TestsReported { run, step, tests, failed, skipped } => {
            let count = |n: u32| Value::from(i32::try_from(n).unwrap_or(i32::MAX));
            let values = [run.0.into(), step.into(), count(tests), count(failed), count(skipped)];
            exec(tx, "update run_steps set tests = $3, tests_failed = $4, tests_skipped = $5 where run_id = $1 and step = $2", values).await?;
            run
        }
        RunEvent::ArtifactKept { run, name, size_bytes, digest, media_type } => {
            exec(tx, "delete from run_artifacts where run_id = $1 and name = $2", [run.0.into(), name.clone().into()]).await?;
            let row = artifact::ActiveModel {
                run_id: Set(run.0),
                name: Set(name),
                size_bytes: Set(i64::try_from(size_bytes).unwrap_or(i64::MAX)),
                digest: Set(digest),
                media_type: Set(media_type),
            };
            artifact::Entity::insert(row).exec_without_returning(tx).await?;
            run
        }
        RunEvent::ApprovalAsked { run, step, .. } => {
            exec(tx, "update run_steps set state = 'waiting', started_at = $3 where run_id = $1 and step = $2", [run.0.into(), step.into(), at]).await?;
            run
        }
        RunEvent::Approved { run, step, .. } => {
            let values = [run.0.into(), step.into(), at, event.meta.actor.clone().into()];
            exec(tx, "update run_steps set state = 'succeeded', finished_at = $3, approved_by = $4 where run_id = $1 and step = $2", values).await?;
            run
        }
        RunEvent::Finished { run, ok, reason } => {
            over(tx, run, if ok { "succeeded" } else { "failed" }, reason, at).await?;
            run
        }
        RunEvent::Cancelled { run } => {
            over(tx, run, "cancelled", "cancelled".into(), at).await?;
            run
        }
    };
    // A run whose only open steps wait for a person shows as waiting.
    let sql = "update runs set version = $2, state = case
            when state not in ('running', 'waiting') then state
            when exists (select from run_steps s where s.run_id = id and s.state = 'waiting') and not exists (select from run_steps s where s.run_id = id and s.state = 'running') then 'waiting'
            else 'running' end
        where id = $1";
    exec(tx, sql, [run.0.into(), event.version.into()]).await
}

async fn steps(tx: &DatabaseTransaction, run: RunId, reference: &str, pipeline: &Pipeline) -> Result<(), DbErr> {
    let row = |(ordinal, step): (usize, &crate::domain::Step)| run_step::ActiveModel {
        run_id: Set(run.0),
        step: Set(step.name.to_string()),
        ordinal: Set(i32::try_from(ordinal).unwrap_or(i32::MAX)),
        stage: Set(step.stage.to_string()),
        kind: Set(step.work.kind().into()),
        state: Set(if pipeline.skips(step, reference) { "skipped" } else { "pending" }.into()),
        exit_code: Set(None),
        reason: Set(String::new()),
        image: Set(None),
        approved_by: Set(None),
        tests: Set(None),
        tests_failed: Set(None),
        tests_skipped: Set(None),
        started_at: Set(None),
        finished_at: Set(None),
        duration_ms: Set(None),
    };
    let rows: Vec<_> = pipeline.steps.iter().enumerate().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    run_step::Entity::insert_many(rows).exec_without_returning(tx).await.map(|_| ())
}

async fn over(tx: &DatabaseTransaction, run: RunId, state: &str, reason: String, at: Value) -> Result<(), DbErr> {
    exec(tx, "update runs set state = $2, reason = $3, finished_at = $4 where id = $1", [run.0.into(), state.into(), reason.into(), at.clone()]).await?;
    exec(tx, "update run_steps set state = 'cancelled', finished_at = $2 where run_id = $1 and state in ('running', 'waiting')", [run.0.into(), at]).await?;
    exec(tx, "update run_steps set state = 'not_run' where run_id = $1 and state = 'pending'", [run.0.into()]).await
}

async fn exec<const N: usize>(tx: &DatabaseTransaction, sql: &str, values: [Value; N]) -> Result<(), DbErr> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await.map(|_| ())
}
