//! Read model of how organisations' sign-in pages look.

use async_trait::async_trait;
use gantry_contract::branding::BrandingEvent;
use gantry_contract::identity::OrgEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

pub struct Brandings;

#[async_trait]
impl Projection for Brandings {
    fn name(&self) -> &'static str {
        "brandings"
    }

    fn ddl(&self) -> &'static str {
        "create table brandings (org uuid primary key, branding text not null default '{}', logo text, logo_sha256 text, version bigint not null);"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["brandings"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<BrandingEvent>() {
            match event.decode()? {
                BrandingEvent::Changed { org, branding } => {
                    let sql = "insert into brandings (org, branding, version) values ($1, $2, $3)
                               on conflict (org) do update set branding = excluded.branding, version = excluded.version";
                    run(tx, sql, [org.0.into(), serde_json::to_string(&branding)?.into(), event.version.into()]).await?;
                }
                BrandingEvent::LogoChanged { org, logo } => {
                    let sql = "insert into brandings (org, logo, logo_sha256, version) values ($1, $2, $3, $4)
                               on conflict (org) do update set logo = excluded.logo, logo_sha256 = excluded.logo_sha256, version = excluded.version";
                    let (text, digest) = (logo.as_ref().map(serde_json::to_string).transpose()?, logo.map(|l| l.sha256));
                    run(tx, sql, [org.0.into(), text.into(), digest.into(), event.version.into()]).await?;
                }
            }
        } else if event.is::<OrgEvent>()
            && let OrgEvent::Deleted { org, .. } = event.decode()?
        {
            run(tx, "delete from brandings where org = $1", [org.0.into()]).await?;
        }
        Ok(())
    }
}

async fn run<const N: usize>(tx: &DatabaseTransaction, sql: &str, values: [Value; N]) -> anyhow::Result<()> {
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}
