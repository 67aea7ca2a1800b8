//! Why a row that names somebody is still there after they were erased, table by table; and what of a text could be a sealed value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

/// What the rows of a table are kept for; empty: nothing says that they should be there.
pub fn purpose(table: &str) -> &'static str {
    match table {
        "subject_keys" => "says that the key was destroyed, so that nobody gets this id again",
        "fact_chain" | "facts" => "record of security facts: names people by their ids only, and cannot be changed because each entry is chained to the next",
        "sessions" | "session_clients" | "session_certificates" => "ended sessions, so that a stolen one is known to be void; removed 30 days after their end",
        "families" | "codes" | "refresh_tokens" | "device_codes" => "ended tokens, so that a stolen one is known to be void; removed a day after their end",
        "sign_ins_ended" => "when all sign-ins were ended, so that none that was under way goes on; removed after a day",
        "personal_tokens" => "revoked tokens without their names, so that a stolen one is known to be void",
        "commands" | "answers" => "commands that were carried out, so that none is carried out twice; removed after a day",
        "todos" => "work that is done or waits",
        "auth_bindings" | "auth_members" | "auth_teams" | "auth_places" | "auth_roles" => {
            "rights that are gone, so that an older word does not bring them back"
        }
        "snapshots" => "the state of this id, in which every value is sealed",
        "robot_keys" | "scim_tokens" | "node_tokens" | "initial_access_tokens" | "invitations" | "configuration_sets" => "made by this id for others",
        "users" | "user_terms" | "members" | "factors" | "recovery_codes" | "bindings" | "team_members" | "links" | "person_certificates" => {
            "read model of somebody who is here"
        }
        _ => "",
    }
}

/// The strings of a JSON value that could be sealed values: base64 of a nonce, something, and a tag.
pub fn sealed_like(value: &Value) -> Vec<&str> {
    const LEAST: usize = 12 + 16;
    match value {
        Value::String(text) => {
            // Digests have lengths of their own.
            let sealed =
                STANDARD_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() >= LEAST) && !(text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()));
            if sealed { vec![text] } else { Vec::new() }
        }
        Value::Array(items) => items.iter().flat_map(sealed_like).collect(),
        Value::Object(fields) => fields.iter().filter(|(name, _)| *name != "key" && !name.ends_with("_key")).flat_map(|(_, v)| sealed_like(v)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_could_be_sealed_is_taken_for_it() {
        let sealed = STANDARD_NO_PAD.encode([7; 40]);
        let data = json!({
            "user": "0191e2a0-0000-7000-8000-000000000002", "username": sealed, "list": [{ "secret": sealed }], "key": sealed,
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "short": "YWJj", "flag": true,
        });
        assert_eq!(sealed_like(&data), [sealed.as_str(), sealed.as_str()]);
    }
}
