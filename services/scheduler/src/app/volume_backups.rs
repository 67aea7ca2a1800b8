//! Backups of volumes: from a snapshot on the node, or a cluster's volume itself, into object storage, and back into a volume that nobody uses.

use futures::StreamExt;
use gantry_auth::{Caller, SpaceRef};
use gantry_contract::proto::scheduler::SessionFrame;
use gantry_kernel::{Kind, Problem, Role};
use tokio::io::AsyncWriteExt;

use super::cluster_volumes;
use super::context::Scheduler;
use super::sessions::Link;
use super::volumes::{self, VolumeBody, VolumeVerb};
use crate::adapters::backups::BackupBody;
use crate::domain::session::{CLOSE, END, End, INPUT, OUTPUT};

const PIECE: usize = 64 << 10;

/// Copies what is in a volume now. Instances go on writing meanwhile: a snapshot is what is copied.
///
/// # Errors
/// A missing right, a node or a store that does not answer.
pub async fn back_up(s: &Scheduler, caller: &Caller, space: &SpaceRef, volume: &VolumeBody) -> Result<BackupBody, Problem> {
    s.host.auth.require(caller, Role::Editor, space.scope())?;
    let id = s.host.uuid().to_string();
    // On a cluster the volume itself is read: not every one has snapshots, and one that is mounted is another volume.
    let on_node = !cluster_volumes::is_there(volume);
    let snapshot = if on_node { format!("backup-{id}") } else { String::new() };
    if on_node {
        volumes::change(s, caller, space, volume, VolumeVerb::Snapshot(snapshot.clone())).await?;
    }
    let done = async {
        let link = volumes::read(s, space, volume, &snapshot).await?;
        let mut writer = s.backups.writer(space, &volume.name, &id);
        let copied = match stored(link, &mut writer).await {
            Ok(bytes) => writer.shutdown().await.map(|()| bytes).map_err(unwritten),
            Err(problem) => Err(problem),
        };
        if copied.is_err() {
            // What is left of it is nothing that anybody could see.
            let _ = writer.abort().await;
        }
        let backup = BackupBody {
            id: id.clone(),
            volume: volume.name.clone(),
            app: volume.app.clone(),
            app_id: volume.app_id.clone(),
            workload: volume.workload.clone(),
            size_bytes: volume.size_bytes,
            bytes: copied?,
            at_unix: s.host.env.now().unix_timestamp(),
            by: caller.subject.clone(),
        };
        s.backups.add(space, &backup).await?;
        Ok(backup)
    }
    .await;
    if on_node && let Err(problem) = volumes::change(s, caller, space, volume, VolumeVerb::RemoveSnapshot(snapshot)).await {
        tracing::warn!(error = problem.chain(), "the snapshot of a backup stays on its node");
    }
    volumes::record(s, caller, space, volume, "volume.backed-up", &id, done.as_ref().err()).await;
    done
}

async fn stored(mut link: Link, to: &mut (impl tokio::io::AsyncWrite + Unpin)) -> Result<u64, Problem> {
    let mut bytes = 0;
    loop {
        let frame = link.from_agent.message().await.ok().flatten();
        let frame = frame.ok_or_else(|| Problem::new(Kind::Unavailable, "scheduler.node_away", "the node went away in the middle; try again"))?;
        match frame.data.split_first() {
            Some((&OUTPUT, rest)) => {
                to.write_all(rest).await.map_err(unwritten)?;
                bytes += rest.len() as u64;
            }
            Some((&END, _)) => return volumes::finished(End::parse(&frame.data)).map(|()| bytes),
            _ => {}
        }
    }
}

fn unwritten(error: std::io::Error) -> Problem {
    Problem::new(Kind::Unavailable, "scheduler.backup_store", "the store of backups did not take it").with_source(error)
}

/// Makes a backup the whole content of a volume that nobody uses; the volume is made if it is not there.
///
/// # Errors
/// A missing right, no such backup, a volume in use, a node or a store that does not answer.
pub async fn restore(s: &Scheduler, caller: &Caller, space: &SpaceRef, volume: &VolumeBody, backup: &BackupBody) -> Result<(), Problem> {
    s.host.auth.require(caller, Role::Editor, space.scope())?;
    let done = async {
        let mut archive = s.backups.read(space, backup).await?;
        let mut link = volumes::write(s, space, volume).await?;
        let send = async |data: Vec<u8>| link.to_agent.send(Ok(SessionFrame { data, ..SessionFrame::default() })).await.is_ok();
        'all: while let Some(piece) = archive.next().await {
            let piece = piece.map_err(|e| Problem::new(Kind::Unavailable, "scheduler.backup_store", "the backup broke off in the middle").with_source(e))?;
            for part in piece.chunks(PIECE) {
                // Its own word on why follows.
                if !send([&[INPUT], part].concat()).await {
                    break 'all;
                }
            }
        }
        send(vec![CLOSE, INPUT]).await;
        volumes::ended(&mut link).await
    }
    .await;
    volumes::record(s, caller, space, volume, "volume.restored", &backup.id, done.as_ref().err()).await;
    done
}

/// # Errors
/// A missing right, or a store that does not answer.
pub async fn remove(s: &Scheduler, caller: &Caller, space: &SpaceRef, backup: &BackupBody) -> Result<(), Problem> {
    s.host.auth.require(caller, Role::Editor, space.scope())?;
    let done = s.backups.remove(space, backup).await;
    let volume = VolumeBody {
        name: backup.volume.clone(),
        node: "object storage".into(),
        app: backup.app.clone(),
        app_id: backup.app_id.clone(),
        workload: backup.workload.clone(),
        size_bytes: backup.size_bytes,
        used_bytes: backup.bytes,
        in_use: false,
        orphaned: false,
        snapshots: Vec::new(),
    };
    volumes::record(s, caller, space, &volume, "volume.backup-deleted", &backup.id, done.as_ref().err()).await;
    done
}
