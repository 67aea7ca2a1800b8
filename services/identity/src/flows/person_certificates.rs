//! Read model of the certificates that people sign in with, and of the authorities that organisations trust; and the notices before
//! a certificate ends.

use std::time::Duration;

use async_trait::async_trait;
use gantry_contract::certificate::{AuthorityEvent, CertificateEvent};
use gantry_contract::identity::{OrgEvent, UserEvent};
use gantry_es::Recorded;
use gantry_es_pg::{Lease, Projection};
use gantry_kernel::OffsetDateTime;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

use crate::app::App;
use crate::app::certificates::subject_hash;
use crate::store::person_certificates::stale_text;

const EVERY: Duration = Duration::from_secs(3_600);

pub struct PersonCertificates;

#[async_trait]
impl Projection for PersonCertificates {
    fn name(&self) -> &'static str {
        "person-certificates"
    }

    /// 2: authorities are found by their names, and say where their lists of revoked certificates are.
    fn version(&self) -> i32 {
        2
    }

    fn ddl(&self) -> &'static str {
        "create table person_certificates (
            id uuid primary key, user_id uuid not null, key text not null unique, authority uuid, details text not null, label text not null,
            not_after timestamptz not null, bound_at timestamptz not null);
         create index on person_certificates (user_id);
         create index on person_certificates (not_after);
         create table person_authorities (id uuid primary key, org uuid not null, name text not null, pem text not null, trusted_at timestamptz not null,
            subject bytea not null, revocation_url text, when_stale text);
         create index on person_authorities (org);
         create index on person_authorities (subject);"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["person_certificates", "person_authorities"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<CertificateEvent>() {
            return match event.decode()? {
                CertificateEvent::Bound { certificate, user, key, authority, details, label, not_after } => {
                    let sql = "insert into person_certificates (id, user_id, key, authority, details, label, not_after, bound_at)
                               values ($1, $2, $3, $4, $5, $6, $7, $8)";
                    let not_after = OffsetDateTime::from_unix_timestamp(not_after)?;
                    let values: [Value; 8] =
                        [certificate.into(), user.0.into(), key.into(), authority.into(), details.0.into(), label.0.into(), not_after.into(), event.at.into()];
                    run(tx, sql, values).await
                }
                CertificateEvent::Removed { certificate, .. } => run(tx, "delete from person_certificates where id = $1", [certificate.into()]).await,
            };
        }
        if event.is::<AuthorityEvent>() {
            return match event.decode()? {
                AuthorityEvent::Trusted { authority, org, name, pem } => {
                    let sql = "insert into person_authorities (id, org, name, pem, trusted_at, subject) values ($1, $2, $3, $4, $5, $6)";
                    let subject = subject_hash(&pem);
                    run(tx, sql, [authority.into(), org.0.into(), name.to_string().into(), pem.into(), event.at.into(), subject.into()]).await
                }
                AuthorityEvent::RevocationSet { authority, url, when_stale, .. } => {
                    let when_stale = when_stale.map(stale_text);
                    run(
                        tx,
                        "update person_authorities set revocation_url = $2, when_stale = $3 where id = $1",
                        [authority.into(), url.into(), when_stale.into()],
                    )
                    .await
                }
                AuthorityEvent::Removed { authority, .. } => run(tx, "delete from person_authorities where id = $1", [authority.into()]).await,
            };
        }
        if event.is::<UserEvent>()
            && let UserEvent::Deleted { user } = event.decode()?
        {
            return run(tx, "delete from person_certificates where user_id = $1", [user.0.into()]).await;
        }
        if event.is::<OrgEvent>()
            && let OrgEvent::Deleted { org, .. } = event.decode()?
        {
            return run(tx, "delete from person_authorities where org = $1", [org.0.into()]).await;
        }
        Ok(())
    }
}

async fn run<const N: usize>(tx: &DatabaseTransaction, sql: &str, values: [Value; N]) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// Tells people before their certificates end. One replica at a time.
pub async fn remind(app: App) {
    loop {
        match Lease::try_acquire(app.pool(), "certificate-notices").await {
            Ok(Some(lease)) => {
                if let Err(problem) = app.notify_ending().await {
                    tracing::warn!(error = problem.chain(), "people could not be told that their certificates end soon");
                }
                lease.release().await;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %error, "the lease of the notices about certificates could not be had"),
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
