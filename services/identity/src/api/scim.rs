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
    /// Of the resource in the body, also where no `meta` is asked for.
    pub version: Option<String>,
    pub location: Option<String>,
}

impl Answer {
    fn of(status: u16, body: Value) -> Self {
        let meta = |name: &str| body["meta"][name].as_str().map(str::to_owned);
        Self { status, version: meta("version"), location: meta("location"), body: Some(body) }
    }

    /// Of the body what is wanted.
    fn shaped(self, shape: &Shape) -> Self {
        Self { body: self.body.map(|body| shape.cut(body)), ..self }
    }
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
    let mut response = answered(&app, &origin, (&org, &rest), &method, &headers, query, &body).await;
    if plain(&headers)
        && let Some(kind) = response.headers_mut().get_mut(header::CONTENT_TYPE)
    {
        *kind = HeaderValue::from_static("application/json");
    }
    response
}

/// Who asks for JSON and knows nothing of SCIM's own type (RFC 7644 section 3.8).
fn plain(headers: &HeaderMap) -> bool {
    let accepted: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).collect();
    let named = |kind: &str| accepted.iter().any(|a| a.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind));
    named("application/json") && !named("application/scim+json")
}

async fn answered(app: &App, origin: &Origin, (org, rest): (&str, &str), method: &Method, headers: &HeaderMap, query: Option<String>, body: &[u8]) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let of = match app.provisioner(org, bearer, origin).await {
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
    let body = match (body.is_empty(), serde_json::from_slice::<Value>(body)) {
        (true, _) => Value::Null,
        (false, Ok(body)) => body,
        (false, Err(error)) => return refuse(ScimError::new(400, "invalidSyntax", error.to_string())),
    };
    let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let if_match = headers.get(header::IF_MATCH).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let none_match = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let ask = Ask { method: method.as_str(), path: rest.trim_matches('/'), query, body, if_match };
    let outcome = if ask.path == "Bulk" { bulk::run(app, &of, &ask).await } else { dispatch(app, &of, ask).await };
    match outcome {
        Ok(answer) => {
            let version = answer.version.as_deref();
            let known = version.zip(none_match.as_deref()).filter(|(version, known)| *method == Method::GET && names(known, version));
            match known.and_then(|(version, _)| HeaderValue::try_from(version).ok()) {
                Some(version) => (StatusCode::NOT_MODIFIED, [(header::ETAG, version)]).into_response(),
                None => render(answer),
            }
        }
        Err(error) => refuse(error),
    }
}

fn render(Answer { status, body, version, location }: Answer) -> Response {
    let mut response = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    if let Some(body) = body {
        let header = |value: Option<String>| value.and_then(|v| HeaderValue::try_from(v).ok());
        let (version, location) = (header(version), header(location));
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
    let mut response = render(Answer::of(error.status, error_body(&error)));
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
    let not_for = || ScimError::new(405, "", format!("{} is not for {}", ask.method, ask.path));
    if let Some(found) = schemas::fixed(&app.issuer, &of.org_name, kind, id) {
        return match ask.method {
            // RFC 7644 section 4.
            "GET" if ask.query.iter().any(|(name, _)| name.eq_ignore_ascii_case("filter")) => Err(ScimError::new(403, "", "there is no filter here")),
            "GET" => found.map(|body| Answer::of(200, body)),
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
        ("GET", "") => Ok(Answer::of(200, list(app, of, kind, &list_query(&ask.query)?, &shape).await?)),
        ("POST", ".search") => Ok(Answer::of(200, list(app, of, kind, &search_query(&ask.body)?, &shape).await?)),
        ("GET", id) => Ok(Answer::of(200, read(app, of, kind, id).await?).shaped(&shape)),
        ("POST", "") => {
            let made = if kind == "Users" { app.scim_create_user(of, &ask.body).await? } else { app.scim_create_group(of, &ask.body).await? };
            Ok(Answer::of(201, made).shaped(&shape))
        }
        ("PUT", id) if !id.is_empty() => {
            fresh(&ask, &read(app, of, kind, id).await?)?;
            Ok(Answer::of(200, replace(app, of, kind, id, &ask.body).await?).shaped(&shape))
        }
        ("PATCH", id) if !id.is_empty() => {
            let mut resource = read(app, of, kind, id).await?;
            fresh(&ask, &resource)?;
            patch::apply(&mut resource, &operations(&ask.body)?)?;
            Ok(Answer::of(200, replace(app, of, kind, id, &resource).await?).shaped(&shape))
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
            Ok(Answer { status: 204, body: None, version: None, location: None })
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
            // Elsewhere a body is a resource, of whatever attributes.
            let body = || {
                filter::attribute(&ask.body, name)
                    .filter(|_| ask.path.ends_with("/.search"))?
                    .as_array()
                    .map(|l| l.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            };
            let names = query.or_else(body)?;
            Some(names.iter().map(|n: &String| Self::plain(n)).filter(|n| !n.is_empty()).collect::<Vec<_>>())
        };
        Self { only: list("attributes"), without: list("excludedAttributes").unwrap_or_default() }
    }

    /// Without the schema's URN before the name; a schema itself stays.
    fn plain(name: &str) -> String {
        let name = name.trim().to_lowercase();
        let tail = name.rsplit(':').next().unwrap_or_default();
        if filter::is_urn(&name) && matches!(tail, "user" | "group") { name } else { tail.to_owned() }
    }

    /// Of an extension, whose attributes are asked for by their own names.
    fn cut_extension(&self, name: &str, inner: Value) -> Option<Value> {
        let kept = pick(inner, &|part| !self.without.contains(&part.to_lowercase()));
        let asked = |only: &[String], part: &str| only.iter().any(|o| o == part || o.strip_prefix(part).is_some_and(|rest| rest.starts_with('.')));
        match &self.only {
            Some(only) if !only.iter().any(|o| o == name) => {
                Some(pick(kept, &|part| asked(only, &part.to_lowercase()))).filter(|left| left.as_object().is_some_and(|l| !l.is_empty()))
            }
            _ => Some(kept),
        }
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
            if filter::is_urn(&name) {
                kept.extend(self.cut_extension(&lower, value).map(|value| (name, value)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(only: Option<&str>, without: &str) -> Value {
        const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let names = |list: &str| list.split(',').map(Shape::plain).filter(|n| !n.is_empty()).collect::<Vec<_>>();
        let shape = Shape { only: only.map(names), without: names(without) };
        shape.cut(
            json!({ "id": "1", "schemas": [], "title": "C", "name": { "givenName": "A", "familyName": "K" }, URN: { "department": "E", "division": "X" } }),
        )
    }

    #[test]
    fn attributes_of_extensions_are_asked_for_by_their_own_names_or_all_at_once() {
        const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let of = |inner: Value| json!({ "id": "1", "schemas": [], URN: inner });
        let both = json!({ "department": "E", "division": "X" });
        assert_eq!(cut(Some(URN), ""), of(both.clone()));
        assert_eq!(cut(Some(&format!("{URN}:Department")), ""), of(json!({ "department": "E" })));
        assert_eq!(
            cut(Some("title,urn:ietf:params:scim:schemas:core:2.0:User:name.givenName"), ""),
            json!({ "id": "1", "schemas": [], "title": "C", "name": { "givenName": "A" } })
        );
        let left = cut(None, &format!("id,title,name.givenName,{URN}:division"));
        assert_eq!(
            (&left["id"], left.get("title"), &left["name"], &left[URN]),
            (&json!("1"), None, &json!({ "familyName": "K" }), &json!({ "department": "E" }))
        );
        assert!(cut(None, URN).get(URN).is_none());
    }

    #[test]
    fn the_type_of_an_answer_is_one_that_was_asked_for() {
        for (accept, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8, text/plain, */*", true),
            ("application/scim+json, application/json", false),
            ("*/*", false),
            ("", false),
        ] {
            let headers = [(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(plain(&headers), expected, "{accept}");
        }
    }
}
