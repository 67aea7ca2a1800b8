//! A base image from this machine's static busybox.

use anyhow::Result;

use crate::demo::image::Root;
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let root = Root::empty(story.files.path().join("base/root"))?;
    root.busybox().await?;
    let image = root.push(story, "base:1", &["/bin/sh"]).await?;
    Ok(format!("skopeo pushed {image} with the user's name and password"))
}
