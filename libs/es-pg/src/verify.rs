//! Walks the hash chain: any row changed, removed or put in between is found and named.

use crate::chain::{Link, chain};
use crate::log::Log;
use crate::read::{Row, select_events};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The row's content is not what its hash says.
    Changed { position: i64, stream: String, kind: String },
    /// A position is missing.
    Missing { position: i64 },
    /// The newest rows are missing, or rows stand after the head.
    Head { head: i64, last: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    pub events: i64,
    /// Hex of the last hash: write it down elsewhere to notice a log that was cut and re-made.
    pub head_hash: String,
    pub faults: Vec<Fault>,
}

/// Reads the whole log. At most 100 faults are listed.
///
/// # Errors
/// When the log cannot be read.
pub async fn verify(log: &Log) -> Result<Verdict, sqlx::Error> {
    let (head, head_hash): (i64, Vec<u8>) = sqlx::query_as("select position, hash from log_head").fetch_one(&log.db.pool).await?;
    let mut faults = Vec::new();
    let mut previous: Vec<u8> = Vec::new();
    let mut last = 0;
    let mut events = 0;
    let sql = select_events("where position > $1 order by position limit 5000", &log.db.schema);
    loop {
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).bind(last).fetch_all(&log.db.pool).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if row.position != last + 1 {
                faults.push(Fault::Missing { position: last + 1 });
            }
            let link = Link {
                position: row.position,
                stream: &row.stream,
                version: row.version,
                id: row.event_id,
                kind: &row.kind,
                kind_version: row.kind_version.unsigned_abs(),
                data: &row.data,
                actor: &row.actor,
                tenant: row.tenant,
                from: row.from_addr.as_deref(),
                command_id: row.command_id.as_deref(),
                trace: row.trace.as_deref(),
                at: row.at,
            };
            // After a gap the hash before is unknown: the gap was named, the rest is checked from its stored hash.
            if row.position == last + 1 && chain(&previous, &link) != row.hash {
                faults.push(Fault::Changed { position: row.position, stream: row.stream.clone(), kind: row.kind.clone() });
            }
            previous = row.hash;
            last = row.position;
            events += 1;
            if faults.len() >= 100 {
                return Ok(Verdict { events, head_hash: hex::encode(head_hash), faults });
            }
        }
    }
    if last < head || (last == head && previous != head_hash) {
        faults.push(Fault::Head { head, last });
    }
    Ok(Verdict { events, head_hash: hex::encode(head_hash), faults })
}
