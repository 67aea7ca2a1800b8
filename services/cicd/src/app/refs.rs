//! What moved in a repository becomes events: after a push, and for all repositories when the service starts, because a
//! crash may have come between a push and its event.

use gantry_es::Meta;
use gantry_host::from_execute;
use gantry_kernel::{Name, Problem, ProjectId};

use super::Cicd;
use crate::domain::SourceCommand;
use crate::{error, store::queries};

impl Cicd {
    /// Records where the branches and tags point now. Gives the position of the last event, 0 if nothing moved.
    ///
    /// # Errors
    /// When git or the log cannot be used.
    pub async fn record_refs(&self, project: ProjectId, name: &Name, meta: Meta) -> Result<i64, Problem> {
        let lock = self.looking.at(project, name);
        let _one = lock.lock().await;
        let refs = self.git.refs(&self.git.path(project, name)).await.map_err(error::git)?;
        let executed = self.sources.execute(Self::stream(project, name), SourceCommand::RecordRefs { refs }, meta).await.map_err(from_execute)?;
        Ok(executed.position)
    }

    /// Looks at every repository once. One that cannot be read is told and left for the next start.
    pub async fn record_all_refs(&self) {
        let rows = match queries::all_repositories(&self.host.db().orm).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "the repositories cannot be listed; pushes of the last moments before the stop may be missing");
                return;
            }
        };
        for row in rows {
            let Ok(name) = Name::parse(&row.name) else { continue };
            match self.record_refs(ProjectId(row.project_id), &name, Meta::system().tenant(row.org_id.into())).await {
                Ok(0) => {}
                Ok(_) => tracing::info!(repository = %name, "a push whose event was missing is recorded now"),
                Err(problem) => tracing::warn!(repository = %name, error = problem.chain(), "a repository cannot be looked at"),
            }
        }
    }
}
