//! A pod, cut down to what is told of it: a cluster has thousands.

use serde_json::Value;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a node.
    Pending,
    Starting,
    Running,
    /// Runs, and something is wrong with it.
    Unhealthy,
    Stopping,
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub owner: String,
    pub workload: String,
    pub revision: u64,
    pub node: String,
    pub state: State,
    pub ready: bool,
    pub address: String,
    /// Of all its containers.
    pub restarts: u32,
    pub exit_code: i32,
    /// What keeps it from running or being ready, or made it end; empty if nothing.
    pub reason: String,
    /// The names of its containers, the workload's own first.
    pub containers: Vec<String>,
    pub resource_version: u64,
}

/// The labels that say whose an object is.
pub const OWNER: &str = "gantry.io/owner";
pub const WORKLOAD: &str = "gantry.io/workload";
pub const REVISION: &str = "gantry.io/revision";

/// `None`: it lacks what every pod has.
pub fn read(object: &Value) -> Option<Pod> {
    let metadata = object.get("metadata")?;
    let label = |key: &str| metadata["labels"][key].as_str().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (spec, status) = (&object["spec"], &object["status"]);
    let containers = || status["containerStatuses"].as_array().into_iter().flatten();
    let before = || status["initContainerStatuses"].as_array().into_iter().flatten();
    let conditions = || status["conditions"].as_array().into_iter().flatten();
    let ready = conditions().any(|c| c["type"] == "Ready" && c["status"] == "True");
    let deleting = metadata.get("deletionTimestamp").is_some_and(|t| !t.is_null());
    let trouble = before().chain(containers()).find_map(in_the_way);
    let ended = containers().find_map(|c| c["state"]["terminated"].as_object().filter(|t| t["exitCode"] != 0));
    let (state, reason) = match status["phase"].as_str().unwrap_or_default() {
        "Succeeded" => (State::Succeeded, String::new()),
        "Failed" => {
            let why = [status["message"].as_str(), status["reason"].as_str()].into_iter().flatten().find(|t| !t.is_empty());
            let why = why.map(str::to_owned).or_else(|| ended.map(|t| terminated(&Value::Object(t.clone()))));
            (State::Failed, why.unwrap_or_else(|| "failed".into()))
        }
        _ if deleting => (State::Stopping, String::new()),
        "Running" if ready => (State::Running, String::new()),
        "Running" => (State::Unhealthy, trouble.unwrap_or_else(|| "not ready".into())),
        _ if spec["nodeName"].as_str().is_none_or(str::is_empty) => {
            let unscheduled = conditions().find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
            (State::Pending, unscheduled.map(|c| text(&c["message"])).filter(|m| !m.is_empty()).unwrap_or_else(|| "waits for a node".into()))
        }
        _ => (State::Starting, trouble.unwrap_or_default()),
    };
    // A pod that is on its way out and has ended is told as ended.
    let exit_code = ended.and_then(|t| t["exitCode"].as_i64()).and_then(|c| i32::try_from(c).ok());
    let restarts = containers().filter_map(|c| c["restartCount"].as_u64()).sum::<u64>();
    Some(Pod {
        uid: metadata["uid"].as_str()?.to_owned(),
        namespace: metadata["namespace"].as_str()?.to_owned(),
        name: metadata["name"].as_str()?.to_owned(),
        owner: label(OWNER).to_owned(),
        workload: label(WORKLOAD).to_owned(),
        revision: label(REVISION).parse().unwrap_or(0),
        node: text(&spec["nodeName"]),
        state,
        ready,
        address: text(&status["podIP"]),
        restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
        exit_code: exit_code.unwrap_or(if state == State::Failed { -1 } else { 0 }),
        reason: reason.chars().take(500).collect(),
        containers: spec["containers"].as_array().into_iter().flatten().map(|c| text(&c["name"])).collect(),
        resource_version: version(object),
    })
}

/// Of any object. Later is more (kubernetes.io/docs/reference/using-api/api-concepts "resource versions"); 0 if it is no number.
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Why a container does not run.
fn in_the_way(container: &Value) -> Option<String> {
    let name = container["name"].as_str().unwrap_or_default();
    let last = &container["lastState"]["terminated"];
    if let Some(waiting) = container["state"]["waiting"].as_object() {
        let reason = waiting.get("reason").and_then(Value::as_str).unwrap_or_default();
        if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            return None;
        }
        let message = waiting.get("message").and_then(Value::as_str).unwrap_or_default();
        let before = if last.is_object() { format!("; it ended before: {}", terminated(last)) } else { String::new() };
        let parted = if message.is_empty() { "" } else { ": " };
        return Some(format!("{name}: {reason}{parted}{message}{before}"));
    }
    let ended = &container["state"]["terminated"];
    (ended.is_object() && ended["exitCode"] != 0).then(|| format!("{name}: {}", terminated(ended)))
}

fn terminated(ended: &Value) -> String {
    let reason = ended["reason"].as_str().unwrap_or("ended");
    let message = ended["message"].as_str().map(|m| format!(": {m}")).unwrap_or_default();
    format!("{reason} (exit code {}){message}", ended["exitCode"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: Value, status: Value) -> Pod {
        let metadata = json!({"uid": "u", "name": "web-1", "namespace": "x", "resourceVersion": "7",
            "labels": {OWNER: "a", WORKLOAD: "web", REVISION: "3"}});
        read(&json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn states_are_told_with_their_reason() {
        let on = json!({"nodeName": "n1", "containers": [{"name": "web"}]});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let running = pod(
            on.clone(),
            json!({"phase": "Running", "podIP": "10.1.1.1", "conditions": ready, "containerStatuses": [{"name": "web", "restartCount": 2, "state": {"running": {}}}]}),
        );
        assert_eq!((running.state, running.ready, running.restarts, running.revision, running.resource_version), (State::Running, true, 2, 3, 7));
        let unplaced =
            pod(json!({}), json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}));
        assert_eq!((unplaced.state, unplaced.reason.as_str()), (State::Pending, "0/3 nodes are available"));
        let pull = pod(
            on.clone(),
            json!({"phase": "Pending", "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]}),
        );
        assert_eq!((pull.state, pull.reason.as_str()), (State::Starting, "web: ImagePullBackOff: not found"));
        let crash = pod(
            on.clone(),
            json!({"phase": "Running", "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}]}),
        );
        assert_eq!((crash.state, crash.reason.as_str()), (State::Unhealthy, "web: CrashLoopBackOff; it ended before: Error (exit code 3)"));
        let failed = pod(on, json!({"phase": "Failed", "containerStatuses": [{"name": "web", "state": {"terminated": {"reason": "Error", "exitCode": 9}}}]}));
        assert_eq!((failed.state, failed.exit_code, failed.reason.as_str()), (State::Failed, 9, "Error (exit code 9)"));
        let evicted = pod(json!({"nodeName": "n1"}), json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}));
        assert_eq!((evicted.exit_code, evicted.reason.as_str()), (-1, "low on memory"));
    }

    #[test]
    fn what_is_no_pod_is_none() {
        assert!(read(&json!({"metadata": {"name": "x"}})).is_none());
        assert!(read(&json!("text")).is_none());
    }
}
