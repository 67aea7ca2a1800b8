//! What applications reserve, checked and written in one transaction. The rows of `quota_use` of everybody concerned are
//! locked first, in the order of their names: two reservations cannot both take the last of a quota, nor wait for each other.

use std::collections::BTreeSet;

use gantry_contract::billing::Limits;
use gantry_kernel::{OffsetDateTime, OrgId, ProjectId, Scope};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};

use crate::domain::amounts::{self, Amounts, Claim, Exceeded};

/// What one holder wants to have from now on.
#[derive(Clone, Debug)]
pub struct Reservation {
    pub holder: String,
    pub org: OrgId,
    pub project: ProjectId,
    /// "user:<uuid>" whose own quota counts too.
    pub user: Option<String>,
    pub claim: Claim,
}

/// The limits of those who have none set.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub org: Limits,
    pub project: Limits,
    pub user: Limits,
}

impl Defaults {
    /// `holder`: "org:..", "project:.." or "user:..".
    pub fn of(&self, holder: &str) -> &Limits {
        match holder.split(':').next() {
            Some("org") => &self.org,
            Some("project") => &self.project,
            _ => &self.user,
        }
    }
}

impl Reservation {
    /// Whose quotas count, with the word people know them by.
    fn payers(&self) -> Vec<(String, &'static str)> {
        let mut payers = vec![(Scope::Org(self.org).to_string(), "organisation"), (Scope::Project(self.project).to_string(), "project")];
        payers.extend(self.user.clone().map(|user| (user, "user")));
        payers
    }
}

/// Replaces the holder's earlier reservation, or refuses and changes nothing. With `check_only` it changes nothing either way.
///
/// # Errors
/// When the database refuses; the inner error is the limit in the way.
pub async fn reserve(
    pool: &PgPool,
    wanted: &Reservation,
    defaults: &Defaults,
    check_only: bool,
    now: OffsetDateTime,
) -> Result<Result<(), Exceeded>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    // One at a time per application: a repetition must see what the first one wrote.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('reservation ' || $1, 0))").bind(&wanted.holder).execute(&mut *tx).await?;
    let before = load(&mut tx, &wanted.holder).await?;
    let old = before.as_ref().map(Reservation::payers).unwrap_or_default();
    let new = wanted.payers();
    let all: BTreeSet<&str> = old.iter().chain(&new).map(|(holder, _)| holder.as_str()).collect();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let used = lock(&mut tx, &all).await?;
    let limits = limits_of(&mut tx, &all).await?;
    let before_claim = before.as_ref().map(|b| b.claim).unwrap_or_default();

    for (holder, used) in all.iter().zip(used) {
        let had = old.iter().any(|(h, _)| h == holder);
        let others = if had { used.minus(&before_claim.total) } else { used };
        let after = match new.iter().find(|(h, _)| h == holder) {
            None => others,
            Some((_, word)) => {
                let limits = limits.iter().find(|(h, _)| h == holder).map_or_else(|| defaults.of(holder), |(_, l)| l);
                // What it reserved for somebody else does not excuse growth here.
                let earlier = if had { before_claim } else { Claim::default() };
                if let Err(exceeded) = amounts::fits(word, limits, &others, &earlier, &wanted.claim) {
                    return Ok(Err(exceeded));
                }
                let overflow =
                    Exceeded { holder: word, limit: "cpu_millis", allowed: amounts::MAX, used: others.cpu_millis, asked: wanted.claim.total.cpu_millis };
                match others.plus(&wanted.claim.total) {
                    Some(after) => after,
                    None => return Ok(Err(overflow)),
                }
            }
        };
        sqlx::query("update quota_use set cpu_millis = $2, memory_bytes = $3, storage_bytes = $4, containers = $5 where holder = $1")
            .bind(holder)
            .bind(column(after.cpu_millis))
            .bind(column(after.memory_bytes))
            .bind(column(after.storage_bytes))
            .bind(column(after.containers))
            .execute(&mut *tx)
            .await?;
    }
    if check_only {
        tx.rollback().await?;
        return Ok(Ok(()));
    }
    let same = before.as_ref().is_some_and(|b| b.claim.total == wanted.claim.total && b.org == wanted.org && b.project == wanted.project);
    write(&mut tx, wanted, now).await?;
    if !same {
        write_span(&mut tx, wanted, now).await?;
    }
    tx.commit().await?;
    Ok(Ok(()))
}

/// What a holder of a quota has in use.
///
/// # Errors
/// When the database refuses.
pub async fn in_use(pool: &PgPool, holder: &str) -> Result<Amounts, sqlx::Error> {
    let sql = "select cpu_millis, memory_bytes, storage_bytes, containers from quota_use where holder = $1";
    let row = sqlx::query(sql).bind(holder).fetch_optional(pool).await?;
    row.map_or(Ok(Amounts::default()), |row| amounts_of(&row))
}

async fn load(tx: &mut PgConnection, holder: &str) -> Result<Option<Reservation>, sqlx::Error> {
    let sql =
        "select org, project, user_ref, cpu_millis, memory_bytes, storage_bytes, containers, largest_cpu_millis, largest_memory_bytes, largest_storage_bytes
               from reservations where holder = $1";
    let Some(row) = sqlx::query(sql).bind(holder).fetch_optional(tx).await? else { return Ok(None) };
    let largest = Amounts {
        cpu_millis: figure(&row, "largest_cpu_millis")?,
        memory_bytes: figure(&row, "largest_memory_bytes")?,
        storage_bytes: figure(&row, "largest_storage_bytes")?,
        containers: 0,
    };
    Ok(Some(Reservation {
        holder: holder.to_owned(),
        org: OrgId(row.try_get("org")?),
        project: ProjectId(row.try_get("project")?),
        user: row.try_get("user_ref")?,
        claim: Claim { total: amounts_of(&row)?, largest },
    }))
}

/// The rows of `holders` (sorted), made where missing, locked until the transaction ends.
async fn lock(tx: &mut PgConnection, holders: &[String]) -> Result<Vec<Amounts>, sqlx::Error> {
    sqlx::query("insert into quota_use (holder) select h from unnest($1::text[]) h order by h collate \"C\" on conflict do nothing")
        .bind(holders)
        .execute(&mut *tx)
        .await?;
    let sql = "select cpu_millis, memory_bytes, storage_bytes, containers from quota_use where holder = any($1) order by holder collate \"C\" for update";
    sqlx::query(sql).bind(holders).fetch_all(tx).await?.iter().map(amounts_of).collect()
}

async fn limits_of(tx: &mut PgConnection, holders: &[String]) -> Result<Vec<(String, Limits)>, sqlx::Error> {
    let rows: Vec<(String, serde_json::Value)> = sqlx::query_as("select holder, limits from quotas where holder = any($1)").bind(holders).fetch_all(tx).await?;
    rows.into_iter().map(|(holder, limits)| Ok((holder, serde_json::from_value(limits).map_err(|e| sqlx::Error::Decode(e.into()))?))).collect()
}

async fn write(tx: &mut PgConnection, wanted: &Reservation, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    if wanted.claim.total.is_zero() {
        sqlx::query("delete from reservations where holder = $1").bind(&wanted.holder).execute(tx).await?;
        return Ok(());
    }
    let (total, largest) = (&wanted.claim.total, &wanted.claim.largest);
    sqlx::query(
        "insert into reservations (holder, org, project, user_ref, cpu_millis, memory_bytes, storage_bytes, containers,
                                   largest_cpu_millis, largest_memory_bytes, largest_storage_bytes, at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (holder) do update set org = excluded.org, project = excluded.project, user_ref = excluded.user_ref,
            cpu_millis = excluded.cpu_millis, memory_bytes = excluded.memory_bytes, storage_bytes = excluded.storage_bytes, containers = excluded.containers,
            largest_cpu_millis = excluded.largest_cpu_millis, largest_memory_bytes = excluded.largest_memory_bytes,
            largest_storage_bytes = excluded.largest_storage_bytes, at = excluded.at",
    )
    .bind(&wanted.holder)
    .bind(wanted.org.0)
    .bind(wanted.project.0)
    .bind(&wanted.user)
    .bind(column(total.cpu_millis))
    .bind(column(total.memory_bytes))
    .bind(column(total.storage_bytes))
    .bind(column(total.containers))
    .bind(column(largest.cpu_millis))
    .bind(column(largest.memory_bytes))
    .bind(column(largest.storage_bytes))
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends the open span and begins the next, at the same instant.
async fn write_span(tx: &mut PgConnection, wanted: &Reservation, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    // A clock that was set back must not make a span of negative length.
    sqlx::query("update reservation_spans set to_at = greatest(from_at, $2) where holder = $1 and to_at is null")
        .bind(&wanted.holder)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let total = &wanted.claim.total;
    if total.is_zero() {
        return Ok(());
    }
    sqlx::query("insert into reservation_spans (holder, org, project, cpu_millis, memory_bytes, storage_bytes, containers, from_at) values ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(&wanted.holder)
        .bind(wanted.org.0)
        .bind(wanted.project.0)
        .bind(column(total.cpu_millis))
        .bind(column(total.memory_bytes))
        .bind(column(total.storage_bytes))
        .bind(column(total.containers))
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) fn amounts_of(row: &PgRow) -> Result<Amounts, sqlx::Error> {
    Ok(Amounts {
        cpu_millis: figure(row, "cpu_millis")?,
        memory_bytes: figure(row, "memory_bytes")?,
        storage_bytes: figure(row, "storage_bytes")?,
        containers: figure(row, "containers")?,
    })
}

fn figure(row: &PgRow, name: &str) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0))
}

/// Figures above [`amounts::MAX`] never get here: `fits` refuses them.
fn column(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
