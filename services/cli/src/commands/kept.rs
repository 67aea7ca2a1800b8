//! Configs and secrets of a space.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Context, confirm, files, segment};
use crate::args::Kept;
use crate::failure::Failure;
use crate::output::Column;

/// Key of a single content.
const CONTENT: &str = "content";

const COLUMNS: &[Column] = &[
    ("NAME", "name"),
    ("VERSION", "version"),
    ("KEYS", "keys"),
    ("BYTES", "bytes"),
    ("USED BY", "users"),
    ("OUT OF DATE", "outdated"),
    ("CHANGED", "changed_at"),
];
const VERSIONS: &[Column] = &[
    ("VERSION", "version"),
    ("FINGERPRINT", "fingerprint"),
    ("KEYS", "keys"),
    ("BYTES", "bytes"),
    ("FROM", "from"),
    ("BY", "author"),
    ("AT", "at"),
    ("REASON", "reason"),
];
const ROLLED: &[Column] = &[("APP", "app"), ("REVISION", "revision"), ("CHANGED", "changed"), ("PROBLEM", "problem")];

pub async fn run(cx: &mut Context, command: Kept, secret: bool) -> Result<()> {
    let what = if secret { "secret" } else { "config" };
    let configs = format!("{}/configs", cx.space()?);
    // A config may have the same name as a secret.
    let below = |name: &str, part: &str| format!("{configs}/{}{part}?secret={secret}", segment(name));
    let of = |name: &str| below(name, "");
    match command {
        Kept::List => {
            let mut items = cx.client.list(&configs, &[("secret", secret.to_string())], 10_000).await?;
            for item in &mut items {
                let used = item["used_by"].as_array().cloned().unwrap_or_default();
                let named = |all: bool| -> Vec<&str> { used.iter().filter(|u| all || u["restart_needed"] == true).filter_map(|u| u["app"].as_str()).collect() };
                let (users, outdated) = (named(true).join(","), named(false).join(","));
                item["users"] = users.into();
                item["outdated"] = outdated.into();
            }
            cx.list(&items, COLUMNS)
        }
        Kept::Show { name } => {
            let one: Value = cx.client.get(&of(&name), &[]).await?;
            cx.one(&one)
        }
        Kept::Set { name, file, literal, value, merge, remove, kind, immutable, reason, expect, dry_run, rollout } => {
            let only_removes = !remove.is_empty() && file.is_empty() && literal.is_empty() && value.is_none();
            let contents = if only_removes { BTreeMap::new() } else { contents(&file, &literal, value, secret)? };
            let (mut entries, mut binary) = (BTreeMap::new(), BTreeMap::new());
            for (key, bytes) in contents {
                match String::from_utf8(bytes) {
                    Ok(text) => drop(entries.insert(key, text)),
                    Err(other) => drop(binary.insert(key, STANDARD.encode(other.as_bytes()))),
                }
            }
            let body = json!({
                "secret": secret, "entries": entries, "binary": binary, "merge": merge || !remove.is_empty(), "remove": remove, "kind": kind.unwrap_or_default(),
                "immutable": immutable, "reason": reason.clone().unwrap_or_default(),
            });
            // Its body says which it is.
            let path = format!("{configs}/{}{}", segment(&name), if dry_run { "?dry_run=true" } else { "" });
            let done = match expect {
                None => cx.client.put_new(&path, &body).await?,
                Some(0) => cx.client.put(&path, &body, 0).await?,
                Some(version) => {
                    let (now, etag): (Value, _) = cx.client.get_with_version(&of(&name)).await?;
                    if now["version"] != version {
                        return Err(Failure::Usage(format!("the newest version of {name} is {}, not {version}", now["version"])).into());
                    }
                    cx.client.put_over(&path, &body, etag).await?
                }
            };
            tell(cx, &done, what, dry_run, rollout)?;
            if rollout && !dry_run { self::rollout(cx, &below(&name, "/rollout"), &[], reason).await } else { Ok(()) }
        }
        Kept::Versions { name } => {
            let items = cx.client.list(&below(&name, "/versions"), &[], 1_000).await?;
            cx.list(&items, VERSIONS)
        }
        Kept::Rollback { name, version, reason, rollout } => {
            let body = json!({ "version": version, "reason": reason.clone().unwrap_or_default() });
            let done = cx.client.post(&below(&name, "/rollback"), &[], &body).await?;
            tell(cx, &done, what, false, rollout)?;
            if rollout { self::rollout(cx, &below(&name, "/rollout"), &[], reason).await } else { Ok(()) }
        }
        Kept::Rollout { name, app, reason } => self::rollout(cx, &below(&name, "/rollout"), &app, reason).await,
        Kept::Delete { name, yes } => {
            confirm(&format!("Delete {what} {name} with all its versions, for ever"), yes)?;
            cx.client.delete(&of(&name)).await?;
            cx.note(&format!("{what} {name} is deleted"));
            Ok(())
        }
        Kept::Reveal { name, version, reason, key } => {
            let body = json!({ "version": version, "reason": reason.unwrap_or_default() });
            let shown = cx.client.post(&below(&name, "/reveal"), &[], &body).await?;
            match key {
                None => cx.one(&shown),
                Some(key) => {
                    let text = shown["entries"][&key].as_str().map(|t| t.as_bytes().to_vec());
                    let bytes = text.or_else(|| STANDARD.decode(shown["binary"][&key].as_str()?).ok());
                    let bytes = bytes.with_context(|| format!("version {} of {name} has no key {key}", shown["version"]))?;
                    Ok(std::io::stdout().write_all(&bytes)?)
                }
            }
        }
    }
}

/// Contents by key, from wherever they were said to be.
fn contents(files: &[String], literals: &[String], value: Option<String>, secret: bool) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut out = BTreeMap::new();
    let mut put = |key: &str, bytes: Vec<u8>| match out.insert(key.to_owned(), bytes) {
        None => Ok(()),
        Some(_) => Err(Failure::Usage(format!("the content of `{key}` is given twice; say KEY=PATH where there are several"))),
    };
    for word in files {
        // A path may hold `=`, a key may not hold `/`.
        let (key, path) = word.split_once('=').filter(|(key, _)| !key.contains('/')).unwrap_or((CONTENT, word));
        let bytes = files::bytes(Path::new(path))?;
        put(key, bytes)?;
    }
    for word in literals {
        let (key, text) = word.split_once('=').ok_or_else(|| Failure::Usage("--literal must be KEY=VALUE".to_owned()))?;
        put(key, text.as_bytes().to_vec())?;
    }
    if let Some(text) = value {
        put(CONTENT, text.into_bytes())?;
    }
    if !out.is_empty() {
        return Ok(out);
    }
    if std::io::stdin().is_terminal() && secret {
        let typed = inquire::Password::new("Content:").without_confirmation().prompt()?;
        return Ok(BTreeMap::from([(CONTENT.to_owned(), typed.into_bytes())]));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(BTreeMap::from([(CONTENT.to_owned(), bytes)]))
}

fn tell(cx: &Context, done: &Value, what: &str, dry_run: bool, rollout: bool) -> Result<()> {
    if cx.common.output != crate::args::Format::Table {
        return cx.one(done);
    }
    let (name, version) = (done["name"].as_str().unwrap_or_default(), &done["version"]);
    for line in done["diff"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        crate::output::print(line)?;
    }
    cx.note(&match (done["changed"] == true, dry_run) {
        (false, _) => format!("{what} {name} is so already, as version {version}"),
        (true, true) => format!("{what} {name} would have version {version}"),
        (true, false) => format!("{what} {name} has version {version}"),
    });
    let waiting: Vec<&str> = done["restart_needed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !waiting.is_empty() && !rollout {
        cx.note(&format!("only with a new revision: {} (gantry {what} rollout {name})", waiting.join(", ")));
    }
    Ok(())
}

async fn rollout(cx: &mut Context, path: &str, apps: &[String], reason: Option<String>) -> Result<()> {
    let body = json!({ "apps": apps, "reason": reason.unwrap_or_default() });
    let done = cx.client.post(path, &[], &body).await?;
    let items = done["items"].as_array().cloned().unwrap_or_default();
    if items.is_empty() {
        cx.note("every application that uses it has it already");
        return Ok(());
    }
    cx.list(&items, ROLLED)?;
    let failed = items.iter().filter(|i| !i["problem"].is_null()).count();
    anyhow::ensure!(failed == 0, "{failed} of {} were refused", items.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_takes_the_place_of_another() {
        let literal = |words: &[&str], value: Option<&str>| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            contents(&[], &words, value.map(str::to_owned), true)
        };
        let both = literal(&["user=shop", "password=a=b"], None).unwrap();
        assert_eq!((both["user"].as_slice(), both["password"].as_slice()), (b"shop".as_slice(), b"a=b".as_slice()));
        for (words, value) in [(["a=1", "a=2"].as_slice(), None), (["content=1"].as_slice(), Some("2"))] {
            assert!(literal(words, value).unwrap_err().to_string().contains("twice"));
        }
    }
}
