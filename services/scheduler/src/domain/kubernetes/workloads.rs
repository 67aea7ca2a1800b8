//! Objects that run pods.

use gantry_kernel::Name;

use super::objects::{Object, note_annotations};
use super::{Known, name_of, placing, pod, storage};
use crate::domain::document::Document;
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Job, MAX_REPLICAS, Model, MountKind, Overlap, Restart, Schedule, Workload, WorkloadKind};

pub fn is_workload(object: &Object<'_>) -> bool {
    matches!(
        (object.group.as_str(), object.kind.as_str()),
        ("apps" | "extensions", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job" | "CronJob")
            | ("argoproj.io", "Rollout")
            | ("", "Pod" | "ReplicationController")
    )
}

pub fn read(object: &Object<'_>, document: &Document<'_>, model: &mut Model, known: &mut Known) {
    let Some(name) = name_of(object) else { return object.all_read() };
    if model.workloads.contains_key(&name) {
        object.wrong(&format!("another workload is called `{name}`, too"));
        return object.all_read();
    }
    object.remarks.place(format!("workloads.{name}"), &object.path, object.line);
    note_annotations(object);
    let mut w = Workload { annotations: Default::default(), ..Workload::default() };
    let Some(spec) = object.spec() else { return };
    match object.kind.as_str() {
        "Deployment" => deployment(&spec, &name, &mut w, model, known),
        "Rollout" => super::rollouts::read(&spec, &name, &mut w, model, known),
        "StatefulSet" => stateful(&spec, &name, &mut w, model, known),
        "DaemonSet" => daemon(&spec, &name, &mut w, model, known),
        "ReplicaSet" | "ReplicationController" => {
            replicas(&spec, &mut w);
            template(&spec, &name, &mut w, model, known);
            minutes(&spec, &name, &mut w);
        }
        "Job" => job(&spec, &name, &mut w, model, known),
        "CronJob" => cron(&spec, &name, &mut w, model, known),
        _ => {
            w.labels.clone_from(&object.labels);
            w.annotations.clone_from(&object.annotations);
            drop(spec.rest());
            drop(spec);
            if let Some(at) = object.root.take("spec") {
                pod::spec_of(&at, &name, &mut w, model, known);
            }
            if w.restart != Restart::Always {
                w.kind = WorkloadKind::Job;
            }
        }
    }
    if let Some(image) = document.images.get(object.name.as_str()) {
        w.image.clone_from(image);
    }
    model.workloads.insert(name, w);
}

pub(super) fn replicas(spec: &Fields<'_>, w: &mut Workload) {
    w.replicas = spec.number("replicas", MAX_REPLICAS).unwrap_or(1);
}

/// The template, and that the selector fits it.
pub(super) fn template(spec: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    match spec.below("template") {
        Some(template) => pod::read(&template, name, w, model, known),
        None => spec.remarks.wrong(&spec.path, spec.line, "needs `template`"),
    }
    if let Some(at) = spec.take("selector") {
        let labels = if at.node.get("matchLabels").is_some() || at.node.get("matchExpressions").is_some() {
            placing::selector(&at)
        } else {
            crate::domain::model::Selector { labels: at.map(), ..Default::default() }
        };
        if !placing::owns(&labels, &w.labels) {
            at.wrong("does not fit the labels of `template`");
        }
    }
}

pub(super) fn minutes(spec: &Fields<'_>, name: &Name, w: &mut Workload) {
    if let Some(at) = spec.take("minReadySeconds") {
        at.place(format!("workloads.{name}.min_ready_seconds"));
        w.min_ready_seconds = at.number(1 << 20).unwrap_or(0);
    }
    spec.note(&["revisionHistoryLimit"], "the platform keeps every revision");
}

/// A number or a percentage of the replicas.
fn share(at: &At<'_>, of: u32, up: bool) -> u32 {
    let text = at.text();
    let found = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<u32>().ok().filter(|p| *p <= 1000).map(|p| if up { (p * of).div_ceil(100) } else { p * of / 100 }),
        None => text.parse().ok().filter(|n| *n <= MAX_REPLICAS),
    };
    found.unwrap_or_else(|| {
        at.wrong("must be a number or a percentage such as 25%");
        1
    })
}

fn deployment(spec: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    replicas(spec, w);
    let count = w.replicas;
    (w.update.surge, w.update.max_unavailable) = (count.div_ceil(4).max(1), count / 4);
    w.update.progress_deadline_seconds = spec.number("progressDeadlineSeconds", 1 << 20).unwrap_or(600);
    if let Some(strategy) = spec.below("strategy") {
        let recreate = strategy.take("type").is_some_and(|at| at.one_of(&["RollingUpdate", "Recreate"]) == Some(1));
        if recreate {
            (w.update.surge, w.update.max_unavailable) = (0, count.max(1));
        }
        if let Some(rolling) = strategy.below("rollingUpdate") {
            if let Some(at) = rolling.take("maxSurge") {
                w.update.surge = share(&at, count, true);
            }
            if let Some(at) = rolling.take("maxUnavailable") {
                w.update.max_unavailable = share(&at, count, false);
            }
            if w.update.surge == 0 && w.update.max_unavailable == 0 {
                w.update.max_unavailable = 1;
            }
        }
    }
    if let Some(at) = spec.take("paused") {
        at.place(format!("workloads.{name}.update.manual"));
        w.update.manual = at.flag();
    }
    template(spec, name, w, model, known);
    minutes(spec, name, w);
}

fn update_strategy(spec: &Fields<'_>, name: &Name, w: &mut Workload) {
    (w.update.surge, w.update.max_unavailable, w.update.progress_deadline_seconds) = (0, 1, 600);
    let Some(strategy) = spec.below("updateStrategy") else { return };
    if let Some(at) = strategy.take("type") {
        at.place(format!("workloads.{name}.update.manual"));
        w.update.manual = at.one_of(&["RollingUpdate", "OnDelete"]) == Some(1);
    }
    if let Some(rolling) = strategy.below("rollingUpdate") {
        if let Some(at) = rolling.take("maxUnavailable") {
            w.update.max_unavailable = share(&at, w.replicas, false).max(1);
        }
        if let Some(at) = rolling.take("maxSurge")
            && share(&at, w.replicas, true) > 0
        {
            at.unsupported("one instance on each node has no room beside it");
        }
        if let Some(at) = rolling.take("partition") {
            at.place(format!("workloads.{name}.update.partition"));
            w.update.partition = at.number(MAX_REPLICAS).unwrap_or(0);
        }
    }
}

fn stateful(spec: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    w.kind = WorkloadKind::Stateful;
    replicas(spec, w);
    update_strategy(spec, name, w);
    w.update.parallel = spec.take("podManagementPolicy").is_some_and(|at| at.one_of(&["OrderedReady", "Parallel"]) == Some(1));
    // Each claim of a template is a volume by that name; the number of the instance makes it its own.
    for at in spec.list("volumeClaimTemplates") {
        let claim = at.fields();
        claim.skip(&["apiVersion", "kind", "status"]);
        let metadata = claim.below("metadata");
        let volume_name = metadata.as_ref().map(|m| m.text("name")).unwrap_or_default();
        let annotations = metadata.as_ref().map(|m| m.map("annotations")).unwrap_or_default();
        if let Some(metadata) = &metadata {
            metadata.skip(&["creationTimestamp", "namespace"]);
            metadata.note(&["labels"], "has no effect here");
        }
        if volume_name.is_empty() {
            at.wrong("needs `metadata.name`");
        }
        let mut volume = claim.below("spec").map(|s| storage::claimed(&s)).unwrap_or_default();
        if volume.class.is_empty() {
            volume.class = annotations.get("volume.beta.kubernetes.io/storage-class").cloned().unwrap_or_default();
        }
        // On a cluster the name of the StatefulSet tells claims of one name apart; two workloads must not share a volume.
        let mut own = volume_name.clone();
        if model.volumes.contains_key(&own) {
            own = format!("{volume_name}-{name}");
            at.note(format!("the volume is called `{own}` here: there is another `{volume_name}`"));
        }
        at.place(format!("volumes.{own}"));
        model.volumes.insert(own.clone(), volume);
        known.claims.push((volume_name, own));
    }
    template(spec, name, w, model, known);
    let claims: Vec<String> = known.claims.drain(..).map(|(_, volume)| volume).collect();
    for shared in w.mounts.iter().filter(|m| m.kind == MountKind::Volume && w.replicas > 1 && !claims.contains(&m.source)) {
        let detail = format!("the claim `{}` is not shared: each instance of a StatefulSet gets a volume of its own here", shared.source);
        spec.remarks.unsupported(&format!("{}.template", spec.path), spec.line, detail);
    }
    minutes(spec, name, w);
    spec.note(&["serviceName"], "instances are found by the names of the Services that choose them");
    spec.note(&["persistentVolumeClaimRetentionPolicy"], "volumes stay until they are deleted by hand");
    spec.unsupported(&["ordinals"], "instances are numbered from 0");
}

fn daemon(spec: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    w.kind = WorkloadKind::Global;
    update_strategy(spec, name, w);
    template(spec, name, w, model, known);
    minutes(spec, name, w);
}

fn job(spec: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    w.kind = WorkloadKind::Job;
    let here = |part: &str| format!("workloads.{name}.job.{part}");
    let placed = |key: &str, part: &str| {
        let at = spec.take(key);
        if let Some(at) = &at {
            at.place(here(part));
        }
        at
    };
    let number = |key: &str, part: &str| placed(key, part).and_then(|at| at.number(u32::MAX));
    let parallelism = number("parallelism", "parallelism");
    let completions = spec.number("completions", MAX_REPLICAS);
    w.replicas = completions.or(parallelism).unwrap_or(1).min(MAX_REPLICAS);
    let parallelism = parallelism.unwrap_or(1);
    let mut job = Job {
        parallelism: if parallelism >= w.replicas { 0 } else { parallelism },
        retries: number("backoffLimit", "retries"),
        deadline_seconds: number("activeDeadlineSeconds", "deadline_seconds").unwrap_or(0),
        keep_seconds: number("ttlSecondsAfterFinished", "keep_seconds"),
        indexed: placed("completionMode", "indexed").is_some_and(|at| at.one_of(&["NonIndexed", "Indexed"]) == Some(1)),
        suspended: placed("suspend", "suspended").is_some_and(|at| at.flag()),
    };
    // Not to be matched with the template's labels: the cluster makes both.
    if let Some(at) = spec.take("manualSelector")
        && at.flag()
    {
        at.note("has no effect here: whose an instance is, the platform knows without a selector");
    }
    spec.skip(&["selector"]);
    match spec.below("template") {
        Some(template) => pod::read(&template, name, w, model, known),
        None => spec.remarks.wrong(&spec.path, spec.line, "needs `template`"),
    }
    if let Some(of_pod) = w.job.take() {
        job.deadline_seconds = job.deadline_seconds.max(of_pod.deadline_seconds);
    }
    if job != Job::default() {
        w.job = Some(job);
    }
    spec.unsupported(
        &["podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "podReplacementPolicy", "managedBy"],
        "is not supported",
    );
}

fn cron(spec: &Fields<'_>, name: &Name, w: &mut Workload, model: &mut Model, known: &mut Known) {
    match spec.below("jobTemplate") {
        Some(template) => {
            if let Some(metadata) = template.below("metadata") {
                metadata.skip(&["creationTimestamp", "name", "namespace"]);
                metadata.note(&["labels", "annotations"], "has no effect here: those of the pods' own template count");
            }
            match template.below("spec") {
                Some(of_job) => job(&of_job, name, w, model, known),
                None => template.remarks.wrong(&template.path, template.line, "needs `spec`"),
            }
        }
        None => spec.remarks.wrong(&spec.path, spec.line, "needs `jobTemplate`"),
    }
    w.kind = WorkloadKind::CronJob;
    let mut schedule = Schedule::default();
    if let Some(at) = spec.take("schedule") {
        at.place(format!("workloads.{name}.schedule"));
        schedule.cron = at.text();
    }
    schedule.time_zone = spec.text("timeZone");
    schedule.overlap = match spec.take("concurrencyPolicy").and_then(|at| at.one_of(&["Allow", "Forbid", "Replace"])) {
        Some(1) => Overlap::Forbid,
        Some(2) => Overlap::Replace,
        _ => Overlap::Allow,
    };
    schedule.suspended = spec.flag("suspend");
    schedule.start_within_seconds = spec.number("startingDeadlineSeconds", u32::MAX);
    schedule.keep_succeeded = spec.number("successfulJobsHistoryLimit", u32::MAX);
    schedule.keep_failed = spec.number("failedJobsHistoryLimit", u32::MAX);
    w.schedule = Some(schedule);
}
