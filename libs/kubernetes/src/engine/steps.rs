//! The steps from what is there to what is wanted, for one owner: apply what is missing or other than wanted, in the order of
//! need; then take away what has left.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::wanted::{One, target};
use super::{Drift, HASH, KEEP, SCOPE, Shared, Standing, Wanted, leaving, others};
use crate::cache::{self, Held, Key};
use crate::difference;
use crate::kinds::{ACCOUNT, KINDS, Kind, NAMESPACE, POD};
use crate::pod::OWNER;
use crate::trouble::Trouble;
use crate::watch;

/// What is to be done about one object.
enum Step {
    Nothing,
    Drifted(Vec<String>, Vec<String>),
    /// It is on its way out, and has to be gone before it can be made again.
    Wait,
    /// It can only become as wanted by going first.
    Recreate,
    Apply {
        known: bool,
        force: bool,
    },
}

impl Shared {
    /// # Errors
    /// The first trouble; what was done before it stays done.
    pub(super) async fn look_after(&self, owner: &str) -> Result<Standing, Trouble> {
        let wanted = self.lock().wanted.get(owner).cloned();
        let mut standing = Standing { applied: true, ..Standing::default() };
        if let Some(wanted) = &wanted {
            self.apply_all(wanted, owner, &mut standing).await?;
        }
        let left = self.prune(wanted.as_deref(), owner).await?;
        let state = self.lock();
        standing.gone = wanted.is_none() && left == 0 && state.cache.pods_of(owner).next().is_none();
        for object in wanted.iter().flat_map(|w| &w.objects) {
            let told = |text: &String| format!("{}/{}: {text}", object.kind.kind, object.key.2);
            standing.warnings.extend(state.warned.get(&object.key).into_iter().flatten().map(told));
        }
        if wanted.is_none() {
            // Nobody is told of it by anything that is to be there.
            let mut going = state.cache.of(owner).filter(|(_, held)| !held.controlled);
            standing.problem = going.find_map(|(key, held)| leaving::held_up(&format!("{}/{}", KINDS.get(key.0).map_or("", |k| k.kind), key.2), held));
        }
        // Somebody has asked for something else meanwhile.
        standing.applied &= state.wanted.get(owner).map(|w| &w.hash) == wanted.as_ref().map(|w| &w.hash);
        Ok(standing)
    }

    async fn apply_all(&self, wanted: &Arc<Wanted>, owner: &str, standing: &mut Standing) -> Result<(), Trouble> {
        let can = self.lock().found.as_ref().map(|f| f.capabilities.clone()).unwrap_or_default();
        // What the cluster does not let us do at all is no reason to leave the rest: a test of it tells.
        for object in wanted.objects.iter().filter(|o| can.has(o.kind)) {
            let (_, namespace, name) = &object.key;
            let told = format!("{}/{name}", object.kind.kind);
            match self.step(object) {
                Step::Nothing => {}
                Step::Wait => {
                    standing.applied = false;
                    if standing.problem.is_none() {
                        standing.problem = self.lock().cache.get(&object.key).and_then(|held| leaving::held_up(&told, held));
                    }
                }
                Step::Drifted(fields, managers) => standing.drift.push(Drift { object: told, fields, managers }),
                Step::Apply { known, force } => {
                    let namespace = Some(namespace.as_str()).filter(|n| !n.is_empty());
                    if !known && let Some(there) = self.foreign(object, namespace, owner).await? {
                        if object.kind.kind != ACCOUNT {
                            return Err(taken(object, namespace, there));
                        }
                        self.lock().used.insert(object.key.clone(), Instant::now());
                        continue;
                    }
                    match self.apply(object, namespace, owner, force).await {
                        Ok(answer) => self.applied(object, answer),
                        Err(Trouble::Immutable(why)) => {
                            self.recreate(object, namespace, &why).await.map_err(|trouble| about(&told, trouble))?;
                            standing.applied = false;
                        }
                        Err(trouble) => return Err(about(&told, trouble)),
                    }
                }
                Step::Recreate => {
                    self.recreate(object, Some(namespace.as_str()), "").await.map_err(|trouble| about(&told, trouble))?;
                    standing.applied = false;
                }
            }
        }
        Ok(())
    }

    /// Replicas are the autoscaler's as soon as it has set them; until then who holds them must say how many there are, or
    /// the server falls back to one (kubernetes.io/docs/reference/using-api/server-side-apply, "transferring ownership").
    async fn apply(&self, object: &One, namespace: Option<&str>, owner: &str, force: bool) -> Result<Value, Trouble> {
        let name = &object.key.2;
        let mut body = object.body.clone();
        let was_scaled = {
            let state = self.lock();
            if object.scaled
                && let Some(held) = state.cache.get(&object.key)
                && let Some(spec) = body["spec"].as_object_mut()
            {
                if held.scaled_by_others {
                    spec.remove("replicas");
                } else if let Some(now) = held.object["spec"].get("replicas") {
                    spec.insert("replicas".into(), now.clone());
                }
            }
            // A class cannot be changed, and one that is there is not asked for anew.
            if object.open_class
                && let Some(class) = state.cache.get(&object.key).map(|held| held.object["spec"]["storageClassName"].clone()).filter(Value::is_string)
            {
                body["spec"]["storageClassName"] = class;
            }
            let itself = json!([object.kind.kind, name]);
            !object.scaled && state.cache.of(owner).any(|(key, held)| key.1 == object.key.1 && target(&held.object) == itself)
        };
        let mut answer = self.send(object, namespace, &body, force).await;
        if matches!(&answer, Err(Trouble::Refused { status: 422, .. })) && !object.body["spec"].is_null() {
            // What it has said first counts, unless that was why.
            if let Ok(Some(whole)) = self.apply_whole(object, namespace, &body).await {
                answer = Ok(whole);
            }
        }
        let fields = match answer {
            // A patch of before whose name could not be given up.
            Ok(applied) => return self.let_go(object, namespace, applied).await,
            Err(Trouble::FieldConflict(fields)) => fields,
            Err(trouble) => return Err(trouble),
        };
        if fields.iter().all(|f| f.manager.starts_with(OURS)) {
            // A volume that was made anew from a snapshot.
            return self.send(object, namespace, &body, true).await;
        }
        let replicas = fields.iter().all(|f| f.field == ".spec.replicas");
        if replicas && object.scaled {
            // It has set them just now.
            body["spec"].as_object_mut().map(|spec| spec.remove("replicas"));
            return self.send(object, namespace, &body, force).await;
        }
        if replicas && was_scaled && fields.iter().all(|f| CONTROLLERS.contains(&f.manager.as_str())) {
            // Our autoscaler goes, and what it held is ours again.
            return self.send(object, namespace, &body, true).await;
        }
        Err(Trouble::FieldConflict(fields))
    }

    /// One apply. What the server warns of is kept until the next one of the same object.
    pub(super) async fn send(&self, object: &One, namespace: Option<&str>, body: &Value, force: bool) -> Result<Value, Trouble> {
        let (answer, warnings) = self.client.apply(object.kind, namespace, &object.key.2, body, force).await?;
        let mut state = self.lock();
        if warnings.is_empty() {
            state.warned.remove(&object.key);
        } else {
            state.warned.insert(object.key.clone(), warnings);
        }
        drop(state);
        Ok(answer)
    }

    /// What cannot be changed goes, where nothing is lost by it; its next step makes it anew.
    async fn recreate(&self, object: &One, namespace: Option<&str>, why: &str) -> Result<(), Trouble> {
        let name = &object.key.2;
        let refused = |hint: &str| Err(Trouble::Refused { status: 422, message: format!("{hint} ({why})") });
        match object.kind.kind {
            "Service" | "ConfigMap" | "Secret" | "EndpointSlice" | "StatefulSet" | "RoleBinding" => {}
            "Job" => return refused("a job that has begun cannot be changed: restart the workload to run it anew"),
            "PersistentVolumeClaim" => {
                return refused(
                    "a volume's class and access stay as they were made: take the change back, or give the volume another name in the document; that one begins empty, and `gantry volume copy` brings over what the old one has",
                );
            }
            _ => return refused("this cannot be changed: give the workload another name"),
        }
        let uid = self.lock().cache.get(&object.key).map(|held| held.uid.clone());
        if let Some(uid) = &uid {
            self.lock().going.insert(uid.clone());
        }
        tracing::info!(object = ?object.key, "an object is made anew, because it cannot be changed");
        // Its pods go on, and the new one takes them in.
        let told = match object.kind.kind {
            "StatefulSet" => self.client.orphan(object.kind, namespace, name, uid.as_deref()).await,
            _ => self.client.delete(object.kind, namespace, name, uid.as_deref()).await,
        };
        if let (Err(_), Some(uid)) = (&told, &uid) {
            self.lock().going.remove(uid);
        }
        told?;
        // Of one that is not watched nobody tells when it is gone.
        if uid.is_none() { Err(Trouble::Conflict("it is made anew".into())) } else { Ok(()) }
    }

    fn step(&self, object: &One) -> Step {
        let state = self.lock();
        let Some(held) = state.cache.get(&object.key) else {
            let used = state.used.get(&object.key).is_some_and(|seen| seen.elapsed() < USED);
            return if used { Step::Nothing } else { Step::Apply { known: false, force: false } };
        };
        if held.deleting || state.going.contains(&held.uid) {
            return Step::Wait;
        }
        // Of another application of the space, which may name the same.
        if object.kind.kind == ACCOUNT && object.body["metadata"]["labels"][OWNER] != held.owner.as_str() {
            return Step::Nothing;
        }
        // What has run, or runs, is what was wanted then: a newer platform would add to its pods, and a revision of its own is another job.
        let same = |field: &String| field.starts_with(".spec.template") || field.starts_with(".metadata.annotations");
        if object.kind.kind == "Job" && (has_ended(&held.object) || difference::between(&object.compared, &held.object).iter().all(same)) {
            return Step::Nothing;
        }
        let headless = |object: &Value| object["spec"]["clusterIP"] == "None";
        if object.kind.kind == "Service" && headless(&held.object) && !headless(&object.body) && object.body["spec"]["type"] != "ExternalName" {
            // The server would keep it without an address and say nothing.
            return Step::Recreate;
        }
        let asked = held.object["metadata"]["annotations"][HASH].as_str() == Some(object.hash.as_str());
        let fields = difference::between(&object.compared, &held.object);
        if asked && fields.is_empty() {
            return Step::Nothing;
        }
        let settled = state.settled.get(&object.key).is_some_and(|(hash, left)| *hash == object.hash && fields.iter().all(|f| left.contains(f)));
        // What another process has applied before us is not settled here.
        let stays = settled || held.are_as_applied(&fields);
        match (asked, stays, state.correct) {
            (true, true, _) => Step::Nothing,
            (true, false, false) => {
                let managers = held.setters(&fields);
                Step::Drifted(fields, managers)
            }
            (_, _, correct) => Step::Apply { known: true, force: correct },
        }
    }

    /// What has our name for it but was made by others: it stays theirs.
    async fn foreign(&self, object: &One, namespace: Option<&str>, owner: &str) -> Result<Option<Value>, Trouble> {
        let there = match self.client.get(&format!("{}/{}", object.kind.path(namespace), object.key.2)).await {
            Ok(there) => there,
            Err(Trouble::NotFound(_)) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        // Of an earlier import of the same cluster, too: the owner is the same.
        Ok(Some(there).filter(|there| there["metadata"]["labels"][OWNER] != owner))
    }

    /// Takes the answer in, so that nothing is done twice before the watch tells of it.
    fn applied(&self, object: &One, answer: Value) {
        let mut state = self.lock();
        let Some((_, held)) = cache::hold(object.key.0, answer.clone()) else { return };
        let left = difference::between(&object.compared, &held.object);
        if left.is_empty() {
            state.settled.remove(&object.key);
        } else {
            tracing::debug!(object = ?object.key, fields = ?left, "the cluster writes fields in its own way");
            state.settled.insert(object.key.clone(), (object.hash.clone(), left));
        }
        state.cache.put(object.key.0, answer);
    }

    /// With a namespace goes all that is in it: one with something of others stays. It is looked at again, though seldom.
    async fn refuse_inhabited(&self, namespace: &str) -> Result<(), Trouble> {
        let can = self.lock().found.as_ref().map(|f| f.capabilities.clone()).unwrap_or_default();
        let selector = format!("{SCOPE}!={}", self.scope);
        // Who may do something there is nothing that is there; distributions bind roles and make accounts in every namespace.
        let holds = |k: &&'static Kind| k.namespaced && can.has(k) && k.kind != "RoleBinding" && k.kind != ACCOUNT;
        let kinds: Vec<&'static Kind> = KINDS.iter().chain([&POD]).filter(holds).collect();
        let mut left: Vec<String> = Vec::new();
        for kind in kinds {
            let (all, _) = watch::whole(&self.client, kind, Some(namespace), &selector).await?;
            let of_others = all.iter().filter(|object| others::put_there(kind, object));
            left.extend(of_others.map(|object| format!("{}/{}", kind.kind, object["metadata"]["name"].as_str().unwrap_or_default())));
        }
        if left.is_empty() {
            return Ok(());
        }
        let more = if left.len() > 5 { format!(" and {} more", left.len() - 5) } else { String::new() };
        left.truncate(5);
        Err(Trouble::Refused { status: 409, message: format!("the namespace {namespace} stays, with what others have put into it: {}{more}", left.join(", ")) })
    }

    /// How many objects are left that are to go.
    async fn prune(&self, wanted: Option<&Wanted>, owner: &str) -> Result<usize, Trouble> {
        let unwanted = wanted.is_none();
        let mut left: Vec<(Key, Held)> = {
            let state = self.lock();
            if unwanted && !state.unwanted.contains(owner) {
                // Nobody has said what is wanted of this one: it is not ours to take away.
                return Ok(0);
            }
            let stays = |key: &Key, held: &Held| {
                let kept = held.object["metadata"]["annotations"].get(KEEP).is_some() && !unwanted;
                let spared = wanted.is_some_and(|w| w.spares(key, held));
                held.controlled || kept || spared || wanted.is_some_and(|w| w.objects.iter().any(|o| o.key == *key))
            };
            state.cache.of(owner).filter(|(key, held)| !stays(key, held)).map(|(k, h)| (k.clone(), h.clone())).collect()
        };
        // What needs others goes before them.
        left.sort_by(|a, b| b.0.0.cmp(&a.0.0));
        for ((rank, namespace, name), held) in &left {
            if held.deleting || !self.lock().going.insert(held.uid.clone()) {
                continue;
            }
            let Some(kind) = KINDS.get(*rank) else { continue };
            let namespace = Some(namespace.as_str()).filter(|n| !n.is_empty());
            if *kind == NAMESPACE
                && let Err(trouble) = self.refuse_inhabited(name).await
            {
                self.lock().going.remove(&held.uid);
                return Err(trouble);
            }
            if let Err(trouble) = self.client.delete(kind, namespace, name, Some(&held.uid)).await {
                self.lock().going.remove(&held.uid);
                return Err(about(&format!("{}/{name}", kind.kind), trouble));
            }
        }
        Ok(left.len())
    }
}

/// How other parts of the platform call themselves that write there.
const OURS: &str = "gantry-";
/// Under these names autoscalers write: the controllers', or of the one process that a distribution runs them in.
const CONTROLLERS: [&str; 3] = ["kube-controller-manager", "k3s", "kubelite"];

/// An account of others is looked for again after this.
const USED: Duration = Duration::from_secs(600);

/// Somebody else has an object of this name.
fn taken(object: &One, namespace: Option<&str>, there: Value) -> Trouble {
    let managers = cache::hold(object.key.0, there).map(|(_, held)| held.others).unwrap_or_default();
    let whose = if managers.is_empty() { "others".to_owned() } else { format!("`{}`", managers.join("`, `")) };
    let at = namespace.map_or(String::new(), |n| format!(" in the namespace {n}"));
    let told = format!("{}/{}{at}", object.kind.kind, object.key.2);
    Trouble::Refused { status: 409, message: format!("{told} is there already and was made by {whose}; it is not touched: remove it or choose another name") }
}

fn has_ended(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True")
}

/// Says which object it is about.
fn about(object: &str, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Refused { status, message } => Trouble::Refused { status, message: format!("{object}: {message}") },
        Trouble::FieldConflict(mut fields) => {
            for field in &mut fields {
                field.field = format!("{} of {object}", field.field);
            }
            Trouble::FieldConflict(fields)
        }
        other => other,
    }
}
