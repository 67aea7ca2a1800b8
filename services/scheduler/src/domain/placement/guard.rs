//! What is watched for in the instances of a space, and what follows.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::model::is_network;

/// Beside what is looked for in all instances: programs that are not of the image, rights that a container was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// What follows from a sign of an intrusion: `report` (also if empty), `restart` the container, `stop` the instance so that another
    /// one takes its place, `quarantine` it without any network, or `none`: nothing is looked for.
    pub action: String,
    /// Instances can open connections only to `egress`, the services of their space and the node's resolvers.
    pub closed: bool,
    pub egress: Vec<Egress>,
    /// Programs that are expected though they are not of the image; `/folder/` with all below.
    pub programs: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// An address, or a network as `192.0.2.0/24`.
    pub network: String,
    /// Every port if 0.
    #[serde(default)]
    pub port: u16,
}

const MOST: usize = 100;

impl Guard {
    /// Of a stored one that cannot be read as a whole: every part that can be.
    pub fn readable_part(stored: &Value) -> Self {
        let list = |key: &str| stored.get(key).and_then(Value::as_array).cloned().unwrap_or_default().into_iter();
        Self {
            action: stored.get("action").and_then(Value::as_str).unwrap_or_default().to_owned(),
            closed: stored.get("closed") == Some(&Value::Bool(true)),
            egress: list("egress").filter_map(|e| serde_json::from_value(e).ok()).collect(),
            programs: list("programs").filter_map(|p| p.as_str().map(str::to_owned)).collect(),
        }
    }

    /// (field, what is wrong with it), all of them.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        if !matches!(self.action.as_str(), "" | "none" | "report" | "restart" | "stop" | "quarantine") {
            out.push(("guard.action".into(), format!("`{}`: must be none, report, restart, stop or quarantine", self.action)));
        }
        if !self.closed && !self.egress.is_empty() {
            out.push(("guard.egress".into(), "has a meaning only with `closed: true`: without it everything can be reached".into()));
        }
        for (n, egress) in self.egress.iter().enumerate() {
            if !is_network(&egress.network) {
                out.push((format!("guard.egress[{n}].network"), format!("`{}`: must be an address, or a network such as 192.0.2.0/24", egress.network)));
            }
        }
        for (n, program) in self.programs.iter().enumerate() {
            if !program.starts_with('/') || program.len() > 4096 {
                out.push((format!("guard.programs[{n}]"), "must be an absolute path, as the container sees it".into()));
            }
        }
        if self.programs.len() > MOST || self.egress.len() > MOST {
            out.push(("guard".into(), format!("at most {MOST} networks and programs each")));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_guard_is_told() {
        let guard: Guard = serde_json::from_value(serde_json::json!({
            "action": "shout", "closed": true, "egress": [{"network": "192.0.2.0/24", "port": 443}, {"network": "fd00::/8"}, {"network": "192.0.2.0/33"}, {"network": "example.org"}],
            "programs": ["/opt/", "x"],
        }))
        .unwrap();
        let fields: Vec<String> = guard.faults().into_iter().map(|f| f.0).collect();
        assert_eq!(fields, ["guard.action", "guard.egress[2].network", "guard.egress[3].network", "guard.programs[1]"]);
        assert!(Guard::default().faults().is_empty());
        let open = Guard { egress: guard.egress[..1].to_vec(), ..Guard::default() };
        assert_eq!(open.faults()[0].0, "guard.egress");
    }

    #[test]
    fn what_can_be_read_of_a_guard_goes_on_to_count() {
        let stored = serde_json::json!({
            "action": "quarantine", "closed": true, "egress": [{"network": "192.0.2.0/24", "port": 443}, {"zone": "new"}], "programs": ["/bin/a", 7], "since": 9
        });
        assert!(serde_json::from_value::<Guard>(stored.clone()).is_err());
        let egress = vec![Egress { network: "192.0.2.0/24".into(), port: 443 }];
        assert_eq!(Guard::readable_part(&stored), Guard { action: "quarantine".into(), closed: true, egress, programs: vec!["/bin/a".into()] });
        assert_eq!(Guard::readable_part(&Value::Null), Guard::default());
    }
}
