//! Volumes of a space on Kubernetes clusters: claims, and snapshots of them by the CSI snapshot API (snapshot.storage.k8s.io/v1)
//! where a cluster has it. A claim's content cannot be replaced in its place, so going back makes the claim anew from a snapshot.

use std::time::Duration;

use gantry_auth::SpaceRef;
use gantry_kernel::{AppId, Kind as Fault, Name, OffsetDateTime, Problem};
use gantry_kubernetes::{Kind, OWNER, POD, SCOPE, Trouble, VOLUME_SNAPSHOT, WORKLOAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::context::{Scheduler, home};
use super::deploy::database;
use super::volumes::{SnapshotBody, VolumeBody, VolumeVerb};
use crate::adapters::clusters::Running;
use crate::domain::kubernetes::cluster as made;
use crate::store;

/// Before a cluster's name where a node's stands.
const ON: &str = "cluster:";
/// As its user calls it; objects have names of a narrower kind.
const NAME: &str = "gantry.io/snapshot";
/// A driver may have to copy all of it.
const LONGEST: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(300);

/// One claim, where it is.
pub struct Claim {
    pub running: Running,
    cluster: String,
    pub namespace: String,
    pub name: String,
    app: store::app::Model,
}

/// Is it a claim on a cluster?
pub fn is_there(volume: &VolumeBody) -> bool {
    volume.node.starts_with(ON)
}

/// The claims of a space's applications, and clusters that do not answer.
pub async fn list(s: &Scheduler, space: &SpaceRef, apps: &[store::app::Model]) -> (Vec<VolumeBody>, Vec<String>) {
    let (mut items, mut unreachable) = (Vec::new(), Vec::new());
    let Some(kind) = Kind::of("v1", "PersistentVolumeClaim") else { return (items, unreachable) };
    for (cluster, running) in s.clusters.all() {
        if running.org.is_some_and(|org| org != space.org().id) {
            continue;
        }
        let claims = apps.iter().flat_map(|a| running.engine.objects(&AppId(a.id).to_string(), kind).into_iter().map(move |c| (a, c)));
        let claims: Vec<(&store::app::Model, Value)> = claims.collect();
        let Some(namespace) = claims.first().and_then(|(_, c)| c["metadata"]["namespace"].as_str().map(str::to_owned)) else { continue };
        match beside(&running, &namespace).await {
            Ok((pods, snapshots)) => items.extend(claims.iter().map(|(app, claim)| body(&cluster, app, claim, &pods, &snapshots))),
            Err(trouble) => {
                tracing::warn!(cluster.name = cluster, error = %trouble, "a cluster does not say what its volumes have");
                unreachable.push(format!("{ON}{cluster}"));
            }
        }
    }
    (items, unreachable)
}

/// The pods and the snapshots of a namespace.
async fn beside(running: &Running, namespace: &str) -> Result<(Vec<Value>, Vec<Value>), Trouble> {
    let client = running.engine.client();
    let items = |mut list: Value| list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let pods = items(client.get(&POD.path(Some(namespace))).await?);
    let snapshots = if has_snapshots(running) { items(client.get(&VOLUME_SNAPSHOT.path(Some(namespace))).await?) } else { Vec::new() };
    Ok((pods, snapshots))
}

fn has_snapshots(running: &Running) -> bool {
    running.engine.connection().found.is_some_and(|f| f.capabilities.snapshots)
}

fn body(cluster: &str, app: &store::app::Model, claim: &Value, pods: &[Value], snapshots: &[Value]) -> VolumeBody {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = text(&claim["metadata"]["name"]);
    let size = [&claim["status"]["capacity"]["storage"], &claim["spec"]["resources"]["requests"]["storage"]].into_iter().find_map(bytes);
    let of = |s: &&Value| s["spec"]["source"]["persistentVolumeClaimName"] == name.as_str() && s["metadata"]["labels"][OWNER] == app.id.to_string();
    let mut own: Vec<SnapshotBody> = snapshots.iter().filter(of).map(snapshot).collect();
    own.sort_by_key(|s| s.at_unix);
    VolumeBody {
        name: format!("{}.{name}", app.id),
        node: format!("{ON}{cluster}"),
        app: app.name.clone(),
        app_id: app.id.to_string(),
        workload: text(&claim["metadata"]["labels"][WORKLOAD]),
        size_bytes: size.unwrap_or(0),
        used_bytes: 0,
        in_use: pods.iter().any(|pod| mounts(pod, &name)),
        orphaned: app.deleted,
        snapshots: own,
    }
}

/// Of what was not called by us, its object's name.
fn snapshot(object: &Value) -> SnapshotBody {
    let metadata = &object["metadata"];
    let name = metadata["annotations"][NAME].as_str().or(metadata["name"].as_str()).unwrap_or_default().to_owned();
    let at = object["status"]["creationTime"].as_str().or(metadata["creationTimestamp"].as_str());
    let at = at.and_then(|t| OffsetDateTime::parse(t, &time::format_description::well_known::Rfc3339).ok());
    SnapshotBody {
        name,
        at_unix: at.and_then(|t| u64::try_from(t.unix_timestamp()).ok()).unwrap_or(0),
        used_bytes: bytes(&object["status"]["restoreSize"]).unwrap_or(0),
    }
}

fn bytes(amount: &Value) -> Option<u64> {
    u64::try_from(gantry_kubernetes::quantity(amount.as_str()?)? / 1000).ok()
}

pub fn mounts(pod: &Value, claim: &str) -> bool {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    !ended && volumes.into_iter().any(|v| v["persistentVolumeClaim"]["claimName"] == claim)
}

/// # Errors
/// A cluster that cannot, does not answer or refuses; a volume that is in use.
pub async fn change(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody, verb: &VolumeVerb) -> Result<(), Problem> {
    let claim = Claim::find(s, space, volume).await?;
    match verb {
        VolumeVerb::Snapshot(name) => claim.keep(name).await,
        VolumeVerb::RemoveSnapshot(name) => {
            let object = claim.snapshot(name).await?;
            claim.delete(&VOLUME_SNAPSHOT, &object).await
        }
        VolumeVerb::RollBack(name) => {
            claim.refuse_use(volume)?;
            claim.roll_back(name, s.host.env.now().unix_timestamp()).await
        }
        VolumeVerb::Delete => {
            claim.refuse_use(volume)?;
            for one in &volume.snapshots {
                let object = claim.snapshot(&one.name).await?;
                claim.delete(&VOLUME_SNAPSHOT, &object).await?;
            }
            claim.delete(claim.kind()?, &claim.name).await
        }
    }
}

/// What would refuse a change of it; nothing is written.
///
/// # Errors
/// As [`change`].
pub async fn check(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody, verb: &VolumeVerb) -> Result<(), Problem> {
    let claim = Claim::find(s, space, volume).await?;
    match verb {
        VolumeVerb::Snapshot(name) => {
            claim.may_be_kept(name)?;
            match claim.get(&VOLUME_SNAPSHOT, &object_name(&claim.name, name)).await? {
                Some(_) => Err(kept_already(name)),
                None => Ok(()),
            }
        }
        VolumeVerb::RemoveSnapshot(name) => claim.snapshot(name).await.map(drop),
        VolumeVerb::RollBack(name) => {
            claim.refuse_use(volume)?;
            claim.snapshot(name).await.map(drop)
        }
        VolumeVerb::Delete => {
            claim.refuse_use(volume)?;
            for one in &volume.snapshots {
                claim.snapshot(&one.name).await?;
            }
            Ok(())
        }
    }
}

fn kept_already(snapshot: &str) -> Problem {
    Problem::conflict("scheduler.volume_failed", format!("there is a snapshot `{snapshot}` of it already"))
}

impl Claim {
    /// # Errors
    /// No such volume, or a cluster that is not looked after now.
    pub async fn find(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody) -> Result<Self, Problem> {
        let missing = || Problem::not_found("volume", &volume.name);
        let cluster = volume.node.trim_start_matches(ON).to_owned();
        // Others' clusters are not there for this space.
        let running = s.clusters.get(&cluster).filter(|one| one.org.is_none_or(|org| org == space.org().id)).ok_or_else(missing)?;
        let app: AppId = volume.app_id.parse().map_err(|_| missing())?;
        let app = store::app_by_id(s.orm(), app).await.map_err(database)?.filter(|a| a.space == space.id.0).ok_or_else(missing)?;
        let namespace = home(&app).map(|home| made::namespace(&home, &running.settings)).ok_or_else(missing)?;
        let name = volume.name.split_once('.').map(|(_, name)| name.to_owned()).ok_or_else(missing)?;
        Ok(Self { running, cluster, namespace, name, app })
    }

    /// As it is on the cluster. It may be called as on nodes, where it was or is kept: by the name in its application's document, of a
    /// stateful workload with the number of the instance.
    ///
    /// # Errors
    /// No such claim, or a cluster that does not answer.
    pub async fn there(&mut self, workload: &str) -> Result<Value, Problem> {
        let Ok(app) = Name::parse(&self.app.name) else { return Err(Problem::not_found("volume", &self.name)) };
        let numbered = self.name.rsplit_once('.').map(|(name, n)| format!("{name}-{}-{n}", made::named(&app, workload)));
        for name in [Some(self.name.clone()), Some(made::named(&app, &self.name)), numbered].into_iter().flatten() {
            let found = self.get(self.kind()?, &name).await?;
            // Only its own: who has stopped one application has not stopped another.
            if let Some(found) = found.filter(|claim| claim["metadata"]["labels"][OWNER] == self.app.id.to_string()) {
                self.name = name;
                return Ok(found);
            }
        }
        let detail = format!("there is no claim `{}` on the cluster `{}`: let the application start there once, and stop it", self.name, self.cluster);
        Err(Problem::conflict("scheduler.volume_failed", detail))
    }

    pub fn has_snapshots(&self) -> bool {
        has_snapshots(&self.running)
    }

    fn kind(&self) -> Result<&'static Kind, Problem> {
        Kind::of("v1", "PersistentVolumeClaim").ok_or_else(|| Problem::internal(std::io::Error::other("there is no kind for claims")))
    }

    /// The engine would make a claim anew, and empty, that it misses while its application is wanted.
    pub fn refuse_use(&self, volume: &VolumeBody) -> Result<(), Problem> {
        if volume.in_use || !(self.app.stopped || self.app.deleted) {
            return Err(Problem::conflict(
                "scheduler.volume_failed",
                format!("`{}` uses it: stop the application first (`gantry app stop {}`)", self.app.name, self.app.name),
            ));
        }
        Ok(())
    }

    fn refuse_lack(&self) -> Result<(), Problem> {
        if has_snapshots(&self.running) {
            return Ok(());
        }
        let detail = format!(
            "the cluster `{}` has no snapshots of volumes: it needs a CSI driver that makes them, the snapshot controller (snapshot.storage.k8s.io/v1) and a VolumeSnapshotClass",
            self.cluster
        );
        Err(Problem::conflict("scheduler.volume_failed", detail))
    }

    /// Can there be a snapshot of this name?
    fn may_be_kept(&self, name: &str) -> Result<(), Problem> {
        self.refuse_lack()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
            return Err(Problem::invalid("snapshot", "must be 1 to 100 letters, digits, `-`, `.` and `_`"));
        }
        Ok(())
    }

    /// Waits until what it had then can be read.
    pub async fn keep(&self, name: &str) -> Result<(), Problem> {
        self.may_be_kept(name)?;
        let object = object_name(&self.name, name);
        let wanted = json!({
            "apiVersion": VOLUME_SNAPSHOT.api_version(), "kind": VOLUME_SNAPSHOT.kind,
            "metadata": {
                "name": object, "namespace": self.namespace,
                "labels": { SCOPE: self.running.scope, OWNER: self.app.id.to_string(), "app.kubernetes.io/managed-by": "gantry" },
                "annotations": { NAME: name },
            },
            "spec": { "source": { "persistentVolumeClaimName": self.name } },
        });
        match self.running.engine.client().post(&VOLUME_SNAPSHOT.path(Some(&self.namespace)), &wanted).await {
            Ok(_) => {}
            Err(Trouble::Conflict(_)) => return Err(kept_already(name)),
            Err(trouble) => return Err(refused(trouble)),
        }
        self.wait(&object).await
    }

    async fn wait(&self, object: &str) -> Result<(), Problem> {
        let deadline = tokio::time::Instant::now() + LONGEST;
        loop {
            let there = self.get(&VOLUME_SNAPSHOT, object).await?.unwrap_or_default();
            if there["status"]["readyToUse"] == true {
                return Ok(());
            }
            let why = there["status"]["error"]["message"].as_str().unwrap_or("it is not ready yet").to_owned();
            if there["status"]["error"]["message"].is_string() && there["status"]["boundVolumeSnapshotContentName"].is_null() {
                // Without a class or a driver for it there never will be one.
                self.delete(&VOLUME_SNAPSHOT, object).await?;
                return Err(Problem::conflict("scheduler.volume_failed", format!("the cluster does not make the snapshot: {why}")));
            }
            if tokio::time::Instant::now() >= deadline {
                let detail = format!("the snapshot is still being made: {why}; look again with `gantry volume show`");
                return Err(Problem::new(Fault::Unavailable, "scheduler.node_away", detail).retry_after(Duration::from_secs(30)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What it has now is kept as a snapshot of its own before: with the claim its content goes.
    async fn roll_back(&self, name: &str, now_unix: i64) -> Result<(), Problem> {
        self.refuse_lack()?;
        let from = self.snapshot(name).await?;
        self.wait(&from).await?;
        let kind = self.kind()?;
        let before = self.get(kind, &self.name).await?.ok_or_else(|| Problem::not_found("volume", &self.name))?;
        self.keep(&format!("before-rollback-{now_unix}")).await?;
        self.delete(kind, &self.name).await?;
        let deadline = tokio::time::Instant::now() + LONGEST;
        while self.get(kind, &self.name).await?.is_some() {
            if tokio::time::Instant::now() >= deadline {
                let detail = "the old volume does not go away: something still holds it; repeat it later";
                return Err(Problem::new(Fault::Unavailable, "scheduler.node_away", detail).retry_after(Duration::from_secs(30)));
            }
            tokio::time::sleep(PAUSE).await;
        }
        // Under another manager than the engine's: the source is no field that the application asks for, and nobody may take it away.
        let path = format!("{}?fieldManager=gantry-volumes", kind.path(Some(&self.namespace)));
        self.running.engine.client().post(&path, &anew(&before, &from)).await.map(drop).map_err(refused)
    }

    /// The object of a snapshot by the name that its user gave it.
    async fn snapshot(&self, name: &str) -> Result<String, Problem> {
        self.refuse_lack()?;
        let object = object_name(&self.name, name);
        for object in [object.as_str(), name] {
            let there = self.get(&VOLUME_SNAPSHOT, object).await?;
            if there.is_some_and(|s| s["spec"]["source"]["persistentVolumeClaimName"] == self.name.as_str()) {
                return Ok(object.to_owned());
            }
        }
        Err(Problem::not_found("snapshot", name))
    }

    async fn get(&self, kind: &Kind, name: &str) -> Result<Option<Value>, Problem> {
        match self.running.engine.client().get(&format!("{}/{name}", kind.path(Some(&self.namespace)))).await {
            Ok(object) => Ok(Some(object)),
            Err(Trouble::NotFound(_)) => Ok(None),
            Err(trouble) => Err(refused(trouble)),
        }
    }

    async fn delete(&self, kind: &Kind, name: &str) -> Result<(), Problem> {
        match self.running.engine.client().delete(kind, Some(&self.namespace), name, None).await {
            Ok(()) | Err(Trouble::NotFound(_)) => Ok(()),
            Err(trouble) => Err(refused(trouble)),
        }
    }
}

/// The same claim, from a snapshot; what the cluster has filled in it fills in anew.
fn anew(claim: &Value, snapshot: &str) -> Value {
    let mut out = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": claim["metadata"]["name"], "namespace": claim["metadata"]["namespace"], "labels": claim["metadata"]["labels"] },
        "spec": { "accessModes": claim["spec"]["accessModes"], "resources": claim["spec"]["resources"] },
    });
    for field in ["storageClassName", "volumeMode", "volumeAttributesClassName"] {
        if !claim["spec"][field].is_null() {
            out["spec"][field] = claim["spec"][field].clone();
        }
    }
    // Annotations of the cluster's own say where the old one was.
    let own = claim["metadata"]["annotations"].as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("gantry.io/"));
    out["metadata"]["annotations"] = Value::Object(own.map(|(k, v)| (k.clone(), v.clone())).collect());
    out["spec"]["dataSource"] = json!({ "apiGroup": VOLUME_SNAPSHOT.group, "kind": VOLUME_SNAPSHOT.kind, "name": snapshot });
    out
}

/// A name that every cluster takes, the same for the same snapshot.
fn object_name(claim: &str, name: &str) -> String {
    let mark = hex::encode(&Sha256::digest(format!("{claim}/{name}"))[..5]);
    let head: String = claim.chars().take(200).collect();
    format!("{}-{mark}", head.trim_end_matches(['-', '.']))
}

pub fn refused(trouble: Trouble) -> Problem {
    if trouble.passes() {
        return Problem::new(Fault::Unavailable, "scheduler.node_away", trouble.to_string()).retry_after(Duration::from_secs(5));
    }
    Problem::conflict("scheduler.volume_failed", trouble.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_made_anew_without_what_the_cluster_filled_in() {
        let claim = json!({
            "metadata": { "name": "a", "namespace": "x", "labels": { OWNER: "o" }, "uid": "u", "annotations": { "gantry.io/keep": "k", "pv.kubernetes.io/bind-completed": "yes" } },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "storageClassName": "std", "volumeName": "pvc-1" },
            "status": { "phase": "Bound" },
        });
        let new = anew(&claim, "s");
        assert_eq!(new["spec"]["dataSource"], json!({ "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s" }));
        assert_eq!((new["spec"].get("volumeName"), new["metadata"].get("uid"), new.get("status")), (None, None, None));
        assert_eq!((&new["spec"]["storageClassName"], &new["metadata"]["annotations"]), (&json!("std"), &json!({ "gantry.io/keep": "k" })));
    }

    #[test]
    fn names_of_snapshots_are_names_of_objects() {
        let name = object_name("shop-data", "Before_the.Migration");
        assert!(name.starts_with("shop-data-") && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        assert_eq!((object_name("a", "x") == object_name("a", "x"), object_name("a", "x") == object_name("a", "y")), (true, false));
    }

    #[test]
    fn a_volume_is_in_use_while_a_pod_has_it() {
        let pod =
            |phase: &str| json!({ "status": { "phase": phase }, "spec": { "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "a" } }] } });
        assert!(mounts(&pod("Pending"), "a") && !mounts(&pod("Running"), "b") && !mounts(&pod("Succeeded"), "a"));
    }
}
