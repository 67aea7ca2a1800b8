//! New revisions of applications that have a config only as it was when they were deployed.

use gantry_auth::{Caller, SpaceRef};
use gantry_es_pg::Expect;
use gantry_kernel::{AppId, Name, Problem, Role};

use super::bodies::ConfigRolledOutBody;
use super::reading::{Named, find};
use super::using;
use crate::app::deploy::{self, Deploy, database};
use crate::app::documents::Source;
use crate::app::{Scheduler, change, models};
use crate::store;

/// The same application with the newest versions of all it uses, as its next revision; of those named, or of all that need it.
///
/// # Errors
/// A missing right, an unknown config or application, or the database refuses. One application's refusal is told beside the others.
pub async fn rollout(
    s: &Scheduler,
    caller: &Caller,
    space: &SpaceRef,
    (name, secret): Named<'_>,
    apps: &[String],
    reason: &str,
) -> Result<Vec<ConfigRolledOutBody>, Problem> {
    s.host.auth.require(caller, Role::Editor, space.scope())?;
    let row = find(s, space, (name, secret)).await?;
    let users = using::all(s, space).await?.remove(&row.id).unwrap_or_default();
    if let Some(stranger) = apps.iter().find(|app| !users.iter().any(|u| u.app == **app)) {
        return Err(Problem::invalid("apps", format!("`{stranger}` does not use `{name}`")));
    }
    let chosen = users.iter().filter(|u| if apps.is_empty() { u.restart_needed } else { apps.contains(&u.app) });
    let reason = if reason.is_empty() { format!("version {} of {name}", row.latest) } else { reason.to_owned() };
    let mut out = Vec::new();
    for (n, user) in chosen.enumerate() {
        let rolled = one(s, caller, space, &user.app, &reason, n).await;
        out.push(rolled.unwrap_or_else(|problem| ConfigRolledOutBody {
            app: user.app.clone(),
            revision: user.revision,
            changed: false,
            diff: Vec::new(),
            problem: Some(problem.detail),
        }));
    }
    Ok(out)
}

async fn one(s: &Scheduler, caller: &Caller, space: &SpaceRef, app: &str, reason: &str, nth: usize) -> Result<ConfigRolledOutBody, Problem> {
    let row = change::find(s, space, app).await?;
    let id = AppId(row.id);
    let before = s.models.get(&s.host, id, row.current.unsigned_abs()).await.map_err(|e| models::refused(e, row.current.unsigned_abs()))?;
    let mut model = (*before).clone();
    using::pin(s, space, &mut model).await?;
    let format = store::revision(s.orm(), id, row.current).await.map_err(database)?.map(|r| r.format).unwrap_or_default();
    let mut meta = caller.meta(Some(space.org().id));
    // One request, several commands: each has its own key.
    meta.command_id = meta.command_id.map(|key| format!("{key}:{nth}"));
    let request = Deploy {
        space: space.clone(),
        name: Name::parse(&row.name).map_err(Problem::internal)?,
        source: Source { format, ..Source::default() },
        allow_unsupported: true,
        reason: reason.to_owned(),
        queue: false,
        dry_run: false,
        subject: caller.subject.clone(),
        meta,
        expect: Expect::Version(row.version),
    };
    let deployed = deploy::bring(s, &request, Some(&row), Some(&before), &model, Vec::new()).await?;
    Ok(ConfigRolledOutBody { app: row.name, revision: deployed.revision, changed: deployed.changed, diff: deployed.diff, problem: None })
}
