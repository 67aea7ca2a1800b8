//! What can be had: read from YAML files (`offerings/`, compiled in, and a folder of the operator's).

use std::collections::BTreeMap;

use gantry_kernel::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::schema::Schema;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offering {
    pub name: Name,
    pub title: String,
    pub description: String,
    /// `cache`, `database`, `proxy`, ...
    pub category: String,
    #[serde(default)]
    pub tags: Vec<String>,
    /// `<repository>:<tag>` of the image, unless configured or given.
    pub image: String,
    /// The service of the document that bindings point to.
    pub service: Name,
    /// Whether a password is made for each instance and given to the document as `${PASSWORD}`.
    pub password: bool,
    pub parameters: Schema,
    pub plans: Vec<Plan>,
    /// What a binding gives beside host, port and password; `{host}`, `{port}`, `{password}` are filled in. What has a host is given a second
    /// time for callers from outside, as `external_<name>`.
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    /// A Compose document. `${IMAGE}`, `${PASSWORD}`, the plan's values and the parameters in capital letters are filled in.
    pub compose: String,
}

/// Where an instance answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

/// For applications of its space, and from outside, if it answers there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    pub inside: Address,
    pub outside: Option<Address>,
}

/// A size of an offering.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub name: Name,
    pub description: String,
    pub values: BTreeMap<String, String>,
}

#[derive(Debug, Error)]
pub enum OfferingError {
    #[error("{file} is no offering: {reason}")]
    Malformed { file: String, reason: String },
    #[error("offering `{0}` has no plan")]
    NoPlan(Name),
    #[error("offering `{0}` has a plan, value or parameter twice or of a reserved name: {1}")]
    Twice(Name, String),
    #[error("two offerings are named `{0}`")]
    SameName(Name),
}

/// Names a document's values are filled in by; a plan or parameter may not take them.
const RESERVED: [&str; 2] = ["PASSWORD", "INSTANCE"];

impl Offering {
    /// # Errors
    /// What is wrong with the file.
    pub fn read(file: &str, text: &str) -> Result<Self, OfferingError> {
        let offering: Self = serde_saphyr::from_str(text).map_err(|e| OfferingError::Malformed { file: file.into(), reason: e.to_string() })?;
        if offering.plans.is_empty() {
            return Err(OfferingError::NoPlan(offering.name));
        }
        let mut plans: Vec<_> = offering.plans.iter().map(|p| p.name.to_string()).collect();
        plans.sort();
        let twice = plans.windows(2).find(|w| w[0] == w[1]).map(|w| w[0].clone());
        let parameters: Vec<String> = offering.parameters.properties.keys().map(|k| k.to_uppercase()).collect();
        let values = offering.plans.iter().flat_map(|p| p.values.keys());
        let clash = values.chain(&parameters).find(|n| RESERVED.contains(&n.as_str())).cloned();
        let both = offering.plans.iter().flat_map(|p| p.values.keys()).find(|v| parameters.contains(v)).cloned();
        match twice.or(clash).or(both) {
            Some(name) => Err(OfferingError::Twice(offering.name, name)),
            None => Ok(offering),
        }
    }

    pub fn plan(&self, name: &str) -> Option<&Plan> {
        self.plans.iter().find(|p| p.name.as_str() == name)
    }

    /// What `${...}` in the document stands for.
    pub fn values(&self, plan: &Plan, parameters: &Map<String, Value>, image: &str, instance: &str, password: &str) -> BTreeMap<String, String> {
        let mut values = plan.values.clone();
        values.insert("IMAGE".into(), image.into());
        values.insert("INSTANCE".into(), instance.into());
        values.insert("PASSWORD".into(), password.into());
        for (name, value) in parameters {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            values.insert(name.to_uppercase(), text);
        }
        values
    }

    /// What a binding hands out: `host`, `port` and `uri` are for containers, as those who read them run there; what people use from
    /// their own machines begins with `external_`.
    pub fn credentials(&self, reached: &Reached, password: &str) -> Value {
        // Passwords are made of letters and digits, so they need no escaping in addresses.
        let filled =
            |template: &str, at: &Address| template.replace("{host}", &at.host).replace("{port}", &at.port.to_string()).replace("{password}", password);
        let mut out = Map::new();
        out.insert("host".into(), reached.inside.host.as_str().into());
        out.insert("port".into(), reached.inside.port.into());
        if self.password {
            out.insert("password".into(), password.into());
        }
        for (name, template) in &self.credentials {
            out.insert(name.clone(), filled(template, &reached.inside).into());
        }
        if let Some(outside) = &reached.outside {
            out.insert("external_host".into(), outside.host.as_str().into());
            out.insert("external_port".into(), outside.port.into());
            for (name, template) in self.credentials.iter().filter(|(_, template)| template.contains("{host}")) {
                out.insert(format!("external_{name}"), filled(template, outside).into());
            }
        }
        Value::Object(out)
    }
}

/// The built-in ones.
///
/// # Errors
/// Never, as a test shows.
pub fn built_in() -> Result<Vec<Offering>, OfferingError> {
    [
        ("redis.yaml", include_str!("../../offerings/redis.yaml")),
        ("postgres.yaml", include_str!("../../offerings/postgres.yaml")),
        ("nginx.yaml", include_str!("../../offerings/nginx.yaml")),
    ]
    .into_iter()
    .map(|(file, text)| Offering::read(file, text))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_built_in_offerings_are_whole() {
        let all = built_in().unwrap();
        let names: Vec<_> = all.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["redis", "postgres", "nginx"]);
        for offering in &all {
            let parameters = offering.parameters.check(&Map::new()).unwrap();
            for plan in &offering.plans {
                let values = offering.values(plan, &parameters, "img", "i", "pw");
                let mut rest = offering.compose.replace("$$", "");
                for name in values.keys() {
                    rest = rest.replace(&format!("${{{name}}}"), "x");
                }
                assert!(!rest.contains('$'), "{} {}: a value is missing: {rest}", offering.name, plan.name);
            }
            assert!(offering.compose.contains(&format!("  {}:\n", offering.service)), "{}", offering.name);
        }
    }

    #[test]
    fn a_binding_gives_host_port_password_and_address() {
        let (all, address) = (built_in().unwrap(), |host: &str, port| Address { host: host.into(), port });
        let inside = Reached { inside: address("redis.svc-cache", 6379), outside: None };
        let for_containers = json!({"host": "redis.svc-cache", "port": 6379, "password": "pw", "uri": "redis://:pw@redis.svc-cache:6379/0"});
        assert_eq!(all[0].credentials(&inside, "pw"), for_containers);
        let both = all[0].credentials(&Reached { outside: Some(address("203.0.113.7", 20001)), ..inside.clone() }, "pw");
        assert!(for_containers.as_object().unwrap().iter().all(|(name, value)| both[name] == *value), "{both}");
        assert_eq!(
            (&both["external_host"], &both["external_port"], &both["external_uri"]),
            (&json!("203.0.113.7"), &json!(20001), &json!("redis://:pw@203.0.113.7:20001/0"))
        );
        let postgres = all[1].credentials(&Reached { outside: Some(address("203.0.113.7", 20002)), ..inside }, "pw");
        assert!(postgres["username"] == "app" && postgres.get("external_username").is_none(), "{postgres}");
    }

    #[test]
    fn a_parameter_cannot_take_the_passwords_name() {
        let text = include_str!("../../offerings/nginx.yaml").replace("replicas: { type", "password: { type");
        assert!(matches!(Offering::read("x", &text), Err(OfferingError::Twice(_, name)) if name == "PASSWORD"));
        assert!(matches!(Offering::read("x", "name: [1]"), Err(OfferingError::Malformed { .. })));
    }
}
