//! Mail leaves here: written down first, sent by whichever replica comes first, retried with growing pauses while the
//! mail server is away. Address and text are sealed while they wait.

use anyhow::Context;
use async_trait::async_trait;
use gantry_es::Sealed;
use gantry_es_pg::{TodoHandler, TodoItem};

use crate::app::App;
use crate::app::mailing::{FORGOTTEN, Letter, MAIL};
use crate::app::secrets::SUBJECT;

pub struct Outbox(pub App);

#[async_trait]
impl TodoHandler for Outbox {
    fn name(&self) -> &'static str {
        MAIL
    }

    fn concurrency(&self) -> usize {
        2
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let app = &self.0;
        if item.payload["until"].as_i64().is_none_or(|until| app.now().unix_timestamp() > until) {
            tracing::error!(attempts = item.attempts, "a mail could not be sent for a day and is given up: see identity.smtp");
            return Ok(());
        }
        let sealed = item.payload["sealed"].as_str().unwrap_or_default().to_owned();
        let letter: Letter = serde_json::from_str(&app.keyring.open(SUBJECT, &Sealed(sealed)).await?)?;
        let mailer = app.mailer.as_ref().context("no mail server is configured any more")?;
        match mailer.send(&letter.to, &letter.subject, letter.text).await {
            Ok(()) => Ok(()),
            // An address that is none will not become one.
            Err(problem) if problem.kind == gantry_kernel::Kind::Invalid => Ok(()),
            Err(problem) => Err(anyhow::anyhow!("{}", problem.chain())),
        }
    }
}

/// Looks up who forgot a password, away from the request: its answer takes as long whoever is asked for.
pub struct Forgotten(pub App);

#[async_trait]
impl TodoHandler for Forgotten {
    fn name(&self) -> &'static str {
        FORGOTTEN
    }

    fn concurrency(&self) -> usize {
        1
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let app = &self.0;
        let sealed = item.payload["sealed"].as_str().unwrap_or_default().to_owned();
        let name = app.keyring.open(SUBJECT, &Sealed(sealed)).await?;
        app.send_reset_link(&name, item.payload["from"].as_str().unwrap_or_default()).await.map_err(|p| anyhow::anyhow!("{}", p.chain()))
    }
}
