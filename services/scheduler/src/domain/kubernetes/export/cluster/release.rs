//! The sets of several revisions beside each other. An application whose document exchanges instances has a Deployment of its own
//! for each revision, with the configs that it reads, so that the old one stays as it was while the new one stands beside it; the
//! revision is in their names and selectors. Which set a service has its selector says; what comes through a Gateway is shared by
//! the weights of its route, between the service and another one that has the newest set alone.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::Name;
use gantry_kubernetes::REVISION;
use serde_json::{Value, json};

use super::naming::{rename, short};
use super::{Place, pull_name};
use crate::domain::check;
use crate::domain::model::{HeaderMatch, Model, Protocol, ReleaseStrategy, Route, Service, Workload};

/// Which revisions have the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// The one revision that a service has, by the service's name; those that are not here have all that there are.
    pub chosen: BTreeMap<Name, u64>,
    /// The port of the containers where the chosen revision has another one: by service and the port it is called at.
    pub ports: BTreeMap<(Name, u16), (u16, Protocol)>,
    /// How routes share requests.
    pub shares: Option<Shares>,
    /// The number of instances is the release's, and no autoscaler's.
    pub staged: bool,
}

/// A release whose routes go to two sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Of the requests, that go to the newest revision.
    pub percent: u32,
    /// Requests with it go there besides.
    pub header: Option<HeaderMatch>,
    /// The services that routes share.
    pub services: BTreeSet<Name>,
}

impl Sets {
    /// For the objects of the revision that is being replaced: what services only it has are its own, and its autoscaler goes when
    /// the requests have.
    #[must_use]
    pub fn of_base(&self, base: &Model, revision: u64) -> Self {
        let chosen = base.services.iter().map(|s| (s.name.clone(), revision)).collect();
        Self { chosen, staged: !self.staged, ..Self::default() }
    }
}

/// Holds a rolling replacement where it is: what has been replaced stays so, and nothing else is.
pub fn pause(object: &mut Value) {
    match object["kind"].as_str() {
        Some("Deployment") => object["spec"]["paused"] = true.into(),
        // These have no word for it; what is replaced by hand only is not replaced by itself.
        Some("StatefulSet" | "DaemonSet") => object["spec"]["updateStrategy"] = json!({ "type": "OnDelete" }),
        _ => {}
    }
}

/// Have the revisions of this model objects of their own?
pub fn is_apart(model: &Model) -> bool {
    model.release.strategy != ReleaseStrategy::Rolling
}

/// The name of a workload's set, before the application's name comes to it.
pub fn set_name(model: &Model, workload: &Name, revision: u64) -> String {
    let apart = is_apart(model) && model.workloads.get(workload).is_some_and(Workload::is_exchanged);
    if apart { of_revision(workload.as_str(), revision) } else { workload.to_string() }
}

/// The name of the service that has the newest set alone, before the application's name comes to it.
pub fn shared_service(service: &Name, revision: u64) -> String {
    of_revision(service.as_str(), revision)
}

fn of_revision(name: &str, revision: u64) -> String {
    format!("{}-r{revision}", short(name, 40))
}

fn preview_name(service: &Service) -> Option<Name> {
    check::name_of(&format!("{:.55}-preview", service.name.as_str()))
}

/// Services with a preview, and those previews' names.
fn previews(model: &Model) -> Vec<(&Service, Name)> {
    let shown = |s: &&Service| {
        let exchanged = model.workloads.get(&s.workload).is_some_and(Workload::is_exchanged);
        exchanged && s.preview.is_some() && s.protocol != Protocol::Udp && s.port > 0
    };
    model.services.iter().filter(shown).filter_map(|s| Some((s, preview_name(s)?))).collect()
}

/// Each service that has a preview gets another one with the same ports, at the preview's host and port. Gives both names.
pub(super) fn show_previews(model: &mut Model) -> BTreeSet<(Name, Name)> {
    if !is_apart(model) {
        return BTreeSet::new();
    }
    let mut more = Vec::new();
    let names = previews(model).into_iter().map(|(service, name)| (service.name.clone(), name)).collect();
    for (service, name) in previews(model) {
        let Some(preview) = service.preview.clone() else { continue };
        let at = |r: &Route| Route { host: preview.host.clone(), tls_secret: String::new(), tls: false, ..r.clone() };
        let routes = service.routes.iter().filter(|r| r.is_served() && !preview.host.is_empty()).map(at).collect();
        more.push(Service { name, routes, publish: preview.publish, aliases: BTreeSet::new(), preview: None, address: None, ..service.clone() });
    }
    model.services.extend(more);
    names
}

/// Gives the sets their names, and services and routes their part. `plain` are services by their names alone.
pub(super) fn divide(out: &mut Vec<Value>, plain: &mut [Value], model: &Model, place: &Place<'_>, sets: &Sets) {
    let exchanged = |name: &str| model.workloads.iter().any(|(n, w)| n.as_str() == name && w.is_exchanged());
    if sets.staged {
        out.retain(|o| o["kind"] != "HorizontalPodAutoscaler" || !o["metadata"]["name"].as_str().is_some_and(exchanged));
    }
    if is_apart(model) {
        let more: Vec<Value> = sets.shares.iter().flat_map(|shares| out.iter().filter_map(move |o| newest(o, shares, place.revision))).collect();
        part(out, model, place, &exchanged);
        if let Some(shares) = &sets.shares {
            out.iter_mut().filter(|o| o["kind"] == "HTTPRoute").for_each(|route| share(route, shares, place.revision));
        }
        out.extend(more);
    }
    let mut shown = BTreeSet::new();
    if is_apart(model) {
        shown.extend(model.services.iter().filter_map(preview_name).map(|n| n.to_string()));
    }
    for object in out.iter_mut().chain(plain.iter_mut()) {
        choose(object, &shown, place.revision, sets);
    }
}

/// Objects that each revision has for itself carry it in their names, and as a label: by it they are spared and taken away.
fn part(out: &mut [Value], model: &Model, place: &Place<'_>, exchanged: &impl Fn(&str) -> bool) {
    let pull = pull_name(model);
    let own = |object: &Value| {
        let name = object["metadata"]["name"].as_str()?;
        let kind = object["kind"].as_str()?;
        let own = match kind {
            "Deployment" | "HorizontalPodAutoscaler" => exchanged(name),
            "ConfigMap" => true,
            "Secret" => name != pull,
            _ => false,
        };
        own.then(|| (kind.to_owned(), name.to_owned()))
    };
    let known: BTreeSet<(String, String)> = out.iter().filter_map(own).collect();
    let revision = place.revision.to_string();
    for object in out.iter_mut() {
        if let Some((kind, name)) = own(&*object) {
            object["metadata"]["name"] = of_revision(&name, place.revision).into();
            object["metadata"]["labels"][REVISION] = revision.as_str().into();
            if kind == "Deployment" {
                object["spec"]["selector"]["matchLabels"][REVISION] = revision.as_str().into();
            }
        }
        rename(object, &|kind, name| known.contains(&(kind.to_owned(), name.to_owned())).then(|| of_revision(name, place.revision)));
    }
}

/// The service that has the newest set alone, made from the one that routes share.
fn newest(object: &Value, shares: &Shares, revision: u64) -> Option<Value> {
    let name = object["metadata"]["name"].as_str().filter(|_| object["kind"] == "Service")?;
    let service = shares.services.iter().find(|s| s.as_str() == name)?;
    let mut own = object.clone();
    own["metadata"]["name"] = shared_service(service, revision).into();
    own["metadata"]["labels"][REVISION] = revision.to_string().into();
    let spec = own["spec"].as_object_mut()?;
    spec.remove("type");
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        port.as_object_mut().map(|p| p.remove("nodePort"));
    }
    own["spec"]["selector"][REVISION] = revision.to_string().into();
    Some(own)
}

/// The API takes no larger one.
const LARGEST_WEIGHT: u64 = 1_000_000;

/// What goes to a shared service is parted by weights (gateway-api.sigs.k8s.io, HTTPBackendRef): a part of 0 gets nothing.
fn share(route: &mut Value, shares: &Shares, revision: u64) {
    let Some(rule) = route["spec"]["rules"].as_array().and_then(|r| r.first()).cloned() else { return };
    let main = rule["backendRefs"][0].clone();
    let Some(service) = shares.services.iter().find(|s| main["name"] == s.as_str()) else { return };
    let all = main["weight"].as_u64().unwrap_or(1);
    let percent = u64::from(shares.percent.min(100));
    let (mut old, mut new) = (main.clone(), main);
    new["name"] = shared_service(service, revision).into();
    let mut rules = Vec::new();
    if let Some(header) = &shares.header {
        let mut first = rule.clone();
        let matched = match header.value.as_str() {
            // Whatever it is.
            "" => json!({ "type": "RegularExpression", "name": header.name, "value": ".*" }),
            value => json!({ "type": "Exact", "name": header.name, "value": value }),
        };
        for one in first["matches"].as_array_mut().into_iter().flatten() {
            match one["headers"].as_array_mut() {
                Some(headers) => headers.push(matched.clone()),
                None => one["headers"] = json!([matched]),
            }
        }
        let mut alone = new.clone();
        alone.as_object_mut().map(|b| b.remove("weight"));
        first["backendRefs"] = json!([alone]);
        rules.push(first);
    }
    let mut rest = rule;
    if percent > 0 {
        // Parts of each other: what the document says of the route counts against other routes no more than before.
        let of = |part: u64| if all > LARGEST_WEIGHT / 100 { all / 100 * part } else { all * part };
        old["weight"] = of(100 - percent).into();
        new["weight"] = of(percent).into();
        rest["backendRefs"] = json!([old, new]);
    }
    rules.push(rest);
    route["spec"]["rules"] = rules.into();
}

/// The pods of a service are those of the revision that is chosen for it; previews have the newest.
fn choose(object: &mut Value, previews: &BTreeSet<String>, revision: u64, sets: &Sets) {
    let Some(name) = object["metadata"]["name"].as_str().map(str::to_owned) else { return };
    if object["kind"] == "NetworkPolicy" {
        let opened = name.strip_suffix("-open").unwrap_or_default();
        for ((_, _), (port, protocol)) in sets.ports.iter().filter(|((service, _), _)| service.as_str() == opened) {
            let word = if *protocol == Protocol::Udp { "UDP" } else { "TCP" };
            if let Some(ports) = object["spec"]["ingress"][0]["ports"].as_array_mut() {
                ports.push(json!({ "port": port, "protocol": word }));
            }
        }
        return;
    }
    if object["kind"] != "Service" || !object["spec"]["selector"].is_object() || !object["spec"]["selector"][REVISION].is_null() {
        return;
    }
    let chosen = if previews.contains(&name) { Some(revision) } else { sets.chosen.iter().find(|(s, _)| s.as_str() == name).map(|(_, r)| *r) };
    if let Some(chosen) = chosen {
        object["spec"]["selector"][REVISION] = chosen.to_string().into();
    }
    for ((_, called_at), (port, _)) in sets.ports.iter().filter(|((service, _), _)| service.as_str() == name) {
        for one in object["spec"]["ports"].as_array_mut().into_iter().flatten().filter(|p| p["port"] == *called_at) {
            one["targetPort"] = (*port).into();
        }
    }
}

#[cfg(test)]
mod tests;
