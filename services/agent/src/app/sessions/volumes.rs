//! Volumes of this node on behalf of the scheduler: what there is, copies of it, and its content to and from elsewhere. Which
//! volume is in `path`, further words are in `command`.

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::InstanceId;
use tokio::io::AsyncWriteExt;
use tokio_util::io::SyncIoBridge;

use super::{CLOSE, INPUT, OUTPUT, Pipe, Refused, Sessions};
use crate::adapters::copying;
use crate::adapters::volumes::{Owner, Reading, VolumeError};
use crate::app::keeper::chain;

const PIECE: usize = 64 << 10;

impl From<VolumeError> for Refused {
    fn from(error: VolumeError) -> Self {
        Self(chain(&error))
    }
}

impl Sessions {
    /// Sessions whose kind begins with `volume-`.
    pub(super) async fn volume(&self, verb: &str, open: &wire::OpenSession, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
        let (name, word) = (open.path.as_str(), |n: usize| open.command.get(n).map(String::as_str).unwrap_or_default());
        match verb {
            "list" => {
                let (org, project, space) = (word(0), word(1), word(2));
                let mut found = self.volumes.list(|o| o.org == org && o.project == project && o.space == space).await;
                found.sort_by(|a, b| a.name.cmp(&b.name));
                let all: Vec<serde_json::Value> = found
                    .into_iter()
                    .map(|f| {
                        let in_use = self.user_of(&f.name).is_some();
                        let mut value = serde_json::to_value(f).unwrap_or_default();
                        value["in_use"] = in_use.into();
                        value
                    })
                    .collect();
                pipe.send(OUTPUT, serde_json::Value::from(all).to_string().as_bytes()).await;
            }
            "snapshot" => self.volumes.snapshot(name, word(0)).await?,
            "remove-snapshot" => self.volumes.remove_snapshot(name, word(0)).await?,
            "roll-back" => {
                self.unused(name)?;
                self.volumes.roll_back(name, word(0)).await?;
            }
            "delete" => {
                self.unused(name)?;
                self.volumes.delete(name).await?;
            }
            "read" => {
                let reading = self.volumes.read(name, word(0)).await?;
                let sent = send(&reading, pipe).await;
                self.volumes.done(reading).await;
                return sent;
            }
            "write" => {
                self.unused(name)?;
                let owner: Owner = serde_json::from_str(word(0)).map_err(|e| Refused(e.to_string()))?;
                let filling = self.volumes.fresh(name, &owner).await?;
                let taken = take(&filling, pipe).await;
                self.volumes.done(filling).await;
                if taken.is_ok() {
                    self.volumes.filled(name).await?;
                } else if let Err(error) = self.volumes.given_up(name).await {
                    // The caller is told why the content broke off.
                    tracing::warn!(volume = name, error = %chain(&error), "what came of a volume's content stays");
                }
                return taken;
            }
            other => return Err(Refused(format!("this node's agent cannot do `{other}` with volumes; upgrade it"))),
        }
        Ok(Some(0))
    }

    /// The instance that has it, or is about to.
    fn user_of(&self, volume: &str) -> Option<String> {
        let wanted = self.shared.wanted.borrow().clone()?;
        let pods = self.shared.pods.borrow().clone();
        let uses = |i: &&wire::WantedInstance| {
            i.mounts.iter().chain(i.init.iter().chain(&i.sidecars).flat_map(|c| &c.mounts)).any(|m| m.kind == "volume" && m.source == volume)
        };
        let there = |i: &&wire::WantedInstance| !i.stopping || pods.iter().any(|p| p.instance.to_string() == i.instance_id && p.running());
        wanted.instances.values().filter(uses).find(there).map(|i| i.name.clone())
    }

    fn unused(&self, volume: &str) -> Result<(), Refused> {
        let wanted = self.shared.wanted.borrow().clone();
        let pods = self.shared.pods.borrow().clone();
        // What is not wanted any more, or not yet known, may still write to it.
        let known = |id: &InstanceId| wanted.as_ref().is_some_and(|w| w.instances.contains_key(id));
        if pods.iter().any(|p| p.running() && !known(&p.instance)) {
            return Err(Refused("an instance is just being ended on this node; try again in a moment".into()));
        }
        match self.user_of(volume) {
            Some(name) => Err(Refused(format!("{name} uses it; stop its application first (`gantry app stop`)"))),
            None => Ok(()),
        }
    }
}

async fn send(reading: &Reading, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
    let (ours, theirs) = tokio::io::duplex(PIECE);
    let path = reading.path.clone();
    let packing = tokio::task::spawn_blocking(move || copying::pack_folder(&path, SyncIoBridge::new(theirs)));
    let mut read = tokio_util::io::ReaderStream::with_capacity(ours, PIECE);
    while let Some(piece) = futures::StreamExt::next(&mut read).await {
        let piece = piece.map_err(|e| Refused(e.to_string()))?;
        if !pipe.send(OUTPUT, &piece).await {
            return Ok(None);
        }
    }
    super::files::done(packing.await)
}

async fn take(filling: &Reading, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
    let (mut ours, theirs) = tokio::io::duplex(PIECE);
    let path = filling.path.clone();
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut from = SyncIoBridge::new(theirs);
        let done = copying::unpack_folder(&path, &mut from);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        done
    });
    let mut whole = false;
    while let Ok(Some(frame)) = pipe.from.message().await {
        match frame.data.split_first() {
            Some((&INPUT, bytes)) if ours.write_all(bytes).await.is_err() => break,
            Some((&CLOSE, [INPUT])) => {
                whole = true;
                break;
            }
            _ => {}
        }
    }
    drop(ours);
    let end = super::files::done(unpacking.await);
    if whole { end } else { end.and_then(|_| Err(Refused("its content broke off in the middle; write it again".into()))) }
}
