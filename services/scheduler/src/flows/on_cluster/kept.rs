//! What is remembered of clusters between rounds.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use gantry_kernel::{AppId, InstanceId, Name, OffsetDateTime, SpaceId, Uuid};

use super::names::SpaceNames;

/// What is remembered between rounds; all of it can be found anew.
#[derive(Default)]
pub(in crate::flows) struct Kept {
    /// The rows have to be read again.
    pub(in crate::flows) stale: bool,
    pub(super) read: bool,
    /// Pods whose instances have ended: they stay on the cluster for a while.
    pub(super) ended: HashSet<InstanceId>,
    /// Pods whose instances were lost and are placed again.
    pub(in crate::flows) returned: HashSet<InstanceId>,
    /// When credentials for images are to be renewed.
    pub(super) renew: BTreeMap<AppId, OffsetDateTime>,
    /// Spaces that applications have left a cluster in.
    pub(super) left: BTreeSet<(String, SpaceId)>,
    /// The last comparison of instances with pods; none: the next is of all of them.
    pub(super) looked: Option<Looked>,
    /// Applications whose instances are compared with their pods again.
    pub(super) owed: BTreeSet<AppId>,
    /// What the applications of a space call their services, and who has changed since that was read.
    pub(super) names: BTreeMap<SpaceId, SpaceNames>,
    pub(super) renamed: BTreeSet<AppId>,
    /// Why pods are refused, as events said it, and when to ask again.
    pub(super) refusals: BTreeMap<(AppId, Name), (OffsetDateTime, Option<String>)>,
    /// When events of a cluster may be asked for again.
    pub(super) events_at: BTreeMap<String, OffsetDateTime>,
    /// What each cluster could do at the last look.
    pub(super) able: BTreeMap<String, (u32, bool, bool)>,
    /// Clusters that could not be opened, and when to try again.
    pub(super) again: BTreeMap<String, OffsetDateTime>,
    /// Applications of which it is recorded how several clusters share them.
    pub(in crate::flows) shared: BTreeSet<AppId>,
    /// Since when a revision's pods get no requests, by application and cluster.
    pub(super) leaving: BTreeMap<(AppId, Uuid, u64), OffsetDateTime>,
}

/// What a comparison of instances with pods was made by.
pub(super) struct Looked {
    /// When all were compared.
    pub at: OffsetDateTime,
    /// Id, whether it is lost, and whether all of it has been seen, by cluster.
    pub clusters: BTreeMap<String, (Uuid, bool, bool)>,
    /// Those that cannot be opened now.
    pub again: BTreeSet<String>,
}

impl Kept {
    /// An application has changed.
    pub(in crate::flows) fn changed(&mut self, app: AppId) {
        // What has not been read yet is read as it is then.
        if !self.names.is_empty() {
            self.renamed.insert(app);
        }
    }

    /// Applications that something is due for.
    pub(in crate::flows) fn due(&mut self, now: OffsetDateTime) -> Vec<AppId> {
        self.renew.extract_if(.., |_, at| *at <= now).map(|(app, _)| app).collect()
    }
}
