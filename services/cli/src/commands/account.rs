//! One's own account: profile, factors, sessions, what has access to it, and its end.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, certificates, confirm, files, segment};
use crate::args::{Account, ProfileChange, Registration};
use crate::failure::Failure;
use crate::output::{Column, print};

const MOST: usize = 10_000;
const SESSIONS: &[Column] =
    &[("ID", "id"), ("CURRENT", "current"), ("FROM", "from"), ("WITH", "user_agent"), ("SINCE", "created_at"), ("LAST SEEN", "last_seen_at")];
const FACTORS: &[Column] = &[("ID", "id"), ("KIND", "kind"), ("LABEL", "label"), ("SINCE", "created_at"), ("LAST USED", "last_used_at")];
const LINKS: &[Column] = &[("ID", "id"), ("UPSTREAM", "upstream"), ("ACCOUNT THERE", "display_name|subject"), ("SINCE", "created_at")];

pub async fn run(cx: &mut Context, command: Account) -> Result<()> {
    let me = |rest: &str, id: &str| format!("/api/v1/me/{rest}/{}", segment(id));
    match command {
        Account::Show => {
            let me: Value = cx.client.get("/api/v1/me", &[]).await?;
            cx.one(&me)
        }
        Account::Set(change) => set(cx, change).await,
        Account::Sessions => list(cx, "/api/v1/sessions", SESSIONS).await,
        Account::EndSession { id } => cx.client.delete(&format!("/api/v1/sessions/{}", segment(&id))).await,
        Account::EndOtherSessions => cx.client.delete("/api/v1/sessions").await,
        Account::Factors => list(cx, "/api/v1/me/factors", FACTORS).await,
        Account::AddTotp { label } => add_totp(cx, label).await,
        Account::RemoveFactor { id } => cx.client.delete(&me("factors", &id)).await,
        Account::Certificates => list(cx, "/api/v1/me/certificates", certificates::COLUMNS).await,
        Account::AddCertificate { cert, key, label, by_name } => certificates::add(cx, &cert, &key, label.as_deref(), by_name).await,
        Account::RemoveCertificate { id } => cx.client.delete(&me("certificates", &id)).await,
        Account::RecoveryCodes => {
            let made = cx.client.post("/api/v1/me/recovery-codes", &[], &json!({})).await?;
            cx.one(&made)
        }
        Account::Applications => {
            list(cx, "/api/v1/me/applications", &[("CLIENT", "client_id"), ("NAME", "name"), ("SCOPE", "scope"), ("SINCE", "since")]).await
        }
        Account::Disconnect { client } => cx.client.delete(&me("applications", &client)).await,
        Account::Consents => {
            list(cx, "/api/v1/me/consents", &[("CLIENT", "client"), ("NAME", "client_name"), ("SCOPES", "scopes"), ("SINCE", "granted_at")]).await
        }
        Account::WithdrawConsent { client } => cx.client.delete(&me("consents", &client)).await,
        Account::Links => list(cx, "/api/v1/me/links", LINKS).await,
        Account::Link { upstream, username, password_file } => {
            let password = password(password_file.as_deref(), &format!("Password of {username} at {upstream}"))?;
            let made = cx.client.post("/api/v1/me/links", &[], &json!({ "upstream": upstream, "username": username, "password": password })).await?;
            cx.list(made["items"].as_array().map(Vec::as_slice).unwrap_or_default(), LINKS)
        }
        Account::Unlink { id } => cx.client.delete(&me("links", &id)).await,
        Account::AllowImpersonation { user, minutes } => {
            cx.client.put_new(&me("impersonators", &user), &json!({ "minutes": minutes })).await?;
            cx.note(&format!("{user} may act for you; all of it carries both names. To end it: gantry account withdraw-impersonation {user}"));
            Ok(())
        }
        Account::WithdrawImpersonation { user } => cx.client.delete(&me("impersonators", &user)).await,
        Account::Export => {
            let all: Value = cx.client.get("/api/v1/me/export", &[]).await?;
            print(&serde_json::to_string_pretty(&all)?)
        }
        Account::Delete { yes } => {
            let known: Value = cx.client.get("/api/v1/me", &[]).await?;
            let name = known["username"].as_str().unwrap_or_default().to_owned();
            confirm(&format!("Erase the account {name} for ever"), yes)?;
            cx.client.delete(&format!("/api/v1/me?confirm={}", segment(&name))).await?;
            cx.note(&format!("{name} is erased"));
            Ok(())
        }
    }
}

/// Somebody without an account makes one.
pub async fn register(cx: &mut Context, new: Registration) -> Result<()> {
    let password = password(new.password_file.as_deref(), "Password")?;
    let body = json!({ "username": new.username, "email": new.email, "display_name": new.display_name, "password": password });
    let made = cx.client.post_open("/api/v1/registrations", &body).await?;
    match made["state"].as_str() {
        Some("waiting") => cx.note("an administrator has to let you in; you get a mail"),
        Some("unconfirmed") => cx.note("a mail was sent to you: open the link in it, then `gantry login`"),
        _ => cx.note("welcome; now `gantry login`"),
    }
    cx.one(&made)
}

async fn list(cx: &mut Context, path: &str, columns: &[Column]) -> Result<()> {
    let items = cx.client.list(path, &[], MOST).await?;
    cx.list(&items, columns)
}

async fn set(cx: &mut Context, change: ProfileChange) -> Result<()> {
    let mut body = json!({});
    for (key, value) in [("display_name", change.display_name), ("email", change.email)] {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    for (key, file) in [("password", change.password_file), ("current_password", change.current_password_file)] {
        if let Some(file) = file {
            body[key] = json!(files::secret(&file)?);
        }
    }
    if body.as_object().is_some_and(serde_json::Map::is_empty) {
        return Err(Failure::Usage("say what to change: --display-name, --email or --password-file".to_owned()).into());
    }
    let changed = cx.client.patch("/api/v1/me", &body).await?;
    cx.one(&changed)
}

async fn add_totp(cx: &mut Context, label: Option<String>) -> Result<()> {
    let offer = cx.client.post("/api/v1/me/factors/totp", &[], &json!({})).await?;
    eprintln!("Secret  {}", offer["secret"].as_str().unwrap_or_default());
    eprintln!("QR code {}", offer["uri"].as_str().unwrap_or_default());
    let code = asked("The code that the authenticator shows")?;
    let mut body = json!({ "pending": offer["pending"], "code": code.trim() });
    if let Some(label) = label {
        body["label"] = json!(label);
    }
    let made = cx.client.post("/api/v1/me/factors", &[], &body).await?;
    if made["codes"].as_array().is_some_and(|c| !c.is_empty()) {
        cx.note("keep these recovery codes: each signs you in once without the authenticator");
    }
    cx.one(&made)
}

/// From a terminal with a prompt, else a line of standard input.
fn asked(what: &str) -> Result<String> {
    use std::io::IsTerminal;
    if std::io::stdin().is_terminal() {
        return Ok(inquire::Text::new(&format!("{what}:")).prompt()?);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line)
}

fn password(file: Option<&Path>, what: &str) -> Result<String> {
    use std::io::IsTerminal;
    match file {
        Some(file) => files::secret(file),
        None if std::io::stdin().is_terminal() => Ok(inquire::Password::new(&format!("{what}:")).without_confirmation().prompt()?),
        None => Err(Failure::Usage("name a file with the password: --password-file FILE".to_owned()).into()),
    }
}
