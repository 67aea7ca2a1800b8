//! Which certificates sessions stand on: whose word each is, and its number there.

use gantry_kernel::{OffsetDateTime, Uuid};
use sqlx::PgPool;

pub const TABLES: &str = "create table session_certificates (
        session_id uuid not null references sessions (id) on delete cascade, authority uuid not null, serial bytea not null,
        primary key (session_id, authority, serial)
    );
    create index session_certificates_authority on session_certificates (authority);";

/// A session that is alive or of which something is, and a certificate that it stands on.
#[derive(Clone, Debug)]
pub struct SessionCertificate {
    pub session_id: Uuid,
    pub user_id: Uuid,
    /// Big-endian.
    pub serial: Vec<u8>,
}

crate::store::row!(SessionCertificate { session_id, user_id, serial });

pub async fn keep(pool: &PgPool, session: Uuid, authorities: &[Uuid], serial: &[u8]) -> Result<(), sqlx::Error> {
    let sql = "insert into session_certificates (session_id, authority, serial) select $1::uuid, a, $3::bytea from unnest($2::uuid[]) a on conflict do nothing";
    sqlx::query(sql).bind(session).bind(authorities).bind(serial).execute(pool).await?;
    Ok(())
}

/// Those of one authority's certificates.
pub async fn of(pool: &PgPool, authority: Uuid, now: OffsetDateTime) -> Result<Vec<SessionCertificate>, sqlx::Error> {
    let sql = "select c.session_id, s.user_id, c.serial from session_certificates c join sessions s on s.id = c.session_id
               where c.authority = $1 and ((s.ended_at is null and s.expires_at > $2)
                   or exists (select from families f where f.session_id = s.id and f.ended_at is null and f.expires_at > $2))";
    sqlx::query_as(sql).bind(authority).bind(now).fetch_all(pool).await
}
