//! Images, repositories, pipeline runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use futures::StreamExt;
use serde_json::{Value, json};

use super::progress::{Progress, Seen};
use super::saved::save;
use super::{Context, confirm, segment};
use crate::args::{Image, Pipeline, Repo};
use crate::failure::Failure;
use crate::output::{find, print};
use crate::sse;

pub async fn image(cx: &mut Context, command: Image) -> Result<()> {
    let Some(command) = care(cx, command).await? else { return Ok(()) };
    match super::finding::run(cx, command).await? {
        Some(command) => in_project(cx, command).await,
        None => Ok(()),
    }
}

/// What concerns the content of the whole platform; the command comes back if it does not.
async fn care(cx: &mut Context, command: Image) -> Result<Option<Image>> {
    match command {
        Image::Collect { dry_run, older_than } => {
            let done = cx.client.post("/api/v1/registry/collections", &[], &json!({ "dry_run": dry_run, "older_than_seconds": older_than })).await?;
            cx.one(&done)?;
        }
        Image::Collections => {
            let items = cx.client.list("/api/v1/registry/collections", &[], 500).await?;
            cx.list(
                &items,
                &[("AT", "at"), ("BY", "by"), ("DRY RUN", "dry_run"), ("BLOBS", "blobs"), ("BYTES", "bytes"), ("UPLOADS", "uploads"), ("MS", "took_ms")],
            )?;
        }
        Image::Check => {
            let begun = cx.client.post("/api/v1/registry/checks", &[], &json!({})).await?;
            cx.one(&begun)?;
        }
        Image::Damage => {
            let damage: Value = cx.client.get("/api/v1/registry/damage", &[]).await?;
            let items = damage["items"].as_array().cloned().unwrap_or_default();
            cx.list(&items, &[("CONTENT", "digest"), ("REPOSITORY", "repository"), ("IMAGE", "image"), ("TAGS", "tags"), ("FOUND", "found_at")])?;
            cx.note(&format!("{} blobs wait for their check", damage["waiting"]));
        }
        other => return Ok(Some(other)),
    }
    Ok(None)
}

async fn in_project(cx: &mut Context, command: Image) -> Result<()> {
    let images = format!("{}/images", cx.project()?);
    match command {
        Image::Collect { .. } | Image::Collections | Image::Check | Image::Damage => Ok(()),
        Image::Search { .. } | Image::Tags { .. } | Image::Layers { .. } => Ok(()),
        Image::Platforms { .. } | Image::Export { .. } | Image::Origin { .. } | Image::Derived { .. } => Ok(()),
        Image::History { repository, tag } => {
            let query: Vec<(&str, String)> = tag.into_iter().map(|t| ("tag", t)).collect();
            let items = cx.client.list(&format!("{images}/{}/history", segment(&repository)), &query, 10_000).await?;
            cx.list(&items, &[("AT", "at"), ("TAG", "tag"), ("ACTION", "action"), ("DIGEST", "digest"), ("PREVIOUS", "previous"), ("BY", "by")])
        }
        Image::Restore { repository, tag, digest } => {
            let path = format!("{images}/{}/tags/{}/restore", segment(&repository), segment(&tag));
            let done = cx.client.post(&path, &[], &json!({ "digest": digest })).await?;
            cx.one(&done)
        }
        Image::List => {
            let items = cx.client.list(&images, &[], 10_000).await?;
            // A line per tag; a repository without tags shows as one line.
            let lines: Vec<Value> = items
                .iter()
                .flat_map(|image| {
                    let tags = image["tags"].as_array().cloned().unwrap_or_default();
                    let tags = if tags.is_empty() { vec![json!({})] } else { tags };
                    tags.into_iter().map(|tag| json!({ "image": image["repository"], "tag": tag, "reference": image["reference"] })).collect::<Vec<_>>()
                })
                .collect();
            if cx.common.output != crate::args::Format::Table {
                return cx.list(&items, &[]);
            }
            let scan = "tag.scan.critical";
            cx.list(
                &lines,
                &[
                    ("REPOSITORY", "image"),
                    ("TAG", "tag.tag"),
                    ("DIGEST", "tag.digest"),
                    ("BYTES", "tag.size_bytes"),
                    ("CRITICAL", scan),
                    ("HIGH", "tag.scan.high"),
                    ("PUSHED BY", "tag.pushed_by"),
                    ("PUSHED AT", "tag.pushed_at"),
                ],
            )
        }
        Image::Scan { repository, digest, format: Some(format) } => {
            let path = format!("{images}/{}/{}/scan", segment(&repository), segment(&digest));
            let answer = cx.client.stream(&path, &[("format", format)]).await?;
            crate::output::print(&answer.text().await?)
        }
        Image::Sbom { repository, digest, format, scanner } => {
            let path = format!("{images}/{}/{}/sbom", segment(&repository), segment(&digest));
            let mut query = vec![("format", format)];
            query.extend(scanner.map(|s| ("scanner", s)));
            let answer = cx.client.stream(&path, &query).await?;
            crate::output::print(&answer.text().await?)
        }
        Image::Rescan { repository, digest } => {
            let asked = cx.client.post(&format!("{images}/{}/{}/scan", segment(&repository), segment(&digest)), &[], &json!({})).await?;
            cx.note(&format!("it is scanned again; {} scanners outside are asked", asked["scanners"]));
            Ok(())
        }
        Image::Scanners { repository, digest } => {
            let items = cx.client.list(&format!("{images}/{}/{}/scanners", segment(&repository), segment(&digest)), &[], 500).await?;
            cx.list(
                &items,
                &[
                    ("SCANNER", "scanner"),
                    ("STATE", "state"),
                    ("IS", "identity.name"),
                    ("VERSION", "identity.version"),
                    ("ASKED", "asked_at"),
                    ("ANSWERED", "at"),
                    ("ERROR", "error"),
                ],
            )
        }
        Image::Signatures { repository, digest } => {
            let trust: Value = cx.client.get(&format!("{images}/{}/{}/signatures", segment(&repository), segment(&digest)), &[]).await?;
            cx.one(&trust)
        }
        Image::Scan { repository, digest, format: None } => {
            let report: Value = cx.client.get(&format!("{images}/{}/{}/scan", segment(&repository), segment(&digest)), &[]).await?;
            cx.one(&report)
        }
        Image::Delete { repository, reference } => {
            let Some((repository, reference)) = named(&repository, reference.as_deref()) else {
                bail!(Failure::Usage(format!("say what is to go of `{repository}`: a tag (`{repository}:v1`) or a digest (`{repository}@sha256:...`)")));
            };
            let place = format!("{images}/{}", segment(repository));
            if is_digest(reference) {
                cx.client.delete(&format!("{place}/{}", segment(reference))).await?;
                cx.note(&format!("{repository}@{reference} is removed, with its tags"));
            } else {
                cx.client.delete(&format!("{place}/tags/{}", segment(reference))).await?;
                cx.note(&format!("{repository}:{reference} is removed"));
            }
            Ok(())
        }
    }
}

/// Tags have no colon.
fn is_digest(reference: &str) -> bool {
    reference.contains(':')
}

/// Repository and tag or digest, in one word or in two; none if there is only a repository.
fn named<'a>(repository: &'a str, reference: Option<&'a str>) -> Option<(&'a str, &'a str)> {
    let split = || repository.split_once('@').filter(|(_, digest)| is_digest(digest)).or_else(|| repository.split_once(':'));
    reference.map(|reference| (repository, reference)).or_else(split).filter(|(name, which)| !name.is_empty() && !which.is_empty())
}

pub async fn repo(cx: &mut Context, command: Repo) -> Result<()> {
    let repositories = format!("{}/repositories", cx.project()?);
    match command {
        Repo::Create { name } => {
            let made = cx.client.post(&repositories, &[], &json!({ "name": name })).await?;
            cx.one(&made)
        }
        Repo::List => {
            let items = cx.client.list(&repositories, &[], 10_000).await?;
            cx.list(&items, &[("NAME", "name"), ("CLONE URL", "clone_url"), ("CREATED", "created_at")])
        }
        Repo::Delete { name, yes } => {
            confirm(&format!("Delete repository {name} with its history"), yes)?;
            cx.client.delete(&format!("{repositories}/{}", segment(&name))).await?;
            cx.note(&format!("{name} is deleted"));
            Ok(())
        }
    }
}

pub async fn pipeline(cx: &mut Context, command: Pipeline) -> Result<()> {
    let runs = format!("{}/runs", cx.project()?);
    let of = |run: &str| format!("{runs}/{}", segment(run));
    match command {
        Pipeline::Run { repository, reference, no_wait } => {
            let run = cx.client.post(&runs, &[], &json!({ "repository": repository, "ref": reference })).await?;
            if no_wait || cx.common.output != crate::args::Format::Table {
                return cx.one(&run);
            }
            let id = run["id"].as_str().unwrap_or_default().to_owned();
            cx.note(&format!("run {id}"));
            wait(cx, &of(&id), &id).await
        }
        Pipeline::List { repository } => {
            let query: Vec<(&str, String)> = repository.into_iter().map(|r| ("repository", r)).collect();
            let items = cx.client.list(&runs, &query, 200).await?;
            let columns = [
                ("RUN", "id"),
                ("NUMBER", "number"),
                ("REPOSITORY", "repository"),
                ("REF", "ref"),
                ("COMMIT", "commit"),
                ("STATE", "state"),
                ("TRIGGER", "trigger"),
                ("CREATED", "created_at"),
            ];
            cx.list(&items, &columns)
        }
        Pipeline::Show { run } => {
            let run: Value = cx.client.get(&of(&run), &[]).await?;
            if cx.common.output != crate::args::Format::Table {
                return cx.one(&run);
            }
            let text = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
            print(&format!("{} of {} at {}: {} {}", text("id"), text("repository"), text("commit"), text("state"), text("reason")))?;
            let steps = run["steps"].as_array().cloned().unwrap_or_default();
            cx.list(
                &steps,
                &[("STAGE", "stage"), ("STEP", "name"), ("KIND", "kind"), ("STATE", "state"), ("EXIT", "exit_code"), ("MS", "duration_ms"), ("WHY", "reason")],
            )
        }
        Pipeline::Logs { run, step, follow } => logs(cx, &of(&run), step, follow).await,
        Pipeline::Approve { run, step } => {
            let answer = cx.client.post(&format!("{}/approve", of(&run)), &[], &json!({ "step": step })).await?;
            cx.note(&format!("step {step} is approved"));
            if cx.common.output == crate::args::Format::Table { Ok(()) } else { cx.one(&answer) }
        }
        Pipeline::Cancel { run } => {
            cx.client.post(&format!("{}/cancel", of(&run)), &[], &json!({})).await?;
            cx.note("cancelled");
            Ok(())
        }
        Pipeline::Artifacts { run } => {
            let items = cx.client.list(&format!("{}/artifacts", of(&run)), &[], 1_000).await?;
            cx.list(&items, &[("NAME", "name"), ("BYTES", "size_bytes"), ("TYPE", "media_type"), ("DIGEST", "digest")])
        }
        Pipeline::Download { run, artifact, file } => {
            // Its name is a path below the run.
            let name: Vec<String> = artifact.split('/').map(segment).collect();
            let file = match file {
                Some(file) => file,
                None => Path::new(&artifact).file_name().map(PathBuf::from).ok_or_else(|| Failure::Usage(format!("{artifact}: say --file where it goes")))?,
            };
            let answer = cx.client.stream(&format!("{}/artifacts/{}", of(&run), name.join("/")), &[]).await?;
            let bytes = save(answer, &file).await?;
            cx.note(&format!("{bytes} bytes are in {}", file.display()));
            if cx.common.output == crate::args::Format::Table { Ok(()) } else { cx.one(&json!({ "file": file.display().to_string(), "bytes": bytes })) }
        }
    }
}

fn is_over(state: &str) -> bool {
    !matches!(state, "queued" | "running" | "waiting" | "pending")
}

async fn wait(cx: &mut Context, run: &str, id: &str) -> Result<()> {
    let mut progress = Progress::new(Duration::from_secs(3600))?;
    loop {
        let seen: Value = cx.client.get(run, &[]).await?;
        let state = seen["state"].as_str().unwrap_or_default().to_owned();
        let steps = seen["steps"].as_array().cloned().unwrap_or_default();
        let over = steps.iter().filter(|s| s["state"].as_str().is_some_and(is_over)).count() as u64;
        let now = steps.iter().find(|s| matches!(s["state"].as_str(), Some("running" | "waiting"))).and_then(|s| s["name"].as_str());
        let text = now.map_or_else(|| state.clone(), |step| format!("{state}: {step}"));
        if progress.step(Seen { done: over, of: steps.len() as u64, text, finished: is_over(&state) }).await? {
            if state == "succeeded" {
                cx.note("succeeded");
                return Ok(());
            }
            bail!("the run {state}: {}; `gantry pipeline logs {id}` shows what the steps printed", find(&seen, "reason").as_str().unwrap_or_default());
        }
    }
}

async fn logs(cx: &mut Context, run: &str, step: Option<String>, follow: bool) -> Result<()> {
    let steps = match step {
        Some(step) => vec![step],
        None => {
            let seen: Value = cx.client.get(run, &[]).await?;
            seen["steps"].as_array().into_iter().flatten().filter_map(|s| s["name"].as_str().map(str::to_owned)).collect()
        }
    };
    for step in &steps {
        if steps.len() > 1 {
            print(&format!("== {step}"))?;
        }
        let query = if follow { vec![("follow", "true".to_owned())] } else { Vec::new() };
        let answer = cx.client.stream(&format!("{run}/steps/{}/log", segment(step)), &query).await?;
        if follow {
            sse::each(answer, |event| {
                if event.name == "end" {
                    return Ok(false);
                }
                print(&event.data).map(|()| true)
            })
            .await?;
        } else {
            let mut bytes = answer.bytes_stream();
            while let Some(chunk) = bytes.next().await {
                std::io::Write::write_all(&mut std::io::stdout(), &chunk?)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_in_one_word_or_in_two() {
        for (words, expected) in [
            (("web", Some("v1")), Some(("web", "v1"))),
            (("team/web", Some("sha256:aa")), Some(("team/web", "sha256:aa"))),
            (("web:v1", None), Some(("web", "v1"))),
            (("web@sha256:aa", None), Some(("web", "sha256:aa"))),
            // A digest that lost its algorithm is no tag either, and not the whole repository.
            (("web@aa", None), None),
            (("web", None), None),
            (("web:", None), None),
        ] {
            assert_eq!(named(words.0, words.1), expected, "{words:?}");
        }
    }
}
