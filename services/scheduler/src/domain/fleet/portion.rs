//! The part of an application that one cluster has, and what is other about it there.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;

use super::settings::ClusterOverrides;
use super::share::divide;
use crate::domain::model::{Budget, Model, MountKind, Release, Rule, WorkloadKind};

/// One workload's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub replicas: u32,
    /// What all clusters have of it, this one's at `at`; empty: it is not divided, each has all of it.
    pub of: Vec<u32>,
    pub at: usize,
}

impl Part {
    /// Its part of another number.
    pub fn of_number(&self, number: u32) -> u32 {
        if self.of.is_empty() {
            return number;
        }
        let weights: Vec<u64> = self.of.iter().map(|n| u64::from(*n)).collect();
        divide(number, &weights).get(self.at).copied().unwrap_or(0)
    }
}

/// Without the stages of its release: these are for the whole to say. `here`: what this cluster has
/// something of. Volumes and services of the rest are not here either. `scaled`: numbers that were
/// set by hand or by what is measured.
pub fn portion(model: &Model, here: &BTreeMap<Name, Part>, scaled: &BTreeMap<Name, u32>) -> Model {
    let mut own = model.clone();
    own.release = Release::default();
    own.workloads.retain(|name, _| here.contains_key(name));
    for (name, workload) in &mut own.workloads {
        let Some(part) = here.get(name) else { continue };
        match &mut workload.scaling {
            Some(scaling) => {
                // An autoscaler of each cluster has its part of the range; one that has any cannot go below one there.
                let (least, most) = (part.of_number(scaling.min), part.of_number(scaling.max));
                scaling.max = most.max(1);
                scaling.min = if scaling.min == 0 { 0 } else { least.clamp(1, scaling.max) };
                let asked = scaled.get(name).copied().unwrap_or(workload.replicas);
                workload.replicas = part.of_number(asked).clamp(scaling.min, scaling.max);
            }
            None if matches!(workload.kind, WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Job) => workload.replicas = part.replicas,
            None => {}
        }
        if let Some(budget) = &mut workload.budget {
            share_budget(budget, part);
        }
    }
    own.services.retain(|s| own.workloads.contains_key(&s.workload));
    let others = own.workloads.values().flat_map(|w| w.others().flat_map(|c| &c.mounts));
    let mounts = own.workloads.values().flat_map(|w| &w.mounts).chain(others);
    let used: BTreeSet<String> = mounts.filter(|m| m.kind == MountKind::Volume).map(|m| m.source.clone()).collect();
    own.volumes.retain(|name, _| used.contains(name.as_str()));
    own
}

/// A share in percent is the same of a part. Each cluster may take one away, or none of its nodes could ever be emptied.
fn share_budget(budget: &mut Budget, part: &Part) {
    if let Some(least) = budget.min_available.as_ref().and_then(|text| text.trim().parse().ok()) {
        budget.min_available = Some(part.of_number(least).to_string());
    }
    if let Some(most) = budget.max_unavailable.as_ref().and_then(|text| text.trim().parse().ok()) {
        budget.max_unavailable = Some(part.of_number(most).max(most.min(1)).to_string());
    }
}

/// As one cluster has it. Classes of ingresses and storage are the cluster's settings; they are not in a model.
pub fn overridden(mut model: Model, overrides: &ClusterOverrides) -> Model {
    for workload in model.workloads.values_mut() {
        let vary = |env: &mut BTreeMap<String, String>, sources: &mut BTreeMap<String, String>| {
            for (name, value) in &overrides.env {
                sources.remove(name);
                env.insert(name.clone(), value.clone());
            }
        };
        vary(&mut workload.env, &mut workload.env_sources);
        elsewhere(&mut workload.image, overrides);
        if let Some(pinned) = &mut workload.pinned {
            elsewhere(pinned, overrides);
        }
        let wanted = overrides.node_selector.iter();
        workload.placement.rules.extend(wanted.map(|(key, value)| Rule { attribute: format!("node.labels.{key}"), equals: true, value: value.clone() }));
        for container in workload.others_mut() {
            vary(&mut container.env, &mut container.env_sources);
            elsewhere(&mut container.image, overrides);
            if let Some(pinned) = &mut container.pinned {
                elsewhere(pinned, overrides);
            }
        }
        for name in overrides.env.keys() {
            workload.env_facts.remove(name);
            for container in workload.others_mut() {
                container.env_facts.remove(name);
            }
        }
    }
    model
}

fn elsewhere(image: &mut String, overrides: &ClusterOverrides) {
    let Some((host, rest)) = image.split_once('/') else { return };
    if let Some(to) = overrides.registries.get(host) {
        *image = format!("{to}/{rest}");
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::model::{Mount, Protocol, Scaling, Service, Volume, Workload};

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn model() -> Model {
        let mount = Mount {
            kind: MountKind::Volume,
            source: "data".into(),
            target: "/data".into(),
            read_only: false,
            size_bytes: 0,
            sub_path: String::new(),
            propagation: String::new(),
        };
        let web = Workload {
            replicas: 4,
            image: "docker.io/library/nginx:1".into(),
            pinned: Some("docker.io/library/nginx@sha256:00".into()),
            env: BTreeMap::from([("A".into(), "1".into())]),
            env_sources: BTreeMap::from([("B".into(), "secret/b".into())]),
            budget: Some(Budget { min_available: Some("3".into()), ..Budget::default() }),
            ..Workload::default()
        };
        let db = Workload { kind: WorkloadKind::Stateful, replicas: 1, mounts: vec![mount], ..Workload::default() };
        let mut model = Model::default();
        model.workloads.insert(name("web"), web);
        model.workloads.insert(name("db"), db);
        model.volumes.insert("data".into(), Volume::default());
        model.services = vec![Service::plain(name("web"), name("web"), 80, Protocol::Tcp), Service::plain(name("db"), name("db"), 5432, Protocol::Tcp)];
        model
    }

    #[test]
    fn a_cluster_has_its_part_and_nothing_of_the_rest() {
        let here = BTreeMap::from([(name("web"), Part { replicas: 3, of: vec![1, 3], at: 1 })]);
        let own = portion(&model(), &here, &BTreeMap::new());
        assert_eq!((own.workloads.len(), own.services.len(), own.volumes.len()), (1, 1, 0));
        let web = &own.workloads[&name("web")];
        assert_eq!((web.replicas, web.budget.as_ref().unwrap().min_available.as_deref()), (3, Some("2")));
        let first = portion(&model(), &BTreeMap::from([(name("web"), Part { replicas: 1, of: vec![1, 3], at: 0 })]), &BTreeMap::new());
        assert_eq!(first.workloads[&name("web")].budget.as_ref().unwrap().min_available.as_deref(), Some("1"), "together they are what was asked");
        let all = BTreeMap::from([(name("db"), Part { replicas: 1, ..Part::default() })]);
        assert_eq!(portion(&model(), &all, &BTreeMap::new()).volumes.len(), 1);
    }

    #[test]
    fn the_range_of_an_autoscaler_is_divided() {
        let mut model = model();
        if let Some(web) = model.workloads.get_mut(&name("web")) {
            web.scaling = Some(Scaling { min: 2, max: 10, ..Scaling::default() });
        }
        let part = |at: usize| BTreeMap::from([(name("web"), Part { replicas: 5, of: vec![8, 2], at })]);
        let own = |at: usize| portion(&model, &part(at), &BTreeMap::from([(name("web"), 5)])).workloads[&name("web")].clone();
        let range = |w: &Workload| w.scaling.as_ref().map(|s| (s.min, s.max)).unwrap();
        assert_eq!((range(&own(0)), own(0).replicas), ((2, 8), 4));
        assert_eq!((range(&own(1)), own(1).replicas), ((1, 2), 1));
    }

    #[test]
    fn what_is_other_on_a_cluster() {
        let overrides = ClusterOverrides {
            env: BTreeMap::from([("A".into(), "2".into()), ("B".into(), "x".into())]),
            registries: BTreeMap::from([("docker.io".into(), "mirror.example.org/hub".into())]),
            node_selector: BTreeMap::from([("disk".into(), "ssd".into())]),
            ..ClusterOverrides::default()
        };
        let own = overridden(model(), &overrides);
        let web = &own.workloads[&name("web")];
        assert_eq!((web.env["A"].as_str(), web.env["B"].as_str(), web.env_sources.len()), ("2", "x", 0));
        assert_eq!(web.pinned.as_deref(), Some("mirror.example.org/hub/library/nginx@sha256:00"));
        assert_eq!(web.placement.rules[0].to_string(), "node.labels.disk == ssd");
        assert_eq!(overridden(model(), &ClusterOverrides::default()), model());
    }
}
