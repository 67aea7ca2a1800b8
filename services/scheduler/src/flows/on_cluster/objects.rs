//! What is wanted of a cluster for an application.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::{AppId, Name};
use gantry_kubernetes::{Kind, Wanted};
use serde_json::{Value, json};

use super::sets::Division;
use crate::adapters::clusters::Running;
use crate::adapters::images;
use crate::app::change::scaled;
use crate::app::kept::filling;
use crate::domain::kubernetes::cluster::{self as made, Place, Unchanged};
use crate::domain::model::{Model, Workload, WorkloadKind};
use crate::flows::advance::{Subject, restarted_at};
use crate::flows::reconcile::Reconciler;
use crate::flows::rollout::Exchange;
use crate::flows::world::World;
use crate::store::Pending;

/// Whose objects, and how its revisions are divided.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub subject: &'a Subject,
    pub goal: &'a Model,
    pub exchange: Option<&'a Exchange>,
    pub division: &'a Division,
}

impl Reconciler {
    /// `None`: not now, and what was wanted before stays.
    pub(super) async fn objects_for(
        &mut self,
        asked: Asked<'_>,
        running: &Running,
        world: &World,
        pending: &mut BTreeMap<String, Pending>,
    ) -> anyhow::Result<Option<Wanted>> {
        let Asked { subject, goal, division, .. } = asked;
        let exchange = asked.exchange.filter(|e| !e.ended());
        let app = subject.view.id;
        let namespace = made::namespace(&subject.view.home, &running.settings);
        let base = exchange.map(|e| replaced(e, goal));
        let images: BTreeSet<String> = goal.images().into_iter().chain(exchange.iter().flat_map(|e| e.base.model.images())).collect();
        let pull = match self.pull_secret(app, &images).await {
            Ok(pull) => pull,
            Err(problem) => {
                tracing::warn!(app.id = %app, error = problem.chain(), "no credential for the application's images could be had");
                return Ok(None);
            }
        };
        // What stands is not taken away because something it depends on is unwell.
        let mut held = BTreeSet::new();
        for (name, workload) in &goal.workloads {
            let there = workload_object(workload.kind, name, subject, running, &namespace).is_some_and(|(_, object)| object.is_some());
            if let Some(reason) = self.dependency(subject, goal, workload, world).filter(|_| !there) {
                held.insert(name.clone());
                pending.insert(name.to_string(), Pending::because(workload.replicas, reason));
            }
        }
        let (restarts, mut scale, plain) = (restarts(subject, goal), scaled(&subject.row), self.plain_names(subject, goal).await?);
        scale.extend(division.new.clone());
        let there = unchanged(subject, goal, subject.view.current, running, &namespace);
        let found = running.engine.connection().found.unwrap_or_default();
        let registry = self.s.host.platform.public_host();
        let place = Place {
            app,
            app_name: &subject.view.name,
            home: &subject.view.home,
            scope: &running.scope,
            revision: subject.view.current,
            settings: &running.settings,
            gateway: found.capabilities.gateway,
            route_timeouts: found.capabilities.route_timeouts,
            minor: found.minor,
            scale: &scale,
            restarts: &restarts,
            plain: &plain,
            pull: pull.as_deref().filter(|_| has_ours(goal, registry)),
            held: &held,
            unchanged: &there,
        };
        let filled = filling::fill(&self.s, app, subject.view.current, goal).await?;
        let mut objects = made::objects(filled.as_ref().unwrap_or(goal), &place, &division.sets);
        if let (Some(exchange), Some(base)) = (exchange, &base) {
            let (restarts, none) = (self::restarts(subject, base), BTreeSet::new());
            let pull = pull.as_deref().filter(|_| has_ours(&exchange.base.model, registry));
            let there = unchanged(subject, base, exchange.base.view.current, running, &namespace);
            let revision = exchange.base.view.current;
            let place = Place { revision, scale: &division.old, restarts: &restarts, plain: &none, held: &none, unchanged: &there, pull, ..place };
            let filled = filling::fill(&self.s, app, place.revision, base).await?;
            beside(&mut objects, made::objects(filled.as_ref().unwrap_or(base), &place, &division.sets.of_base(base, place.revision)));
        }
        if subject.row.release_paused && subject.row.release_revision.is_some() && asked.exchange.is_none() {
            objects.iter_mut().for_each(made::pause);
        }
        Ok(Some(Wanted::new(&running.scope, &app.to_string(), objects).sparing(&division.spared, &division.plain)))
    }

    /// The registry's credential as clients keep it; renewed in time.
    async fn pull_secret(&mut self, app: AppId, pinned: &BTreeSet<String>) -> Result<Option<String>, gantry_kernel::Problem> {
        let registry = self.s.host.platform.public_host().to_owned();
        let repositories: BTreeSet<String> = pinned.iter().filter_map(|p| images::repository(p, &registry)).map(str::to_owned).collect();
        if repositories.is_empty() {
            return Ok(None);
        }
        let credential = self.s.credentials.get(app, &repositories).await?;
        let left = (credential.expires_at_unix - self.s.host.env.now().unix_timestamp()).max(2);
        self.clusters.renew.insert(app, self.s.host.env.now() + time::Duration::seconds(left / 2));
        let auth = STANDARD.encode(format!("{}:{}", credential.username, credential.password));
        Ok(Some(json!({ "auths": { registry: { "username": credential.username, "password": credential.password, "auth": auth } } }).to_string()))
    }
}

/// Of a revision that is being replaced: what stays beside the new one. Its services stay in it, because pods are made by them.
fn replaced(exchange: &Exchange, goal: &Model) -> Model {
    let mut model = (*exchange.base.model).clone();
    model.workloads.retain(|name, w| w.is_exchanged() && exchange.has(goal, name));
    model.workloads.values_mut().for_each(|w| w.budget = None);
    model.policies.clear();
    model.outside.clear();
    model
}

/// Adds what the current revision's objects do not say already. Routes of a service that it has, too, are its own.
fn beside(objects: &mut Vec<Value>, of_base: Vec<Value>) {
    const KINDS: [&str; 9] =
        ["ServiceAccount", "Deployment", "HorizontalPodAutoscaler", "ConfigMap", "Secret", "Service", "NetworkPolicy", "HTTPRoute", "Ingress"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let named = |o: &Value| (text(&o["kind"]), text(&o["metadata"]["name"]));
    let there: BTreeSet<(String, String)> = objects.iter().map(named).collect();
    let adds = |o: &Value| {
        let rule = &o["spec"]["rules"][0];
        let behind = match o["kind"].as_str() {
            Some("HTTPRoute") => text(&rule["backendRefs"][0]["name"]),
            Some("Ingress") => text(&rule["http"]["paths"][0]["backend"]["service"]["name"]),
            _ => String::new(),
        };
        KINDS.iter().any(|kind| o["kind"] == *kind) && !there.contains(&named(o)) && !there.contains(&("Service".to_owned(), behind))
    };
    objects.extend(of_base.into_iter().filter(adds));
}

fn restarts(subject: &Subject, model: &Model) -> BTreeMap<Name, i64> {
    model.workloads.keys().map(|n| (n.clone(), restarted_at(subject, n))).filter(|(_, position)| *position > 0).collect()
}

fn has_ours(model: &Model, registry: &str) -> bool {
    model.images().iter().any(|image| images::repository(image, registry).is_some())
}

/// What pods have that stand as this very revision asks: they are not replaced for what the platform would add to them by now.
fn unchanged(subject: &Subject, model: &Model, revision: u64, running: &Running, namespace: &str) -> BTreeMap<Name, Unchanged> {
    let there = |(name, workload): (&Name, &Workload)| {
        if matches!(workload.kind, WorkloadKind::Job | WorkloadKind::CronJob) {
            return None;
        }
        let object = running.engine.object(kind_of(workload.kind)?, namespace, &made::named(&subject.view.name, &made::set_name(model, name, revision)))?;
        Some((name.clone(), Unchanged::of(&object, revision, restarted_at(subject, name))?))
    };
    model.workloads.iter().filter_map(there).collect()
}

fn kind_of(kind: WorkloadKind) -> Option<&'static Kind> {
    let (api, word) = match kind {
        WorkloadKind::Stateless => ("apps/v1", "Deployment"),
        WorkloadKind::Stateful => ("apps/v1", "StatefulSet"),
        WorkloadKind::Global => ("apps/v1", "DaemonSet"),
        WorkloadKind::Job => ("batch/v1", "Job"),
        WorkloadKind::CronJob => ("batch/v1", "CronJob"),
    };
    Kind::of(api, word)
}

/// The kind of a workload's object, and the object if it is there.
pub(super) fn workload_object(
    kind: WorkloadKind,
    name: &Name,
    subject: &Subject,
    running: &Running,
    namespace: &str,
) -> Option<(&'static Kind, Option<serde_json::Value>)> {
    let kind_of = kind_of(kind)?;
    let text = match kind {
        WorkloadKind::Job => made::job_name(name, subject.view.current, restarted_at(subject, name)),
        _ => made::set_name(&subject.model, name, subject.view.current),
    };
    Some((kind_of, running.engine.object(kind_of, namespace, &made::named(&subject.view.name, &text))))
}
