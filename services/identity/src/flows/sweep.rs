//! Removes what has expired, a little after: codes must be remembered while their replay is worth noticing.

use std::time::Duration;

use gantry_kernel::{Problem, UserId};
use sqlx::PgPool;

use crate::app::App;
use crate::error::fault;
use crate::store::{personal, remains};

const EVERY: Duration = Duration::from_secs(600);
/// Rows per statement, so that no statement holds locks for long.
const BATCH: i64 = 1_000;

const SWEEPS: [&str; 17] = [
    "delete from pushed_requests where hash in (select hash from pushed_requests where expires_at < now() limit $1)",
    "delete from revoked_tokens where jti in (select jti from revoked_tokens where expires_at < now() limit $1)",
    "delete from initial_access_tokens where id in (select id from initial_access_tokens where expires_at < now() limit $1)",
    "delete from codes where hash in (select hash from codes where expires_at < now() - interval '1 day' limit $1)",
    "delete from device_codes where hash in (select hash from device_codes where expires_at < now() - interval '1 day' limit $1)",
    // Whoever ends a family or a session right now is not held up, and holds up nobody.
    "delete from families where id in (select id from families where expires_at < now() - interval '1 day' limit $1 for update skip locked)",
    // With a session goes the knowledge of the certificates that what came from it stands on.
    "delete from sessions where id in (select id from sessions s where s.expires_at < now() - interval '30 days'
         and not exists (select from families f where f.session_id = s.id and f.ended_at is null) limit $1 for update of s skip locked)",
    // No sign-in is under way for so long.
    "delete from sign_ins_ended where user_id in (select user_id from sign_ins_ended where at < now() - interval '1 day' limit $1)",
    "delete from mail_links where hash in (select hash from mail_links where expires_at < now() limit $1)",
    "delete from invitations where id in (select id from invitations where expires_at < now() - interval '30 days' limit $1)",
    "delete from registrations where hash in (select hash from registrations where expires_at < now() limit $1)",
    // A picture is kept a little before the event that names it.
    "delete from logos where ctid in (select l.ctid from logos l where l.kept_at < now() - interval '1 day'
         and not exists (select from brandings b where b.org = l.org and b.logo_sha256 = l.sha256) limit $1)",
    "delete from certificate_proofs where hash in (select hash from certificate_proofs where expires_at < now() limit $1)",
    "delete from certificate_notices where certificate in (select n.certificate from certificate_notices n
         where not exists (select from person_certificates c where c.id = n.certificate) limit $1)",
    "delete from revocation_lists where authority in (select l.authority from revocation_lists l left join person_authorities a on a.id = l.authority
         where a.id is null and l.tried_at < now() - interval '1 day' limit $1)",
    "delete from upstream_tokens where link in (select t.link from upstream_tokens t left join links l on l.id = t.link
         where l.id is null and t.kept_at < now() - interval '1 hour' limit $1)",
    // What a directory called people who were erased: once it was not taken away with them.
    "delete from scim_links where ctid in (select l.ctid from scim_links l join subject_keys k on k.subject = 'user:' || l.id::text
         where l.kind = 'User' and k.erased_at is not null limit $1)",
];

pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = sweep(app.pool()).await {
            tracing::warn!(error = %error, "what has expired could not be removed");
        }
        if let Err(problem) = finish_erasures(&app).await {
            tracing::warn!(error = problem.chain(), "what is left of erased people could not be taken away");
        }
    }
}

async fn sweep(pool: &PgPool) -> Result<(), sqlx::Error> {
    for sql in SWEEPS {
        while sqlx::query(sql).bind(BATCH).execute(pool).await?.rows_affected() == BATCH.unsigned_abs() {}
    }
    Ok(())
}

/// Should the process have died in the middle of an erasure.
async fn finish_erasures(app: &App) -> Result<(), Problem> {
    let pool = app.pool();
    let erased = remains::erased_lately(pool).await.map_err(fault)?;
    for user in remains::still_in(pool, &erased).await.map_err(fault)? {
        app.end_sessions(UserId(user), None, "deleted").await?;
        personal::revoke_all(pool, UserId(user), app.now()).await.map_err(fault)?;
    }
    for user in erased {
        remains::forget(pool, user).await.map_err(fault)?;
    }
    Ok(())
}
