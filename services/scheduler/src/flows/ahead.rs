//! The part of a round that says which images nodes fetch before an instance needs them: those that operators want on a node, those
//! of a space that wants it so, and those of a revision on the nodes where the one before it stands, while it is being released.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gantry_contract::proto::scheduler::ImageCredential;
use gantry_kernel::{AppId, Name, SpaceId, Uuid};

use super::reconcile::Reconciler;
use crate::adapters::images;
use crate::domain::model::Workload;
use crate::domain::placement::{NodeSettings, SpaceRules};
use crate::domain::wanted::AppView;
use crate::store;

/// By node and image, with what is needed to get it.
#[derive(Default)]
pub(super) struct Ahead {
    images: BTreeMap<Name, BTreeMap<String, Option<ImageCredential>>>,
    /// Spaces whose images go to every node.
    everywhere: BTreeSet<SpaceId>,
    /// Nodes of which it is not known what operators want there.
    not_told: BTreeSet<Name>,
}

impl Ahead {
    /// An application that is to run. One of ours without a credential is left for a round in which there is one.
    pub(super) fn of_app(&mut self, row: &store::app::Model, view: &AppView, credential: Option<&ImageCredential>, attached: &[Name], registry: &str) {
        let everywhere = self.everywhere.contains(&SpaceId(row.space));
        if row.release_revision.is_none() && !everywhere {
            return;
        }
        let Some(model) = view.models.get(&view.current) else { return };
        for (name, workload) in &model.workloads {
            let stand = view.instances.iter().filter(|i| i.workload == *name).map(|i| &i.node);
            let nodes: BTreeSet<&Name> = if everywhere { attached.iter().collect() } else { stand.collect() };
            for image in images_of(workload) {
                let ours = images::repository(image, registry).is_some();
                if ours && credential.is_none() {
                    continue;
                }
                for node in &nodes {
                    let own = credential.filter(|_| ours).cloned();
                    self.images.entry((*node).clone()).or_default().insert(image.to_owned(), own);
                }
            }
        }
    }

    /// `None`: it is not to be told anything.
    pub(super) fn on(&self, node: &Name) -> Option<BTreeMap<String, Option<ImageCredential>>> {
        (!self.not_told.contains(node)).then(|| self.images.get(node).cloned().unwrap_or_default())
    }
}

/// What the nodes pull for it, of all its containers.
pub(super) fn images_of(workload: &Workload) -> impl Iterator<Item = &str> {
    let main = std::iter::once((&workload.pinned, &workload.image));
    let others = workload.others().map(|c| (&c.pinned, &c.image));
    main.chain(others).map(|(pinned, image)| pinned.as_deref().unwrap_or(image))
}

impl Reconciler {
    /// What operators and spaces want in any case.
    pub(super) async fn kept(&mut self, attached: &[Name], rules: &BTreeMap<SpaceId, SpaceRules>) -> anyhow::Result<Ahead> {
        let nodes = self.nodes().await?;
        let registry = self.s.host.platform.public_host();
        let everywhere = rules.iter().filter(|(_, r)| r.prepull).map(|(space, _)| *space).collect();
        let mut out = Ahead { everywhere, ..Ahead::default() };
        // Of most nothing is set.
        let is_set = |row: &&Arc<store::node::Model>| row.settings.as_object().is_none_or(|settings| !settings.is_empty());
        let attached: HashMap<&str, &Name> = attached.iter().map(|n| (n.as_str(), n)).collect();
        for row in nodes.iter().filter(is_set) {
            let Some(node) = attached.get(row.name.as_str()).copied() else { continue };
            let settings: NodeSettings = match serde_json::from_value(row.settings.clone()) {
                Ok(settings) => settings,
                // It goes on with what it was told last: told of none, it would let them go when its disk fills up.
                Err(error) => {
                    self.s.unreadable.tell("node's settings", &row.name, error, "it keeps the images it was told of last");
                    out.not_told.insert(node.clone());
                    continue;
                }
            };
            if !settings.images.is_empty() {
                out.images.insert(node.clone(), settings.images.into_iter().map(|image| (image, None)).collect());
            }
        }
        let named = out.images.values().flat_map(BTreeMap::keys);
        let repositories: BTreeSet<String> = named.filter_map(|i| images::repository(i, registry)).map(str::to_owned).collect();
        if repositories.is_empty() {
            return Ok(out);
        }
        // No application's: the platform's operators want them.
        match self.s.credentials.get(AppId(Uuid::nil()), &repositories).await {
            Ok(credential) => {
                let ours = out.images.values_mut().flatten().filter(|(image, _)| images::repository(image, registry).is_some());
                ours.for_each(|(_, own)| *own = Some(credential.clone()));
            }
            Err(problem) => {
                tracing::warn!(error = problem.chain(), "no credential for images that are to be on nodes could be had");
                out.images.values_mut().for_each(|all| all.retain(|image, _| images::repository(image, registry).is_none()));
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::Container;

    #[test]
    fn the_images_of_all_containers_are_meant_as_they_are_pulled() {
        let beside = Container { name: "log".into(), image: "busybox".into(), ..Container::default() };
        let pinned = Some("r/a/b/c@sha256:1".to_owned());
        let workload = Workload { image: "a/b/c:1".into(), pinned, sidecars: vec![beside], ..Workload::default() };
        assert_eq!(images_of(&workload).collect::<Vec<_>>(), ["r/a/b/c@sha256:1", "busybox"]);
    }
}
