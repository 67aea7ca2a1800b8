//! That nothing is deleted which an application is being deployed with: of a deployment and a deletion at the same time one is refused.
//!
//! Both take the config's turn, a claim in the transaction of their append. A deployment also asks there that the config is as it was
//! read, so that one deleted meanwhile refuses it. A deletion takes the turn first, then looks who uses the config, and is refused if
//! somebody has taken the turn since: a deployment that the look did not show.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_contract::kept::ConfigEvent;
use gantry_es::{Meta, StreamId};
use gantry_es_pg::{Append, AppendError, Claim, ExecuteError, Executed, Options, StreamWrite};
use gantry_kernel::{AppId, Problem, Uuid};

use crate::app::Scheduler;
use crate::app::deploy::database;
use crate::domain::app::{App, Command, Refusal};
use crate::domain::kept;
use crate::domain::model::Model;
use crate::store;

/// Claims of this scope change hands: a config's is its own while it is being deleted, and else of the application that was last tied to it.
pub const TURN: &str = "config.turn";
/// A new version may be set while something is deployed: the deployment keeps what it was tied to, and tries again.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);
/// How long a deletion waits until all deployments before it can be seen.
const SEEN: Duration = Duration::from_secs(10);

/// Takes the turn from whoever has it.
fn turn(config: Uuid) -> [Claim; 2] {
    [Claim::release(TURN, config.to_string()), Claim::take(TURN, config.to_string())]
}

/// Carries a command out that puts `model` to work, if all that it is tied to is still there.
///
/// # Errors
/// What was deleted meanwhile; else as `refused` says.
pub async fn execute(
    s: &Scheduler,
    app: AppId,
    command: Command,
    options: Options,
    model: &Model,
    refused: impl Fn(ExecuteError<Refusal>) -> Problem,
) -> Result<Executed<App>, Problem> {
    let tied = tied(model);
    let mut tries = 0;
    loop {
        tries += 1;
        let mut options = options.clone();
        options.claims.extend(tied.keys().flat_map(|config| turn(*config)));
        options.also.extend(as_read(s, &tied).await?);
        match s.apps.execute(app, command.clone(), options).await {
            // Of the application, or of a config that got another version.
            Err(ExecuteError::Stale { .. }) if !tied.is_empty() && tries < TRIES => {
                tokio::time::sleep(PAUSE * tries).await;
                s.host.settled(s.host.log().head()).await;
            }
            done => return done.map_err(refused),
        }
    }
}

/// What a model has of its space: each config with its name, and whether it is a secret.
fn tied(model: &Model) -> BTreeMap<Uuid, (String, bool)> {
    let of_space = model.configs.values().filter_map(|c| Some((c.pinned.as_ref()?.config, (c.external.clone()?, c.secret))));
    of_space.collect()
}

/// Writes nothing, and fails if one of them is not as it is read now.
async fn as_read(s: &Scheduler, tied: &BTreeMap<Uuid, (String, bool)>) -> Result<Vec<StreamWrite>, Problem> {
    let mut checks = Vec::new();
    for (config, (name, secret)) in tied {
        let row = store::kept_by_id(s.orm(), *config).await.map_err(database)?;
        let row = row.ok_or_else(|| Problem::conflict("scheduler.config_missing", kept::missing(name, *secret)))?;
        checks.push(StreamWrite { stream: StreamId::of::<ConfigEvent>(config), expected: Some(row.version), events: Vec::new() });
    }
    Ok(checks)
}

/// A config takes its own turn, and all deployments before that can be seen when this is done.
///
/// # Errors
/// It has another version, or the log or the read models are away.
pub async fn hold(s: &Scheduler, config: Uuid, version: i64) -> Result<(), Problem> {
    let write = StreamWrite { stream: StreamId::of::<ConfigEvent>(config), expected: Some(version), events: Vec::new() };
    let held = Append { writes: vec![write], claims: turn(config).into(), meta: Meta::system() };
    let held = s.host.log().append(held).await.map_err(|error| match error {
        AppendError::Stale { .. } => super::setting::changed_meanwhile(),
        error => Problem::unavailable("the event log").with_source(error),
    })?;
    // Not as answers wait, which may go on without: what is not seen would be taken for not used.
    s.host.progress.settled(held.position, SEEN).await.map_err(|error| Problem::unavailable("the list of who uses it").with_source(error))
}

/// For the append of a deletion: refused with the name of who took the turn since [`hold`].
pub fn still_held(config: Uuid) -> Claim {
    Claim::take(TURN, config.to_string())
}
