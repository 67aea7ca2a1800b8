//! Alert rules as they are evaluated, where each stands, and what it went through. The rules are a read model of the log; states and
//! changes are facts of their own, which no log has.

use std::collections::BTreeMap;

use gantry_contract::monitoring::{AlertRule, Comparison, Figure, Severity};
use gantry_kernel::{Name, OffsetDateTime, SpaceId, Uuid};
use serde::Serialize;
use sqlx::PgPool;

use crate::domain::alert::{Measured, State, counts_from};

/// A rule and where it stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertRuleView {
    pub name: String,
    pub app: Name,
    pub workload: Option<Name>,
    pub figure: Figure,
    pub comparison: Comparison,
    pub threshold: f64,
    pub for_seconds: u32,
    pub severity: Severity,
    /// `inactive`, `pending` (not for long enough yet), `firing` or `resolved`.
    pub state: String,
    /// Since when; not there before the first round.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// What was measured last, of the instance that is nearest to an alarm.
    pub value: Option<f64>,
    /// That instance; empty for the application as a whole.
    pub instance: String,
    /// For `If-Match`.
    pub version: i64,
    pub changed_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
}

/// An alert as it is now, or a change of its state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Alert {
    /// The change's number; not there for what is now.
    pub number: Option<i64>,
    pub rule: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// `pending`, `firing`, `resolved`, or `inactive` for what ended before it fired.
    pub state: String,
    /// Since when, or when it became so.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub value: Option<f64>,
    /// The instance nearest to an alarm; empty for the application as a whole.
    pub instance: String,
}

/// A rule that is evaluated.
#[derive(Clone, Debug)]
pub struct Evaluated {
    pub space: SpaceId,
    pub name: String,
    pub rule: AlertRule,
    pub state: State,
    pub since: OffsetDateTime,
}

fn read(rule: &str) -> Result<AlertRule, sqlx::Error> {
    serde_json::from_str(rule).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// The rules of a space by name, or the one called `name`.
///
/// # Errors
/// When the database refuses.
pub async fn rules(pool: &PgPool, space: SpaceId, name: Option<&str>) -> Result<Vec<AlertRuleView>, sqlx::Error> {
    type Row = (String, String, i64, String, OffsetDateTime, Option<String>, Option<OffsetDateTime>, Option<f64>, Option<String>);
    let sql = "select r.name, r.rule::text, r.version, r.changed_by, r.changed_at, s.state, s.since, s.value, s.instance
               from alert_rules r left join alert_states s on s.space = r.space and s.rule = r.name
               where r.space = $1 and ($2::text is null or r.name = $2) order by r.name";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(space.0).bind(name).fetch_all(pool).await?;
    let view = |(name, rule, version, changed_by, changed_at, state, since, value, instance): Row| {
        let AlertRule { app, workload, figure, comparison, threshold, for_seconds, severity } = read(&rule)?;
        Ok::<_, sqlx::Error>(AlertRuleView {
            name,
            app,
            workload,
            figure,
            comparison,
            threshold,
            for_seconds,
            severity,
            state: state.unwrap_or_else(|| State::Inactive.as_str().to_owned()),
            since,
            value,
            instance: instance.unwrap_or_default(),
            version,
            changed_by,
            changed_at,
        })
    };
    rows.into_iter().map(view).collect()
}

/// How many rules the space has that are not called `name`.
///
/// # Errors
/// When the database refuses.
pub async fn others(pool: &PgPool, space: SpaceId, name: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from alert_rules where space = $1 and name <> $2").bind(space.0).bind(name).fetch_one(pool).await
}

/// The place of a space's rules (1 to `most`) that `stream` holds, or the first that is free; none: others hold all.
///
/// # Errors
/// When the database refuses.
pub async fn place(pool: &PgPool, scope: &str, stream: &str, most: i64) -> Result<Option<String>, sqlx::Error> {
    let sql = "select p.n::text from generate_series(1::bigint, $3) p(n) left join claims c on c.scope = $1 and c.name = p.n::text
               where c.stream is null or c.stream = $2 order by c.stream is null, p.n limit 1";
    sqlx::query_scalar(sql).bind(scope).bind(stream).bind(most).fetch_optional(pool).await
}

/// All that `stream` holds of them.
///
/// # Errors
/// When the database refuses.
pub async fn held_places(pool: &PgPool, scope: &str, stream: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select name from claims where scope = $1 and stream = $2").bind(scope).bind(stream).fetch_all(pool).await
}

/// What is pending or firing in a space, by rule.
///
/// # Errors
/// When the database refuses.
pub async fn now(pool: &PgPool, space: SpaceId) -> Result<Vec<Alert>, sqlx::Error> {
    type Row = (String, String, String, OffsetDateTime, Option<f64>, String);
    let sql = "select s.rule, s.severity, s.state, s.since, s.value, s.instance
               from alert_states s join alert_rules r on r.space = s.space and r.name = s.rule
               where s.space = $1 and s.state in ('pending', 'firing') order by s.rule";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(space.0).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(rule, severity, state, at, value, instance)| Alert { number: None, rule, severity, state, at, value, instance }).collect())
}

/// Changes of state in a space before number `before`, the newest first.
///
/// # Errors
/// When the database refuses.
pub async fn history(pool: &PgPool, space: SpaceId, before: Option<i64>, limit: i64) -> Result<Vec<Alert>, sqlx::Error> {
    type Row = (i64, String, String, String, OffsetDateTime, Option<f64>, String);
    let sql = "select id, rule, severity, state, at, value, instance from alert_changes
               where space = $1 and ($2::bigint is null or id < $2) order by id desc limit $3";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(space.0).bind(before).bind(limit).fetch_all(pool).await?;
    let change = |(number, rule, severity, state, at, value, instance)| Alert { number: Some(number), rule, severity, state, at, value, instance };
    Ok(rows.into_iter().map(change).collect())
}

/// A rule and its space, when it was changed last, and where it stands.
type Standing = (Uuid, String, String, OffsetDateTime, Option<String>, Option<OffsetDateTime>);

/// None: a newer program has set it, and it is left to that one; the others go on.
fn evaluated((space, name, rule, changed, state, since): Standing, now: OffsetDateTime) -> Option<Evaluated> {
    let state = state.as_deref().map_or(State::Inactive, State::of);
    let since = counts_from(state, since.unwrap_or(now), changed, now);
    Some(Evaluated { space: SpaceId(space), name, rule: read(&rule).ok()?, state, since })
}

/// All rules of all spaces with where they stand; what has no state yet is inactive since `now`.
///
/// # Errors
/// When the database refuses.
pub async fn all(pool: &PgPool, now: OffsetDateTime) -> Result<Vec<Evaluated>, sqlx::Error> {
    let sql = "select r.space, r.name, r.rule::text, r.changed_at, s.state, s.since
               from alert_rules r left join alert_states s on s.space = r.space and s.rule = r.name order by r.space, r.name";
    let rows: Vec<Standing> = sqlx::query_as(sql).fetch_all(pool).await?;
    Ok(rows.into_iter().filter_map(|row| evaluated(row, now)).collect())
}

/// Writes where a rule stands after a round, and the change if there is one.
///
/// # Errors
/// When the database refuses.
pub async fn stand(pool: &PgPool, of: &Evaluated, state: State, measured: Option<&Measured>, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let (value, instance) = (measured.map(|m| m.value), measured.map_or("", |m| m.instance.as_str()));
    let (changed, severity) = (state != of.state, of.rule.severity.as_str());
    // What is as it was is not written anew: most rules are, in every round.
    let sql = "insert into alert_states as s (space, rule, state, since, value, instance, severity) values ($1, $2, $3, $4, $5, $6, $7)
               on conflict (space, rule) do update set state = excluded.state, since = excluded.since, value = excluded.value,
                   instance = excluded.instance, severity = excluded.severity
               where (s.state, s.since, s.value, s.instance, s.severity)
                   is distinct from (excluded.state, excluded.since, excluded.value, excluded.instance, excluded.severity)";
    let since = if changed { now } else { of.since };
    let put = sqlx::query(sql).bind(of.space.0).bind(&of.name).bind(state.as_str()).bind(since).bind(value).bind(instance).bind(severity);
    if !changed {
        return put.execute(pool).await.map(drop);
    }
    let mut tx = pool.begin().await?;
    put.execute(&mut *tx).await?;
    let sql = "insert into alert_changes (space, rule, at, state, value, instance, severity) values ($1, $2, $3, $4, $5, $6, $7)";
    let add = sqlx::query(sql).bind(of.space.0).bind(&of.name).bind(now).bind(state.as_str()).bind(value).bind(instance).bind(severity);
    add.execute(&mut *tx).await?;
    tx.commit().await
}

/// Ends what rules that are gone have left standing, and forgets changes from before `before`.
///
/// # Errors
/// When the database refuses.
pub async fn forget(pool: &PgPool, now: OffsetDateTime, before: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "with gone as (
                   delete from alert_states s where not exists (select 1 from alert_rules r where r.space = s.space and r.name = s.rule)
                   returning s.space, s.rule, s.state, s.severity
               )
               insert into alert_changes (space, rule, at, state, value, instance, severity)
               select space, rule, $1::timestamptz, 'resolved', null::double precision, '', severity from gone where state = 'firing'";
    sqlx::query(sql).bind(now).execute(pool).await?;
    sqlx::query("delete from alert_changes where at < $1").bind(before).execute(pool).await?;
    Ok(())
}

/// Rules whose space is deleted: organisation, space and name.
///
/// # Errors
/// When the database refuses.
pub async fn of_gone_spaces(pool: &PgPool) -> Result<Vec<(Uuid, Uuid, String)>, sqlx::Error> {
    sqlx::query_as("select r.org, r.space, r.name from alert_rules r join auth_places p on p.id = r.space where p.gone order by r.space, r.name")
        .fetch_all(pool)
        .await
}

/// How often containers have begun anew since then, by the id of the application, by the audit trail.
///
/// # Errors
/// When the database refuses.
pub async fn restarts(pool: &PgPool, since: OffsetDateTime) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    let sql = "select content->>'app', count(*) from audit where kind = 'instance.restarted' and at > $1 group by 1";
    let rows: Vec<(Option<String>, i64)> = sqlx::query_as(sql).bind(since).fetch_all(pool).await?;
    Ok(rows.into_iter().filter_map(|(app, count)| Some((app?, count))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_this_program_cannot_read_is_left_out_alone() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let of = |rule: &str| evaluated((Uuid::nil(), "hot".into(), rule.into(), now, None, None), now);
        assert!(of(r#"{ "app": "web", "figure": "cpu", "threshold": 1 }"#).is_some_and(|one| one.state == State::Inactive && one.since == now));
        assert!(of(r#"{ "app": "web", "figure": "of-a-newer-program", "threshold": 1 }"#).is_none());
    }
}
