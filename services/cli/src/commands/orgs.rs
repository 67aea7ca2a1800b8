//! Organisations: members, invitations, security policies, provisioning tokens, trusted issuers.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Context, certificates, confirm, files, pairs, places, segment};
use crate::args::{Branding, Invitation, Issuer, Member, Org, Place, ScimToken, SecurityPolicy};
use crate::failure::Failure;

const MOST: usize = 100_000;

/// Texts and colours of sign-in pages, as the API calls them.
pub const LOOK: [&str; 8] = ["title", "accent", "accent_dark", "support", "notice_en", "notice_zh", "privacy_url", "terms_url"];

pub async fn org(cx: &mut Context, command: Org) -> Result<()> {
    match command {
        Org::Places(command) => places::run(cx, command, 1).await,
        Org::Set { place, display_name, owner } => {
            let names = places::exact(&place, 1)?;
            let mut body = Map::new();
            body.extend(display_name.map(|n| ("display_name".to_owned(), json!(n))));
            body.extend(owner.map(|o| ("owner".to_owned(), json!(o))));
            if body.is_empty() {
                return Err(Failure::Usage("say what to change: --display-name or --owner".to_owned()).into());
            }
            let changed = cx.client.patch(&super::path(&names), &body).await?;
            cx.one(&changed)
        }
        Org::Branding(command) => branding(cx, command).await,
        Org::CertificateAuthority(command) => certificates::authority(cx, command).await,
    }
}

async fn branding(cx: &mut Context, command: Branding) -> Result<()> {
    let of = |place: &Place| Ok::<_, anyhow::Error>(format!("{}/branding", super::path(&places::exact(place, 1)?)));
    match command {
        Branding::Show { place } => {
            let shown: Value = cx.client.get(&of(&place)?, &[]).await?;
            cx.one(&shown)
        }
        Branding::Set { place, look } => {
            let path = of(&place)?;
            let typed = look.typed();
            if typed.is_empty() {
                return Err(Failure::Usage("say what to change, for example --title or --accent".to_owned()).into());
            }
            let (mut body, version): (Map<String, Value>, _) = cx.client.get_with_version(&path).await?;
            // The logo has a command of its own.
            body.retain(|field, _| LOOK.contains(&field.as_str()));
            for (field, value) in typed {
                if value.is_empty() {
                    body.remove(field)
                } else {
                    body.insert(field.to_owned(), Value::String(value))
                };
            }
            let kept = cx.client.put_over(&path, &body, version).await?;
            cx.one(&kept)
        }
        Branding::Logo { place, file: Some(file), .. } => {
            let bytes = files::bytes(&file)?;
            let kept = cx.client.put_new(&format!("{}/logo", of(&place)?), &json!({ "content": STANDARD.encode(bytes) })).await?;
            cx.one(&kept)
        }
        Branding::Logo { place, file: None, .. } => cx.client.delete(&format!("{}/logo", of(&place)?)).await,
        Branding::Reset { place, yes } => {
            let path = of(&place)?;
            confirm(&format!("Let the sign-in pages of {place} look as the platform's own again"), yes)?;
            cx.client.delete(&path).await
        }
    }
}

pub async fn member(cx: &mut Context, command: Member) -> Result<()> {
    let members = format!("{}/members", cx.org()?);
    match command {
        Member::List => {
            let items = cx.client.list(&members, &[], MOST).await?;
            cx.list(&items, &[("USERNAME", "username"), ("NAME", "display_name"), ("ROLE", "role"), ("SINCE", "added_at")])
        }
        Member::Put { user, role } => cx.client.put_new(&format!("{members}/{}", segment(&user)), &json!({ "role": role })).await.map(drop),
        Member::Remove { user } => cx.client.delete(&format!("{members}/{}", segment(&user))).await,
    }
}

pub async fn invitation(cx: &mut Context, command: Invitation) -> Result<()> {
    let invitations = format!("{}/invitations", cx.org()?);
    match command {
        Invitation::List => {
            let items = cx.client.list(&invitations, &[], MOST).await?;
            cx.list(&items, &[("ID", "id"), ("E-MAIL", "email"), ("ROLE", "role"), ("EXPIRES", "expires_at")])
        }
        Invitation::Create { email, role, expires_in_days } => {
            let made = cx.client.post(&invitations, &[], &json!({ "email": email, "role": role, "expires_in_days": expires_in_days })).await?;
            cx.one(&made)
        }
        Invitation::Delete { id } => cx.client.delete(&format!("{invitations}/{}", segment(&id))).await,
    }
}

pub async fn policy(cx: &mut Context, command: SecurityPolicy) -> Result<()> {
    let at = |cx: &Context, platform: bool| {
        let place = if platform { "/api/v1".to_owned() } else { cx.org()? };
        Ok::<_, anyhow::Error>(format!("{place}/policies/security"))
    };
    match command {
        SecurityPolicy::Show { platform } => {
            let policy: Value = cx.client.get(&at(cx, platform)?, &[]).await?;
            cx.one(&policy)
        }
        SecurityPolicy::Set { rules, file, replace, platform } => {
            let path = at(cx, platform)?;
            let (before, version): (Value, _) = cx.client.get_with_version(&path).await?;
            let mut policy = if replace { json!({}) } else { before };
            let from_file = file.map(|f| files::settings(&f)).transpose()?.unwrap_or_else(|| json!({}));
            for more in [from_file, pairs(&rules)?] {
                for (rule, value) in more.as_object().into_iter().flatten() {
                    policy[rule] = value.clone();
                }
            }
            // A rule that is taken away is not there.
            if let Some(rules) = policy.as_object_mut() {
                rules.retain(|_, value| !value.is_null());
            }
            let kept = cx.client.put_over(&path, &policy, version).await?;
            cx.one(&kept)
        }
    }
}

pub async fn scim_token(cx: &mut Context, command: ScimToken) -> Result<()> {
    let tokens = format!("{}/scim-tokens", cx.org()?);
    match command {
        ScimToken::List => {
            let items = cx.client.list(&tokens, &[], MOST).await?;
            cx.list(&items, &[("ID", "id"), ("NAME", "name"), ("BEGINS", "hint"), ("EXPIRES", "expires_at"), ("LAST USED", "last_used_at")])
        }
        ScimToken::Create { name, expires_in_days } => {
            let made = cx.client.post(&tokens, &[], &json!({ "name": name, "expires_in_days": expires_in_days })).await?;
            cx.one(&made)
        }
        ScimToken::Delete { id } => cx.client.delete(&format!("{tokens}/{}", segment(&id))).await,
    }
}

pub async fn issuer(cx: &mut Context, command: Issuer) -> Result<()> {
    match command {
        Issuer::List { org } => {
            let query: Vec<_> = org.into_iter().map(|o| ("org", o)).collect();
            let items = cx.client.list("/api/v1/trusted-issuers", &query, MOST).await?;
            cx.list(&items, &[("ID", "id"), ("NAME", "name"), ("ISSUER", "settings.issuer"), ("SINCE", "created_at")])
        }
        Issuer::Create { name, file, org } => {
            let made = cx.client.post("/api/v1/trusted-issuers", &[], &json!({ "name": name, "org": org, "settings": files::settings(&file)? })).await?;
            cx.one(&made)
        }
        Issuer::Delete { id, yes } => {
            confirm(&format!("Trust the issuer {id} no longer"), yes)?;
            cx.client.delete(&format!("/api/v1/trusted-issuers/{}", segment(&id))).await
        }
    }
}
