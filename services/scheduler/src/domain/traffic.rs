//! How requests are shared between the revisions of an application while a release exchanges its instances. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gantry_kernel::{InstanceId, Name};

use super::engine::{Backend, WantedService};
use super::model::{HeaderMatch, Protocol, Route, Service};
use super::observe::Phase;
use super::rollout;
use super::wanted::AppView;

/// Of workloads that are exchanged; others have no share, their instances are replaced one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Revisions that get nothing: they were tried, or given up.
    pub hidden: BTreeSet<u64>,
    /// A release is under way, and the new revision has its part.
    pub share: Option<Share>,
    /// How many instances of the current revision are wanted, of workloads that are exchanged.
    pub wanted: BTreeMap<Name, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub new: u64,
    /// Of the requests, 0 to 100.
    pub percent: u32,
    /// Requests with it go to the new revision besides.
    pub header: Option<HeaderMatch>,
}

impl Traffic {
    pub fn reaches(&self, revision: u64) -> bool {
        if self.hidden.contains(&revision) {
            return false;
        }
        self.share.as_ref().is_none_or(|share| if revision == share.new { share.percent > 0 } else { share.percent < 100 })
    }
}

pub fn preview_id(service: &str) -> String {
    format!("{service}.preview")
}

/// Do the nodes say which instances the preview has?
pub fn is_seen(service: &Service) -> bool {
    service.protocol != Protocol::Udp && service.preview.as_ref().is_some_and(|p| !p.host.is_empty() || p.publish.is_some_and(|p| p.listen > 0))
}

/// The backends with their weights. Where one side has nobody, the other gets all: a request that could be answered is answered.
pub fn shared(app: &AppView, service: &Service, backends: Vec<Backend>) -> Vec<Backend> {
    let revisions: HashMap<InstanceId, u64> = app.instances.iter().map(|i| (i.id, i.revision)).collect();
    let exchanged = |b: &Backend| {
        let model = revisions.get(&b.instance).and_then(|r| app.models.get(r));
        model.and_then(|m| m.workloads.get(&service.workload)).is_some_and(super::model::Workload::is_exchanged)
    };
    let of = |b: &Backend| revisions.get(&b.instance).copied().unwrap_or_default();
    let hidden = |b: &Backend| exchanged(b) && app.traffic.hidden.contains(&of(b));
    let shown: Vec<Backend> = backends.iter().filter(|b| !hidden(b)).cloned().collect();
    let mut shown = if shown.is_empty() || !are_enough(app, service, shown.len()) { backends } else { shown };
    let Some(share) = &app.traffic.share else { return shown };
    let is_new = |b: &Backend| of(b) == share.new;
    let (new, old) = (shown.iter().filter(|b| is_new(b)).count(), shown.iter().filter(|b| !is_new(b)).count());
    if new == 0 || old == 0 || !shown.iter().all(exchanged) {
        return shown;
    }
    match share.percent {
        0 => shown.retain(|b| !is_new(b)),
        100.. => shown.retain(is_new),
        percent => {
            let (heavy, light) = rollout::weights(percent, new, old);
            shown.iter_mut().for_each(|b| b.weight = if is_new(b) { heavy } else { light });
        }
    }
    shown
}

/// Can those that are not hidden take all requests? A release that is given up at its end has begun to stop the old instances: the
/// first that is back must not get everything. Where the old set still stands, one that is just not ready brings nothing hidden back.
fn are_enough(app: &AppView, service: &Service, shown: usize) -> bool {
    let Some(wanted) = app.traffic.wanted.get(&service.workload).filter(|_| app.traffic.share.is_none()) else { return true };
    let wanted = usize::try_from(*wanted).unwrap_or(usize::MAX);
    let stands = |i: &&super::wanted::Standing| i.workload == service.workload && i.phase != Phase::Stopping && !app.traffic.hidden.contains(&i.revision);
    app.instances.iter().filter(stands).count() >= wanted && shown.saturating_mul(2) >= wanted
}

pub fn headers(app: &AppView, service: &Service) -> Vec<(HeaderMatch, String)> {
    let header = app.traffic.share.as_ref().and_then(|s| s.header.clone());
    let to = || preview_id(&app.service_id(service));
    header.filter(|_| service.protocol == Protocol::Http && service.preview.is_some()).map(|h| (h, to())).into_iter().collect()
}

/// The same name with `-preview`, where only the newest revision answers.
pub fn preview(app: &AppView, service: &Service, main: WantedService, backends: impl FnOnce() -> Vec<Backend>) -> Option<WantedService> {
    let preview = service.preview.as_ref().filter(|_| service.protocol != Protocol::Udp)?;
    let name = super::check::name_of(&format!("{:.55}-preview", service.name.as_str()))?;
    let newest: BTreeSet<InstanceId> = app.instances.iter().filter(|i| i.revision == app.newest()).map(|i| i.id).collect();
    let routes = service.routes.iter().filter(|r| r.is_served() && !preview.host.is_empty()).map(|r| {
        // No certificate is for the preview's host.
        Route { host: preview.host.clone(), tls_secret: String::new(), tls: false, ..r.clone() }
    });
    Some(WantedService {
        id: preview_id(&main.id),
        name,
        listen: preview.publish.map_or(0, |p| p.listen),
        routes: routes.collect(),
        aliases: BTreeSet::new(),
        backends: backends().into_iter().filter(|b| newest.contains(&b.instance)).collect(),
        headers: Vec::new(),
        hold: false,
        public: None,
        singles: Vec::new(),
        certificates: Vec::new(),
        ..main
    })
}

#[cfg(test)]
mod tests;
