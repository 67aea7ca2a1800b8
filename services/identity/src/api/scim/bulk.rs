//! Many operations in one request (RFC 7644 section 3.7): in their order, but for those that name what a later one makes, which
//! wait for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Answer, Ask, dispatch, error_body};
use crate::app::App;
use crate::app::scim::{Provisioner, ScimError};
use crate::domain::scim::filter::attribute;

pub const MOST: usize = 100;
const REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

pub async fn run(app: &App, of: &Provisioner, ask: &Ask<'_>) -> Result<Answer, ScimError> {
    if ask.method != "POST" {
        return Err(ScimError::new(405, "", "Bulk takes POST"));
    }
    if !ask.body["schemas"].as_array().is_some_and(|s| s.iter().any(|s| s == REQUEST)) {
        return Err(ScimError::new(400, "invalidSyntax", format!("schemas: must hold {REQUEST}")));
    }
    let operations =
        attribute(&ask.body, "Operations").and_then(Value::as_array).ok_or_else(|| ScimError::new(400, "invalidSyntax", "Operations: must be a list"))?;
    if operations.len() > MOST {
        return Err(ScimError::new(413, "", format!("at most {MOST} operations in one request")));
    }
    let most_errors = attribute(&ask.body, "failOnErrors").and_then(Value::as_u64).unwrap_or(u64::MAX).max(1);
    let mut waiting: Vec<Waiting<'_>> = operations.iter().map(Waiting::new).collect();
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    let (mut answers, mut errors) = (Vec::new(), 0);
    while errors < most_errors && !waiting.is_empty() {
        let next = waiting.remove(next(&waiting));
        let (answer, failed) = one(app, of, next.operation, &mut made).await;
        answers.push(answer);
        errors += u64::from(failed);
    }
    Ok(Answer::of(200, json!({ "schemas": [RESPONSE], "Operations": answers })))
}

/// An operation that was not tried yet.
struct Waiting<'a> {
    operation: &'a Value,
    /// The `bulkId` of what it will make.
    makes: Option<&'a str>,
    /// What it names by `bulkId:x`.
    named: BTreeSet<&'a str>,
}

impl<'a> Waiting<'a> {
    fn new(operation: &'a Value) -> Self {
        let text = |name: &str| attribute(operation, name).and_then(Value::as_str);
        let makes = text("bulkId").filter(|_| text("method").is_some_and(|m| m.eq_ignore_ascii_case("POST")));
        let mut named = BTreeSet::new();
        collect(operation, &mut named);
        Self { operation, makes, named }
    }
}

/// serde_json bounds how deep a body can be.
fn collect<'a>(value: &'a Value, named: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => named.extend(text.split('/').filter_map(|part| part.strip_prefix("bulkId:"))),
        Value::Array(elements) => elements.iter().for_each(|e| collect(e, named)),
        Value::Object(fields) => fields.values().for_each(|f| collect(f, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The first that names nothing that is still to be made. In a circle there is none: then the first of all, which is refused.
fn next(waiting: &[Waiting<'_>]) -> usize {
    let promised: BTreeSet<&str> = waiting.iter().filter_map(|w| w.makes).collect();
    waiting.iter().position(|w| w.named.is_disjoint(&promised)).unwrap_or(0)
}

async fn one(app: &App, of: &Provisioner, operation: &Value, made: &mut BTreeMap<String, String>) -> (Value, bool) {
    let text = |name: &str| attribute(operation, name).and_then(Value::as_str).unwrap_or_default();
    let (method, bulk_id) = (text("method").to_ascii_uppercase(), text("bulkId"));
    let mut answer = json!({ "method": method });
    if !bulk_id.is_empty() {
        answer["bulkId"] = json!(bulk_id);
    }
    let path = resolve_text(text("path"), made).map(|path| path.trim_matches('/').to_owned());
    if let Ok(path) = path.as_ref()
        && method != "POST"
    {
        answer["location"] = json!(format!("{}/scim/v2/orgs/{}/{path}", app.issuer, of.org_name));
    }
    let outcome = async {
        if method == "POST" && bulk_id.is_empty() {
            return Err(ScimError::invalid("bulkId: is needed to create"));
        }
        if !matches!(method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE") {
            return Err(ScimError::invalid("method: must be POST, PUT, PATCH or DELETE"));
        }
        let path = path?;
        let body = resolve(attribute(operation, "data").cloned().unwrap_or_default(), made, 0)?;
        let if_match = attribute(operation, "version").and_then(Value::as_str).map(str::to_owned);
        dispatch(app, of, Ask { method: &method, path: &path, query: Vec::new(), body, if_match }).await
    };
    match outcome.await {
        Ok(Answer { status, body, version, location }) => {
            answer["status"] = json!(status.to_string());
            if let Some(body) = body {
                if let (Some(id), false) = (body["id"].as_str(), bulk_id.is_empty()) {
                    made.insert(bulk_id.to_owned(), id.to_owned());
                }
                answer["location"] = json!(location);
                answer["version"] = json!(version);
            }
            (answer, false)
        }
        Err(error) => {
            answer["status"] = json!(error.status.to_string());
            answer["response"] = error_body(&error);
            (answer, true)
        }
    }
}

/// `bulkId:x` in a path: the id of what the operation with that id made.
fn resolve_text(text: &str, made: &BTreeMap<String, String>) -> Result<String, ScimError> {
    let parts: Result<Vec<_>, ScimError> = text
        .split('/')
        .map(|part| match part.strip_prefix("bulkId:") {
            Some(id) => made.get(id).cloned().ok_or_else(|| ScimError::new(409, "", format!("bulkId `{id}`: nothing was made by it before"))),
            None => Ok(part.to_owned()),
        })
        .collect();
    Ok(parts?.join("/"))
}

/// The same anywhere in a body. serde_json bounds how deep one can be.
fn resolve(value: Value, made: &BTreeMap<String, String>, depth: usize) -> Result<Value, ScimError> {
    Ok(match value {
        Value::String(text) if text.starts_with("bulkId:") => Value::String(resolve_text(&text, made)?),
        Value::Array(elements) if depth < 128 => Value::Array(elements.into_iter().map(|e| resolve(e, made, depth + 1)).collect::<Result<_, _>>()?),
        Value::Object(fields) if depth < 128 => {
            Value::Object(fields.into_iter().map(|(k, v)| Ok((k, resolve(v, made, depth + 1)?))).collect::<Result<_, ScimError>>()?)
        }
        other => other,
    })
}
