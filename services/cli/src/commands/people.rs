//! Users, teams, roles, rights, service accounts and personal access tokens.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, certificates, confirm, files, remains, segment};
use crate::args::{Rights, Role, ServiceAccount, Team, Token, User};
use crate::failure::Failure;
use crate::output::print;

const MOST: usize = 100_000;

pub async fn user(cx: &mut Context, command: User) -> Result<()> {
    let path = |user: &str| format!("/api/v1/users/{}", segment(user));
    match command {
        User::List { q, state, org, limit } => {
            let query: Vec<_> = [("q", q), ("state", state), ("org", org)].into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
            let items = cx.client.list("/api/v1/users", &query, limit).await?;
            cx.list(&items, &[("USERNAME", "username"), ("E-MAIL", "email"), ("NAME", "display_name"), ("STATE", "state"), ("CREATED", "created_at")])
        }
        User::Show { user } => {
            let found: Value = cx.client.get(&path(&user), &[]).await?;
            cx.one(&found)
        }
        User::Create { username, email, display_name, password_file } => {
            let mut body = json!({ "username": username, "email": email, "must_change_password": password_file.is_some() });
            if let Some(name) = display_name {
                body["display_name"] = json!(name);
            }
            if let Some(file) = password_file {
                body["password"] = json!(files::secret(&file)?);
            }
            let made = cx.client.post("/api/v1/users", &[], &body).await?;
            cx.one(&made)
        }
        User::Set { user, display_name, email, password_file } => {
            let mut body = serde_json::Map::new();
            body.extend(display_name.map(|n| ("display_name".to_owned(), json!(n))));
            body.extend(email.map(|e| ("email".to_owned(), json!(e))));
            if let Some(file) = password_file {
                body.insert("password".to_owned(), json!(files::secret(&file)?));
            }
            changed(cx, &path(&user), body).await
        }
        User::Links { user } => {
            let items = cx.client.list(&format!("{}/links", path(&user)), &[], MOST).await?;
            cx.list(&items, &[("ID", "id"), ("UPSTREAM", "upstream"), ("ACCOUNT THERE", "display_name|subject"), ("SINCE", "created_at")])
        }
        User::Remains { user } => remains::remains(cx, &path(&user)).await,
        User::Certificates { user } => {
            let items = cx.client.list(&format!("{}/certificates", path(&user)), &[], MOST).await?;
            cx.list(&items, certificates::COLUMNS)
        }
        User::RevokeCertificate { user, id, reason } => {
            let why = reason.map(|r| format!("?reason={}", segment(&r))).unwrap_or_default();
            cx.client.delete(&format!("{}/certificates/{}{why}", path(&user), segment(&id))).await
        }
        User::Sessions { user } => {
            let items = cx.client.list(&format!("{}/sessions", path(&user)), &[], MOST).await?;
            cx.list(&items, &[("ID", "id"), ("FROM", "from"), ("WITH", "user_agent"), ("SINCE", "created_at"), ("LAST SEEN", "last_seen_at")])
        }
        User::EndSession { user, id } => cx.client.delete(&format!("{}/sessions/{}", path(&user), segment(&id))).await,
        User::Resolve { ids } => {
            let found = cx.client.post("/api/v1/principals/resolve", &[], &json!({ "ids": ids })).await?;
            cx.list(found["items"].as_array().map(Vec::as_slice).unwrap_or_default(), &[("ID", "id"), ("NAME", "name")])
        }
        User::Suspend { user, reason } => {
            let changed = cx.client.patch(&path(&user), &json!({ "suspended": true, "reason": reason.unwrap_or_default() })).await?;
            cx.one(&changed)
        }
        User::Resume { user } => {
            let changed = cx.client.patch(&path(&user), &json!({ "suspended": false })).await?;
            cx.one(&changed)
        }
        User::Delete { user, yes } => {
            confirm(&format!("Erase {user} for ever"), yes)?;
            cx.client.delete(&path(&user)).await?;
            cx.note(&format!("{user} is erased"));
            Ok(())
        }
        User::ResetPassword { user, reason } => {
            let body = json!({ "reason": reason.unwrap_or_default() });
            cx.client.post(&format!("{}/require-password-reset", path(&user)), &[], &body).await?;
            cx.note(&format!("{user} chooses a new password at the next sign-in"));
            Ok(())
        }
        User::Merge { user, from, yes } => {
            confirm(&format!("Move what {from} has to {user} and erase {from}"), yes)?;
            let known: Value = cx.client.get(&path(&from), &[]).await?;
            cx.client.post(&format!("{}/merge", path(&user)), &[], &json!({ "from": known["id"], "confirm": known["username"] })).await?;
            cx.note(&format!("{user} has all that {from} had"));
            Ok(())
        }
        User::Import { file, dry_run } => import(cx, &file, dry_run).await,
        User::Export { format } => {
            let answer = cx.client.stream("/api/v1/users/export", &[("format", format)]).await?;
            print(answer.text().await?.trim_end())
        }
    }
}

/// Changes some fields; which, the command line must say.
async fn changed(cx: &mut Context, path: &str, body: serde_json::Map<String, Value>) -> Result<()> {
    if body.is_empty() {
        return Err(Failure::Usage("say what to change; --help shows what there is".to_owned()).into());
    }
    let after = cx.client.patch(path, &body).await?;
    cx.one(&after)
}

async fn import(cx: &mut Context, file: &std::path::Path, dry_run: bool) -> Result<()> {
    let bytes = files::bytes(file)?;
    let kind = if file.extension().is_some_and(|e| e == "json") { "application/json" } else { "text/csv" };
    let report = cx.client.post_raw("/api/v1/users/import", &[("dry_run", dry_run.to_string())], kind, bytes).await?;
    let lines = report["lines"].as_array().cloned().unwrap_or_default();
    if cx.common.output == crate::args::Format::Table {
        let shown: Vec<Value> = lines.into_iter().filter(|l| dry_run || l["result"] != "created").collect();
        if !shown.is_empty() {
            cx.list(&shown, &[("LINE", "line"), ("USERNAME", "username"), ("RESULT", "result"), ("ERRORS", "errors")])?;
        }
        let would = if dry_run { "would be " } else { "" };
        cx.note(&format!("{} {would}created, {} unchanged, {} failed", report["created"], report["unchanged"], report["failed"]));
    } else {
        cx.one(&report)?;
    }
    if report["failed"].as_u64().unwrap_or(0) > 0 { Err(Failure::Usage("some lines failed".to_owned()).into()) } else { Ok(()) }
}

pub async fn team(cx: &mut Context, command: Team) -> Result<()> {
    let teams = format!("{}/teams", cx.org()?);
    let path = |name: &str| format!("{teams}/{}", segment(name));
    match command {
        Team::List => {
            let items = cx.client.list(&teams, &[], MOST).await?;
            cx.list(&items, &[("NAME", "name"), ("DISPLAY NAME", "display_name"), ("PARENT", "parent"), ("CREATED", "created_at")])
        }
        Team::Create { name, display_name, parent } => {
            let made = cx.client.post(&teams, &[], &json!({ "name": name, "display_name": display_name, "parent": parent })).await?;
            cx.one(&made)
        }
        Team::Show { name } => {
            let found: Value = cx.client.get(&path(&name), &[]).await?;
            cx.one(&found)
        }
        Team::Set { name, display_name } => {
            let after = cx.client.patch(&path(&name), &json!({ "display_name": display_name })).await?;
            cx.one(&after)
        }
        Team::Move { name, parent } => {
            let changed = cx.client.patch(&path(&name), &json!({ "parent": parent.unwrap_or_default() })).await?;
            cx.one(&changed)
        }
        Team::Delete { name, yes } => {
            confirm(&format!("Delete the team {name} with its roles"), yes)?;
            cx.client.delete(&path(&name)).await
        }
        Team::Members { name } => {
            let items = cx.client.list(&format!("{}/members", path(&name)), &[], MOST).await?;
            cx.list(&items, &[("NAME", "name"), ("SUBJECT", "subject"), ("SINCE", "added_at")])
        }
        Team::Add { name, member } => cx.client.put_new(&format!("{}/members/{}", path(&name), segment(&member)), &json!({})).await.map(drop),
        Team::Remove { name, member } => cx.client.delete(&format!("{}/members/{}", path(&name), segment(&member))).await,
    }
}

pub async fn role(cx: &mut Context, command: Role) -> Result<()> {
    match command {
        Role::List => {
            let org = cx.at(1).ok().and_then(|names| names.into_iter().next());
            let query: Vec<_> = org.into_iter().map(|o| ("org", o)).collect();
            let items = cx.client.list("/api/v1/roles", &query, MOST).await?;
            cx.list(&items, &[("NAME", "name"), ("ID", "id"), ("DESCRIPTION", "description"), ("PERMISSIONS", "permissions")])
        }
        Role::Permissions => {
            let items = cx.client.list("/api/v1/permissions", &[], MOST).await?;
            cx.list(&items, &[("PERMISSION", "name"), ("ROLE", "role"), ("DESCRIPTION", "description")])
        }
        Role::Create { name, permissions, description, platform } => {
            let mut body = json!({ "name": name, "permissions": permissions, "description": description });
            if !platform {
                body["org"] = json!(cx.at(1)?[0]);
            }
            let made = cx.client.post("/api/v1/roles", &[], &body).await?;
            cx.one(&made)
        }
        Role::Show { id } => {
            let found: Value = cx.client.get(&format!("/api/v1/roles/{}", segment(&id)), &[]).await?;
            cx.one(&found)
        }
        Role::Set { id, permissions, description } => {
            let mut body = serde_json::Map::new();
            body.extend(description.map(|d| ("description".to_owned(), json!(d))));
            if !permissions.is_empty() {
                body.insert("permissions".to_owned(), json!(permissions));
            }
            changed(cx, &format!("/api/v1/roles/{}", segment(&id)), body).await
        }
        Role::Delete { id } => cx.client.delete(&format!("/api/v1/roles/{}", segment(&id))).await,
    }
}

/// The names of the place to ask about: that of --at, as deep as it goes.
fn place(cx: &Context, platform: bool) -> Result<Vec<(&'static str, String)>> {
    if platform {
        return Ok(Vec::new());
    }
    let names = (1..=3).rev().find_map(|depth| cx.at(depth).ok());
    let names = names.ok_or_else(|| Failure::Usage("this needs a place: --at org[/project[/space]], or --platform".to_owned()))?;
    Ok(["org", "project", "space"].into_iter().zip(names).collect())
}

pub async fn can_i(cx: &mut Context, permission: &str, subject: Option<String>, platform: bool) -> Result<()> {
    let mut body = json!({ "permission": permission });
    for (key, name) in place(cx, platform)? {
        body[key] = json!(name);
    }
    if let Some(subject) = subject {
        body["subject"] = json!(subject);
    }
    let answer = cx.client.post("/api/v1/rights/check", &[], &body).await?;
    if cx.common.output == crate::args::Format::Table {
        print(answer["explanation"].as_str().unwrap_or_default())?;
    } else {
        cx.one(&answer)?;
    }
    if answer["allowed"] == true { Ok(()) } else { Err(Failure::Usage("no".to_owned()).into()) }
}

pub async fn rights(cx: &mut Context, command: Rights) -> Result<()> {
    match command {
        Rights::Bindings { platform } => {
            let query = place(cx, platform)?;
            let items = cx.client.list("/api/v1/bindings", &query, MOST).await?;
            cx.list(&items, &[("ID", "id"), ("SUBJECT", "name|subject"), ("ROLE", "role_name"), ("PLACE", "scope_name"), ("CONDITION", "condition")])
        }
        Rights::Grant { subject, role, platform, networks, factors, until } => {
            let mut body = json!({ "subject": subject, "role": role });
            for (key, name) in place(cx, platform)? {
                body[key] = json!(name);
            }
            if !networks.is_empty() || !factors.is_empty() || until.is_some() {
                body["condition"] = json!({ "networks": networks, "factors": factors, "not_after": until });
            }
            let made = cx.client.post("/api/v1/bindings", &[], &body).await?;
            cx.one(&made)
        }
        Rights::Revoke { binding } => cx.client.delete(&format!("/api/v1/bindings/{}", segment(&binding))).await,
        Rights::WhoCan { permission, platform } => {
            let mut query = place(cx, platform)?;
            query.push(("permission", permission));
            let mut items = cx.client.list("/api/v1/rights/who-can", &query, MOST).await?;
            for item in &mut items {
                let because = |r: &Value| {
                    let teams: Vec<_> = r["teams"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    let by = if teams.is_empty() { String::new() } else { format!(" by team {}", teams.join(" below ")) };
                    let only = r["condition"].as_str().map(|c| format!(" ({c})")).unwrap_or_default();
                    format!("{} at {}{by}{only}", r["role"].as_str().unwrap_or_default(), r["scope"].as_str().unwrap_or_default())
                };
                item["because"] = item["reasons"].as_array().into_iter().flatten().map(because).collect::<Vec<_>>().into();
            }
            cx.list(&items, &[("WHO", "name"), ("SUBJECT", "subject"), ("BECAUSE", "because")])
        }
        Rights::Matrix { platform } => {
            let query = place(cx, platform)?;
            let items = cx.client.list("/api/v1/rights/matrix", &query, MOST).await?;
            cx.list(&items, &[("WHO", "name"), ("PERMISSIONS", "permissions")])
        }
    }
}

pub async fn service_account(cx: &mut Context, command: ServiceAccount) -> Result<()> {
    let accounts = format!("{}/service-accounts", cx.org()?);
    let path = |name: &str| format!("{accounts}/{}", segment(name));
    match command {
        ServiceAccount::List => {
            let items = cx.client.list(&accounts, &[], MOST).await?;
            cx.list(&items, &[("NAME", "name"), ("SUBJECT", "subject"), ("STATE", "state"), ("DESCRIPTION", "description")])
        }
        ServiceAccount::Create { name, description, repositories } => {
            let repositories = grants(&repositories)?;
            let made = cx.client.post(&accounts, &[], &json!({ "name": name, "description": description, "repositories": repositories })).await?;
            cx.one(&made)
        }
        ServiceAccount::Show { name } => {
            let found: Value = cx.client.get(&path(&name), &[]).await?;
            cx.one(&found)
        }
        ServiceAccount::Set { name, description, repositories, no_repositories } => {
            let mut body = serde_json::Map::new();
            body.extend(description.map(|d| ("description".to_owned(), json!(d))));
            if no_repositories || !repositories.is_empty() {
                body.insert("repositories".to_owned(), json!(grants(&repositories)?));
            }
            changed(cx, &path(&name), body).await
        }
        ServiceAccount::Suspend { name, reason } => {
            let changed = cx.client.patch(&path(&name), &json!({ "suspended": true, "reason": reason.unwrap_or_default() })).await?;
            cx.one(&changed)
        }
        ServiceAccount::Resume { name } => {
            let changed = cx.client.patch(&path(&name), &json!({ "suspended": false })).await?;
            cx.one(&changed)
        }
        ServiceAccount::Delete { name, yes } => {
            confirm(&format!("Delete the service account {name} with its roles and keys"), yes)?;
            cx.client.delete(&path(&name)).await
        }
        ServiceAccount::Keys { name } => {
            let items = cx.client.list(&format!("{}/keys", path(&name)), &[], MOST).await?;
            cx.list(&items, &[("ID", "id"), ("NAME", "name"), ("BEGINS", "hint"), ("EXPIRES", "expires_at"), ("LAST USED", "last_used_at")])
        }
        ServiceAccount::CreateKey { name, expires_in_days } => {
            let made = cx.client.post(&format!("{}/keys", path(&name)), &[], &json!({ "expires_in_days": expires_in_days })).await?;
            cx.one(&made)
        }
        ServiceAccount::RevokeKey { name, id } => cx.client.delete(&format!("{}/keys/{}", path(&name), segment(&id))).await,
    }
}

/// `PATTERN=ACTIONS` words.
fn grants(words: &[String]) -> Result<Vec<Value>> {
    let grant = |text: &String| {
        let (pattern, actions) = text.split_once('=').ok_or_else(|| Failure::Usage(format!("{text}: must be PATTERN=ACTIONS")))?;
        Ok(json!({ "pattern": pattern, "actions": actions.split(',').collect::<Vec<_>>() }))
    };
    words.iter().map(grant).collect()
}

pub async fn token(cx: &mut Context, command: Token) -> Result<()> {
    match command {
        Token::List => {
            let items = cx.client.list("/api/v1/tokens", &[], MOST).await?;
            cx.list(&items, &[("ID", "id"), ("NAME", "name"), ("BEGINS", "hint"), ("SCOPE", "scope"), ("EXPIRES", "expires_at"), ("LAST USED", "last_used_at")])
        }
        Token::Create { name, scopes, expires_in_days } => {
            let made = cx.client.post("/api/v1/tokens", &[], &json!({ "name": name, "scopes": scopes, "expires_in_days": expires_in_days })).await?;
            cx.one(&made)
        }
        Token::Revoke { id } => cx.client.delete(&format!("/api/v1/tokens/{}", segment(&id))).await,
    }
}
