//! What objects are called on a cluster: names that the API takes, the same for the same part of the same application, and never
//! the same for two; and wherever one object names another.

use std::collections::BTreeSet;

use gantry_kernel::Name;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::app::Home;
use crate::domain::cluster::ClusterSettings;

/// The space as its namespace's name.
pub fn namespace(home: &Home, settings: &ClusterSettings) -> String {
    short(&format!("{}{}-{}-{}", settings.namespace_prefix, home.org_name, home.project_name, home.space_name), 63)
}

/// `<app>-<name>`, such as the API takes for an object, and short enough for what is made of it.
pub fn named(app: &Name, name: &str) -> String {
    short(&fitting(&format!("{app}-{name}"), true), 52)
}

/// A name that Kubernetes takes (kubernetes.io/docs/concepts/overview/working-with-objects/names): a DNS label (RFC 1123) or, with
/// `dots`, labels with dots between. Other formats call volumes and secrets `db_password`; what has to be changed ends with a mark of
/// what it was, so that no two become the same.
pub(super) fn fitting(text: &str, dots: bool) -> String {
    let fits = |label: &str| {
        let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        inner && ends(label.bytes().next()) && ends(label.bytes().last())
    };
    let whole = if dots { text.split('.').all(fits) } else { text.len() <= 63 && fits(text) };
    if whole {
        return text.to_owned();
    }
    let clean: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).take(54).collect();
    format!("{}-{}", clean.trim_matches('-'), mark(text)).trim_start_matches('-').to_owned()
}

/// Of a job's object, before the application's name comes to it. `restarted`: the log's position of its last restart; 0: none.
pub fn job_name(name: &Name, revision: u64, restarted: i64) -> String {
    let restart = if restarted > 0 { format!("-{restarted}") } else { String::new() };
    format!("{}-r{revision}{restart}", short(name.as_str(), 30))
}

/// A longer one ends with a mark of the whole, so that no two become the same.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - 9).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
    let head = text[..end].trim_end_matches(['-', '.']);
    format!("{head}-{}", mark(text))
}

fn mark(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..4])
}

/// Volumes of a pod are called as the document calls them, and mounts name them so.
pub(super) fn fit_volumes(pod: &mut Value) {
    let fit = |name: &mut Value| {
        if let Some(text) = name.as_str() {
            *name = fitting(text, false).into();
        }
    };
    pod["volumes"].as_array_mut().into_iter().flatten().for_each(|volume| fit(&mut volume["name"]));
    for list in ["containers", "initContainers"] {
        for container in pod[list].as_array_mut().into_iter().flatten() {
            container["volumeMounts"].as_array_mut().into_iter().flatten().for_each(|mount| fit(&mut mount["name"]));
        }
    }
}

/// Puts the application's name before every object's, and wherever one names another.
pub(super) fn rename_all(objects: &mut [Value], app: &Name) {
    let known: BTreeSet<(String, String)> =
        objects.iter().filter_map(|o| Some((o["kind"].as_str()?.to_owned(), o["metadata"]["name"].as_str()?.to_owned()))).collect();
    for object in objects.iter_mut() {
        if let Some(name) = object["metadata"]["name"].as_str() {
            object["metadata"]["name"] = named(app, name).into();
        }
        if let Some(service) = object["metadata"]["labels"]["kubernetes.io/service-name"].as_str() {
            object["metadata"]["labels"]["kubernetes.io/service-name"] = named(app, service).into();
        }
        rename(object, &|kind, name| known.contains(&(kind.to_owned(), name.to_owned())).then(|| named(app, name)));
    }
}

/// Wherever an object names another, by its kind and name: `new` gives the name that it has now.
pub(super) fn rename(value: &mut Value, new: &dyn Fn(&str, &str) -> Option<String>) {
    let renamed = |kind: &str, text: &mut Value| {
        if let Some(name) = text.as_str().and_then(|name| new(kind, name)) {
            *text = name.into();
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields.iter_mut() {
                match key.as_str() {
                    "claimName" => renamed("PersistentVolumeClaim", inner),
                    "secretName" => renamed("Secret", inner),
                    "serviceName" => renamed("Service", inner),
                    "labels" | "annotations" | "matchLabels" | "data" | "binaryData" => {}
                    "configMap" | "configMapKeyRef" | "configMapRef" if inner["name"].is_string() => renamed("ConfigMap", &mut inner["name"]),
                    "secret" | "secretKeyRef" | "secretRef" if inner["name"].is_string() => renamed("Secret", &mut inner["name"]),
                    "service" if inner["name"].is_string() => renamed("Service", &mut inner["name"]),
                    "backendRefs" => inner.as_array_mut().into_iter().flatten().filter(|b| b.is_object()).for_each(|b| renamed("Service", &mut b["name"])),
                    "imagePullSecrets" => inner.as_array_mut().into_iter().flatten().filter(|s| s.is_object()).for_each(|s| renamed("Secret", &mut s["name"])),
                    "scaleTargetRef" | "describedObject" if inner.is_object() => {
                        let kind = inner["kind"].as_str().unwrap_or_default().to_owned();
                        renamed(&kind, &mut inner["name"]);
                    }
                    _ => rename(inner, new),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, new)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_other_formats_become_names_that_the_api_takes() {
        let app = Name::parse("shop").unwrap();
        assert_eq!((named(&app, "db-data").as_str(), named(&app, "app.conf").as_str()), ("shop-db-data", "shop-app.conf"), "what fits stays");
        let (secret, other) = (named(&app, "db_password"), named(&app, "DB_password"));
        assert!(secret.starts_with("shop-db-password-") && secret != other && secret != named(&app, "db-password"), "{secret} {other}");
        let fits =
            |text: &str| !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        for text in ["__", "a b", "Äpfel", "x.y", "long_".repeat(30).as_str()] {
            let label = fitting(text, false);
            assert!(fits(&label) && label.len() <= 63, "{text}: {label}");
            assert_eq!(fitting(&label, false), label, "once is enough");
        }
        assert_eq!(short(&"ä".repeat(40), 40).len(), 39, "cut between letters");
    }

    #[test]
    fn mounts_find_their_volume_under_its_new_name() {
        let mut pod = json!({ "volumes": [{ "name": "db_data" }, { "name": "host-0" }], "containers": [{ "volumeMounts": [{ "name": "db_data" }] }] });
        fit_volumes(&mut pod);
        assert_eq!(pod["volumes"][0]["name"], pod["containers"][0]["volumeMounts"][0]["name"]);
        assert_eq!((pod["volumes"][1]["name"].as_str(), pod["volumes"][0]["name"].as_str()), (Some("host-0"), Some(fitting("db_data", false).as_str())));
    }
}
