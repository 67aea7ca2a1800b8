//! Finding images and tags, and what is known of one: layers, platforms, origin, an archive of it.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::saved::save;
use super::{Context, segment};
use crate::args::{Format, Image};

const FOUND: &[crate::output::Column] = &[
    ("IMAGE", "name"),
    ("KIND", "kind"),
    ("TAGS", "tags"),
    ("IN INDEXES", "index_tags"),
    ("PLATFORMS", "platforms"),
    ("DIGEST", "digest"),
    ("HAS", "matches"),
    ("PUSHED AT", "pushed_at"),
];

/// The command comes back if it is not one of these.
pub async fn run(cx: &mut Context, command: Image) -> Result<Option<Image>> {
    match command {
        Image::Search { text, platform, label, package, finding, kind, limit } => {
            let query = [("q", text), ("platform", platform), ("label", label), ("package", package), ("finding", finding), ("kind", kind)];
            let query: Vec<(&str, String)> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let items = cx.client.list("/api/v1/images", &query, limit).await?;
            cx.list(&items, FOUND)?;
        }
        Image::Tags { repository, text, prefix, limit } => {
            let query: Vec<(&str, String)> = [("q", text), ("prefix", prefix)].into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let items = cx.client.list(&at(cx, &repository, "tags")?, &query, limit).await?;
            let columns = &[
                ("TAG", "tag"),
                ("DIGEST", "digest"),
                ("PLATFORMS", "platforms"),
                ("BYTES", "size_bytes"),
                ("PUSHED BY", "pushed_by"),
                ("PUSHED AT", "pushed_at"),
            ];
            cx.list(&items, columns)?;
        }
        Image::Layers { repository, digest } => {
            let found: Value = cx.client.get(&format!("{}/layers", at(cx, &repository, &digest)?), &[]).await?;
            layers(cx, &found)?;
        }
        Image::Platforms { repository, reference, wanted } => {
            let query: Vec<(&str, String)> = (!wanted.is_empty()).then(|| ("wanted", wanted.join(","))).into_iter().collect();
            let found: Value = cx.client.get(&format!("{}/platforms", at(cx, &repository, &reference)?), &query).await?;
            platforms(cx, &found)?;
        }
        Image::Export { repository, reference, platform, format, file } => {
            let mut query = vec![("format", format)];
            query.extend(platform.map(|p| ("platform", p)));
            export(cx, &format!("{}/export", at(cx, &repository, &reference)?), &query, &file).await?;
        }
        Image::Origin { repository, reference } => {
            let found: Value = cx.client.get(&format!("{}/origin", at(cx, &repository, &reference)?), &[]).await?;
            origin(cx, &found)?;
        }
        Image::Derived { repository, digest } => {
            let items = cx.client.list(&format!("{}/derived", at(cx, &repository, &digest)?), &[], 10_000).await?;
            cx.list(&items, &[("IMAGE", "name"), ("TAGS", "tags"), ("LAYERS", "layers"), ("DIGEST", "digest")])?;
        }
        other => return Ok(Some(other)),
    }
    Ok(None)
}

fn at(cx: &Context, repository: &str, reference: &str) -> Result<String> {
    Ok(format!("{}/images/{}/{}", cx.project()?, segment(repository), segment(reference)))
}

fn layers(cx: &Context, found: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        return cx.one(found);
    }
    let layers = found["layers"].as_array().cloned().unwrap_or_default();
    cx.list(&layers, &[("DIGEST", "digest"), ("BYTES", "size_bytes"), ("IMAGES", "images"), ("MADE BY", "created_by")])?;
    cx.note(&format!("{} bytes only this image has, {} it shares with others of the project", found["own_bytes"], found["shared_bytes"]));
    Ok(())
}

fn platforms(cx: &Context, found: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        return cx.one(found);
    }
    let images = found["images"].as_array().cloned().unwrap_or_default();
    cx.list(
        &images,
        &[
            ("PLATFORM", "platform"),
            ("HERE", "present"),
            ("CONFIG SAYS", "config_says"),
            ("PROGRAMS FIT", "check.agrees"),
            ("FAULT", "check.fault"),
            ("BYTES", "size_bytes"),
            ("DIGEST", "digest"),
        ],
    )?;
    let missing: Vec<&str> = found["missing"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !missing.is_empty() {
        cx.note(&format!("missing: {}", missing.join(", ")));
    }
    Ok(())
}

fn origin(cx: &Context, found: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        return cx.one(found);
    }
    let images = found["images"].as_array().cloned().unwrap_or_default();
    cx.list(
        &images,
        &[
            ("PLATFORM", "platform"),
            ("CLAIMS", "claim.name"),
            ("CLAIM HOLDS", "claim_holds"),
            ("BASE", "base.name"),
            ("TAGS", "base.tags"),
            ("KNOWN BY", "base.by"),
            ("SIGNED BY", "base.signed_by"),
            ("REBUILD", "rebuild_needed"),
        ],
    )?;
    images.iter().filter_map(|i| i["reason"].as_str()).for_each(|reason| cx.note(reason));
    Ok(())
}

async fn export(cx: &mut Context, path: &str, query: &[(&str, String)], file: &Path) -> Result<()> {
    let answer = cx.client.stream(path, query).await?;
    let digest = answer.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let written = save(answer, file).await?;
    if cx.common.output == Format::Table {
        cx.note(&format!("{} has {digest}", file.display()));
        return Ok(());
    }
    cx.one(&serde_json::json!({ "file": file.display().to_string(), "digest": digest, "bytes": written }))
}
