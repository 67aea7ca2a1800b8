//! Copies out of and into instances, as tar archives over a session.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::SyncIoBridge;

use super::{CLOSE, END, INPUT, OUTPUT, container, finish, frame, instance};
use crate::args::InstanceTarget;
use crate::commands::{Context, segment};
use crate::failure::Failure;

const PIECE: usize = 64 << 10;

pub async fn copy(cx: &mut Context, apps: &str, from: &str, to: &str, target: &InstanceTarget) -> Result<()> {
    match (inside(from), inside(to)) {
        (Some((name, path)), None) => {
            let at = instance(cx, &format!("{apps}/{}", segment(name)), target).await?;
            download(cx, &at, path, Path::new(to), target).await
        }
        (None, Some((name, path))) => {
            let at = instance(cx, &format!("{apps}/{}", segment(name)), target).await?;
            upload(cx, &at, Path::new(from), path, target).await
        }
        _ => Err(Failure::Usage("one side must be NAME:/PATH in an instance, the other a path here".into()).into()),
    }
}

/// The application and the path inside, if that is what is meant.
fn inside(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(name, path)| !name.is_empty() && !name.contains('/') && path.starts_with('/'))
}

async fn download(cx: &mut Context, at: &str, path: &str, to: &Path, of: &InstanceTarget) -> Result<()> {
    let target = if to.is_dir() { to.join(Path::new(path).file_name().unwrap_or("root".as_ref())) } else { to.to_owned() };
    if target.is_dir() {
        bail!("{} is there already; remove it, or name another", target.display());
    }
    let above = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the target, so that it can be put into place at once.
    let room = tempfile::Builder::new().prefix(".gantry-cp-").tempdir_in(above).with_context(|| format!("cannot write to {}", above.display()))?;
    let query: Vec<_> = container(of).into_iter().chain([("path", path.to_owned())]).collect();
    let mut socket = cx.client.socket(&format!("{at}/download"), &query).await?;
    let (mut ours, theirs) = tokio::io::duplex(PIECE);
    let place = room.path().to_owned();
    // `unpack` refuses what would leave the folder, also through links.
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut from = SyncIoBridge::new(theirs);
        let mut archive = tar::Archive::new(&mut from);
        archive.set_preserve_mtime(true);
        let done = archive.unpack(&place);
        drop(archive);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        done
    });
    let mut end = None;
    while let Some(message) = socket.next().await {
        let Message::Binary(bytes) = message.context("the connection broke")? else { continue };
        match bytes.split_first() {
            // It has failed here, and says so below.
            Some((&OUTPUT, rest)) if ours.write_all(rest).await.is_err() => break,
            Some((&END, rest)) => {
                end = Some(rest.to_vec());
                break;
            }
            _ => {}
        }
    }
    drop(ours);
    let unpacked = unpacking.await?;
    if end.is_some() {
        finish(end.as_deref())?;
    }
    unpacked.context("what came cannot be written")?;
    finish(end.as_deref())?;
    let top = std::fs::read_dir(room.path())?.next().context("nothing came")??.path();
    std::fs::rename(&top, &target).with_context(|| format!("{} cannot be put into place", target.display()))?;
    cx.note(&format!("{} is here", target.display()));
    Ok(())
}

async fn upload(cx: &mut Context, at: &str, from: &Path, path: &str, of: &InstanceTarget) -> Result<()> {
    if !from.exists() {
        bail!("there is no {}", from.display());
    }
    let own = from.canonicalize()?.file_name().map(PathBuf::from).unwrap_or_default();
    let (folder, name) = match path.rsplit_once('/') {
        // Into a folder, under its own name.
        Some((folder, "")) => (if folder.is_empty() { "/" } else { folder }, own),
        Some((folder, name)) => (if folder.is_empty() { "/" } else { folder }, PathBuf::from(name)),
        None => ("/", own),
    };
    let query: Vec<_> = container(of).into_iter().chain([("path", folder.to_owned())]).collect();
    let socket = cx.client.socket(&format!("{at}/upload"), &query).await?;
    let (mut to, mut back) = socket.split();
    let (mut ours, theirs) = tokio::io::duplex(PIECE);
    let source = from.to_owned();
    let packing = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut archive = tar::Builder::new(SyncIoBridge::new(theirs));
        archive.follow_symlinks(false);
        if source.is_dir() {
            archive.append_dir_all(&name, &source)?
        } else {
            archive.append_path_with_name(source.canonicalize()?, &name)?
        }
        archive.into_inner()?.flush()
    });
    let up = async {
        let mut piece = vec![0; PIECE];
        loop {
            match ours.read(&mut piece).await? {
                0 => break,
                count => to.send(frame(INPUT, &piece[..count])).await?,
            }
        }
        packing.await?.with_context(|| format!("{} cannot be read", from.display()))?;
        to.send(frame(CLOSE, &[INPUT])).await?;
        std::future::pending::<Result<()>>().await
    };
    let down = async {
        while let Some(message) = back.next().await {
            let Message::Binary(bytes) = message? else { continue };
            if let Some((&END, rest)) = bytes.split_first() {
                return finish(Some(rest));
            }
        }
        finish(None)
    };
    tokio::select! { ended = up => ended?, ended = down => ended? }
    cx.note(&format!("{} is there", path));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_side_is_inside() {
        assert_eq!(inside("shop:/etc/x"), Some(("shop", "/etc/x")));
        assert_eq!((inside("./a:/b"), inside("C:x"), inside("/etc/x")), (None, None, None));
    }
}
