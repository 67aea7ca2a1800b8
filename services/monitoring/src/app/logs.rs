//! Which application's lines, and reading them.

use gantry_auth::Caller;
use gantry_kernel::{AppId, Problem, Result, Role};

use crate::App;
use crate::store::logs::{self, Filter, Line};
use crate::store::places;

/// Where an application is, as a path says it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct AppPath {
    pub org: String,
    pub project: String,
    pub space: String,
    pub app: String,
}

impl App {
    /// The application, if the caller may read its space.
    ///
    /// # Errors
    /// Not found, also where the caller may not know.
    pub async fn readable(&self, caller: &Caller, path: &AppPath) -> Result<AppId> {
        let missing = || Problem::not_found("application", &path.app);
        let space = self.host.auth.space(&path.org, &path.project, &path.space)?;
        self.host.auth.require(caller, Role::Viewer, space.scope())?;
        places::app_by_name(&self.host.db().pool, space.id, &path.app).await.map_err(Problem::internal)?.ok_or_else(missing)
    }

    /// # Errors
    /// When the database refuses.
    pub async fn newest_lines(&self, app: AppId, filter: &Filter, limit: usize) -> Result<(Vec<Line>, bool)> {
        logs::newest(&self.host.db().pool, app, filter, limit).await.map_err(Problem::internal)
    }
}
