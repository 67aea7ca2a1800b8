//! The SCIM 2.0 endpoints of an organisation below `/scim/v2/orgs/{org}`, with a provisioning token. One door for all of
//! them, so that bulk requests go through the same one.

mod bulk;
mod schemas;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use gantry_host::Path;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::app::context::Fact;
use crate::app::scim::{ListQuery, Listed, MOST_ON_A_PAGE, Provisioner, ScimError};
use crate::app::signin::Origin;
use crate::domain::scim::filter;
use crate::domain::scim::patch::{self, Operation};

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

pub fn router() -> Router<App> {
    Router::new().route("/scim/v2/orgs/{org}/{*rest}", any(handle))
}

/// An answer before it is put on the wire.
pub(crate) struct Answer {
    pub status: u16,
    pub body: Option<Value>,
}

/// What a request asks, whether it comes alone or in bulk.
pub(crate) struct Ask<'a> {
    pub method: &'a str,
    /// `Users`, `Users/<id>`, ...
    pub path: &'a str,
    pub query: Vec<(String, String)>,
    pub body: Value,
    pub if_match: Option<String>,
}

async fn handle(
    State(app): State<App>,
    origin: Origin,
    Path((org, rest)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let of = match app.provisioner(&org, bearer, &origin).await {
        Ok(of) => of,
        Err(error) => {
            let shown = bearer.is_some() && error.status == 401;
            let mut response = refuse(error);
            if shown {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            }
            return response;
        }
    };
    let body = match (body.is_empty(), serde_json::from_slice::<Value>(&body)) {
        (true, _) => Value::Null,
        (false, Ok(body)) => body,
        (false, Err(error)) => return refuse(ScimError::new(400, "invalidSyntax", error.to_string())),
    };
    let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let if_match = headers.get(header::IF_MATCH).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let none_match = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let ask = Ask { method: method.as_str(), path: rest.trim_matches('/'), query, body, if_match };
    let outcome = if ask.path == "Bulk" { bulk::run(&app, &of, &ask).await } else { dispatch(&app, &of, ask).await };
    match outcome {
        Ok(answer) => {
            let version = answer.body.as_ref().and_then(|b| b["meta"]["version"].as_str());
            let known = version.zip(none_match.as_deref()).filter(|(version, known)| method == Method::GET && names(known, version));
            match known.and_then(|(version, _)| HeaderValue::try_from(version).ok()) {
                Some(version) => (StatusCode::NOT_MODIFIED, [(header::ETAG, version)]).into_response(),
                None => render(answer),
            }
        }
        Err(error) => refuse(error),
    }
}

fn render(Answer { status, body }: Answer) -> Response {
    let mut response = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    if let Some(body) = body {
        let header = |value: &Value| value.as_str().and_then(|v| HeaderValue::try_from(v).ok());
        let (version, location) = (header(&body["meta"]["version"]), header(&body["meta"]["location"]));
        *response.body_mut() = axum::body::Body::from(body.to_string());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        headers.extend(version.map(|v| (header::ETAG, v)));
        headers.extend(location.map(|l| (header::LOCATION, l)));
    }
    response
}

pub(crate) fn error_body(error: &ScimError) -> Value {
    let mut body = json!({ "schemas": [ERROR], "status": error.status.to_string(), "detail": error.detail });
    if let Some(kind) = error.kind {
        body["scimType"] = json!(kind);
    }
    body
}

/// A request that cannot be understood, before anybody knows whose it is.
pub(crate) fn refused(kind: &'static str, detail: String) -> Response {
    refuse(ScimError::new(400, kind, detail))
}

fn refuse(error: ScimError) -> Response {
    let mut response = render(Answer { status: error.status, body: Some(error_body(&error)) });
    if error.status == 401 {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(problem) = error.problem {
        // The host logs the cause.
        response.extensions_mut().insert(*problem);
    }
    response
}

/// # Errors
/// What SCIM calls the fault.
pub(crate) async fn dispatch(app: &App, of: &Provisioner, ask: Ask<'_>) -> Result<Answer, ScimError> {
    let (kind, id) = ask.path.split_once('/').unwrap_or((ask.path, ""));
    let with = |status, body| Ok(Answer { status, body: Some(body) });
    let not_for = || ScimError::new(405, "", format!("{} is not for {}", ask.method, ask.path));
    if let Some(found) = schemas::fixed(&app.issuer, &of.org_name, kind, id) {
        return match ask.method {
            // RFC 7644 section 4.
            "GET" if ask.query.iter().any(|(name, _)| name.eq_ignore_ascii_case("filter")) => Err(ScimError::new(403, "", "there is no filter here")),
            "GET" => found.map(|body| Answer { status: 200, body: Some(body) }),
            _ => Err(not_for()),
        };
    }
    if kind == "Me" {
        return Err(ScimError::new(501, "", "a provisioning token is nobody's: there is no /Me"));
    }
    if !matches!(kind, "Users" | "Groups") {
        return Err(ScimError::missing("resource", ask.path));
    }
    let shape = Shape::of(&ask);
    match (ask.method, id) {
        ("GET", "") => with(200, list(app, of, kind, &list_query(&ask.query)?, &shape).await?),
        ("POST", ".search") => with(200, list(app, of, kind, &search_query(&ask.body)?, &shape).await?),
        ("GET", id) => with(200, shape.cut(read(app, of, kind, id).await?)),
        ("POST", "") => {
            let made = if kind == "Users" { app.scim_create_user(of, &ask.body).await? } else { app.scim_create_group(of, &ask.body).await? };
            with(201, shape.cut(made))
        }
        ("PUT", id) if !id.is_empty() => {
            fresh(&ask, &read(app, of, kind, id).await?)?;
            with(200, shape.cut(replace(app, of, kind, id, &ask.body).await?))
        }
        ("PATCH", id) if !id.is_empty() => {
            let mut resource = read(app, of, kind, id).await?;
            fresh(&ask, &resource)?;
            patch::apply(&mut resource, &operations(&ask.body)?)?;
            with(200, shape.cut(replace(app, of, kind, id, &resource).await?))
        }
        ("DELETE", id) if !id.is_empty() => {
            fresh(&ask, &read(app, of, kind, id).await?)?;
            if kind == "Users" {
                app.scim_delete_user(of, id).await?
            } else {
                app.scim_delete_group(of, id).await?
            }
            // The link is no event: the end of provisioning for this resource is put on record by itself.
            let (actor, object) = (of.meta().actor, format!("{}:{id}", if kind == "Users" { "user" } else { "team" }));
            app.record(Fact { actor: &actor, action: "scim.deleted", object: &object, result: "ok", reason: "", from: &of.from }).await;
            Ok(Answer { status: 204, body: None })
        }
        _ => Err(not_for()),
    }
}

async fn read(app: &App, of: &Provisioner, kind: &str, id: &str) -> Result<Value, ScimError> {
    if kind == "Users" { app.scim_user(of, id).await } else { app.scim_group(of, id).await }
}

async fn replace(app: &App, of: &Provisioner, kind: &str, id: &str, resource: &Value) -> Result<Value, ScimError> {
    if kind == "Users" { app.scim_replace_user(of, id, resource).await } else { app.scim_replace_group(of, id, resource).await }
}

/// `If-Match` must name the version that is there (RFC 7644 section 3.14).
fn fresh(ask: &Ask<'_>, resource: &Value) -> Result<(), ScimError> {
    let Some(wanted) = &ask.if_match else { return Ok(()) };
    let version = resource["meta"]["version"].as_str().unwrap_or_default();
    if names(wanted, version) { Ok(()) } else { Err(ScimError::new(412, "", format!("it changed meanwhile: the version is {version}"))) }
}

/// Whether a list of versions, as conditions have it, holds `version`. Ours are all weak.
fn names(list: &str, version: &str) -> bool {
    let bare = |version: &str| version.strip_prefix("W/").unwrap_or(version).to_owned();
    list.split(',').map(str::trim).any(|one| one == "*" || bare(one) == bare(version))
}

fn operations(body: &Value) -> Result<Vec<Operation>, ScimError> {
    let schemas = body["schemas"].as_array().is_some_and(|s| s.iter().any(|s| s == PATCH));
    if !schemas {
        return Err(ScimError::new(400, "invalidSyntax", format!("schemas: must hold {PATCH}")));
    }
    let operations = filter::attribute(body, "Operations").cloned().unwrap_or_default();
    serde_json::from_value(operations).map_err(|e| ScimError::new(400, "invalidSyntax", format!("Operations: {e}")))
}

async fn list(app: &App, of: &Provisioner, kind: &str, query: &ListQuery, shape: &Shape) -> Result<Value, ScimError> {
    let Listed { total, resources } = if kind == "Users" { app.scim_users(of, query).await? } else { app.scim_groups(of, query).await? };
    let resources: Vec<Value> = resources.into_iter().map(|r| shape.cut(r)).collect();
    Ok(json!({ "schemas": [LIST], "totalResults": total, "startIndex": query.start, "itemsPerPage": resources.len(), "Resources": resources }))
}

fn list_query(query: &[(String, String)]) -> Result<ListQuery, ScimError> {
    let get = |name: &str| query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    let number = |name: &str| match get(name) {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| ScimError::invalid(format!("{name}: must be a number"))),
    };
    made(get("filter"), get("sortBy"), get("sortOrder"), number("startIndex")?, number("count")?)
}

fn search_query(body: &Value) -> Result<ListQuery, ScimError> {
    let text = |name: &str| filter::attribute(body, name).and_then(Value::as_str);
    let number = |name: &str| filter::attribute(body, name).and_then(Value::as_i64);
    made(text("filter"), text("sortBy"), text("sortOrder"), number("startIndex"), number("count"))
}

/// A start below 1 is 1 and a count below 0 is 0 (RFC 7644 section 3.4.2.4).
fn made(filter: Option<&str>, sort_by: Option<&str>, order: Option<&str>, start: Option<i64>, count: Option<i64>) -> Result<ListQuery, ScimError> {
    let positive = |number: i64| usize::try_from(number).unwrap_or(0);
    Ok(ListQuery {
        filter: filter.map(filter::parse).transpose()?,
        sort_by: sort_by.map(str::to_owned),
        descending: order.is_some_and(|o| o.eq_ignore_ascii_case("descending")),
        start: start.map_or(1, positive).max(1),
        count: count.map_or(MOST_ON_A_PAGE, positive).min(MOST_ON_A_PAGE),
    })
}

/// `attributes` and `excludedAttributes`: which parts of a resource are wanted. `id` and `schemas` always are.
struct Shape {
    only: Option<Vec<String>>,
    without: Vec<String>,
}

impl Shape {
    fn of(ask: &Ask<'_>) -> Self {
        let list = |name: &str| {
            let query = ask.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.split(',').map(str::to_owned).collect::<Vec<_>>());
            let body = || filter::attribute(&ask.body, name)?.as_array().map(|l| l.iter().filter_map(Value::as_str).map(str::to_owned).collect());
            let names = query.or_else(body)?;
            // Without the schema's URN before the name.
            Some(
                names.into_iter().map(|n: String| n.trim().rsplit(':').next().unwrap_or_default().to_lowercase()).filter(|n| !n.is_empty()).collect::<Vec<_>>(),
            )
        };
        Self { only: list("attributes"), without: list("excludedAttributes").unwrap_or_default() }
    }

    fn cut(&self, resource: Value) -> Value {
        let Value::Object(fields) = resource else { return resource };
        let mut kept = Map::new();
        for (name, value) in fields {
            let lower = name.to_lowercase();
            if lower == "id" || lower == "schemas" {
                kept.insert(name, value);
                continue;
            }
            if self.without.contains(&lower) {
                continue;
            }
            let parts = |list: &[String]| list.iter().filter_map(|n| n.strip_prefix(&format!("{lower}."))).map(str::to_owned).collect::<Vec<_>>();
            let dropped = parts(&self.without);
            let value = if dropped.is_empty() { value } else { pick(value, &|part| !dropped.contains(&part.to_lowercase())) };
            match &self.only {
                None => {
                    kept.insert(name, value);
                }
                Some(only) if only.contains(&lower) => {
                    kept.insert(name, value);
                }
                Some(only) => {
                    let wanted = parts(only);
                    if !wanted.is_empty() {
                        kept.insert(name, pick(value, &|part| wanted.contains(&part.to_lowercase())));
                    }
                }
            }
        }
        Value::Object(kept)
    }
}

fn pick(value: Value, wanted: &dyn Fn(&str) -> bool) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.into_iter().filter(|(name, _)| wanted(name)).collect()),
        Value::Array(elements) => Value::Array(elements.into_iter().map(|e| pick(e, wanted)).collect()),
        other => other,
    }
}
