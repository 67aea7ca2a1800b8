//! `gantry login` shows a code; the signed-in browser confirms it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::demo::form::Form;
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let config = story.files.path().join("cli");
    let mut child = Command::new(&story.suite.cli)
        .arg("login")
        .env("GANTRY_CONFIG_DIR", &config)
        .env("GANTRY_URL", &story.suite.url)
        .env("GANTRY_CA", story.suite.ca.canonicalize()?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be run", story.suite.cli.display()))?;
    let mut lines = BufReader::new(child.stderr.take().context("piped")?).lines();
    let mut said = Vec::new();
    let address = loop {
        let line = tokio::time::timeout(Duration::from_secs(15), lines.next_line()).await.context("`gantry login` shows no address")??;
        let line = line.with_context(|| format!("`gantry login` ended: {}", said.join(" | ")))?;
        if let Some(at) = line.find("https://") {
            break line[at..].split_whitespace().next().unwrap_or_default().to_owned();
        }
        said.push(line);
    };
    let (url, page) = story.browser.open(&address).await?.page()?;
    let code = address.split("user_code=").nth(1).context("the address has no code")?.to_owned();
    let (url, page) = match Form::with(&page, "decision") {
        Ok(_) => (url, page),
        Err(_) => {
            let form = Form::with(&page, "user_code")?.fill("user_code", &code);
            story.browser.submit(&url, form, None).await?.page()?
        }
    };
    let form = Form::with(&page, "decision")?;
    story.browser.submit(&url, form, Some(("decision", "approve"))).await?.page()?;
    // The pipe must stay open, or the client's progress would kill it.
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let status = tokio::time::timeout(Duration::from_secs(40), child.wait()).await.context("`gantry login` does not end after the approval")??;
    rest.abort();
    anyhow::ensure!(status.success(), "`gantry login` failed: {status}");
    let who = story.cli(&["whoami"]).await?;
    anyhow::ensure!(who.contains(&story.user), "`gantry whoami` says: {who}");
    Ok(format!("code {code} confirmed; `gantry whoami` knows {}", story.user))
}
