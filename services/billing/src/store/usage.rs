//! Samples (append-only, one partition a day, each counted once), their sums per hour, and what bills are made of.

use std::collections::HashSet;

use gantry_contract::usage::UsageSample;
use gantry_kernel::{OffsetDateTime, OrgId, ProjectId, Uuid};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};
use time::{Date, Duration};

use crate::domain::bill::Used;
use crate::domain::period::Period;
use crate::domain::{meter, sample};
use crate::store::reservations;

/// A sample that passed `domain::sample::check`, with its exact amount.
#[derive(Clone, Debug)]
pub struct Counted {
    pub sample: UsageSample,
    pub amount: Decimal,
}

/// Makes the partition of `day` if there is none. Under the owner's connection: the service itself may not change shapes.
///
/// # Errors
/// When the database refuses.
pub async fn ensure_day(admin: &PgPool, day: Date) -> Result<(), sqlx::Error> {
    let next = day.next_day().unwrap_or(day);
    let name = format!("usage_samples_{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day());
    // Nearly always; each batch asks.
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null").bind(&name).fetch_one(admin).await?;
    if there {
        return Ok(());
    }
    let sql = format!("create table if not exists {name} partition of usage_samples for values from ('{day}') to ('{next}')");
    let mut tx = admin.begin().await?;
    // `if not exists` alone can still race between two replicas.
    sqlx::query("select pg_advisory_xact_lock(7406001)").execute(&mut *tx).await?;
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    // Append-only by grant, also for who names the partition.
    let revoke = format!("do $$ begin execute format('revoke update, delete, truncate on {name} from %I', 'gantry_' || current_schema()); end $$");
    sqlx::query(AssertSqlSafe(revoke)).execute(&mut *tx).await?;
    tx.commit().await
}

/// Drops the partitions that end before `before`. Hour sums and invoices stay.
///
/// # Errors
/// When the database refuses.
pub async fn drop_days(admin: &PgPool, before: Date) -> Result<u64, sqlx::Error> {
    let limit = format!("usage_samples_{:04}{:02}{:02}", before.year(), u8::from(before.month()), before.day());
    let sql =
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'usage_samples'::regclass and c.relname < $1";
    let old: Vec<String> = sqlx::query_scalar(sql).bind(limit).fetch_all(admin).await?;
    for name in &old {
        sqlx::query(AssertSqlSafe(format!("drop table {name}"))).execute(admin).await?;
    }
    Ok(old.len() as u64)
}

/// Adds samples and their hours in one transaction; a sample that was counted before changes nothing. Returns how many were new.
///
/// # Errors
/// When the database refuses; then nothing was counted.
pub async fn add(pool: &PgPool, samples: &[Counted], refused: &[(String, String)], now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    for (reason, payload) in refused {
        sqlx::query("insert into usage_refused (reason, payload) values ($1, $2)").bind(reason).bind(payload).execute(&mut *tx).await?;
    }
    let mut fresh: HashSet<Uuid> = insert(&mut tx, samples).await?.into_iter().collect();
    let added = fresh.len() as u64;
    let mut hours = Vec::new();
    // `remove`: the same sample twice in one batch counts once, too.
    for counted in samples.iter().filter(|c| fresh.remove(&c.sample.id)) {
        for (hour, amount) in sample::by_hour(counted.sample.from, counted.sample.to, counted.amount) {
            let period = open_period(&mut tx, counted.sample.org, Period::of(hour), now).await?;
            hours.push((&counted.sample, period.to_string(), hour, amount));
        }
    }
    // In key order, so that two replicas that add to the same rows do not wait for each other.
    hours.sort_by(|a, b| (a.0.org, &a.1, a.0.project, &a.0.holder, &a.0.meter, a.2).cmp(&(b.0.org, &b.1, b.0.project, &b.0.holder, &b.0.meter, b.2)));
    for (sample, period, hour, amount) in hours {
        sqlx::query(
            "insert into usage_hours (org, period, project, holder, meter, hour, holder_name, amount) values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (org, period, project, holder, meter, hour) do update set amount = usage_hours.amount + excluded.amount, holder_name = excluded.holder_name",
        )
        .bind(sample.org.0)
        .bind(period)
        .bind(sample.project.0)
        .bind(&sample.holder)
        .bind(&sample.meter)
        .bind(hour)
        .bind(&sample.holder_name)
        .bind(amount)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(added)
}

async fn insert(tx: &mut PgConnection, samples: &[Counted]) -> Result<Vec<Uuid>, sqlx::Error> {
    let column = |f: &dyn Fn(&Counted) -> Uuid| samples.iter().map(f).collect::<Vec<_>>();
    let text = |f: &dyn Fn(&Counted) -> String| samples.iter().map(f).collect::<Vec<_>>();
    let times = |f: &dyn Fn(&Counted) -> OffsetDateTime| samples.iter().map(f).collect::<Vec<_>>();
    sqlx::query_scalar(
        "insert into usage_samples (day, id, org, project, holder, holder_name, meter, amount, from_at, to_at)
         select (f at time zone 'UTC')::date, i, o, p, h, n, m, a, f, t
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::timestamptz[], $9::timestamptz[]) as r(i, o, p, h, n, m, a, f, t)
         order by i on conflict do nothing returning id",
    )
    .bind(column(&|c| c.sample.id))
    .bind(column(&|c| c.sample.org.0))
    .bind(column(&|c| c.sample.project.0))
    .bind(text(&|c| c.sample.holder.clone()))
    .bind(text(&|c| c.sample.holder_name.clone()))
    .bind(text(&|c| c.sample.meter.clone()))
    .bind(samples.iter().map(|c| c.amount).collect::<Vec<_>>())
    .bind(times(&|c| c.sample.from))
    .bind(times(&|c| c.sample.to))
    .fetch_all(tx)
    .await
}

/// A late sample of a month whose bill was issued is billed in the open month: issued bills do not change, and nothing is lost.
async fn open_period(tx: &mut PgConnection, org: OrgId, period: Period, now: OffsetDateTime) -> Result<Period, sqlx::Error> {
    let current = Period::of(now);
    if period >= current {
        return Ok(period);
    }
    let sql = "select exists (select 1 from invoices where org = $1 and period = $2 and voided_reason is null)";
    let issued: bool = sqlx::query_scalar(sql).bind(org.0).bind(period.to_string()).fetch_one(tx).await?;
    Ok(if issued { current } else { period })
}

/// Metered use between two instants (whole hours), in billed units.
///
/// # Errors
/// When the database refuses.
pub async fn between(pool: &PgPool, org: OrgId, project: Option<ProjectId>, from: OffsetDateTime, to: OffsetDateTime) -> Result<Vec<Used>, sqlx::Error> {
    let sql = "select project, holder, max(holder_name) as holder_name, meter, sum(amount) as amount from usage_hours
               where org = $1 and hour >= $2 and hour < $3 and ($4::uuid is null or project = $4) group by project, holder, meter order by project, holder, meter";
    let rows = sqlx::query(sql).bind(org.0).bind(from).bind(to).bind(project.map(|p| p.0)).fetch_all(pool).await?;
    rows.iter().map(used_of).collect()
}

/// Everything a bill of `period` is made of: metered use booked to it, and what was reserved for how long until `now`.
///
/// # Errors
/// When the database refuses.
pub async fn of_period(pool: &PgPool, org: OrgId, period: Period, now: OffsetDateTime) -> Result<Vec<Used>, sqlx::Error> {
    let sql = "select project, holder, max(holder_name) as holder_name, meter, sum(amount) as amount from usage_hours
               where org = $1 and period = $2 group by project, holder, meter";
    let rows = sqlx::query(sql).bind(org.0).bind(period.to_string()).fetch_all(pool).await?;
    let mut used: Vec<Used> = rows.iter().map(used_of).collect::<Result<_, _>>()?;
    used.extend(reserved_between(pool, org, period.start(), period.end().min(now)).await?);
    Ok(used)
}

/// What was reserved times how long, in billed units.
///
/// # Errors
/// When the database refuses.
pub async fn reserved_between(pool: &PgPool, org: OrgId, from: OffsetDateTime, to: OffsetDateTime) -> Result<Vec<Used>, sqlx::Error> {
    let sql = "select s.project, s.holder, s.cpu_millis, s.memory_bytes, s.storage_bytes, s.containers,
                      extract(epoch from least(coalesce(s.to_at, $3), $3) - greatest(s.from_at, $2))::numeric as seconds,
                      coalesce((select h.holder_name from usage_hours h where h.org = s.org and h.holder = s.holder limit 1), s.holder) as holder_name
               from reservation_spans s where s.org = $1 and s.from_at < $3 and coalesce(s.to_at, $3) > $2";
    let rows = sqlx::query(sql).bind(org.0).bind(from).bind(to).fetch_all(pool).await?;
    let mut sums = std::collections::BTreeMap::<(ProjectId, String, &'static str), (String, Decimal)>::new();
    for row in &rows {
        let seconds: Decimal = row.try_get("seconds")?;
        for (name, quantity) in meter::reserved(&reservations::amounts_of(row)?, seconds) {
            let key = (ProjectId(row.try_get("project")?), row.try_get::<String, _>("holder")?, name);
            let sum = sums.entry(key).or_insert((row.try_get("holder_name")?, Decimal::ZERO));
            sum.1 += quantity;
        }
    }
    let line = |((project, holder, meter), (holder_name, quantity)): ((ProjectId, String, &str), (String, Decimal))| Used {
        project,
        holder,
        holder_name,
        meter: meter.to_owned(),
        quantity,
    };
    Ok(sums.into_iter().map(line).filter(|u| !u.quantity.is_zero()).collect())
}

/// Months before `current` that have something to bill and no bill, of any organisation; the oldest first.
///
/// # Errors
/// When the database refuses.
pub async fn unbilled(pool: &PgPool, current: Period) -> Result<Vec<(OrgId, Period)>, sqlx::Error> {
    let previous = Period::of(current.start() - Duration::DAY);
    let sql = "select distinct u.org, u.period from (
                   select org, period from usage_hours where period < $1
                   union select org, $2 from reservation_spans where from_at < $3 and coalesce(to_at, $3) > $4
               ) u where not exists (select 1 from invoices i where i.org = u.org and i.period = u.period and i.voided_reason is null) order by u.period limit 1000";
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as(sql).bind(current.to_string()).bind(previous.to_string()).bind(current.start()).bind(previous.start()).fetch_all(pool).await?;
    Ok(rows.into_iter().filter_map(|(org, period)| Some((OrgId(org), period.parse().ok()?))).collect())
}

fn used_of(row: &sqlx::postgres::PgRow) -> Result<Used, sqlx::Error> {
    let sampled: String = row.try_get("meter")?;
    Ok(Used {
        project: ProjectId(row.try_get("project")?),
        holder: row.try_get("holder")?,
        holder_name: row.try_get("holder_name")?,
        quantity: meter::billed_amount(&sampled, row.try_get("amount")?),
        meter: meter::billed_name(&sampled).to_owned(),
    })
}
