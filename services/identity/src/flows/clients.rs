//! Read model of OAuth clients. Those of a deleted organisation go with it.

use async_trait::async_trait;
use gantry_contract::identity::{ClientEvent, OrgEvent};
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

pub struct ClientDirectory;

#[async_trait]
impl Projection for ClientDirectory {
    fn name(&self) -> &'static str {
        "clients"
    }

    fn ddl(&self) -> &'static str {
        "create table clients (
            id text primary key, org uuid, settings jsonb not null, secrets jsonb not null, dynamic boolean not null,
            version bigint not null, created_at timestamptz not null, changed_at timestamptz not null);
         create index on clients (org, id);
         create index on clients using gin ((settings -> 'post_logout_redirect_uris'));"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["clients"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<ClientEvent>() {
            apply(tx, event, event.decode()?).await
        } else if event.is::<OrgEvent>()
            && let OrgEvent::Deleted { org, .. } = event.decode()?
        {
            run(tx, "delete from clients where org = $1", [org.0.into()]).await
        } else {
            Ok(())
        }
    }
}

async fn apply(tx: &DatabaseTransaction, at: &Recorded, event: ClientEvent) -> anyhow::Result<()> {
    let touched = |id: String| -> [Value; 3] { [id.into(), at.version.into(), at.at.into()] };
    match event {
        ClientEvent::Registered { client, org, settings, dynamic } => {
            let sql = "insert into clients (id, version, created_at, changed_at, org, settings, secrets, dynamic) values ($1, $2, $3, $3, $4, $5, '[]', $6)";
            let more: [Value; 3] = [org.map(|o| o.0).into(), serde_json::to_value(&*settings)?.into(), dynamic.into()];
            run(tx, sql, touched(client).into_iter().chain(more)).await
        }
        ClientEvent::Changed { client, settings } => {
            let sql = "update clients set version = $2, changed_at = $3, settings = $4 where id = $1";
            run(tx, sql, touched(client).into_iter().chain([serde_json::to_value(&*settings)?.into()])).await
        }
        ClientEvent::SecretAdded { client, secret } => {
            let sql = "update clients set version = $2, changed_at = $3, secrets = secrets || jsonb_build_array($4::jsonb) where id = $1";
            run(tx, sql, touched(client).into_iter().chain([serde_json::to_value(&secret)?.into()])).await
        }
        ClientEvent::SecretRemoved { client, id } => {
            let sql = "update clients set version = $2, changed_at = $3,
                       secrets = coalesce((select jsonb_agg(s) from jsonb_array_elements(secrets) s where s ->> 'id' <> $4), '[]') where id = $1";
            run(tx, sql, touched(client).into_iter().chain([id.into()])).await
        }
        ClientEvent::Deleted { client } => run(tx, "delete from clients where id = $1", [client.into()]).await,
    }
}

async fn run(tx: &DatabaseTransaction, sql: &str, values: impl IntoIterator<Item = Value>) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}
