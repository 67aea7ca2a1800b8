//! Writing and reading items.

use gantry_es::Meta;
use gantry_host::from_execute;
use gantry_kernel::{Name, Problem};
use serde::Serialize;

use crate::App;
use crate::domain::item::Command;
use crate::store;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ItemView {
    pub name: String,
    pub text: String,
    pub version: i64,
}

impl App {
    /// # Errors
    /// The text's faults; when the log cannot be used.
    pub async fn write(&self, name: &Name, text: String, meta: Meta) -> Result<ItemView, Problem> {
        let command = Command::Write { name: name.to_string(), text, longest: self.longest_text };
        let done = self.items.execute(name, command, meta).await.map_err(from_execute)?;
        // The answer to the next question must show it.
        self.host.settled(done.position).await;
        Ok(ItemView { name: name.to_string(), text: done.state.text, version: done.version })
    }

    /// # Errors
    /// Not found; when the database cannot be used.
    pub async fn item(&self, name: &Name) -> Result<ItemView, Problem> {
        let row = store::item(self.host.db(), name.as_str()).await.map_err(|e| Problem::unavailable("the database").with_source(e))?;
        let (text, version) = row.ok_or_else(|| Problem::not_found("item", name))?;
        Ok(ItemView { name: name.to_string(), text, version })
    }
}
