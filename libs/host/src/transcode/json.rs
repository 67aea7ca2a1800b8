//! Messages as the JSON of the REST API and back. Beyond the canonical mapping: field names as they are written, 64-bit numbers as
//! numbers, whole numbers without a fraction, and a message whose one field is `repeated ... values` is a bare list (it tells "no list"
//! from "an empty list").

use gantry_kernel::Problem;
use prost_reflect::{DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value};

const LIST: &str = "values";

pub(super) fn from_message(message: &DynamicMessage) -> Result<Map<String, Value>, Problem> {
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false).skip_default_fields(false);
    let mut json = message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| Problem::invalid("message", error.to_string()))?;
    whole_numbers(&mut json);
    bare_lists(&prost_reflect::ReflectMessage::descriptor(message), &mut json);
    match json {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

pub(super) fn to_message(descriptor: MessageDescriptor, mut json: Value) -> Result<DynamicMessage, Problem> {
    message_lists(&descriptor, &mut json);
    // A service of a newer version may say more than these descriptors know.
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    DynamicMessage::deserialize_with_options(descriptor, json, &options).map_err(Problem::internal)
}

fn is_list(descriptor: &MessageDescriptor) -> bool {
    let mut fields = descriptor.fields();
    matches!((fields.next(), fields.next()), (Some(only), None) if only.is_list() && only.name() == LIST) && !well_known(descriptor)
}

fn well_known(descriptor: &MessageDescriptor) -> bool {
    descriptor.package_name() == "google.protobuf"
}

/// `{"values": [...]}` becomes `[...]` wherever the type is such a list.
fn bare_lists(descriptor: &MessageDescriptor, json: &mut Value) {
    each_message(descriptor, json, &mut |inner, value| {
        bare_lists(inner, value);
        if is_list(inner) {
            let list = value.as_object_mut().and_then(|fields| fields.remove(LIST));
            *value = list.unwrap_or_else(|| Value::Array(Vec::new()));
        }
    });
}

fn message_lists(descriptor: &MessageDescriptor, json: &mut Value) {
    each_message(descriptor, json, &mut |inner, value| {
        if is_list(inner) && value.is_array() {
            *value = Value::Object(Map::from_iter([(LIST.to_owned(), value.take())]));
        }
        message_lists(inner, value);
    });
}

/// The messages directly in this one.
fn each_message(descriptor: &MessageDescriptor, json: &mut Value, see: &mut dyn FnMut(&MessageDescriptor, &mut Value)) {
    let Value::Object(fields) = json else { return };
    if well_known(descriptor) {
        return;
    }
    for (name, value) in fields {
        let Some(field) = descriptor.get_field_by_name(name) else { continue };
        let (kind, many) = if field.is_map() { (map_value(&field), true) } else { (field.kind(), field.is_list()) };
        let Kind::Message(inner) = kind else { continue };
        match value {
            Value::Array(items) if many => items.iter_mut().for_each(|item| see(&inner, item)),
            Value::Object(entries) if many => entries.values_mut().for_each(|item| see(&inner, item)),
            Value::Null => {}
            one => see(&inner, one),
        }
    }
}

fn map_value(field: &prost_reflect::FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) => entry.map_entry_value_field().kind(),
        other => other,
    }
}

/// A free value (`google.protobuf.Value`) knows only floating numbers; JSON's readers want `5`, not `5.0`.
fn whole_numbers(json: &mut Value) {
    match json {
        Value::Number(number) if number.is_f64() => {
            // Exact up to 2^53.
            if let Some(float) = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0) {
                #[allow(clippy::cast_possible_truncation, reason = "it is whole and in range")]
                let whole = float as i64;
                *json = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use serde_json::json;

    use super::*;

    fn descriptor(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(gantry_contract::proto::DESCRIPTORS).expect("descriptors");
        pool.get_message_by_name(&format!("gantry.identity.v1.{name}")).expect("a message")
    }

    fn there_and_back(name: &str, json: Value) -> Value {
        let message = to_message(descriptor(name), json).expect("a message");
        Value::Object(from_message(&message).expect("fields"))
    }

    #[test]
    fn a_list_that_may_be_missing_is_bare_in_json_and_tells_missing_from_empty() {
        assert_eq!(there_and_back("ChangeRoleRequest", json!({ "id": "r" })), json!({ "id": "r" }));
        assert_eq!(there_and_back("ChangeRoleRequest", json!({ "id": "r", "permissions": [] })), json!({ "id": "r", "permissions": [] }));
        let grants = json!([{ "pattern": "acme/*", "actions": ["pull"] }]);
        let account = json!({ "org": "acme", "name": "ci", "repositories": grants });
        assert_eq!(there_and_back("ChangeServiceAccountRequest", account.clone()), account);
    }

    #[test]
    fn settings_keep_their_numbers_times_and_kinds() {
        let settings = json!({
            "connection": { "ldap": { "bind_dn": "cn=x", "servers": ["ldaps://a"], "user_base": "o=x", "login_attributes": [], "page_size": 500 } },
            "domains": [], "mappings": [{ "group": "g", "role": "viewer", "at": "acme" }], "trusted_domains": ["x.example"], "priority": 0,
        });
        assert_eq!(there_and_back("UpstreamSettings", settings.clone()), settings);
        let client =
            json!({ "jwks": { "keys": [{ "kty": "EC", "n": 5, "f": 0.5 }] }, "scopes": ["openid"], "post_logout_redirect_uris": [], "redirect_uris": [] });
        assert_eq!(there_and_back("ClientSettings", client.clone()), client);
        let condition = json!({ "factors": [], "networks": ["10.0.0.0/8"], "weekdays": [1], "not_after": "2026-12-31T00:00:00Z" });
        assert_eq!(there_and_back("BindingCondition", condition.clone()), condition);
    }

    #[test]
    fn null_is_nothing_and_an_unknown_field_of_a_newer_service_is_passed_over() {
        let seen = there_and_back("ListTeamsResponse", json!({ "items": [], "next": null, "novelty": 1 }));
        assert_eq!(seen, json!({ "items": [] }));
    }
}
