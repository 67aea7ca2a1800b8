//! Signing in by the device flow (RFC 8628), refreshing, signing out.

use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use time::Duration as Span;

use crate::client::{Client, refusal};
use crate::failure::Failure;
use crate::session::Tokens;

const CLIENT: &str = "gantry-cli";

#[derive(Deserialize)]
struct Device {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: i64,
    /// Seconds between two questions.
    #[serde(default = "five")]
    interval: u64,
}

fn five() -> u64 {
    5
}

/// What a sign-in or a refresh gives.
#[derive(Deserialize)]
pub struct Granted {
    access_token: String,
    pub refresh_token: Option<String>,
    expires_in: i64,
    #[serde(default)]
    pub id_token: Option<String>,
}

/// Waits until a person has confirmed the code in a browser.
///
/// # Errors
/// When it was refused or nobody confirmed in time.
pub async fn login(client: &mut Client) -> Result<()> {
    let granted = device(client, CLIENT, "openid profile offline_access").await?;
    client.session.tokens = Some(tokens(client, granted));
    client.store.write(&client.session)
}

/// Waits until a person has confirmed the code in a browser, for any client that may have devices.
///
/// # Errors
/// As [`login`].
pub async fn device(client: &Client, id: &str, scope: &str) -> Result<Granted> {
    let device: Device = form(client, "/oauth2/device_authorization", &[("client_id", id), ("scope", scope)]).await?;
    eprintln!("Open   {}", device.verification_uri_complete.as_ref().unwrap_or(&device.verification_uri));
    eprintln!("Code   {}", device.user_code);
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} waiting for you to confirm ({elapsed})")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let end = client.env().now() + Span::seconds(device.expires_in);
    let mut interval = Duration::from_secs(device.interval);
    let grant = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", &device.device_code), ("client_id", id)];
    loop {
        // RFC 8628 section 3.5: the server says how often it may be asked.
        tokio::time::sleep(interval).await;
        let answer = client.http().post(format!("{}/oauth2/token", client.url)).form(&grant).send().await;
        let answer = answer.map_err(|source| Failure::Unreachable { url: client.url.clone(), source })?;
        if answer.status().is_success() {
            bar.finish_and_clear();
            return Ok(answer.json().await?);
        }
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        match body["error"].as_str() {
            Some("authorization_pending") if client.env().now() < end => {}
            Some("slow_down") => interval += Duration::from_secs(5),
            Some("access_denied") => bail!("the sign-in was refused in the browser"),
            Some("expired_token" | "authorization_pending") => bail!("nobody confirmed the code in time; run `gantry login` again"),
            Some(other) => bail!("the sign-in failed: {}", body["error_description"].as_str().unwrap_or(other)),
            None => bail!("the sign-in failed: the platform answers {status}"),
        }
    }
}

/// # Errors
/// When the refresh token is no longer good.
pub async fn refresh(client: &Client, token: &str) -> Result<Tokens> {
    Ok(tokens(client, refreshed(client, CLIENT, token).await?))
}

/// The same for any client.
///
/// # Errors
/// As [`refresh`].
pub async fn refreshed(client: &Client, id: &str, token: &str) -> Result<Granted> {
    let mut granted: Granted = form(client, "/oauth2/token", &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", id)]).await?;
    granted.refresh_token = granted.refresh_token.or_else(|| Some(token.to_owned()));
    Ok(granted)
}

/// Ends the session at the platform (as far as it is reachable) and forgets it here, and with it what was given to its clusters' clients.
///
/// # Errors
/// When a file cannot be read or written.
pub async fn logout(client: &mut Client) -> Result<()> {
    if let Some(token) = client.session.tokens.take().and_then(|t| t.refresh_token) {
        revoke(client, CLIENT, &token).await;
    }
    client.store.write(&client.session)?;
    for (id, store) in client.store.of_clients()? {
        let _lock = store.lock()?;
        let kept = store.read()?;
        // Another platform's stay.
        if kept.url.as_ref() == Some(&client.url) {
            if let Some(token) = kept.tokens.and_then(|t| t.refresh_token) {
                revoke(client, &id, &token).await;
            }
            store.remove()?;
        }
    }
    Ok(())
}

async fn revoke(client: &Client, id: &str, token: &str) {
    let sent = client.http().post(format!("{}/oauth2/revoke", client.url)).form(&[("token", token), ("client_id", id)]).send().await;
    if !sent.is_ok_and(|a| a.status().is_success()) {
        eprintln!("the platform was not reached; the session there ends by itself");
    }
}

async fn form<T: serde::de::DeserializeOwned>(client: &Client, path: &str, fields: &[(&str, &str)]) -> Result<T> {
    let answer = client.http().post(format!("{}{path}", client.url)).form(fields).send().await;
    let answer = answer.map_err(|source| Failure::Unreachable { url: client.url.clone(), source })?;
    match answer.status().is_success() {
        true => Ok(answer.json().await?),
        false => Err(refusal(answer).await.into()),
    }
}

fn tokens(client: &Client, granted: Granted) -> Tokens {
    let expires_at = client.env().now() + Span::seconds(granted.expires_in);
    Tokens { access_token: granted.access_token, refresh_token: granted.refresh_token, expires_at }
}
