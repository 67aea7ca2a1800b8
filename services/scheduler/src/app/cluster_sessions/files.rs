//! Files out of and into a pod, as tar archives that its own `tar` writes and reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_kubernetes::{Outcome, Remote, Said};

use super::{Pipe, complain, complaint, needs};
use crate::domain::session::{End, OUTPUT, Word};

/// Bytes of a line: three of them are four characters, and lines have to stay short for `sed`.
const LINE: usize = 768;

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|w| (*w).to_owned()).collect()
}

/// `path` with all below it, below its own name.
pub fn packing(path: &str) -> Vec<String> {
    let path = path.trim_end_matches('/');
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", ""));
    let (folder, name) = (if folder.is_empty() { "/" } else { folder }, if name.is_empty() { ".".to_owned() } else { format!("./{name}") });
    words(&["tar", "-cf", "-", "-C", folder, &name])
}

/// Unpacked below `path`, which is made if it is not there.
pub fn unpacking(path: &str) -> Vec<String> {
    words(&["sh", "-c", "mkdir -p \"$1\" && exec tar -xf - -C \"$1\"", "sh", path])
}

/// The same where the end of input cannot be told: as text up to a line that is none.
pub fn unpacking_text(path: &str) -> Vec<String> {
    words(&["sh", "-c", "mkdir -p \"$1\" && sed -n '/^-$/q;p' | base64 -d | tar -xf - -C \"$1\"", "sh", path])
}

fn failed(outcome: Outcome, err: &[u8]) -> End {
    match outcome {
        Outcome::Exited(0) => End::Exited(0),
        // A shell has looked for it.
        Outcome::Exited(127) => End::Failed(format!("the image has no `tar`, which copying needs on clusters: {}", complaint(outcome, err))),
        outcome => {
            let why = needs("tar", "copying needs", &complaint(outcome, err));
            End::Failed(needs("sh", "copying into it needs", &why))
        }
    }
}

pub async fn download(mut remote: Remote, pipe: &Pipe) -> Option<End> {
    let mut err = Vec::new();
    loop {
        match remote.output.next().await {
            Said::Stdout(bytes) => {
                if !pipe.send(OUTPUT, &bytes).await {
                    return None;
                }
            }
            Said::Stderr(bytes) => complain(&mut err, &bytes),
            Said::Done(outcome) => return Some(failed(outcome, &err)),
        }
    }
}

/// `plain`: the end of the archive can be told, so that it goes as it is.
pub async fn upload(remote: Remote, plain: bool, pipe: &mut Pipe) -> Option<End> {
    let Remote { mut input, mut output } = remote;
    let Pipe { to, from } = pipe;
    let to = &*to;
    let mut err = Vec::new();
    let up = async {
        let mut lines = Lines::default();
        while let Some(Ok(frame)) = from.recv().await {
            let taken = match Word::parse(&frame.data) {
                Some(Word::Bytes(bytes)) if plain => input.write(bytes).await,
                Some(Word::Bytes(bytes)) => input.write(lines.more(bytes).as_bytes()).await,
                Some(Word::End) if plain => input.end().await,
                Some(Word::End) => input.write(lines.end().as_bytes()).await,
                Some(Word::Size { .. }) | None => true,
            };
            if !taken {
                // How it ended is on its way.
                std::future::pending::<()>().await;
            }
        }
    };
    let down = async {
        loop {
            match output.next().await {
                Said::Stdout(bytes) | Said::Stderr(bytes) => complain(&mut err, &bytes),
                Said::Done(outcome) => return outcome,
            }
        }
    };
    let outcome = tokio::select! { outcome = down => Some(outcome), () = up => None, () = to.closed() => None };
    outcome.map(|outcome| failed(outcome, &err))
}

/// Bytes as lines of base64.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn more(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let whole = self.0.len() / LINE * LINE;
        let mut out = String::with_capacity(whole / 3 * 4 + whole / LINE);
        for line in self.0[..whole].chunks(LINE) {
            STANDARD.encode_string(line, &mut out);
            out.push('\n');
        }
        self.0.drain(..whole);
        out
    }

    fn end(&mut self) -> String {
        format!("{}\n-\n", STANDARD.encode(std::mem::take(&mut self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_packed_below_its_own_name() {
        assert_eq!(packing("/etc/app/x.conf"), ["tar", "-cf", "-", "-C", "/etc/app", "./x.conf"]);
        assert_eq!(packing("/etc/"), ["tar", "-cf", "-", "-C", "/", "./etc"]);
        assert_eq!(packing("/"), ["tar", "-cf", "-", "-C", "/", "."]);
        assert_eq!(packing("/-x")[5], "./-x", "no option");
    }

    #[test]
    fn lines_hold_all_that_was_given() {
        let all: Vec<u8> = (0..5_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut lines = Lines::default();
        let mut text: String = all.chunks(100).map(|c| lines.more(c)).collect();
        text += &lines.end();
        let (text, rest) = text.split_once("\n-\n").unwrap();
        assert_eq!(rest, "");
        assert!(text.lines().all(|l| l.len() <= 1024));
        assert_eq!(text.lines().flat_map(|l| STANDARD.decode(l).unwrap()).collect::<Vec<u8>>(), all);
    }
}
