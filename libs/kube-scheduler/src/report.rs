//! Events of pods (events.k8s.io/v1), as `kubectl describe pod` shows them. They are told beside the work and never hold it up:
//! when the API server takes them more slowly than they come, some are left out.

use gantry_kernel::Env;
use gantry_kubernetes::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use crate::moment;
use crate::storage::At;

/// Events that wait to be written, and writers.
const WAITING: usize = 512;
const WRITERS: usize = 4;
/// Of a note (the API's limit is 1024 bytes).
const LONGEST: usize = 1_000;

/// What has happened to a pod.
pub struct Told {
    pub pod: At,
    pub uid: String,
    /// `Scheduled`, `FailedScheduling`, `Preempted`
    pub reason: &'static str,
    /// `Binding`, `Scheduling`, `Preempting`
    pub action: &'static str,
    pub note: String,
}

#[derive(Clone)]
pub struct Reports(Sender<Told>);

impl Reports {
    /// Written until what is returned is dropped.
    pub fn start(client: &Client, env: &Env, scheduler: &str, identity: &str) -> (Self, JoinSet<()>) {
        let (sender, receiver) = channel(WAITING);
        let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (client, env, receiver) = (client.clone(), env.clone(), receiver.clone());
            let (scheduler, identity) = (scheduler.to_owned(), identity.to_owned());
            writers.spawn(async move {
                while let Some(told) = next(&receiver).await {
                    let event = event(&told, &env, &scheduler, &identity);
                    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", told.pod.0);
                    if let Err(trouble) = client.post_once(&path, &event).await {
                        tracing::debug!(pod = format!("{}/{}", told.pod.0, told.pod.1), error = %trouble, "an event could not be written");
                    }
                }
            });
        }
        (Self(sender), writers)
    }

    pub fn tell(&self, told: Told) {
        if self.0.try_send(told).is_err() {
            tracing::debug!("an event was left out: too many wait to be written");
        }
    }
}

async fn next(receiver: &tokio::sync::Mutex<Receiver<Told>>) -> Option<Told> {
    receiver.lock().await.recv().await
}

fn event(told: &Told, env: &Env, scheduler: &str, identity: &str) -> Value {
    let Told { pod: (namespace, name), uid, reason, action, note } = told;
    let mut note = note.clone();
    if note.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
        note.truncate(end);
        note.push('…');
    }
    // Names of pods may be as long as names of objects may be.
    let begins: String = name.chars().take(216).collect();
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "namespace": namespace, "name": format!("{}.{}", begins.trim_end_matches(['.', '-']), env.uuid().simple()) },
        "eventTime": moment::micro(env),
        "reportingController": scheduler, "reportingInstance": identity,
        "action": action, "reason": reason, "note": note, "type": if *reason == "FailedScheduling" { "Warning" } else { "Normal" },
        "regarding": { "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_what_the_api_takes() {
        let told = Told { pod: ("x".into(), "p".repeat(253)), uid: "u".into(), reason: "FailedScheduling", action: "Scheduling", note: "ä".repeat(900) };
        let event = event(&told, &Env::system(), "gantry", "gantry-1");
        assert!(event["metadata"]["name"].as_str().unwrap().len() <= 253 && event["note"].as_str().unwrap().len() <= 1_024);
        assert_eq!((&event["type"], &event["regarding"]["uid"], event["eventTime"].as_str().unwrap().len()), (&json!("Warning"), &json!("u"), 27));
    }
}
