//! What was done to the container engine, for the record: one deed, what it was done to, and how it ended.

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::{InstanceId, OrgId};
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// `engine.<past participle>`
    pub kind: &'static str,
    /// `instance:<id>`, `image:<name>` or `node:<name>`
    pub object: String,
    /// Whose it is; administrators of an organisation see its own.
    pub org: Option<OrgId>,
    /// Why it failed; nothing if it did not.
    pub failure: Option<String>,
    pub detail: Value,
}

impl Act {
    /// Of an instance; `wanted` as long as somebody wants it.
    pub fn of_instance(kind: &'static str, id: InstanceId, wanted: Option<&wire::WantedInstance>, failure: Option<String>) -> Self {
        let labels = wanted.and_then(|w| w.labels.as_ref());
        let detail = match (wanted, labels) {
            (Some(wanted), Some(of)) => json!({
                "instance": wanted.name, "image": wanted.image, "project": of.project, "space": of.space, "app": of.app, "workload": of.workload,
                "revision": of.revision, "privileged": wanted.privileged,
            }),
            _ => json!({}),
        };
        Self { kind, object: format!("instance:{id}"), org: labels.and_then(|l| l.org_id.parse().ok()), failure, detail }
    }

    pub fn of_image(kind: &'static str, image: &str, failure: Option<String>) -> Self {
        Self { kind, object: format!("image:{image}"), org: None, failure, detail: json!({}) }
    }

    pub fn of_node(kind: &'static str, node: &str, failure: Option<String>) -> Self {
        Self { kind, object: format!("node:{node}"), org: None, failure, detail: json!({}) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_says_whose_it_was_and_holds_no_secret() {
        let id = InstanceId(gantry_kernel::Uuid::from_u128(1));
        let org = gantry_kernel::Uuid::from_u128(2);
        let wanted = wire::WantedInstance {
            name: "web-1".into(),
            image: "r/web@sha256:1".into(),
            env: vec![wire::KeyValue { name: "PASSWORD".into(), value: "hunter2".into() }],
            credential: Some(wire::ImageCredential { password: "hunter2".into(), ..Default::default() }),
            labels: Some(wire::Labels { org_id: org.to_string(), app: "shop".into(), ..Default::default() }),
            ..Default::default()
        };
        let act = Act::of_instance("engine.created", id, Some(&wanted), None);
        assert_eq!((act.org, act.detail["app"].as_str(), act.detail["image"].as_str()), (Some(OrgId(org)), Some("shop"), Some("r/web@sha256:1")));
        assert!(!format!("{act:?}").contains("hunter2"));
        assert_eq!(Act::of_instance("engine.removed", id, None, None).org, None);
    }
}
