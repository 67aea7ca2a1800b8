//! The loop: nodes and pods are watched, decisions are made as fast as they come, bindings are written many at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use gantry_kernel::Env;
use gantry_kubernetes::{Client, Kind, NODE, POD, Seen, Sink, Trouble, follow};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::desk::{Decision, Desk};
use crate::lease::{Lease, RENEW};

/// Decisions of one look, and writes at a time.
const MOST: usize = 256;
const AT_ONCE: usize = 64;
/// Those that found no place are looked at again so often even if nothing is seen to have moved.
const AGAIN: Duration = Duration::from_secs(30);

pub struct Options {
    /// `spec.schedulerName` of the pods that are its own.
    pub scheduler: String,
    /// Of the Lease.
    pub namespace: String,
    pub env: Env,
}

struct Shared {
    desk: Mutex<Desk>,
    wake: Notify,
    listed: Mutex<(bool, bool)>,
}

impl Shared {
    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> bool {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) == (true, true)
    }
}

impl Sink for Shared {
    fn see(&self, kind: &Kind, seen: Seen) {
        let nodes = *kind == NODE;
        let mut desk = self.desk();
        match (seen, nodes) {
            (Seen::All(all), true) => desk.all_nodes(&all),
            (Seen::All(all), false) => desk.all_pods(&all),
            (Seen::There(object), true) => desk.node(&object),
            (Seen::There(object), false) => desk.pod(&object),
            (Seen::Gone(object), true) => desk.node_gone(object["metadata"]["name"].as_str().unwrap_or_default()),
            (Seen::Gone(object), false) => {
                let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
                desk.pod_gone(&(text("namespace"), text("name")));
            }
        }
        drop(desk);
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes {
            listed.0 = true;
        } else {
            listed.1 = true;
        }
        drop(listed);
        self.wake.notify_one();
    }

    fn trouble(&self, kind: &Kind, trouble: Option<&Trouble>) {
        if let Some(trouble) = trouble {
            tracing::warn!(kind = kind.plural, error = %trouble, "a kind cannot be watched now and will be tried again");
        }
    }
}

/// Works until cancelled, whenever it holds the lease.
pub async fn run(client: Client, options: Options, cancel: CancellationToken) {
    let identity = format!("gantry-{}", options.env.uuid());
    let mut lease = Lease::new(client.clone(), options.env.clone(), options.namespace.clone(), options.scheduler.clone(), identity);
    while !cancel.is_cancelled() {
        if !lease.hold().await {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(RENEW / 2) => {}
            }
            continue;
        }
        tracing::info!(scheduler = options.scheduler, "this scheduler binds pods");
        lead(&client, &options.scheduler, &mut lease, &cancel).await;
        tracing::info!(scheduler = options.scheduler, "this scheduler binds no pods any more");
    }
    lease.give_back().await;
}

/// With a picture of its own: what an earlier lead knew is old.
async fn lead(client: &Client, scheduler: &str, lease: &mut Lease, cancel: &CancellationToken) {
    let shared = Arc::new(Shared { desk: Mutex::new(Desk::new(scheduler)), wake: Notify::new(), listed: Mutex::new((false, false)) });
    let over = cancel.child_token();
    let mut watches = Vec::new();
    for kind in [&NODE, &POD] {
        let (client, shared, over) = (client.clone(), shared.clone(), over.clone());
        watches.push(tokio::spawn(async move { follow(client, kind, String::new(), &*shared, over).await }));
    }
    let work = async {
        loop {
            let decisions = if shared.ready() { shared.desk().decide(MOST) } else { Vec::new() };
            if decisions.is_empty() {
                tokio::select! {
                    () = shared.wake.notified() => {}
                    () = tokio::time::sleep(AGAIN) => shared.desk().again(),
                }
                continue;
            }
            let shared = &shared;
            stream::iter(decisions).for_each_concurrent(AT_ONCE, |decision| async move { carry_out(client, shared, decision).await }).await;
        }
    };
    let keep = async {
        loop {
            tokio::time::sleep(RENEW).await;
            if !lease.hold().await {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = keep => {}
        () = cancel.cancelled() => {}
    }
    over.cancel();
    for watch in watches {
        watch.abort();
    }
}

async fn carry_out(client: &Client, shared: &Shared, decision: Decision) {
    match decision {
        Decision::Bind { namespace, name, uid, node } => {
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "namespace": namespace, "uid": uid },
                "target": { "apiVersion": "v1", "kind": "Node", "name": node },
            });
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
            match client.post(&path, &binding).await {
                // Gone, or bound already by a word of ours that was answered but not heard: the watch tells.
                Ok(_) | Err(Trouble::NotFound(_)) => {}
                Err(trouble) => {
                    tracing::warn!(pod = format!("{namespace}/{name}"), node, error = %trouble, "a pod could not be bound and is looked at again");
                    shared.desk().failed(&(namespace, name));
                }
            }
        }
        Decision::Evict { namespace, name, node, victims } => {
            tracing::info!(pod = format!("{namespace}/{name}"), node, victims = victims.len(), "pods of lower priority make room");
            for (namespace, name) in victims {
                // An eviction keeps disruption budgets; one that is refused is asked for again at the next look.
                let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name, "namespace": namespace } });
                if let Err(trouble) = client.post_once(&format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction"), &eviction).await {
                    tracing::info!(pod = format!("{namespace}/{name}"), error = %trouble, "a pod could not be evicted");
                }
            }
        }
        Decision::Wait { namespace, name, reason } => {
            let condition: Value =
                json!({ "status": { "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason }] } });
            if let Err(trouble) = client.patch_status(&POD, &namespace, &name, &condition).await {
                tracing::debug!(pod = format!("{namespace}/{name}"), error = %trouble, "a pod could not be told why it waits");
            }
        }
    }
}
