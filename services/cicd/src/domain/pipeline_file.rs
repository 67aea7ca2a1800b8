//! `.gantry/pipeline.yaml` as people write it (docs/pipelines.md), and the checks that turn it into a [`Pipeline`].
//! Every fault names its line, and all faults of one reading are told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gantry_kernel::Name;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::duration;
use super::pipeline::{Build, Container, Deploy, Pipeline, Step, Work};
use super::template::{self, Values};

const MAX_BYTES: usize = 256 * 1024;
const MAX_STEPS: usize = 100;
const MAX_TIMEOUT_SECONDS: u64 = 24 * 3600;

/// What is wrong, and where (both from 1; 0 = the file as a whole).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    pub line: u64,
    pub column: u64,
    pub message: String,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            _ => write!(f, "line {}, column {}: {}", self.line, self.column, self.message),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    env: BTreeMap<String, String>,
    timeout: Option<Spanned<String>>,
    stages: Vec<StageEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageEntry {
    name: Spanned<String>,
    #[serde(default)]
    when: When,
    steps: Vec<StepEntry>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    #[serde(default)]
    branch: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepEntry {
    name: Spanned<String>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    #[serde(default)]
    when: When,
    timeout: Option<Spanned<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    artifacts: Vec<Spanned<String>>,
    #[serde(default)]
    reports: Vec<Spanned<String>>,
    image: Option<Spanned<String>>,
    run: Option<Vec<String>>,
    #[serde(default)]
    resources: Resources,
    build: Option<BuildEntry>,
    deploy: Option<DeployEntry>,
    approval: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    cpu: Option<Spanned<String>>,
    memory: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildEntry {
    context: Option<Spanned<String>>,
    dockerfile: Option<Spanned<String>>,
    image: Spanned<String>,
    #[serde(default)]
    tags: Vec<Spanned<String>>,
    #[serde(default)]
    args: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployEntry {
    file: Spanned<String>,
    format: Option<Spanned<String>>,
    space: Spanned<String>,
    app: Spanned<String>,
    #[serde(default)]
    values: BTreeMap<String, Spanned<String>>,
}

/// Reads and checks a pipeline file. `known` are the names every `${...}` may use.
///
/// # Errors
/// All faults found; never empty.
pub fn parse(text: &str, known: &[&str]) -> Result<Pipeline, Vec<FileFault>> {
    if text.len() > MAX_BYTES {
        return Err(vec![FileFault { line: 0, column: 0, message: format!("the file has {} bytes, allowed are {MAX_BYTES}", text.len()) }]);
    }
    let file: File = serde_saphyr::from_str(text).map_err(|e| {
        let at = e.location();
        let message = e.without_snippet().to_string();
        vec![FileFault { line: at.map_or(0, |l| l.line()), column: at.map_or(0, |l| l.column()), message: plain(&message) }]
    })?;
    let mut check = Check { faults: Vec::new(), known: known.iter().map(|k| ((*k).to_owned(), String::new())).collect(), builds: BTreeSet::new() };
    let pipeline = check.file(file);
    if check.faults.is_empty() { Ok(pipeline) } else { Err(check.faults) }
}

/// The reader's message without its own mention of the place.
fn plain(message: &str) -> String {
    let text = message.split_once(": ").filter(|(head, _)| head.contains("line ")).map_or(message, |(_, rest)| rest);
    text.lines().next().unwrap_or_default().to_owned()
}

struct Check {
    faults: Vec<FileFault>,
    known: Values,
    builds: BTreeSet<String>,
}

impl Check {
    fn fault<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        let (line, column) = (at.referenced.line(), at.referenced.column());
        self.faults.push(FileFault { line, column, message: message.into() });
    }

    fn file(&mut self, file: File) -> Pipeline {
        let default_timeout = file.timeout.map_or(3600, |t| self.timeout(&t));
        self.env_names(&file.env);
        let mut steps: Vec<Step> = Vec::new();
        let mut stages = BTreeSet::new();
        if file.stages.iter().all(|s| s.steps.is_empty()) {
            self.faults.push(FileFault { line: 0, column: 0, message: "`stages` must hold at least one step".into() });
        }
        // Needs may name steps that come later in the same stage, so all names are known first.
        let places: BTreeMap<String, usize> =
            file.stages.iter().enumerate().flat_map(|(i, s)| s.steps.iter().map(move |e| (e.name.value.clone(), i))).collect();
        for (index, stage) in file.stages.into_iter().enumerate() {
            let Some(name) = self.name(&stage.name) else { continue };
            if !stages.insert(stage.name.value.clone()) {
                self.fault(&stage.name, format!("there are two stages `{name}`"));
            }
            for entry in stage.steps {
                if let Some(step) = self.step(entry, &name, index, &stage.when, default_timeout, &places, &steps) {
                    steps.push(step);
                }
            }
        }
        if steps.len() > MAX_STEPS {
            self.faults.push(FileFault { line: 0, column: 0, message: format!("{} steps, allowed are {MAX_STEPS}", steps.len()) });
        }
        if let Some(name) = cycle(&steps) {
            self.faults.push(FileFault { line: 0, column: 0, message: format!("the `needs` of step `{name}` lead back to itself") });
        }
        self.build_references(&steps);
        Pipeline { env: file.env, steps }
    }

    #[allow(clippy::too_many_arguments, reason = "one call; the parts of the file around the step")]
    fn step(
        &mut self,
        entry: StepEntry,
        stage: &Name,
        index: usize,
        stage_when: &When,
        default_timeout: u64,
        places: &BTreeMap<String, usize>,
        before: &[Step],
    ) -> Option<Step> {
        let name = self.name(&entry.name)?;
        if before.iter().any(|s| s.name == name) {
            self.fault(&entry.name, format!("there are two steps `{name}`"));
        }
        let mut needs = Vec::new();
        for need in &entry.needs {
            match places.get(&need.value) {
                None => self.fault(need, format!("step `{name}` needs `{}`, which does not exist", need.value)),
                Some(at) if *at > index => self.fault(need, format!("step `{name}` needs `{}`, which is in a later stage", need.value)),
                Some(_) => needs.extend(Name::parse(&need.value).ok()),
            }
        }
        self.env_names(&entry.env);
        let timeout_seconds = entry.timeout.as_ref().map_or(default_timeout, |t| self.timeout(t));
        let artifacts = self.paths(&entry.artifacts);
        let reports = self.paths(&entry.reports);
        let branches = if entry.when.branch.is_empty() { stage_when.branch.clone() } else { entry.when.branch.clone() };
        let work = self.work(entry)?;
        Some(Step {
            stage: stage.clone(),
            stage_index: u32::try_from(index).unwrap_or(u32::MAX),
            name,
            needs,
            branches,
            timeout_seconds,
            artifacts,
            reports,
            work,
        })
    }

    fn work(&mut self, entry: StepEntry) -> Option<Work> {
        let kinds = [entry.run.is_some(), entry.build.is_some(), entry.deploy.is_some(), entry.approval.is_some()];
        if kinds.iter().filter(|k| **k).count() != 1 {
            self.fault(&entry.name, format!("step `{}` must have exactly one of `run`, `build`, `deploy`, `approval`", entry.name.value));
            return None;
        }
        if entry.run.is_none() && (entry.image.is_some() || !entry.env.is_empty() || entry.resources.cpu.is_some() || entry.resources.memory.is_some()) {
            self.fault(&entry.name, format!("step `{}`: `image`, `env` and `resources` belong to steps with `run`", entry.name.value));
        }
        if let Some(lines) = entry.run {
            let Some(image) = entry.image else {
                self.fault(&entry.name, format!("step `{}` has `run` but no `image` to run it in", entry.name.value));
                return None;
            };
            if lines.is_empty() {
                self.fault(&entry.name, format!("step `{}`: `run` holds no line", entry.name.value));
            }
            self.template(&image);
            let cpu_millis = entry.resources.cpu.map_or(1000, |cpu| self.unit(&cpu, "like `500m` or `2`, at most 64", duration::cpu_millis, 10..=64_000));
            let memory_bytes = entry.resources.memory.map_or(1 << 30, |m| self.unit(&m, "like `512Mi`, 16Mi to 256Gi", duration::bytes, 16 << 20..=256 << 30));
            return Some(Work::Run(Container { image: image.value, lines, env: entry.env, cpu_millis, memory_bytes }));
        }
        if let Some(build) = entry.build {
            self.builds.insert(entry.name.value.clone());
            return self.build(build);
        }
        if let Some(deploy) = entry.deploy {
            return self.deploy(deploy);
        }
        entry.approval.map(|prompt| Work::Approval { prompt })
    }

    fn build(&mut self, entry: BuildEntry) -> Option<Work> {
        let image = self.name(&entry.image)?;
        for text in entry.tags.iter().chain(entry.args.values()) {
            self.template(text);
        }
        let context = entry.context.map_or_else(|| ".".to_owned(), |p| self.path(&p));
        let dockerfile = entry.dockerfile.map_or_else(|| "Dockerfile".to_owned(), |p| self.path(&p));
        let tags = if entry.tags.is_empty() { vec!["${GANTRY_SHORT_COMMIT}".to_owned()] } else { entry.tags.into_iter().map(|t| t.value).collect() };
        Some(Work::Build(Build { context, dockerfile, image, tags, args: entry.args.into_iter().map(|(k, v)| (k, v.value)).collect() }))
    }

    fn deploy(&mut self, entry: DeployEntry) -> Option<Work> {
        let (space, app) = (self.name(&entry.space), self.name(&entry.app));
        let file = self.path(&entry.file);
        for text in entry.values.values() {
            self.template(text);
        }
        let format = entry.format.map_or_else(
            || "compose".to_owned(),
            |format| {
                if !matches!(format.value.as_str(), "compose" | "kubernetes" | "gantry") {
                    self.fault(&format, "`format` must be compose, kubernetes or gantry");
                }
                format.value
            },
        );
        Some(Work::Deploy(Deploy { file, format, space: space?, app: app?, values: entry.values.into_iter().map(|(k, v)| (k, v.value)).collect() }))
    }

    fn name(&mut self, text: &Spanned<String>) -> Option<Name> {
        Name::parse(&text.value).map_err(|e| self.fault(text, format!("`{}` is no name: {e}", text.value))).ok()
    }

    fn timeout(&mut self, text: &Spanned<String>) -> u64 {
        self.unit(text, "like `90s`, `30m` or `2h`, at most 24h", duration::seconds, 1..=MAX_TIMEOUT_SECONDS)
    }

    fn unit<T: PartialOrd + Copy + Default>(
        &mut self,
        text: &Spanned<String>,
        allowed: &str,
        read: fn(&str) -> Option<T>,
        range: std::ops::RangeInclusive<T>,
    ) -> T {
        match read(&text.value) {
            Some(value) if range.contains(&value) => value,
            _ => {
                self.fault(text, format!("`{}`: must be {allowed}", text.value));
                T::default()
            }
        }
    }

    fn paths(&mut self, texts: &[Spanned<String>]) -> Vec<String> {
        texts.iter().map(|p| self.path(p)).collect()
    }

    /// A path inside the repository; what symbolic links do to it is checked again when it is opened.
    fn path(&mut self, text: &Spanned<String>) -> String {
        let path = text.value.as_str();
        if path.is_empty() || path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..") {
            self.fault(text, format!("`{path}`: must be a path inside the repository, without `..`"));
        }
        path.to_owned()
    }

    fn env_names(&mut self, env: &BTreeMap<String, String>) {
        for name in env.keys() {
            let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            if !fits || name.starts_with("GANTRY_") {
                let message = format!("`{name}` is no name for a variable: letters, digits and `_`, not starting with a digit or with `GANTRY_`");
                self.faults.push(FileFault { line: 0, column: 0, message });
            }
        }
    }

    /// Names of steps are looked at later, when all of them are known.
    fn template(&mut self, text: &Spanned<String>) {
        let mut values = self.known.clone();
        for step in step_references(&text.value) {
            values.insert(format!("steps.{step}.image"), String::new());
        }
        if let Err(message) = template::expand(&text.value, &values) {
            self.fault(text, message);
        }
    }

    /// `${steps.x.image}` must name a build step that has ended by then.
    fn build_references(&mut self, steps: &[Step]) {
        for step in steps {
            let texts: Vec<&String> = match &step.work {
                Work::Run(run) => vec![&run.image],
                Work::Build(build) => build.tags.iter().chain(build.args.values()).collect(),
                Work::Deploy(deploy) => deploy.values.values().collect(),
                Work::Approval { .. } => Vec::new(),
            };
            for name in texts.into_iter().flat_map(|t| step_references(t)) {
                let ready = steps.iter().any(|s| s.name.as_str() == name && Pipeline::waits_for(step, s));
                if !self.builds.contains(name) || !ready {
                    let message =
                        format!("step `{}` uses `${{steps.{name}.image}}`: `{name}` must be a build step of an earlier stage or named in `needs`", step.name);
                    self.faults.push(FileFault { line: 0, column: 0, message });
                }
            }
        }
    }
}

fn step_references(text: &str) -> impl Iterator<Item = &str> {
    text.split("${steps.").skip(1).filter_map(|rest| rest.split_once(".image}").map(|(name, _)| name))
}

/// A step that can never start because it waits for itself.
fn cycle(steps: &[Step]) -> Option<&Name> {
    let mut done: BTreeSet<&Name> = BTreeSet::new();
    loop {
        let left: Vec<_> = steps.iter().filter(|s| !done.contains(&s.name)).collect();
        let ready: Vec<_> = left.iter().filter(|s| s.needs.iter().all(|n| done.contains(n) || steps.iter().all(|o| o.name != *n))).map(|s| &s.name).collect();
        if ready.is_empty() {
            return left.first().map(|s| &s.name);
        }
        done.extend(ready);
    }
}

#[cfg(test)]
#[path = "pipeline_file_tests.rs"]
mod tests;
