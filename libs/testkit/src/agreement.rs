//! Whether a service's RPCs and its REST API say the same: every operation has its RPC, every field its field.
//! Called by a test of each service that has both.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::Value;

/// Where a service's two APIs differ on purpose. By default nowhere.
#[derive(Default)]
pub struct Apart {
    /// A file is the answer of an RPC of its own, not one of the `format`s of another.
    pub files: bool,
    /// What the path names is put into the body by REST.
    pub named_by_path: bool,
    /// Fields that REST takes out of the body before it is read.
    pub secrets: &'static [&'static str],
    /// Services that are written by hand, as messages go both ways: what the REST call says is in the field `start` of the first one.
    pub by_hand: &'static [&'static str],
}

/// The package of the message that files are answered in.
const FILES: &str = "google.api";

/// What the OpenAPI document and the RPCs of `services` say differently, a sentence each.
///
/// # Panics
/// When one of them cannot be read: a service that does not exist, an RPC without a rule.
pub fn disagreements(document: &Value, services: &[&str], apart: &Apart) -> BTreeSet<String> {
    let api = Api { document, apart };
    let pool = DescriptorPool::decode(gantry_contract::proto::DESCRIPTORS).expect("descriptors");
    let mut faults = BTreeSet::new();
    let mut reached = BTreeSet::new();
    let operations: BTreeMap<String, &Value> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, all)| all.as_object().expect("operations").iter().map(move |(verb, op)| (operation(verb, path), op)))
        .collect();
    for service in services.iter().chain(apart.by_hand) {
        for method in pool.get_service_by_name(service).unwrap_or_else(|| panic!("{service}")).methods() {
            let (verb, path, body) = rule(&method);
            let key = operation(&verb, &path);
            let Some(operation) = operations.get(&key) else {
                faults.insert(format!("{}: REST has no {key}", method.full_name()));
                continue;
            };
            request(&api, &method, &path, &body, operation, &mut faults);
            let good = |code: &str| code.starts_with('2') || code == "101";
            let answer = operation["responses"].as_object().expect("answers").iter().find(|(code, _)| good(code)).expect("a good one").1;
            if let Some(schema) = answer.pointer("/content/application~1json/schema") {
                // What is followed comes one by one.
                let schema = shape(&api, schema, &method);
                let one = api.properties(schema).get("items").copied().filter(|_| method.name().starts_with("Follow")).map(|items| &items["items"]);
                api.compare(&key, one.unwrap_or(schema), &method.output(), &mut faults);
            }
            reached.insert(key);
        }
    }
    faults.extend(operations.keys().filter(|k| !reached.contains(*k)).map(|k| format!("{k} has no RPC")));
    faults
}

/// Is it the RPC of a dry run?
fn is_dry(method: &MethodDescriptor) -> bool {
    method.name().starts_with("DryRun")
}

/// What the RPC answers: a dry run answers the second of two shapes, a `...Preview`, and the change itself the first.
fn shape<'a>(api: &'a Api<'_>, schema: &'a Value, method: &MethodDescriptor) -> &'a Value {
    let is_preview = |schema: &Value| schema["$ref"].as_str().is_some_and(|name| name.ends_with("Preview"));
    match api.resolve(schema)["oneOf"].as_array().map(Vec::as_slice) {
        Some([_, preview]) if is_preview(preview) && is_dry(method) => preview,
        Some([done, preview]) if is_preview(preview) => done,
        _ => schema,
    }
}

/// Has the RPC one beside it that is its dry run?
fn has_dry_run(method: &MethodDescriptor) -> bool {
    let own = rule(method);
    is_dry(method) || method.parent_service().methods().any(|other| is_dry(&other) && rule(&other) == own)
}

/// `GET /api/v1/users/{}`: what a parameter is called makes no difference.
fn operation(verb: &str, path: &str) -> String {
    let segments = path.split('/').map(|s| if s.starts_with('{') { "{}" } else { s });
    format!("{} {}", verb.to_uppercase(), segments.collect::<Vec<_>>().join("/"))
}

/// The REST call that an RPC names, and the field that is its body.
fn rule(method: &MethodDescriptor) -> (String, String, String) {
    let extension = method.parent_pool().get_extension_by_name("google.api.http").expect("the option");
    let options = method.options();
    let rule = options.get_extension(&extension);
    let text = |name: &str| rule.as_message().and_then(|m| m.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned))).filter(|t| !t.is_empty());
    let (verb, path) = ["get", "put", "post", "delete", "patch"].into_iter().find_map(|v| Some((v, text(v)?))).expect("a verb");
    (verb.to_owned(), path, text("body").unwrap_or_default())
}

struct Api<'a> {
    document: &'a Value,
    apart: &'a Apart,
}

impl Api<'_> {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolve(&self.document["components"]["schemas"][reference.rsplit('/').next().expect("a name")]),
            None => match schema["oneOf"].as_array() {
                // Nothing, or this.
                Some(either) if either.iter().any(|s| s["type"] == "null") => {
                    self.resolve(either.iter().find(|s| s["type"] != "null").expect("what it is else"))
                }
                _ => schema,
            },
        }
    }

    fn properties<'a>(&'a self, schema: &'a Value) -> BTreeMap<String, &'a Value> {
        let schema = self.resolve(schema);
        let parts = ["allOf", "oneOf"].into_iter().flat_map(|k| schema[k].as_array().into_iter().flatten());
        let mut all: BTreeMap<String, &Value> = parts.flat_map(|s| self.properties(s)).collect();
        all.extend(schema["properties"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v)));
        all
    }

    /// Compares a schema with a message, all the way down.
    fn compare(&self, at: &str, schema: &Value, message: &MessageDescriptor, faults: &mut BTreeSet<String>) {
        // Free values, and files.
        if message.package_name() == "google.protobuf" || self.apart.files && message.package_name() == FILES {
            return;
        }
        let schema = self.resolve(schema);
        let properties = self.properties(schema);
        let fields: BTreeSet<String> = message.fields().map(|f| f.name().to_owned()).collect();
        for missing in properties.keys().filter(|k| !fields.contains(*k)) {
            faults.insert(format!("{at}: {} has no field `{missing}`", message.full_name()));
        }
        for surplus in fields.iter().filter(|f| !properties.contains_key(*f)) {
            faults.insert(format!("{at}: REST knows no `{surplus}` of {}", message.full_name()));
        }
        for (name, schema) in properties {
            let Some(field) = message.get_field_by_name(&name) else { continue };
            let mut schema = self.resolve(schema);
            while schema["items"].is_object() {
                schema = self.resolve(&schema["items"]);
            }
            if let (Kind::Message(inner), false) = (field.kind(), field.is_map()) {
                let listed = inner.get_field_by_name("values").filter(|f| f.is_list() && inner.fields().len() == 1).map(|f| f.kind());
                match listed {
                    Some(Kind::Message(item)) => self.compare(at, schema, &item, faults),
                    Some(_) => {}
                    None => self.compare(at, schema, &inner, faults),
                }
            }
        }
    }
}

/// The message that says what is asked for.
fn asked(method: &MethodDescriptor) -> MessageDescriptor {
    let input = method.input();
    let start = input.get_field_by_name("start").filter(|_| method.is_client_streaming()).map(|f| f.kind());
    if let Some(Kind::Message(start)) = start { start } else { input }
}

fn request(api: &Api<'_>, method: &MethodDescriptor, path: &str, body: &str, operation: &Value, faults: &mut BTreeSet<String>) {
    let input = asked(method);
    let in_path: BTreeSet<String> = path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).map(str::to_owned).collect();
    let mut left: BTreeSet<String> = input.fields().map(|f| f.name().to_owned()).filter(|f| !in_path.contains(f)).collect();
    let query = operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str());
    // Watching and following are streams here, and a file an RPC of its own.
    let message = api.apart.files && method.output().package_name() != FILES;
    // A file is no page.
    let file = api.apart.files && method.output().package_name() == FILES;
    // It is an RPC of its own, unless it is a field.
    let dry = input.get_field_by_name("dry_run").is_none() && has_dry_run(method);
    for name in query.filter(|n| !["watch", "follow"].contains(n) && !(message && *n == "format") && !(dry && *n == "dry_run")) {
        if !left.remove(name) && !(file && ["limit", "cursor"].contains(&name)) {
            faults.insert(format!("{}: has no `{name}`", method.full_name()));
        }
    }
    let schema = operation.pointer("/requestBody/content/application~1json/schema");
    match (body, schema) {
        ("*", Some(schema)) => {
            let wanted = api.properties(schema);
            for name in wanted.keys().filter(|n| !left.contains(*n) && !(api.apart.named_by_path && in_path.contains(*n))) {
                faults.insert(format!("{}: has no `{name}`", method.full_name()));
            }
            left.retain(|name| !wanted.contains_key(name) && !api.apart.secrets.contains(&name.as_str()));
            for (name, schema) in wanted {
                if let Some(Kind::Message(inner)) = input.get_field_by_name(&name).filter(|f| !f.is_map()).map(|f| f.kind())
                    && inner.get_field_by_name("values").is_none()
                {
                    let schema = api.resolve(schema);
                    api.compare(method.full_name(), if schema["items"].is_object() { &schema["items"] } else { schema }, &inner, faults);
                }
            }
        }
        ("", None) => {}
        (field, schema) => {
            let Some(Kind::Message(inner)) = input.get_field_by_name(field).map(|f| f.kind()) else {
                faults.insert(format!("{}: body `{field}` fits no message", method.full_name()));
                return;
            };
            left.remove(field);
            if let Some(schema) = schema {
                api.compare(method.full_name(), schema, &inner, faults);
            }
        }
    }
    faults.extend(left.into_iter().map(|name| format!("{}: REST takes no `{name}`", method.full_name())));
}
