//! Hosted repositories: made, deleted.

use gantry_auth::{Caller, ProjectRef};
use gantry_es_pg::Executed;
use gantry_host::from_execute;
use gantry_kernel::{Name, Problem, Role};

use super::Cicd;
use crate::domain::{Source, SourceCommand};
use crate::error;

impl Cicd {
    /// # Errors
    /// Without the right, or when the name is taken.
    pub async fn create_repository(&self, caller: &Caller, project: &ProjectRef, name: Name) -> Result<Executed<Source>, Problem> {
        self.host.auth.require(caller, Role::Editor, project.scope())?;
        // First the folder: an event must never name a repository that is not there. A crash in between leaves an empty
        // folder that nobody can see, and that the next try takes over.
        self.git.create(&self.git.path(project.id, &name)).await.map_err(error::git)?;
        let stream = Self::stream(project.id, &name);
        let command =
            SourceCommand::Create { org: project.org.id, project: project.id, org_name: project.org.name.clone(), project_name: project.name.clone(), name };
        self.sources.execute(stream, command, caller.meta(Some(project.org.id))).await.map_err(from_execute)
    }

    /// # Errors
    /// Without the right.
    pub async fn delete_repository(&self, caller: &Caller, project: &ProjectRef, name: Name) -> Result<Executed<Source>, Problem> {
        self.host.auth.require(caller, Role::Admin, project.scope())?;
        let lock = self.looking.at(project.id, &name);
        let _one = lock.lock().await;
        let executed =
            self.sources.execute(Self::stream(project.id, &name), SourceCommand::Delete, caller.meta(Some(project.org.id))).await.map_err(from_execute)?;
        if executed.version == 0 {
            return Err(Problem::not_found("repository", name));
        }
        self.git.delete(&self.git.path(project.id, &name)).await.map_err(|e| Problem::unavailable("the repository store").with_source(e))?;
        Ok(executed)
    }
}
