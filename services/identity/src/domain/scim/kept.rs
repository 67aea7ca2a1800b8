//! What a directory says of a person that is of no use here, kept so that it reads back what it wrote (RFC 7643 sections 4.1 and 4.3): a
//! directory that misses it sends it again and again, or takes the server for broken.

use serde_json::{Map, Value};

use super::filter::{attribute, truth};

/// RFC 7643 section 4.3.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const TEXTS: [&str; 7] = ["nickName", "profileUrl", "title", "userType", "preferredLanguage", "locale", "timezone"];
pub const NAMES: [&str; 5] = ["familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"];
pub const PHONE: [&str; 3] = ["value", "type", "display"];
pub const ADDRESS: [&str; 7] = ["formatted", "streetAddress", "locality", "region", "postalCode", "country", "type"];
/// Those of [`ENTERPRISE`] that are texts.
pub const COMPANY: [&str; 5] = ["employeeNumber", "costCenter", "organization", "division", "department"];
pub const MANAGER: [&str; 2] = ["value", "displayName"];
/// Of elements of one attribute.
const MOST: usize = 20;
/// Characters. What is longer is passed over, as what is not known is.
const LONGEST: usize = 1_000;

/// The attributes of `resource` that are kept, by their names; those of [`ENTERPRISE`] among them.
pub fn kept(resource: &Value) -> Map<String, Value> {
    let mut all = parts(resource, &TEXTS);
    all.extend(parts(resource, &COMPANY));
    let mut put = |name: &str, value: Value| {
        if value.as_object().is_some_and(|v| !v.is_empty()) || value.as_array().is_some_and(|v| !v.is_empty()) {
            all.insert(name.to_owned(), value);
        }
    };
    put("name", attribute(resource, "name").map_or(Value::Null, |name| Value::Object(parts(name, &NAMES))));
    put("phoneNumbers", elements(resource, "phoneNumbers", &PHONE));
    put("addresses", elements(resource, "addresses", &ADDRESS));
    // Some send the id alone, and some a list of one.
    let manager = attribute(resource, "manager").map(|m| m.get(0).unwrap_or(m));
    let manager = manager.map(|m| match m {
        Value::String(id) => Value::Object(parts(&serde_json::json!({ "value": id }), &MANAGER)),
        other => Value::Object(parts(other, &MANAGER)),
    });
    put("manager", manager.unwrap_or_default());
    all
}

/// Puts what was kept into a resource that is shown.
pub fn show(resource: &mut Value, kept: Map<String, Value>) {
    let mut company = Map::new();
    for (name, value) in kept {
        if name == "manager" || COMPANY.contains(&name.as_str()) {
            company.insert(name, value);
        } else if name == "name"
            && let (Some(known), Value::Object(parts)) = (resource["name"].as_object_mut(), &value)
        {
            known.extend(parts.clone());
        } else {
            resource[name.as_str()] = value;
        }
    }
    if !company.is_empty() {
        resource[ENTERPRISE] = Value::Object(company);
        if let Some(schemas) = resource["schemas"].as_array_mut() {
            schemas.push(ENTERPRISE.into());
        }
    }
}

fn parts(of: &Value, names: &[&str]) -> Map<String, Value> {
    let text = |name: &&str| match attribute(of, name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let fits = |text: &String| !text.is_empty() && text.chars().count() <= LONGEST;
    names.iter().filter_map(|name| Some(((*name).to_owned(), Value::String(text(name).filter(fits)?)))).collect()
}

fn elements(resource: &Value, name: &str, names: &[&str]) -> Value {
    let all = attribute(resource, name).and_then(Value::as_array).into_iter().flatten();
    let one = |element: &Value| {
        let mut read = parts(element, names);
        // What is left of one of which the value was taken.
        if read.keys().all(|part| part == "type") {
            return None;
        }
        if attribute(element, "primary").and_then(truth) == Some(true) {
            read.insert("primary".to_owned(), Value::Bool(true));
        }
        Some(Value::Object(read))
    };
    Value::Array(all.filter_map(one).take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_directory_wrote_it_reads_back_in_the_names_of_the_specification() {
        let sent = json!({
            "userName": "ada", "TITLE": "Countess", "name": { "givenName": "Ada", "familyname": "King", "formatted": "Ada King" }, "shoeSize": "37",
            "phoneNumbers": [{ "type": "mobile", "value": "+1", "primary": "True" }, { "type": "fax" }],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user": { "department": "Engines", "employeeNumber": 7, "manager": [{ "value": "m1", "$ref": "x" }] },
        });
        let kept = kept(&sent);
        let mut shown = json!({ "schemas": ["core"], "name": { "formatted": "Ada K" } });
        show(&mut shown, kept);
        let expected = json!({
            "schemas": ["core", ENTERPRISE], "title": "Countess", "name": { "formatted": "Ada K", "givenName": "Ada", "familyName": "King" },
            "phoneNumbers": [{ "type": "mobile", "value": "+1", "primary": true }],
            ENTERPRISE: { "department": "Engines", "employeeNumber": "7", "manager": { "value": "m1" } },
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_empty_too_long_or_something_else_is_passed_over() {
        let odd = json!({
            "title": "", "locale": ["en"], "timezone": "x".repeat(LONGEST + 1), "name": "Ada", "manager": "", "addresses": {},
            "phoneNumbers": [1, null, { "value": "" }], "division": null,
        });
        assert_eq!(kept(&odd), Map::new());
        assert_eq!(kept(&json!([1])), Map::new());
        assert_eq!(kept(&json!({ "manager": "m1" }))["manager"], json!({ "value": "m1" }));
        let many: Vec<Value> = (0..50).map(|n| json!({ "value": format!("+{n}") })).collect();
        assert_eq!(kept(&json!({ "phoneNumbers": many }))["phoneNumbers"].as_array().unwrap().len(), MOST);
    }
}
