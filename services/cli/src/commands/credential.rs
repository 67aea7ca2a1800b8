//! A credential plugin (kubernetes.io/docs/reference/access-authn-authz/authentication "client-go credential plugins"): kubectl
//! runs it and shows what it prints to the API server, which trusts this platform's identity. The token is an ID token of a
//! client of its own, so that it opens the cluster and nothing else.

use anyhow::{Context as _, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_kernel::OffsetDateTime;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::Context;
use crate::failure::Failure;
use crate::login;
use crate::session::{Session, Tokens};

const VERSION: &str = "client.authentication.k8s.io/v1";
/// Roles and teams are in `groups`.
const SCOPE: &str = "openid profile groups offline_access";
/// A token that ends sooner is renewed.
const MARGIN: time::Duration = time::Duration::seconds(30);

/// What kubectl says of itself.
pub struct Asked {
    pub version: String,
    /// Somebody is there who can sign in.
    pub interactive: bool,
}

impl Asked {
    /// By `KUBERNETES_EXEC_INFO`; `alone`: what counts without it.
    pub fn read(info: Option<&str>, alone: bool) -> Self {
        let info: Value = info.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let version = info["apiVersion"].as_str().filter(|v| v.starts_with("client.authentication.k8s.io/")).unwrap_or(VERSION).to_owned();
        Self { version, interactive: info["spec"]["interactive"].as_bool().unwrap_or(alone) }
    }
}

#[allow(clippy::disallowed_methods, reason = "kubectl speaks to plugins by the environment")]
pub fn asked() -> Asked {
    use std::io::IsTerminal;
    Asked::read(std::env::var("KUBERNETES_EXEC_INFO").ok().as_deref(), std::io::stderr().is_terminal())
}

/// An `ExecCredential` of whoever is signed in at this client: kept, renewed, or by a new sign-in.
///
/// # Errors
/// When nobody is there to sign in, or it is refused.
pub async fn exec_credential(cx: &mut Context, id: &str, asked: Asked) -> Result<Value> {
    if id.is_empty() || id.starts_with('.') || !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(Failure::Usage(format!("`{id}` is no client's id")).into());
    }
    let store = cx.client.store.of_client(id, &cx.client.url);
    // kubectl runs several at a time, and a refresh token is good for one use.
    let _lock = store.lock()?;
    let url = Some(cx.client.url.clone());
    let mut kept = store.read()?;
    // Never another platform's, whatever somebody renamed.
    if kept.url != url {
        kept = Session { url, ..Session::default() };
    }
    let now = cx.client.env().now();
    if let Some(tokens) = kept.tokens.as_ref().filter(|t| t.expires_at - now > MARGIN) {
        return said(&asked, tokens);
    }
    let refresh = kept.tokens.as_ref().and_then(|t| t.refresh_token.clone());
    let renewed = match refresh {
        Some(token) => match login::refreshed(&cx.client, id, &token).await {
            Ok(granted) => Some(granted),
            // It has ended: a new sign-in is the way on.
            Err(error) if matches!(error.downcast_ref(), Some(Failure::Refused(problem)) if matches!(problem.status, 400 | 401)) => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let granted = match renewed {
        Some(granted) => granted,
        None if asked.interactive => login::device(&cx.client, id, SCOPE).await?,
        None => bail!("nobody is signed in for this cluster; run `gantry cluster credential --client {id}` in a terminal once"),
    };
    let token = granted.id_token.context("the platform gave no ID token; the client has to have the scopes openid, profile and groups")?;
    let expires_at = end(&token).context("the platform's ID token does not say when it ends")?;
    // What is kept of this client is the ID token: nothing else of it is ever used.
    let tokens = Tokens { access_token: token, refresh_token: granted.refresh_token, expires_at };
    kept.tokens = Some(tokens.clone());
    store.write(&kept)?;
    said(&asked, &tokens)
}

fn said(asked: &Asked, tokens: &Tokens) -> Result<Value> {
    Ok(json!({
        "apiVersion": asked.version, "kind": "ExecCredential",
        "status": { "token": tokens.access_token, "expirationTimestamp": tokens.expires_at.format(&Rfc3339)? },
    }))
}

/// When a token ends, as it says itself.
fn end(token: &str) -> Option<OffsetDateTime> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    OffsetDateTime::from_unix_timestamp(claims["exp"].as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_says_counts() {
        let told = Asked::read(Some(r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","spec":{"interactive":false}}"#), true);
        assert_eq!((told.version.as_str(), told.interactive), ("client.authentication.k8s.io/v1beta1", false));
        let alone = Asked::read(None, true);
        assert_eq!((alone.version.as_str(), alone.interactive), (VERSION, true));
        assert!(!Asked::read(Some("no JSON"), false).interactive);
    }

    #[test]
    fn a_token_says_when_it_ends() {
        let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(r#"{"exp":1800000000}"#));
        assert_eq!(end(&token).unwrap().unix_timestamp(), 1_800_000_000);
        assert_eq!(end("no.token"), None);
    }
}
