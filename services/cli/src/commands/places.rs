//! Organisations, projects, spaces; who is signed in.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, confirm, path};
use crate::args::{Place, Places};
use crate::failure::Failure;

const COLUMNS: [&[crate::output::Column]; 3] = [
    &[("NAME", "name"), ("DISPLAY NAME", "display_name"), ("ROLE", "role"), ("CREATED", "created_at")],
    &[("NAME", "name"), ("ROLE", "role"), ("PUBLIC", "public"), ("SPACES", "spaces"), ("CREATED", "created_at")],
    &[("NAME", "name"), ("ROLE", "role"), ("CREATED", "created_at")],
];
const KINDS: [&str; 3] = ["organisation", "project", "space"];
const LISTS: [&str; 3] = ["orgs", "projects", "spaces"];

/// `depth` is 1 for organisations, 2 for projects, 3 for spaces.
pub async fn run(cx: &mut Context, command: Places, depth: usize) -> Result<()> {
    let kind = KINDS[depth - 1];
    match command {
        Places::Create { place, display_name } => {
            let names = exact(&place, depth)?;
            let (name, above) = names.split_last().map(|(n, a)| (n.clone(), a.to_vec())).unwrap_or_default();
            let mut body = json!({ "name": name });
            if let Some(text) = display_name {
                body["display_name"] = Value::String(text);
            }
            let made = cx.client.post(&format!("{}/{}", path(&above), LISTS[depth - 1]), &[], &body).await?;
            cx.note(&format!("{kind} {place} is there"));
            if cx.common.output == crate::args::Format::Table { Ok(()) } else { cx.one(&made) }
        }
        Places::List => {
            let above = if depth == 1 { Vec::new() } else { cx.at(depth - 1)? };
            let items = cx.client.list(&format!("{}/{}", path(&above), LISTS[depth - 1]), &[], 10_000).await?;
            cx.list(&items, COLUMNS[depth - 1])
        }
        Places::Show { place } if depth == 3 => {
            let names = exact(&place, depth)?;
            let spaces = cx.client.list(&format!("{}/spaces", path(&names[..2])), &[], 10_000).await?;
            let found = spaces.into_iter().find(|s| s["name"] == names[2].as_str());
            cx.one(&found.ok_or_else(|| Failure::Usage(format!("there is no space {place}, or you may not see it")))?)
        }
        Places::Show { place } => {
            let found: Value = cx.client.get(&path(&exact(&place, depth)?), &[]).await?;
            cx.one(&found)
        }
        Places::Delete { place, yes } => {
            let names = exact(&place, depth)?;
            if depth == 1 && !yes {
                let takes: Value = cx.client.get(&format!("{}/deletion", path(&names)), &[]).await?;
                cx.one(&takes)?;
            }
            confirm(&format!("Delete {kind} {place} and everything in it"), yes)?;
            // An organisation wants its name said again; the flag or the answer above did.
            let query = if depth == 1 { format!("?confirm={}", names[0]) } else { String::new() };
            cx.client.delete(&format!("{}{query}", path(&names))).await?;
            cx.note(&format!("{kind} {place} is deleted"));
            Ok(())
        }
    }
}

pub fn exact(place: &Place, depth: usize) -> Result<Vec<String>> {
    let forms = ["org", "org/project", "org/project/space"];
    match place.names().len() == depth {
        true => Ok(place.names().to_vec()),
        false => Err(Failure::Usage(format!("{place}: a {} is written {}", KINDS[depth - 1], forms[depth - 1])).into()),
    }
}

pub async fn whoami(cx: &mut Context) -> Result<()> {
    let mut me: Value = cx.client.get("/api/v1/me", &[]).await?;
    me["url"] = json!(cx.client.url);
    me["at"] = json!(cx.client.session.at);
    cx.one(&me)
}
