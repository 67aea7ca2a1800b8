//! Certificates that sign people in, and the authorities that an organisation trusts for them.

use std::path::Path;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Context, confirm, files, places, segment};
use crate::args::CertificateAuthority;
use crate::failure::Failure;
use crate::output::Column;

pub const COLUMNS: &[Column] = &[("ID", "id"), ("LABEL", "label"), ("SUBJECT", "subject"), ("ISSUER", "issuer"), ("FOUND BY", "by"), ("UNTIL", "expires_at")];

const AUTHORITY: &[Column] =
    &[("ID", "id"), ("NAME", "name"), ("SINCE", "trusted_at"), ("REVOKED", "revocation.revoked"), ("LIST HOLDS UNTIL", "revocation.next_update")];

/// A list of revoked certificates as the platform takes it: PEM as it is, DER in base64.
fn as_text(list: &[u8]) -> String {
    match std::str::from_utf8(list) {
        Ok(text) if text.trim_start().starts_with("-----") => text.to_owned(),
        _ => STANDARD.encode(list),
    }
}

/// Shows the certificate itself, at the address that the platform names for it (RFC 8705 section 5).
pub async fn add(cx: &mut Context, cert: &Path, key: &Path, label: Option<&str>, by_name: bool) -> Result<()> {
    let about: Value = cx.client.get("/.well-known/openid-configuration", &[]).await?;
    let door = about["mtls_endpoint_aliases"]["token_endpoint"].as_str().and_then(|e| e.strip_suffix("/oauth2/token"));
    let door = door.ok_or_else(|| Failure::Usage("this platform has no door for certificates: its operator sets identity.certificates_url".to_owned()))?;
    let identity = [files::bytes(cert)?, b"\n".to_vec(), files::bytes(key)?].concat();
    let body = json!({ "label": label.unwrap_or_default(), "by": if by_name { "name" } else { "certificate" } });
    let made = cx.client.post_as(&format!("{door}/api/v1/me/certificates"), &identity, &body).await?;
    cx.one(&made)
}

pub async fn authority(cx: &mut Context, command: CertificateAuthority) -> Result<()> {
    let of = |place: &crate::args::Place| Ok::<_, anyhow::Error>(format!("{}/certificate-authorities", super::path(&places::exact(place, 1)?)));
    match command {
        CertificateAuthority::List { place } => {
            let items = cx.client.list(&of(&place)?, &[], 1_000).await?;
            cx.list(&items, AUTHORITY)
        }
        CertificateAuthority::Trust { place, name, file } => {
            let pem = files::text(&file)?;
            let made = cx.client.post(&of(&place)?, &[], &json!({ "name": name, "pem": pem })).await?;
            cx.one(&made)
        }
        CertificateAuthority::SetRevocation { place, id, from, file, when_stale } => {
            let list = file.as_deref().map(files::bytes).transpose()?;
            let body = json!({ "url": from, "list": list.map(|l| as_text(&l)), "when_stale": when_stale });
            let now = cx.client.put_new(&format!("{}/{}/revocation", of(&place)?, segment(&id)), &body).await?;
            cx.one(&now)
        }
        CertificateAuthority::FetchRevocation { place, id } => {
            let now = cx.client.post(&format!("{}/{}/revocation/fetches", of(&place)?, segment(&id)), &[], &json!({})).await?;
            cx.one(&now)
        }
        CertificateAuthority::RemoveRevocation { place, id } => cx.client.delete(&format!("{}/{}/revocation", of(&place)?, segment(&id))).await,
        CertificateAuthority::Distrust { place, id, yes } => {
            confirm(&format!("Let certificates of the authority {id} sign nobody of {place} in any more"), yes)?;
            cx.client.delete(&format!("{}/{}", of(&place)?, segment(&id))).await
        }
    }
}
