//! OAuth clients and the keys that sign tokens.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Context, confirm, files, pairs, segment};
use crate::args::{ClientCommand, ClientSettings, KeyCommand};
use crate::failure::Failure;

const COLUMNS: &[crate::output::Column] =
    &[("ID", "id"), ("NAME", "settings.client_name"), ("ORG", "org"), ("AUTH", "settings.token_endpoint_auth_method"), ("CHANGED", "changed_at")];

pub async fn run(cx: &mut Context, command: ClientCommand) -> Result<()> {
    match command {
        ClientCommand::List { org } => {
            let query: Vec<_> = org.into_iter().map(|o| ("org", o)).collect();
            let items = cx.client.list("/api/v1/clients", &query, 100_000).await?;
            cx.list(&items, COLUMNS)
        }
        ClientCommand::Show { id } => {
            let client: Value = cx.client.get(&path(&id), &[]).await?;
            cx.one(&client)
        }
        ClientCommand::Create { id, org, settings } => {
            let mut body = json!({ "org": org, "settings": filled(json!({}), &settings)? });
            if let Some(id) = id {
                body["id"] = json!(id);
            }
            let made = cx.client.post("/api/v1/clients", &[], &body).await?;
            cx.note("the secret, if there is one, is shown this once");
            cx.one(&made)
        }
        ClientCommand::Set { id, settings } => {
            let (before, version): (Value, _) = cx.client.get_with_version(&path(&id)).await?;
            let changed = filled(before["settings"].clone(), &settings)?;
            let after = cx.client.put_over(&path(&id), &changed, version).await?;
            cx.one(&after)
        }
        ClientCommand::Delete { id, yes } => {
            confirm(&format!("Delete the client {id}; its tokens stop working and its id is never given again"), yes)?;
            cx.client.delete(&path(&id)).await?;
            cx.note(&format!("client {id} is deleted"));
            Ok(())
        }
        ClientCommand::AddSecret { id, days } => {
            let body = days.map_or_else(|| json!({}), |d| json!({ "expires_in_days": d }));
            let made = cx.client.post(&format!("{}/secrets", path(&id)), &[], &body).await?;
            cx.note("the secret is shown this once; the other one works until you remove it");
            cx.one(&made)
        }
        ClientCommand::RemoveSecret { id, secret } => {
            cx.client.delete(&format!("{}/secrets/{}", path(&id), segment(&secret))).await?;
            cx.note(&format!("secret {secret} of {id} is removed"));
            Ok(())
        }
        ClientCommand::RegistrationTokens { org } => {
            let query: Vec<_> = org.into_iter().map(|o| ("org", o)).collect();
            let items = cx.client.list("/api/v1/client-registration-tokens", &query, 10_000).await?;
            cx.list(&items, &[("ID", "id"), ("USES LEFT", "uses_left"), ("EXPIRES", "expires_at")])
        }
        ClientCommand::DeleteRegistrationToken { id, org } => {
            let query = org.map(|o| format!("?org={}", segment(&o))).unwrap_or_default();
            cx.client.delete(&format!("/api/v1/client-registration-tokens/{}{query}", segment(&id))).await
        }
        ClientCommand::RegistrationToken { org, uses, hours } => {
            let body = json!({ "org": org, "uses": uses, "expires_in_hours": hours });
            let made = cx.client.post("/api/v1/client-registration-tokens", &[], &body).await?;
            cx.one(&made)
        }
    }
}

pub async fn keys(cx: &mut Context, command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::List => {
            let items = cx.client.list("/api/v1/signing-keys", &[], 1_000).await?;
            cx.list(&items, &[("KID", "kid"), ("ALG", "alg"), ("STATE", "state"), ("SIGNS FROM", "active_at"), ("CREATED", "created_at")])
        }
        KeyCommand::Rotate { alg, after_seconds, compromised, yes } => {
            if compromised {
                confirm(&format!("Everything signed with {alg} so far stops counting; people and programs sign in again"), yes)?;
            }
            let mut body = json!({ "alg": alg, "compromised": compromised });
            if let Some(seconds) = after_seconds {
                body["after_seconds"] = json!(seconds);
            }
            let made = cx.client.post("/api/v1/signing-keys", &[], &body).await?;
            cx.one(&made)
        }
    }
}

fn path(id: &str) -> String {
    format!("/api/v1/clients/{}", segment(id))
}

/// `base` with what a file says, and then with the words of the command line.
fn filled(mut base: Value, given: &ClientSettings) -> Result<Value> {
    if let Some(file) = &given.file {
        base = serde_json::from_str(&files::text(file)?).with_context(|| format!("{} is no JSON", file.display()))?;
    }
    let lists = [
        ("redirect_uris", &given.redirect_uri),
        ("post_logout_redirect_uris", &given.post_logout_redirect_uri),
        ("grant_types", &given.grant),
        ("scopes", &given.scope),
    ];
    for (name, values) in lists {
        if !values.is_empty() {
            base[name] = json!(values);
        }
    }
    let texts = [("client_name", &given.name), ("token_endpoint_auth_method", &given.auth), ("id_token_signed_response_alg", &given.alg)];
    for (name, value) in texts {
        if let Some(value) = value {
            base[name] = json!(value);
        }
    }
    match pairs(&given.set)? {
        Value::Object(more) if base.is_object() => more.into_iter().for_each(|(name, value)| base[name] = value),
        _ => return Err(Failure::Usage("the settings must be a JSON object".to_owned()).into()),
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line_come_over_what_was_there() {
        let given = ClientSettings {
            name: Some("Shop".into()),
            grant: vec!["client_credentials".into()],
            set: vec!["consent_required=true".into()],
            ..Default::default()
        };
        let seen = filled(json!({ "client_name": "Old", "scopes": ["openid"] }), &given).expect("settings");
        assert_eq!(seen, json!({ "client_name": "Shop", "scopes": ["openid"], "grant_types": ["client_credentials"], "consent_required": true }));
    }
}
