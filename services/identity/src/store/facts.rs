//! The service's own record of security facts: appended, never changed (the grant forbids it).

use gantry_contract::audit::AuditFact;
use sqlx::PgPool;

pub async fn append(pool: &PgPool, fact: &AuditFact) -> Result<(), sqlx::Error> {
    sqlx::query("insert into facts (id, at, actor, action, object, result, reason, from_addr) values ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(fact.id)
        .bind(fact.at)
        .bind(&fact.actor)
        .bind(&fact.action)
        .bind(&fact.object)
        .bind(&fact.result)
        .bind(&fact.reason)
        .bind(&fact.from)
        .execute(pool)
        .await?;
    Ok(())
}
