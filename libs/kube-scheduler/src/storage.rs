//! Volumes that pods claim: where those that are there can be reached, which may be made once a node is known
//! (kubernetes.io/docs/concepts/storage/storage-classes "volume binding mode"), and how many a node can take.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gantry_kubernetes::quantity;
use gantry_planner::{Match, Node, Operator, Selector, UNLIMITED};
use serde_json::Value;

use crate::translate::{ZONE, attribute, list, node_term, selector, text};

/// Who does not make volumes: they are taken from those that are there.
const NONE_MADE: &str = "kubernetes.io/no-provisioner";
const COMPLETE: &str = "pv.kubernetes.io/bind-completed";
const ONE_POD: &str = "ReadWriteOncePod";
/// What the room for a driver's volumes is called on a node.
const ATTACHED: &str = "volumes of ";

/// Namespace and name.
pub type At = (String, String);

/// What a pod's volumes ask of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Of each volume: one of these lists has to hold.
    pub nodes: Vec<Vec<Vec<Match>>>,
    /// By driver.
    pub attached: BTreeMap<String, u64>,
    /// Claims that are bound once the node is known.
    pub open: Vec<At>,
}

/// What has to be written before a pod is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A volume is made for the claim where the node can reach it.
    Make { claim: At },
    /// A volume that is there is kept for the claim, if it still is as it was seen: of another `version` it may be somebody else's.
    Take { claim: At, uid: String, volume: String, version: String },
}

impl Step {
    pub fn claim(&self) -> &At {
        match self {
            Self::Make { claim } | Self::Take { claim, .. } => claim,
        }
    }
}

struct Claim {
    /// Which word of the API server this is: an older one is passed by.
    version: u64,
    uid: String,
    class: Option<String>,
    volume: String,
    complete: bool,
    leaving: bool,
    lost: bool,
    modes: BTreeSet<String>,
    kind: String,
    bytes: i128,
    selector: Option<Selector>,
    /// `volume.kubernetes.io/selected-node`
    selected: String,
}

struct Volume {
    /// `metadata.resourceVersion`
    version: String,
    class: String,
    /// The claim that it is for, as it says itself.
    taken: Option<At>,
    /// The claim that we keep it for until it says so.
    kept: Option<At>,
    available: bool,
    modes: BTreeSet<String>,
    kind: String,
    bytes: i128,
    labels: BTreeMap<String, String>,
    /// One of these lists has to hold; empty: everywhere.
    nodes: Result<Vec<Vec<Match>>, String>,
    driver: Option<String>,
}

struct Class {
    provisioner: String,
    waits: bool,
    topologies: Vec<Vec<Match>>,
}

#[derive(Default)]
pub struct Storage {
    claims: BTreeMap<At, Claim>,
    volumes: BTreeMap<String, Volume>,
    classes: BTreeMap<String, Class>,
    /// Of a node, by driver.
    limits: BTreeMap<String, BTreeMap<String, u64>>,
    /// Those with a limit on any node.
    drivers: BTreeSet<String>,
}

fn place(object: &Value) -> At {
    (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}

fn bytes(value: &Value) -> i128 {
    match value {
        Value::String(text) => quantity(text).unwrap_or(0),
        other => quantity(&other.to_string()).unwrap_or(0),
    }
}

fn words(value: &Value) -> BTreeSet<String> {
    list(value).map(text).collect()
}

fn kind_of(spec: &Value) -> String {
    spec["volumeMode"].as_str().unwrap_or("Filesystem").to_owned()
}

impl Storage {
    pub fn claim(&mut self, object: &Value) -> At {
        let (at, spec, metadata) = (place(object), &object["spec"], &object["metadata"]);
        let claim = Claim {
            version: metadata["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(u64::MAX),
            uid: text(&metadata["uid"]),
            class: spec["storageClassName"].as_str().map(str::to_owned),
            volume: text(&spec["volumeName"]),
            complete: metadata["annotations"].get(COMPLETE).is_some(),
            leaving: !metadata["deletionTimestamp"].is_null(),
            lost: object["status"]["phase"] == "Lost",
            modes: words(&spec["accessModes"]),
            kind: kind_of(spec),
            bytes: bytes(&spec["resources"]["requests"]["storage"]),
            selector: Some(&spec["selector"]).filter(|s| !s.is_null()).and_then(|s| selector(s).ok()),
            selected: text(&metadata["annotations"]["volume.kubernetes.io/selected-node"]),
        };
        if self.claims.get(&at).is_none_or(|before| before.uid != claim.uid || before.version <= claim.version) {
            self.claims.insert(at.clone(), claim);
        }
        at
    }

    pub fn claim_gone(&mut self, at: &At) {
        self.claims.remove(at);
    }

    /// A list of claims is being asked for: what is held by now is not newer than it will be, whatever its versions say. After etcd was
    /// restored they have gone back.
    pub fn claims_asked(&mut self) {
        self.claims.values_mut().for_each(|claim| claim.version = 0);
    }

    /// The claim that it is for, if there is one.
    pub fn volume(&mut self, object: &Value) -> Option<At> {
        let (spec, labels) = (&object["spec"], &object["metadata"]["labels"]);
        let mut nodes = list(&spec["nodeAffinity"]["required"]["nodeSelectorTerms"]).map(node_term).collect::<Result<Vec<_>, String>>();
        // Before volumes had an affinity they had labels; a regional one names several zones.
        if nodes.as_ref().is_ok_and(Vec::is_empty)
            && let Some(zones) = labels[ZONE].as_str()
        {
            let values = zones.split("__").map(str::to_owned).collect();
            nodes = Ok(vec![vec![Match { attribute: attribute(ZONE), operator: Operator::In, values }]]);
        }
        let claim = &spec["claimRef"];
        let taken = (!claim.is_null()).then(|| (text(&claim["namespace"]), text(&claim["name"])));
        let name = text(&object["metadata"]["name"]);
        let kept = self.volumes.get(&name).and_then(|v| v.kept.clone()).filter(|_| taken.is_none());
        let volume = Volume {
            version: text(&object["metadata"]["resourceVersion"]),
            class: text(&spec["storageClassName"]),
            taken: taken.clone(),
            kept,
            available: object["status"]["phase"] == "Available" && object["metadata"]["deletionTimestamp"].is_null(),
            modes: words(&spec["accessModes"]),
            kind: kind_of(spec),
            bytes: bytes(&spec["capacity"]["storage"]),
            labels: labels.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect(),
            nodes,
            driver: spec["csi"]["driver"].as_str().map(str::to_owned),
        };
        self.volumes.insert(name, volume);
        taken
    }

    pub fn volume_gone(&mut self, name: &str) {
        self.volumes.remove(name);
    }

    pub fn class(&mut self, object: &Value) {
        let term = |term: &Value| {
            let one = |m: &Value| Match {
                attribute: attribute(m["key"].as_str().unwrap_or_default()),
                operator: Operator::In,
                values: list(&m["values"]).map(text).collect(),
            };
            list(&term["matchLabelExpressions"]).map(one).collect::<Vec<_>>()
        };
        let class = Class {
            provisioner: text(&object["provisioner"]),
            waits: object["volumeBindingMode"] == "WaitForFirstConsumer",
            topologies: list(&object["allowedTopologies"]).map(term).collect(),
        };
        self.classes.insert(text(&object["metadata"]["name"]), class);
    }

    pub fn class_gone(&mut self, name: &str) {
        self.classes.remove(name);
    }

    /// A CSINode: how many volumes of each driver the node of the same name takes. True if there is a driver among them that had
    /// no limit anywhere before.
    pub fn limit(&mut self, object: &Value) -> bool {
        let one = |d: &Value| Some((text(&d["name"]), d["allocatable"]["count"].as_u64()?));
        let limits: BTreeMap<String, u64> = list(&object["spec"]["drivers"]).filter_map(one).collect();
        let before = self.drivers.len();
        self.drivers.extend(limits.keys().cloned());
        self.limits.insert(text(&object["metadata"]["name"]), limits);
        self.drivers.len() > before
    }

    pub fn limit_gone(&mut self, node: &str) {
        self.limits.remove(node);
    }

    fn is_limited(&self, driver: &str) -> bool {
        self.drivers.contains(driver)
    }

    /// All of a kind that are known.
    pub fn names(&self, plural: &str) -> Vec<At> {
        let plain = |names: Vec<&String>| names.into_iter().map(|name| (String::new(), name.clone())).collect();
        match plural {
            "persistentvolumeclaims" => self.claims.keys().cloned().collect(),
            "persistentvolumes" => plain(self.volumes.keys().collect()),
            "storageclasses" => plain(self.classes.keys().collect()),
            "csinodes" => plain(self.limits.keys().collect()),
            _ => Vec::new(),
        }
    }

    /// Says on the node how many volumes it takes; of drivers that say nothing there, any number.
    pub fn set_limits(&self, node: &mut Node) {
        node.extended.retain(|name, _| !name.starts_with(ATTACHED));
        let here = self.limits.get(&node.name);
        for driver in &self.drivers {
            let count = here.and_then(|of| of.get(driver)).copied().unwrap_or(UNLIMITED);
            node.extended.insert(format!("{ATTACHED}{driver}"), count);
        }
    }

    /// The claims of a pod, by its volumes; generic ephemeral ones are called after pod and volume.
    pub fn claims_of(pod: &Value) -> Vec<At> {
        let namespace = text(&pod["metadata"]["namespace"]);
        let name = |volume: &Value| match volume["persistentVolumeClaim"]["claimName"].as_str() {
            Some(name) => Some(name.to_owned()),
            None if !volume["ephemeral"].is_null() => Some(format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"]))),
            None => None,
        };
        list(&pod["spec"]["volumes"]).filter_map(name).map(|name| (namespace.clone(), name)).collect()
    }

    /// # Errors
    /// Why a pod with these claims can run nowhere now.
    pub fn asked(&self, claims: &[At]) -> Result<Asked, String> {
        let mut out = Asked::default();
        for at in claims {
            let name = &at.1;
            let claim = self.claims.get(at).ok_or_else(|| format!("persistentvolumeclaim \"{name}\" not found"))?;
            if claim.leaving {
                return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            if claim.lost {
                return Err(format!("persistentvolumeclaim \"{name}\" has lost its volume"));
            }
            let driver = if claim.volume.is_empty() { self.open(at, claim, &mut out)? } else { self.bound(name, claim, &mut out)? };
            if let Some(driver) = driver.filter(|d| self.is_limited(d)) {
                *out.attached.entry(format!("{ATTACHED}{driver}")).or_default() += 1;
            }
        }
        Ok(out)
    }

    /// What stands has its volumes attached.
    pub fn attached(&self, claims: &[At]) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        for claim in claims.iter().filter_map(|at| self.claims.get(at)) {
            if let Some(driver) = self.volumes.get(&claim.volume).and_then(|v| v.driver.as_deref()).filter(|d| self.is_limited(d)) {
                *out.entry(format!("{ATTACHED}{driver}")).or_default() += 1;
            }
        }
        out
    }

    fn bound(&self, name: &str, claim: &Claim, out: &mut Asked) -> Result<Option<String>, String> {
        if !claim.complete {
            return Err(format!("persistentvolumeclaim \"{name}\" is being bound"));
        }
        let volume = self.volumes.get(&claim.volume).ok_or_else(|| format!("persistentvolume \"{}\" not found", claim.volume))?;
        let nodes = volume.nodes.clone()?;
        if !nodes.is_empty() {
            out.nodes.push(nodes);
        }
        Ok(volume.driver.clone())
    }

    fn open(&self, at: &At, claim: &Claim, out: &mut Asked) -> Result<Option<String>, String> {
        let class = claim.class.as_deref().unwrap_or_default();
        let immediate = || "pod has unbound immediate PersistentVolumeClaims".to_owned();
        if class.is_empty() {
            return Err(immediate());
        }
        let of = self.classes.get(class).ok_or_else(|| format!("storageclass \"{class}\" not found"))?;
        if !of.waits {
            return Err(immediate());
        }
        out.open.push(at.clone());
        if of.provisioner != NONE_MADE {
            if !of.topologies.is_empty() {
                out.nodes.push(of.topologies.clone());
            }
            return Ok(Some(of.provisioner.clone()));
        }
        let fitting: Vec<&Volume> = self.volumes.values().filter(|v| v.fits(at, claim)).collect();
        if fitting.is_empty() {
            return Err(format!("no persistent volume fits persistentvolumeclaim \"{}\"", at.1));
        }
        let anywhere = fitting.iter().any(|v| v.nodes.as_ref().is_ok_and(Vec::is_empty));
        if !anywhere {
            out.nodes.push(fitting.iter().filter_map(|v| v.nodes.as_ref().ok()).flatten().cloned().collect());
        }
        Ok(None)
    }

    /// What is to be written for the open claims now that the node is known; volumes that are taken are kept from others.
    ///
    /// # Errors
    /// When another pod was faster.
    pub fn take(&mut self, open: &[At], node: &Node) -> Result<Vec<Step>, String> {
        let (mut steps, mut kept) = (Vec::new(), BTreeSet::new());
        for at in open {
            let Some(claim) = self.claims.get(at) else { return Err(format!("persistentvolumeclaim \"{}\" not found", at.1)) };
            let makes = claim.class.as_ref().and_then(|c| self.classes.get(c)).is_some_and(|c| c.provisioner != NONE_MADE);
            if makes {
                steps.push(Step::Make { claim: at.clone() });
                continue;
            }
            let reached = self.volumes.iter().filter(|(name, v)| !kept.contains(*name) && v.fits(at, claim) && v.reaches(node));
            // The smallest that is enough.
            let Some((name, volume)) = reached.min_by_key(|(_, v)| v.bytes) else {
                return Err(format!("no persistent volume of the node fits persistentvolumeclaim \"{}\"", at.1));
            };
            steps.push(Step::Take { claim: at.clone(), uid: claim.uid.clone(), volume: name.clone(), version: volume.version.clone() });
            kept.insert(name.clone());
        }
        for step in &steps {
            if let Step::Take { claim, volume, .. } = step
                && let Some(volume) = self.volumes.get_mut(volume)
            {
                volume.kept = Some(claim.clone());
            }
        }
        Ok(steps)
    }

    /// Nothing came of it.
    pub fn give_back(&mut self, steps: &[Step]) {
        for step in steps {
            if let Step::Take { volume, .. } = step
                && let Some(volume) = self.volumes.get_mut(volume)
            {
                volume.kept = None;
            }
        }
    }

    /// `None`: not yet. `Some(false)`: who makes the volume has said that it cannot be on this node.
    pub fn is_bound(&self, step: &Step, node: &str) -> Option<bool> {
        let Some(claim) = self.claims.get(step.claim()) else { return Some(false) };
        if !claim.volume.is_empty() && claim.complete {
            return Some(true);
        }
        let refused = matches!(step, Step::Make { .. }) && claim.selected != node;
        refused.then_some(false)
    }

    /// Has the claim to be one pod's alone?
    pub fn is_for_one(&self, at: &At) -> bool {
        self.claims.get(at).is_some_and(|c| c.modes.contains(ONE_POD))
    }
}

impl Volume {
    fn fits(&self, at: &At, claim: &Claim) -> bool {
        let free = match self.taken.as_ref().or(self.kept.as_ref()) {
            Some(taken) => taken == at,
            None => self.available,
        };
        free && self.class == claim.class.as_deref().unwrap_or_default()
            && self.bytes >= claim.bytes
            && self.kind == claim.kind
            && claim.modes.is_subset(&self.modes)
            && claim.selector.as_ref().is_none_or(|s| s.selects(&self.labels))
            && self.nodes.is_ok()
    }

    fn reaches(&self, node: &Node) -> bool {
        let value = |name: &str| if name == "node.name" { Some(node.name.as_str()) } else { node.attributes.get(name).map(String::as_str) };
        let holds = |all: &Vec<Match>| all.iter().all(|m| m.holds(value(&m.attribute)));
        self.nodes.as_ref().is_ok_and(|nodes| nodes.is_empty() || nodes.iter().any(holds))
    }
}
