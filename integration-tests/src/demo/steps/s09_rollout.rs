//! Version 2 takes the place of version 1 while requests never stop; none may fail.

use std::time::Duration;

use anyhow::Result;

use super::{s05_push, s06_pipeline, s08_balanced};
use crate::demo::story::Story;
use crate::demo::traffic::Traffic;

pub async fn run(story: &mut Story) -> Result<String> {
    let traffic = Traffic::start(&story.door()?)?;
    std::fs::write(story.tree.join("www/version"), "2\n")?;
    s05_push::commit_and_push(story, "version 2").await?;
    let run = s06_pipeline::ended(story, 2).await?;
    s08_balanced::running(story, 3).await?;
    // Some more, so that the last of the old ones would be noticed.
    let (deadline, mut alone) = (tokio::time::Instant::now() + Duration::from_secs(30), 0);
    while alone < 5 {
        let before = traffic.so_far().versions.get("1").copied().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(300)).await;
        alone = if traffic.so_far().versions.get("1").copied().unwrap_or(0) == before { alone + 1 } else { 0 };
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "version 1 still answers: {:?}", traffic.so_far().versions);
    }
    let seen = traffic.stop().await;
    anyhow::ensure!(seen.failed.is_empty(), "{} of {} requests failed; the first: {}", seen.failed.len(), seen.ok + seen.failed.len() as u64, seen.failed[0]);
    anyhow::ensure!(seen.versions.contains_key("1") && seen.versions.contains_key("2"), "the traffic did not see both versions: {:?}", seen.versions);
    Ok(format!("{}\n{} requests, 0 failed; by version {:?}", s06_pipeline::told(&run), seen.ok, seen.versions))
}
