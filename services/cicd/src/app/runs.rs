//! Runs: made from a commit, cancelled, approved.

use gantry_auth::{Caller, ProjectRef};
use gantry_es::Meta;
use gantry_es_pg::Executed;
use gantry_host::from_execute;
use gantry_kernel::{Name, Problem, ProjectId, Role, RunId};

use super::Cicd;
use crate::domain::{self, FileFault, NewRun, Pipeline, Run, RunCommand};
use crate::{error, store::queries};

pub const PIPELINE_FILE: &str = ".gantry/pipeline.yaml";
const MAX_PIPELINE_BYTES: usize = 256 * 1024;

/// Names that `${...}` in a pipeline file may use, besides `steps.<name>.image`.
pub const VARIABLES: &[&str] = &[
    "GANTRY_REGISTRY",
    "GANTRY_ORG",
    "GANTRY_PROJECT",
    "GANTRY_REPOSITORY",
    "GANTRY_COMMIT",
    "GANTRY_SHORT_COMMIT",
    "GANTRY_BRANCH",
    "GANTRY_RUN",
    "GANTRY_RUN_NUMBER",
];

pub struct StartRun {
    pub run: RunId,
    pub project: ProjectId,
    pub repository: Name,
    pub reference: String,
    pub commit: String,
    pub trigger: &'static str,
    pub subject: String,
}

impl Cicd {
    /// A push with a pipeline file makes a run; one without makes none; one with a faulty file makes a failed run.
    ///
    /// # Errors
    /// When git, the database or the log cannot be used: it is tried again.
    pub async fn run_for_push(&self, start: StartRun) -> anyhow::Result<()> {
        if self.runs.load(start.run).await?.version > 0 {
            return Ok(());
        }
        // Deleted meanwhile: nothing to run.
        let Some(project) = self.host.auth.read(|r| r.project_ref(start.project).cloned()) else { return Ok(()) };
        if queries::repository(&self.host.db().orm, start.project, start.repository.as_str()).await?.is_none() {
            return Ok(());
        }
        let Some(file) = self.pipeline_file(&start).await? else { return Ok(()) };
        let meta = Meta { actor: start.subject.clone(), ..Meta::default() }.tenant(project.org.id);
        let (run, about) = (start.run, self.about(start, &project).await?);
        let command = match file {
            Ok(pipeline) => RunCommand::Create(Box::new(NewRun { pipeline, ..about })),
            Err(reason) => RunCommand::CreateBroken { about: Box::new(about), reason },
        };
        self.runs.execute(run, command, meta).await?;
        Ok(())
    }

    /// A run that a person asks for. Without a good file there is no run, but an answer that says why.
    ///
    /// # Errors
    /// Without the right, or when repository, reference or file are not there or not usable.
    pub async fn start_run(&self, caller: &Caller, project: &ProjectRef, repository: Name, reference: &str) -> Result<Executed<Run>, Problem> {
        self.host.auth.require(caller, Role::Editor, project.scope())?;
        if queries::repository(&self.host.db().orm, project.id, repository.as_str()).await.map_err(error::database)?.is_none() {
            return Err(Problem::not_found("repository", repository));
        }
        let path = self.git.path(project.id, &repository);
        let full = if reference.starts_with("refs/") { reference.to_owned() } else { format!("refs/heads/{reference}") };
        let Some(commit) = self.git.resolve(&path, &full).await.map_err(error::git)? else {
            return Err(Problem::invalid("ref", format!("repository `{repository}` has no branch or tag `{reference}`")));
        };
        let start = StartRun {
            run: RunId(self.host.env.uuid()),
            project: project.id,
            repository,
            reference: full,
            commit,
            trigger: "manual",
            subject: caller.subject.clone(),
        };
        let pipeline = match self.pipeline_file(&start).await.map_err(|e| Problem::internal(e.into_boxed_dyn_error()))? {
            Some(Ok(pipeline)) => pipeline,
            Some(Err(faults)) => return Err(Problem::invalid("ref", faults)),
            None => return Err(Problem::invalid("ref", format!("the commit has no {PIPELINE_FILE}"))),
        };
        let run = start.run;
        let about = self.about(start, project).await.map_err(|e| Problem::internal(e.into_boxed_dyn_error()))?;
        let command = RunCommand::Create(Box::new(NewRun { pipeline, ..about }));
        self.runs.execute(run, command, caller.meta(Some(project.org.id))).await.map_err(from_execute)
    }

    /// # Errors
    /// Without the right, or when the run is over.
    pub async fn cancel_run(&self, caller: &Caller, project: &ProjectRef, run: RunId) -> Result<Executed<Run>, Problem> {
        self.change(caller, project, run, RunCommand::Cancel).await
    }

    /// # Errors
    /// Without the right, or when the step does not wait for it.
    pub async fn approve_step(&self, caller: &Caller, project: &ProjectRef, run: RunId, step: String) -> Result<Executed<Run>, Problem> {
        self.change(caller, project, run, RunCommand::Approve { step }).await
    }

    async fn change(&self, caller: &Caller, project: &ProjectRef, run: RunId, command: RunCommand) -> Result<Executed<Run>, Problem> {
        self.host.auth.require(caller, Role::Editor, project.scope())?;
        let loaded = self.runs.load(run).await.map_err(from_execute)?;
        if loaded.state.about.is_none_or(|about| about.project != project.id) {
            return Err(Problem::not_found("run", run));
        }
        self.runs.execute(run, command, caller.meta(Some(project.org.id))).await.map_err(from_execute)
    }

    /// `None`: the commit has no file. An inner error is the text of its faults.
    async fn pipeline_file(&self, start: &StartRun) -> anyhow::Result<Option<Result<Pipeline, String>>> {
        let path = self.git.path(start.project, &start.repository);
        let bytes = match self.git.file(&path, &start.commit, PIPELINE_FILE, MAX_PIPELINE_BYTES).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error @ crate::adapters::git::GitError::TooLarge { .. }) => return Ok(Some(Err(error.to_string()))),
            Err(error) => return Err(error.into()),
        };
        let Ok(text) = String::from_utf8(bytes) else { return Ok(Some(Err(format!("{PIPELINE_FILE} is not UTF-8 text")))) };
        let told = |faults: Vec<FileFault>| faults.iter().map(|f| format!("{PIPELINE_FILE}: {f}")).collect::<Vec<_>>().join("; ");
        Ok(Some(domain::parse(&text, VARIABLES).map_err(told)))
    }

    async fn about(&self, start: StartRun, project: &ProjectRef) -> anyhow::Result<NewRun> {
        let path = self.git.path(start.project, &start.repository);
        Ok(NewRun {
            run: start.run,
            org: project.org.id,
            project: project.id,
            org_name: project.org.name.clone(),
            project_name: project.name.clone(),
            message: self.git.subject(&path, &start.commit).await?,
            repository: start.repository,
            reference: start.reference,
            commit: start.commit,
            trigger: start.trigger.to_owned(),
            number: queries::next_number(&self.host.db().orm, project.id).await?,
            subject: start.subject,
            pipeline: Pipeline::default(),
        })
    }
}
