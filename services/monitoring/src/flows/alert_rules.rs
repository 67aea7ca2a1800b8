//! `alert_rules`: the alert rules that there are, as they are listed and evaluated.

use async_trait::async_trait;
use gantry_contract::monitoring::AlertRuleEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

pub struct AlertRules;

#[async_trait]
impl Projection for AlertRules {
    fn name(&self) -> &'static str {
        "alert-rules"
    }

    fn ddl(&self) -> &'static str {
        "create table alert_rules (
            space uuid not null, name text not null, org uuid not null, rule jsonb not null, version bigint not null, changed_by text not null,
            changed_at timestamptz not null, primary key (space, name)
         )"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["alert_rules"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if !event.is::<AlertRuleEvent>() {
            return Ok(());
        }
        let (sql, values): (&str, Vec<sea_orm::Value>) = match event.decode::<AlertRuleEvent>()? {
            AlertRuleEvent::Set { org, space, name, rule, .. } => (
                "insert into alert_rules (space, name, org, rule, version, changed_by, changed_at) values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (space, name) do update set rule = excluded.rule, version = excluded.version, changed_by = excluded.changed_by,
                     changed_at = excluded.changed_at",
                vec![
                    space.0.into(),
                    name.as_str().into(),
                    org.0.into(),
                    serde_json::to_value(rule)?.into(),
                    event.version.into(),
                    event.meta.actor.clone().into(),
                    event.at.into(),
                ],
            ),
            AlertRuleEvent::Deleted { space, name, .. } => {
                ("delete from alert_rules where space = $1 and name = $2", vec![space.0.into(), name.as_str().into()])
            }
        };
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
}
