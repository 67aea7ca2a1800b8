//! A workload's object as the platform runs it: whose it is, and what its pods have beside what the document says.

use gantry_kernel::Name;
use gantry_kubernetes::{KEEP, OWNER, REVISION, SCOPE, WORKLOAD};
use serde_json::{Value, json};

use super::labels::put_labels;
use super::{Place, job_name, naming, older, pull_name, quota, said, security, stopping};
use crate::domain::model::{Model, Workload, WorkloadKind};

/// Whose it is, and what the platform adds.
pub(super) fn finish_workload(object: &mut Value, name: &Name, w: &Workload, model: &Model, place: &Place<'_>) {
    let spec = &mut object["spec"];
    let pod = match w.kind {
        WorkloadKind::CronJob => &mut spec["jobTemplate"]["spec"]["template"],
        _ => &mut spec["template"],
    };
    let metadata = &mut pod["metadata"];
    put_labels(metadata, &w.labels);
    let own = [
        (SCOPE, place.scope.to_owned()),
        (OWNER, place.app.to_string()),
        (WORKLOAD, name.to_string()),
        (REVISION, place.revision.to_string()),
        ("gantry.io/application", place.app_name.to_string()),
        ("gantry.io/space", place.home.space_name.to_string()),
    ];
    for (key, value) in own {
        metadata["labels"][key] = value.into();
    }
    if let Some(position) = place.restarts.get(name) {
        metadata["annotations"][stopping::RESTARTED] = position.to_string().into();
    }
    finish_pod(&mut pod["spec"], w, model, place);
    let before = place.unchanged.get(name);
    if place.minor >= stopping::SINCE && before.is_none_or(|b| b.waits) {
        stopping::wait_for_balancers(&mut pod["spec"], name, w, model);
    }
    older::fit(pod, place.minor, before.is_none_or(|b| b.signals));
    naming::fit_volumes(&mut pod["spec"]);
    said::of_pod(&mut pod["spec"]);
    match w.kind {
        WorkloadKind::Stateless => {
            spec["revisionHistoryLimit"] = 2.into();
            // The API takes no deadline that is over before a pod counts; without one it is ten minutes.
            let rest = spec["minReadySeconds"].as_u64().unwrap_or(0);
            if rest >= spec["progressDeadlineSeconds"].as_u64().unwrap_or(600) {
                spec["progressDeadlineSeconds"] = (rest + 1).into();
            }
            if w.is_exchanged() {
                // Another one may take its place: until then it is spared by this.
                object["metadata"]["labels"][REVISION] = place.revision.to_string().into();
            }
        }
        WorkloadKind::Stateful => {
            spec["revisionHistoryLimit"] = 2.into();
            older::fit_set(spec, place.minor);
            for claim in spec["volumeClaimTemplates"].as_array_mut().into_iter().flatten() {
                claim["metadata"]["name"] = naming::fitting(claim["metadata"]["name"].as_str().unwrap_or_default(), false).into();
                claim["metadata"]["labels"] = json!({ SCOPE: place.scope, OWNER: place.app.to_string() });
                claim["metadata"]["annotations"] = json!({ KEEP: "until the application is deleted" });
            }
        }
        WorkloadKind::Job => {
            // A job that is done cannot be changed: each revision has its own.
            object["metadata"]["name"] = job_name(name, place.revision, place.restarts.get(name).copied().unwrap_or(0)).into();
            // If the cluster took it away after its end, it would be made, and run, again.
            object["spec"].as_object_mut().map(|s| s.remove("ttlSecondsAfterFinished"));
        }
        WorkloadKind::Global | WorkloadKind::CronJob => {}
    }
}

fn finish_pod(pod: &mut Value, w: &Workload, model: &Model, place: &Place<'_>) {
    if matches!(w.kind, WorkloadKind::Job | WorkloadKind::CronJob) && pod["restartPolicy"].is_null() {
        pod["restartPolicy"] = "OnFailure".into();
    }
    if w.service_account.is_empty() && w.service_token.is_none() {
        pod["automountServiceAccountToken"] = false.into();
    }
    if place.pull.is_some() {
        let secrets = pod["imagePullSecrets"].as_array().cloned().unwrap_or_default();
        pod["imagePullSecrets"] = std::iter::once(json!({ "name": pull_name(model) })).chain(secrets).collect();
    }
    security::harden(pod, w.privileged, place.settings.pod_security == "restricted");
    quota::limit(pod, &place.settings.space_quota);
    // Volumes that belong to nobody here keep their own names.
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        let claim = volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned);
        if let Some(external) = claim.and_then(|name| model.volumes.get(&name)).and_then(|v| v.external.clone()) {
            volume["persistentVolumeClaim"]["claimName"] = external.into();
        }
    }
}
