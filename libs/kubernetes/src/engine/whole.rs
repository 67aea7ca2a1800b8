//! What an apply leaves behind. Of a part that is said no more the server keeps what nobody has said, its own defaults, and some
//! servers (1.36 before the fix of structured-merge-diff's issue 331) keep it as an empty part: with another of its kind beside it,
//! or alone, the object is then refused as a whole. A merge patch (RFC 7396) makes such parts exactly as they are wanted, under a
//! name of its own, which is given up at once: what two hold, one cannot take away.

use serde_json::{Map, Value, json};

use super::Shared;
use super::wanted::One;
use crate::trouble::Trouble;

/// Who lays the patch over.
pub(super) const WHOLE: &str = "gantry-whole";
/// Parts in which one thing excludes another.
const PARTS: [&str; 6] = [
    "/spec/template/spec",
    "/spec/jobTemplate/spec/template/spec",
    "/spec/updateStrategy",
    "/spec/sessionAffinity",
    "/spec/sessionAffinityConfig",
    "/spec/behavior",
];
/// The first of them are never said no more: what an object has none of is another kind's.
const LASTING: usize = 3;

impl Shared {
    /// An apply was refused: once more, with nothing left behind. `None`: that is not why.
    pub(super) async fn apply_whole(&self, object: &One, namespace: Option<&str>, body: &Value) -> Result<Option<Value>, Trouble> {
        let name = &object.key.2;
        let there = self.client.get(&format!("{}/{name}", object.kind.path(namespace))).await?;
        let Some(change) = patch(body, &there) else { return Ok(None) };
        self.client.merge_as(WHOLE, object.kind, namespace, name, &change).await?;
        let answer = self.send(object, namespace, body, true).await?;
        tracing::info!(object = ?object.key, "an object was made whole, because an apply left behind what excludes the new");
        self.let_go(object, namespace, answer).await.map(Some)
    }

    /// Only the engine's own name stays; an answer as it came if the other one is not in it.
    pub(super) async fn let_go(&self, object: &One, namespace: Option<&str>, mut answer: Value) -> Result<Value, Trouble> {
        for _ in 0..3 {
            let held = answer["metadata"]["managedFields"].as_array();
            let Some(held) = held.filter(|all| all.iter().any(|entry| entry["manager"] == WHOLE)) else { return Ok(answer) };
            let kept: Vec<Value> = held.iter().filter(|entry| entry["manager"] != WHOLE).cloned().collect();
            let change = json!({ "metadata": { "managedFields": kept, "resourceVersion": answer["metadata"]["resourceVersion"] } });
            answer = match self.client.merge_as(WHOLE, object.kind, namespace, &object.key.2, &change).await {
                // Somebody has changed it just now.
                Err(Trouble::Conflict(_)) => self.client.get(&format!("{}/{}", object.kind.path(namespace), object.key.2)).await?,
                answered => answered?,
            };
        }
        Ok(answer)
    }
}

/// What makes those parts as they are wanted, if they are not.
fn patch(wanted: &Value, there: &Value) -> Option<Value> {
    let mut out = json!({ "metadata": { "resourceVersion": there["metadata"]["resourceVersion"] } });
    let mut found = false;
    for (n, part) in PARTS.iter().enumerate() {
        let change = match (wanted.pointer(part), there.pointer(part)) {
            (Some(wanted), there) if there != Some(wanted) => exactly(wanted, there.unwrap_or(&Value::Null)),
            (None, Some(_)) if n >= LASTING => Value::Null,
            _ => continue,
        };
        found = true;
        let mut at = &mut out;
        for field in part.split('/').skip(1) {
            at = &mut at[field];
        }
        *at = change;
    }
    found.then_some(out)
}

/// As a merge patch: fields that are not wanted go, lists are replaced.
fn exactly(wanted: &Value, there: &Value) -> Value {
    let (Value::Object(wanted), Value::Object(there)) = (wanted, there) else { return wanted.clone() };
    let mut out: Map<String, Value> = wanted.iter().map(|(field, value)| (field.clone(), exactly(value, there.get(field).unwrap_or(&Value::Null)))).collect();
    out.extend(there.keys().filter(|field| !wanted.contains_key(*field)).map(|field| (field.clone(), Value::Null)));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_of_a_part_goes_and_all_else_stays() {
        let there = json!({
            "metadata": { "resourceVersion": "7", "annotations": { "a": "b" } },
            "spec": { "replicas": 3, "template": { "metadata": { "annotations": { "c": "d" } }, "spec": {
                "dnsPolicy": "ClusterFirst", "securityContext": { "seccompProfile": {} },
                "containers": [{ "name": "web", "livenessProbe": { "httpGet": {}, "tcpSocket": { "port": 1 } } }] } } },
        });
        let containers = json!([{ "name": "web", "livenessProbe": { "tcpSocket": { "port": 1 } } }]);
        let wanted = json!({ "spec": { "template": { "spec": { "containers": containers, "securityContext": { "fsGroup": 1 } } } } });
        let expected = json!({
            "metadata": { "resourceVersion": "7" },
            "spec": { "template": { "spec": { "dnsPolicy": null, "containers": containers, "securityContext": { "fsGroup": 1, "seccompProfile": null } } } },
        });
        assert_eq!(patch(&wanted, &there), Some(expected));
        assert_eq!(patch(&json!({ "spec": { "replicas": 2 } }), &there), None);
    }

    #[test]
    fn a_strategy_and_the_memory_of_callers_go_with_what_they_belong_to() {
        let set = json!({ "spec": { "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } } } });
        let change = patch(&json!({ "spec": { "updateStrategy": { "type": "OnDelete" } } }), &set).unwrap();
        assert_eq!(change["spec"]["updateStrategy"], json!({ "type": "OnDelete", "rollingUpdate": null }));
        let service = json!({ "spec": { "clusterIP": "10.0.0.1", "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": {} } } });
        let change = patch(&json!({ "spec": { "ports": [] } }), &service).unwrap();
        assert_eq!(change["spec"], json!({ "sessionAffinity": null, "sessionAffinityConfig": null }));
    }
}
