//! Reading the log back.

use std::sync::Arc;

use gantry_es::{Json, Meta, Recorded, StreamId};
use gantry_kernel::{OffsetDateTime, OrgId, Uuid};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};

use crate::log::Log;

pub(crate) struct Row {
    pub position: i64,
    pub stream: String,
    pub version: i64,
    pub event_id: Uuid,
    pub kind: String,
    pub kind_version: i16,
    /// As stored: the chain covers these bytes, so they are not parsed and printed again.
    pub data: Arc<str>,
    pub actor: String,
    pub tenant: Option<Uuid>,
    pub from_addr: Option<String>,
    pub command_id: Option<String>,
    pub trace: Option<String>,
    pub at: OffsetDateTime,
    pub hash: Vec<u8>,
}

pub(crate) const ROW: &str = "position, stream, version, event_id, kind, kind_version, data, actor, tenant, from_addr, command_id, trace, at, hash";

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get(0)?,
            stream: row.try_get(1)?,
            version: row.try_get(2)?,
            event_id: row.try_get(3)?,
            kind: row.try_get(4)?,
            kind_version: row.try_get(5)?,
            data: json(row, 6)?,
            actor: row.try_get(7)?,
            tenant: row.try_get(8)?,
            from_addr: row.try_get(9)?,
            command_id: row.try_get(10)?,
            trace: row.try_get(11)?,
            at: row.try_get(12)?,
            hash: row.try_get(13)?,
        })
    }
}

/// A column of type `json`, which Postgres keeps and sends as the text it was given: copied once, to where it stays.
fn json(row: &PgRow, index: usize) -> Result<Arc<str>, sqlx::Error> {
    let text = row.try_get_raw(index)?.as_str();
    text.map(Arc::from).map_err(|source| sqlx::Error::ColumnDecode { index: index.to_string(), source })
}

impl Row {
    pub(crate) fn into_recorded(self, origin: &str) -> Result<Recorded, sqlx::Error> {
        Ok(Recorded {
            position: self.position,
            stream: StreamId::from_stored(self.stream),
            version: self.version,
            id: self.event_id,
            kind: self.kind,
            kind_version: self.kind_version.unsigned_abs(),
            data: Json::from_stored(self.data),
            meta: Meta { actor: self.actor, tenant: self.tenant.map(OrgId), from: self.from_addr, trace: self.trace, command_id: self.command_id },
            at: self.at,
            origin: origin.to_owned(),
        })
    }
}

impl Log {
    /// Events after `position`, in order; at most `limit`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn read(&self, position: i64, limit: i64) -> Result<Vec<Recorded>, sqlx::Error> {
        let recent = self.recent.after(position, usize::try_from(limit).unwrap_or_default());
        if !recent.is_empty() {
            return Ok(recent.iter().map(|event| Recorded::clone(event)).collect());
        }
        self.read_with(&self.db.pool, position, limit).await
    }

    /// The same for whoever only looks at them: those in memory are not copied.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn read_shared(&self, position: i64, limit: i64) -> Result<Vec<Arc<Recorded>>, sqlx::Error> {
        let recent = self.recent.after(position, usize::try_from(limit).unwrap_or_default());
        if !recent.is_empty() {
            return Ok(recent);
        }
        Ok(self.read_with(&self.db.pool, position, limit).await?.into_iter().map(Arc::new).collect())
    }

    pub(crate) async fn read_with(&self, db: impl PgExecutor<'_>, position: i64, limit: i64) -> Result<Vec<Recorded>, sqlx::Error> {
        let sql = select_events("where position > $1 order by position limit $2", &self.db.schema);
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(position).bind(limit).fetch_all(db).await?;
        rows.into_iter().map(|row| row.into_recorded(&self.origin)).collect()
    }

    /// Events of one stream after `version`, in order.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn read_stream(&self, stream: &StreamId, version: i64) -> Result<Vec<Recorded>, sqlx::Error> {
        self.stream_rows(stream, version).await?.into_iter().map(|row| row.into_recorded(&self.origin)).collect()
    }

    pub(crate) async fn stream_rows(&self, stream: &StreamId, version: i64) -> Result<Vec<Row>, sqlx::Error> {
        let sql = select_events("where stream = $1 and version > $2 order by version", &self.db.schema);
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(stream.as_str()).bind(version).fetch_all(&self.db.pool).await
    }
}

/// Schema-qualified, because a rebuild reads it with another search path.
pub(crate) fn select_events(tail: &str, schema: &str) -> String {
    format!("select {ROW} from {schema}.events {tail}")
}
