//! The sets that the platform keeps, looked at and forgotten.

use anyhow::Result;
use serde_json::Value;

use super::super::{Context, confirm};
use crate::args::{ConfigurationSet, Format};

/// # Errors
/// A refusal of the platform.
pub async fn sets(cx: &mut Context, command: ConfigurationSet) -> Result<()> {
    match command {
        ConfigurationSet::List { org } => {
            let query: Vec<_> = org.into_iter().map(|o| ("org", o)).collect();
            let items = cx.client.list("/api/v1/configuration-sets", &query, 10_000).await?;
            cx.list(&items, &[("NAME", "name"), ("ORG", "org"), ("VERSION", "version"), ("CHANGED BY", "changed_by"), ("CHANGED", "changed_at")])
        }
        ConfigurationSet::Show { set } => {
            let kept: Value = cx.client.get(&set.path(), &[]).await?;
            if cx.common.output != Format::Table {
                return cx.one(&kept);
            }
            let items = kept["items"].as_array().cloned().unwrap_or_default();
            cx.list(&items, &[("KIND", "kind"), ("ORG", "org"), ("NAME", "name")])
        }
        ConfigurationSet::Delete { set, yes } => {
            confirm(&format!("Forget what the documents of {set} named (what they made stays)"), yes)?;
            cx.client.delete(&set.path()).await?;
            cx.note(&format!("the set {set} is forgotten"));
            Ok(())
        }
    }
}
