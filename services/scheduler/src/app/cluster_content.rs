//! What a cluster's volumes hold, read and written: a Job of one pod mounts the claim and does nothing, and `tar` in it gives or takes
//! an archive over `exec`. It needs no right that the engine has not, and no driver that can do anything. The Job goes when the
//! archive has ended, and by itself if this process does.

use std::time::Duration;

use gantry_auth::SpaceRef;
use gantry_kernel::{Kind as Fault, Problem};
use gantry_kubernetes::{Client, Kind, POD, Target};
use serde_json::{Value, json};

use super::cluster_sessions::archives;
use super::cluster_volumes::{Claim, mounts, refused};
use super::context::Scheduler;
use super::sessions::{Link, must_lead};
use super::volumes::VolumeBody;

/// By it the Job's pod is found.
const SESSION: &str = "gantry.io/volume-session";
/// The image is fetched, and the volume comes to the node.
const LONGEST: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(300);
/// Of one archive.
const MOST_SECONDS: u64 = 6 * 3600;
/// Who reads and writes where nobody may be root.
const NOBODY: u32 = 65_532;

/// As it is while it is read: what is written meanwhile is in it or not.
///
/// # Errors
/// A cluster that does not answer or refuses, or a volume that no pod can mount; so for all of this.
pub async fn read(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody) -> Result<Link, Problem> {
    open(s, space, volume, false).await
}

/// An archive as all that it has. Its application has to be stopped; where the cluster has snapshots, what it had is kept as one.
pub async fn write(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody) -> Result<Link, Problem> {
    open(s, space, volume, true).await
}

/// Whether [`write`] would be refused; nothing is written.
pub async fn check(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody) -> Result<(), Problem> {
    let Found { claim, users, .. } = find(s, space, volume).await?;
    claim.refuse_use(&VolumeBody { in_use: !users.is_empty(), ..volume.clone() })
}

/// A claim as it is on its cluster, and the pods that have it.
struct Found {
    claim: Claim,
    there: Value,
    users: Vec<Value>,
}

async fn find(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody) -> Result<Found, Problem> {
    must_lead(s)?;
    let mut claim = Claim::find(s, space, volume).await?;
    let there = claim.there(&volume.workload).await?;
    let mut pods = claim.running.engine.client().get(&POD.path(Some(&claim.namespace))).await.map_err(refused)?;
    let pods = pods["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let users = pods.into_iter().filter(|pod| mounts(pod, &claim.name)).collect();
    Ok(Found { claim, there, users })
}

async fn open(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody, writes: bool) -> Result<Link, Problem> {
    let Found { claim, there, users } = find(s, space, volume).await?;
    let client = claim.running.engine.client().clone();
    if writes {
        claim.refuse_use(&VolumeBody { in_use: !users.is_empty(), ..volume.clone() })?;
        if claim.has_snapshots() {
            claim.keep(&format!("before-restore-{}", s.host.env.now().unix_timestamp())).await?;
        }
    }
    // A volume that one node may have is had there.
    let node = users.iter().find_map(|pod| pod["spec"]["nodeName"].as_str()).map(str::to_owned);
    let id = s.host.uuid().simple().to_string();
    let folder = format!("/tmp/gantry-volume-{}", there["metadata"]["uid"].as_str().unwrap_or(&id));
    let ask = Ask {
        claim: &claim,
        id: &id,
        image: &s.config.kubernetes.volume_image,
        folder: &folder,
        node: node.as_deref(),
        writes,
        restricted: claim.running.settings.pod_security == "restricted",
    };
    let job = Kind::of("batch/v1", "Job").ok_or_else(|| Problem::internal(std::io::Error::other("there is no kind for jobs")))?;
    let (namespace, name) = (claim.namespace.clone(), name_of(&id));
    client.post(&job.path(Some(&namespace)), &ask.job()).await.map_err(refused)?;
    let opened = async {
        let at = ready(&client, &namespace, &id).await?;
        let carried = if writes { archives::unpack(&client, &at, &folder).await } else { archives::pack(&client, &at, &folder).await };
        carried.map(|carried| (carried, at)).map_err(refused)
    }
    .await;
    let own = client.clone();
    let after = async move {
        // By itself it goes later.
        if let Err(trouble) = own.delete(job, Some(&namespace), &name, None).await {
            tracing::warn!(job = name, error = %trouble, "the job that had a volume stays for some hours");
        }
    };
    match opened {
        Ok((carried, at)) => Ok(carried.begin(s, client, at, after)),
        Err(problem) => {
            after.await;
            Err(problem)
        }
    }
}

fn name_of(id: &str) -> String {
    format!("gantry-volume-{id}")
}

/// Its pod, when it runs.
async fn ready(client: &Client, namespace: &str, id: &str) -> Result<Target, Problem> {
    let path = format!("{}?labelSelector={SESSION}%3D{id}", POD.path(Some(namespace)));
    let deadline = tokio::time::Instant::now() + LONGEST;
    loop {
        let found = client.get(&path).await.map_err(refused)?;
        let pod = &found["items"][0];
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        match pod["status"]["phase"].as_str() {
            Some("Running") => return Ok(Target { namespace: namespace.to_owned(), pod: name.to_owned(), container: "volume".into() }),
            Some("Failed" | "Succeeded") => {
                return Err(Problem::conflict("scheduler.volume_failed", format!("the pod that reads and writes volumes has ended: {}", waits(pod))));
            }
            _ => {}
        }
        if tokio::time::Instant::now() >= deadline {
            let detail = format!("the pod that reads and writes volumes does not come up: {}", waits(pod));
            return Err(Problem::new(Fault::Unavailable, "scheduler.node_away", detail).retry_after(Duration::from_secs(30)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What keeps it from running.
fn waits(pod: &Value) -> String {
    if pod.is_null() {
        return "it is not made; a quota or a policy of the namespace may refuse it".into();
    }
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let waiting = statuses.into_iter().map(|c| &c["state"]["waiting"]).find(|w| w.is_object());
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let unplaced = conditions.into_iter().find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (waiting, unplaced) {
        (Some(waiting), _) => format!("{}: {}", text(&waiting["reason"]), text(&waiting["message"])),
        (None, Some(unplaced)) => text(&unplaced["message"]),
        (None, None) => text(&pod["status"]["message"]),
    }
}

/// One pod that has a volume.
struct Ask<'a> {
    claim: &'a Claim,
    id: &'a str,
    image: &'a str,
    folder: &'a str,
    node: Option<&'a str>,
    writes: bool,
    restricted: bool,
}

impl Ask<'_> {
    /// Without the engine's label: it is nothing that anybody wants to be there.
    fn job(&self) -> Value {
        // Owners are kept by who may give files away; where the level forbids root, the volume's group counts.
        let (who, may) = if self.restricted {
            let who =
                json!({ "runAsNonRoot": true, "runAsUser": NOBODY, "runAsGroup": NOBODY, "fsGroup": NOBODY, "seccompProfile": { "type": "RuntimeDefault" } });
            (who, json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } }))
        } else {
            (json!({ "runAsUser": 0, "seccompProfile": { "type": "RuntimeDefault" } }), json!({ "allowPrivilegeEscalation": false }))
        };
        let labels = json!({ SESSION: self.id, "app.kubernetes.io/managed-by": "gantry" });
        let mut pod = json!({
            "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
            "securityContext": who,
            "containers": [{
                "name": "volume", "image": self.image, "command": ["sleep", MOST_SECONDS.to_string()], "securityContext": may,
                "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "cpu": "1", "memory": "256Mi" } },
                "volumeMounts": [{ "name": "volume", "mountPath": self.folder, "readOnly": !self.writes }],
            }],
            "volumes": [{ "name": "volume", "persistentVolumeClaim": { "claimName": self.claim.name } }],
        });
        if let Some(node) = self.node {
            pod["nodeName"] = node.into();
        }
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": name_of(self.id), "namespace": self.claim.namespace, "labels": labels },
            "spec": {
                "backoffLimit": 0, "activeDeadlineSeconds": MOST_SECONDS, "ttlSecondsAfterFinished": 60,
                "template": { "metadata": { "labels": labels }, "spec": pod },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_pod_does_not_come_up_is_told() {
        let waiting = json!({ "status": { "containerStatuses": [{ "state": { "waiting": { "reason": "ImagePullBackOff", "message": "not found" } } }] } });
        assert_eq!(waits(&waiting), "ImagePullBackOff: not found");
        let unplaced = json!({ "status": { "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" }] } });
        assert_eq!(waits(&unplaced), "0/3 nodes are available");
        assert!(waits(&Value::Null).contains("quota"));
    }
}
