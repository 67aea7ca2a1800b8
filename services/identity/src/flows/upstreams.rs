//! Read model of upstreams, of the links between accounts there and people here, and of the roles that upstreams gave:
//! a binding belongs to an upstream when the upstream's word made it, so that what people gave by hand stays.

use async_trait::async_trait;
use gantry_contract::upstream::{LinkEvent, UpstreamEvent};
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use gantry_kernel::Uuid;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

/// The actor of what follows from an upstream's word: `upstream:<id>`.
pub const ACTOR: &str = "upstream:";

pub struct Upstreams;

#[async_trait]
impl Projection for Upstreams {
    fn name(&self) -> &'static str {
        "upstreams"
    }

    fn ddl(&self) -> &'static str {
        "create table upstreams (
            id uuid primary key, org uuid, name text not null unique, settings jsonb not null, secret text,
            version bigint not null, created_at timestamptz not null, changed_at timestamptz not null);
         create table links (
            id uuid primary key, upstream uuid not null, user_id uuid not null, key text not null, subject text not null,
            provisioned boolean not null, created_at timestamptz not null);
         create unique index on links (upstream, key);
         create index on links (user_id);
         create table upstream_grants (
            binding uuid primary key, upstream uuid not null, user_id uuid not null, role text not null, scope text not null);
         create index on upstream_grants (upstream, user_id);
         create table upstream_memberships (
            upstream uuid not null, team uuid not null, user_id uuid not null, org uuid not null, primary key (upstream, team, user_id));"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["upstreams", "links", "upstream_grants", "upstream_memberships"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<UpstreamEvent>() {
            return apply_upstream(tx, event).await;
        }
        if event.is::<LinkEvent>() {
            return apply_link(tx, event).await;
        }
        match event.kind.as_str() {
            "binding.granted" => apply_grant(tx, event).await,
            "binding.revoked" => run(tx, "delete from upstream_grants where binding = $1", [uuid(event, "binding")?.into()]).await,
            "membership.added" | "membership.removed" => apply_membership(tx, event).await,
            "team.deleted" => run(tx, "delete from upstream_memberships where team = $1", [uuid(event, "team")?.into()]).await,
            "user.deleted" => {
                let user = uuid(event, "user")?;
                run(tx, "delete from links where user_id = $1", [user.into()]).await?;
                run(tx, "delete from upstream_memberships where user_id = $1", [user.into()]).await?;
                run(tx, "delete from upstream_grants where user_id = $1", [user.into()]).await
            }
            _ => Ok(()),
        }
    }
}

async fn apply_upstream(tx: &DatabaseTransaction, at: &Recorded) -> anyhow::Result<()> {
    match at.decode::<UpstreamEvent>()? {
        UpstreamEvent::Created { upstream, org, name, settings, secret } => {
            let sql = "insert into upstreams (id, org, name, settings, secret, version, created_at, changed_at) values ($1, $2, $3, $4, $5, $6, $7, $7)";
            let settings = serde_json::to_value(&settings)?;
            let values = [
                upstream.0.into(),
                org.map(|o| o.0).into(),
                name.to_string().into(),
                settings.into(),
                secret.map(|s| s.0).into(),
                at.version.into(),
                at.at.into(),
            ];
            run(tx, sql, values).await
        }
        UpstreamEvent::Changed { upstream, settings, secret } => {
            let sql = "update upstreams set settings = $2, secret = coalesce($3, secret), version = $4, changed_at = $5 where id = $1";
            let values = [upstream.0.into(), serde_json::to_value(&settings)?.into(), secret.map(|s| s.0).into(), at.version.into(), at.at.into()];
            run(tx, sql, values).await
        }
        UpstreamEvent::Deleted { upstream, .. } => run(tx, "delete from upstreams where id = $1", [upstream.0.into()]).await,
    }
}

async fn apply_link(tx: &DatabaseTransaction, at: &Recorded) -> anyhow::Result<()> {
    match at.decode::<LinkEvent>()? {
        LinkEvent::Made { link, user, upstream, subject, key, provisioned } => {
            let sql = "insert into links (id, upstream, user_id, key, subject, provisioned, created_at) values ($1, $2, $3, $4, $5, $6, $7)";
            let values = [link.0.into(), upstream.0.into(), user.0.into(), key.into(), subject.0.into(), provisioned.into(), at.at.into()];
            run(tx, sql, values).await
        }
        LinkEvent::Removed { link, .. } => run(tx, "delete from links where id = $1", [link.0.into()]).await,
    }
}

async fn apply_grant(tx: &DatabaseTransaction, at: &Recorded) -> anyhow::Result<()> {
    let Some(upstream) = upstream_of(at) else { return Ok(()) };
    let Some(user) = user(at) else { return Ok(()) };
    let scope: gantry_kernel::Scope = serde_json::from_value(at.data.value()["scope"].clone())?;
    let sql = "insert into upstream_grants (binding, upstream, user_id, role, scope) values ($1, $2, $3, $4, $5)";
    let role = text(at, "role").unwrap_or_default();
    run(tx, sql, [uuid(at, "binding")?.into(), upstream.into(), user.into(), role.into(), scope.to_string().into()]).await
}

async fn apply_membership(tx: &DatabaseTransaction, at: &Recorded) -> anyhow::Result<()> {
    let Some(user) = user(at) else { return Ok(()) };
    let team = uuid(at, "team")?;
    if at.kind == "membership.removed" {
        return run(tx, "delete from upstream_memberships where team = $1 and user_id = $2", [team.into(), user.into()]).await;
    }
    let Some(upstream) = upstream_of(at) else { return Ok(()) };
    let sql = "insert into upstream_memberships (upstream, team, user_id, org) values ($1, $2, $3, $4) on conflict do nothing";
    run(tx, sql, [upstream.into(), team.into(), user.into(), uuid(at, "org")?.into()]).await
}

fn upstream_of(at: &Recorded) -> Option<Uuid> {
    at.meta.actor.strip_prefix(ACTOR).and_then(|id| Uuid::parse_str(id).ok())
}

fn user(at: &Recorded) -> Option<Uuid> {
    text(at, "subject").and_then(|s| Uuid::parse_str(s.strip_prefix("user:")?).ok())
}

fn text(at: &Recorded, field: &str) -> Option<String> {
    at.data.value()[field].as_str().map(str::to_owned)
}

fn uuid(at: &Recorded, field: &str) -> anyhow::Result<Uuid> {
    Ok(Uuid::parse_str(&text(at, field).unwrap_or_default())?)
}

async fn run<const N: usize>(tx: &DatabaseTransaction, sql: &str, values: [Value; N]) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}
