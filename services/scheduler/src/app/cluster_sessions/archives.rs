//! A whole folder of a pod as an archive: what a volume has, out of and into a pod that was made for it.

use gantry_kubernetes::{Client, Command, Target, Trouble};
use tokio::sync::mpsc;

use super::super::context::Scheduler;
use super::super::sessions::{FRAMES, Frames, Link};
use super::{Pipe, Work};

/// Everything but what the file system keeps for itself.
const PACK: &str = "cd \"$1\" && exec tar -cf - --exclude ./lost+found .";
/// What was there goes first.
const UNPACK: &str = "mkdir -p \"$1\" && cd \"$1\" && for f in ./* ./.[!.]* ./..?*; do [ \"$f\" = ./lost+found ] || rm -rf \"$f\"; done && exec tar -xpf -";
/// The same where the end of input cannot be told: as text up to a line that is none.
const UNPACK_TEXT: &str = "mkdir -p \"$1\" && cd \"$1\" && for f in ./* ./.[!.]* ./..?*; do [ \"$f\" = ./lost+found ] || rm -rf \"$f\"; done && sed -n '/^-$/q;p' | base64 -d | tar -xpf -";

fn command(script: &str, folder: &str, stdin: bool) -> Command {
    Command { command: ["sh", "-c", script, "sh", folder].map(str::to_owned).to_vec(), stdin, tty: false }
}

/// What is in a folder.
///
/// # Errors
/// What the cluster refuses; so for both.
pub async fn pack(client: &Client, at: &Target, folder: &str) -> Result<Carried, Trouble> {
    Ok(Carried(Work::Download(client.exec(at, &command(PACK, folder, false)).await?)))
}

/// An archive as all that a folder has.
pub async fn unpack(client: &Client, at: &Target, folder: &str) -> Result<Carried, Trouble> {
    // Which of the two the server can is known before anything is taken away: the first does nothing but end.
    let probe = client.exec(at, &command("exec cat", folder, true)).await?;
    let plain = probe.input.ends();
    drop(probe);
    let remote = client.exec(at, &command(if plain { UNPACK } else { UNPACK_TEXT }, folder, true)).await?;
    Ok(Carried(Work::Upload { plain, remote }))
}

/// Opened, and not begun.
pub struct Carried(Work);

impl Carried {
    /// Goes on by itself; `after` when it has ended, however it did.
    pub fn begin(self, s: &Scheduler, client: Client, at: Target, after: impl Future<Output = ()> + Send + 'static) -> Link {
        let (to_agent, from) = mpsc::channel(FRAMES);
        let (to, from_agent) = mpsc::channel(FRAMES);
        s.host.tracker.spawn(async move {
            self.0.run(&client, &at, Pipe { to, from }).await;
            after.await;
        });
        Link { to_agent, from_agent: Frames::Cluster(from_agent) }
    }
}
