//! Read model of security policies.

use async_trait::async_trait;
use gantry_contract::identity::OrgEvent;
use gantry_contract::policy::SecurityPolicyEvent;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use gantry_kernel::Uuid;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, EntityTrait};

use crate::store::entities::policy;

pub struct PolicyList;

#[async_trait]
impl Projection for PolicyList {
    fn name(&self) -> &'static str {
        "security-policies"
    }

    fn ddl(&self) -> &'static str {
        "create table security_policies (org uuid primary key, policy text not null, version bigint not null);"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["security_policies"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        if event.is::<SecurityPolicyEvent>() {
            let SecurityPolicyEvent::Changed { org, policy: text } = event.decode()?;
            let org = org.map_or(Uuid::nil(), |o| o.0);
            let row = policy::ActiveModel { org: Set(org), policy: Set(serde_json::to_string(&text)?), version: Set(event.version) };
            let replace = OnConflict::column(policy::Column::Org).update_columns([policy::Column::Policy, policy::Column::Version]).to_owned();
            policy::Entity::insert(row).on_conflict(replace).exec_without_returning(tx).await?;
        } else if event.is::<OrgEvent>()
            && let OrgEvent::Deleted { org, .. } = event.decode()?
        {
            policy::Entity::delete_by_id(org.0).exec(tx).await?;
        }
        Ok(())
    }
}
