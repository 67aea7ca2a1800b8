//! Which REST call an RPC is, by its option `google.api.http`.

use gantry_kernel::Problem;
use http::{Method, Uri};
use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value};

pub(super) struct Rule {
    pub method: Method,
    /// `/api/v1/users/{id}`
    template: String,
    body: Carries,
}

/// What of the message is the body.
#[derive(Debug, PartialEq, Eq)]
enum Carries {
    Nothing,
    /// Every field that is not in the path.
    TheRest,
    Field(String),
}

impl Rule {
    /// `None` without the option.
    pub fn of(method: &MethodDescriptor) -> Option<Self> {
        let extension = method.parent_pool().get_extension_by_name("google.api.http")?;
        let options = method.options();
        if !options.has_extension(&extension) {
            return None;
        }
        let option = options.get_extension(&extension);
        let fields = option.as_message()?;
        let text = |name: &str| fields.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).filter(|t| !t.is_empty());
        let verbs = [("get", Method::GET), ("put", Method::PUT), ("post", Method::POST), ("delete", Method::DELETE), ("patch", Method::PATCH)];
        let (template, method) = verbs.into_iter().find_map(|(name, verb)| Some((text(name)?, verb)))?;
        let body = match text("body") {
            None => Carries::Nothing,
            Some(all) if all == "*" => Carries::TheRest,
            Some(field) => Carries::Field(field),
        };
        Some(Self { method, template, body })
    }

    /// Address and body of the call with these fields; `switch` is a parameter that makes a stream of it.
    pub fn call(&self, mut fields: Map<String, Value>, switch: Option<&str>) -> Result<(Uri, Option<Value>), Problem> {
        let mut path = String::new();
        for segment in self.template.split('/').skip(1) {
            path.push('/');
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                None => path.push_str(segment),
                Some(name) => match fields.remove(name) {
                    Some(Value::String(text)) if !text.is_empty() => path.push_str(&escaped(&text)),
                    Some(Value::Number(number)) => path.push_str(&number.to_string()),
                    _ => return Err(Problem::invalid(name, "must not be empty")),
                },
            }
        }
        let body = match &self.body {
            Carries::Nothing => None,
            Carries::TheRest => Some(Value::Object(std::mem::take(&mut fields))),
            Carries::Field(name) => Some(fields.remove(name).ok_or_else(|| Problem::invalid(name, "is missing"))?),
        };
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &fields {
            for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
                match value {
                    Value::Null => {}
                    Value::String(text) => {
                        query.append_pair(name, text);
                    }
                    other => {
                        query.append_pair(name, &other.to_string());
                    }
                }
            }
        }
        if let Some(switch) = switch {
            query.append_pair(switch, "true");
        }
        let query = query.finish();
        let address = if query.is_empty() { path } else { format!("{path}?{query}") };
        Ok((address.parse().map_err(|_| Problem::invalid("path", "is too long"))?, body))
    }
}

/// One segment of a path: nothing in it can end it.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
    // A segment of dots alone means another folder.
    let dots = text.bytes().all(|b| b == b'.');
    text.bytes().map(|b| if plain(b) && !(dots && b == b'.') { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(template: &str, body: Carries) -> Rule {
        Rule { method: Method::GET, template: template.to_owned(), body }
    }

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn fields_go_into_path_body_and_query_each_to_its_place() {
        let all = rule("/a/{org}/b/{name}", Carries::TheRest);
        let (uri, body) = all.call(fields(json!({ "org": "acme", "name": "x", "more": 1 })), None).expect("a call");
        assert_eq!((uri.to_string().as_str(), body), ("/a/acme/b/x", Some(json!({ "more": 1 }))));
        let one = rule("/a/{org}", Carries::Field("users".into()));
        let (uri, body) = one.call(fields(json!({ "org": "acme", "users": [1], "dry_run": true })), None).expect("a call");
        assert_eq!((uri.to_string().as_str(), body), ("/a/acme?dry_run=true", Some(json!([1]))));
        let none = rule("/a", Carries::Nothing);
        let (uri, body) = none.call(fields(json!({ "q": "a&b", "tags": ["x", "y"], "gone": null })), Some("watch")).expect("a call");
        assert_eq!((uri.to_string().as_str(), body), ("/a?q=a%26b&tags=x&tags=y&watch=true", None));
        let number = rule("/a/{pid}/b", Carries::Nothing);
        assert_eq!(number.call(fields(json!({ "pid": 7 })), None).expect("a call").0.to_string(), "/a/7/b");
    }

    #[test]
    fn nothing_in_a_field_leads_to_another_path() {
        let rule = rule("/api/v1/users/{id}", Carries::Nothing);
        for (id, expected) in [
            ("../orgs", "/api/v1/users/..%2Forgs"),
            ("..", "/api/v1/users/%2E%2E"),
            ("a?x=1#y", "/api/v1/users/a%3Fx%3D1%23y"),
            ("é%2F", "/api/v1/users/%C3%A9%252F"),
        ] {
            assert_eq!(rule.call(fields(json!({ "id": id })), None).expect("a call").0.to_string(), expected);
        }
        assert_eq!(rule.call(Map::new(), None).expect_err("refused").faults[0].field, "id");
        assert_eq!(rule.call(fields(json!({ "id": "" })), None).expect_err("refused").faults[0].field, "id");
    }
}
