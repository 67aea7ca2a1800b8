//! What the suite says it can do: the merged OpenAPI document, one entry per path and method.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;

pub struct Operation {
    pub method: Method,
    /// As documented: `/api/v1/orgs/{org}`.
    pub template: String,
    /// Documented with an empty security requirement: nobody has to sign in.
    pub anonymous: bool,
    pub takes_json: bool,
    pub query: Vec<String>,
}

impl Operation {
    /// `GET /api/v1/orgs/{org}`
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    pub fn of_a_tenant(&self) -> bool {
        self.template.contains("{org}")
    }

    /// The path with names put in; a parameter without one gets an id that does not exist.
    pub fn path(&self, names: &BTreeMap<&str, String>, absent: &str) -> String {
        let mut path = String::new();
        let mut rest = self.template.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (key, after) = after.split_once('}').unwrap_or((after, ""));
            path += before;
            path += names.get(key.trim_start_matches('*')).map_or(absent, String::as_str);
            rest = after;
        }
        path + rest
    }
}

/// # Errors
/// When the document is not one.
pub fn of(document: &Value) -> Result<Vec<Operation>> {
    let paths = document["paths"].as_object().context("no paths in the document")?;
    let mut operations = Vec::new();
    for (template, item) in paths {
        for (verb, operation) in item.as_object().into_iter().flatten() {
            let Ok(method) = verb.to_uppercase().parse::<Method>() else { continue };
            if ![Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&method) {
                continue;
            }
            let anonymous = operation["security"].as_array().is_some_and(|all| all.iter().any(|one| one.as_object().is_some_and(serde_json::Map::is_empty)));
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            operations.push(Operation {
                method,
                template: template.clone(),
                anonymous,
                takes_json: operation["requestBody"]["content"]["application/json"].is_object(),
                query: parameters.filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str().map(str::to_owned)).collect(),
            });
        }
    }
    Ok(operations)
}
