//! Between the runtime's streams and the caller's channels.

use gantry_cri::{Input, Outcome, Output, Streams};

use super::{CLOSE, ERRORS, INPUT, OUTPUT, Pipe, SIZE, send};

/// How it ended; nothing if the caller has left.
pub async fn carry(streams: Streams, pipe: &mut Pipe) -> Option<Outcome> {
    let Streams { input, mut output } = streams;
    let Pipe { to, from } = pipe;
    let to = &*to;
    let up = async {
        while let Ok(Some(frame)) = from.message().await {
            // Only fails when the session is over, and then the other half says so.
            let _ = match parse(&frame.data) {
                Some(word) => input.send(word).await,
                None => Ok(()),
            };
        }
    };
    let down = async {
        while let Some(out) = output.recv().await {
            let (channel, bytes) = match &out {
                Output::Stdout(bytes) => (OUTPUT, bytes),
                Output::Stderr(bytes) => (ERRORS, bytes),
                Output::Done(outcome) => return Some(outcome.clone()),
            };
            if !send(to, channel, bytes).await {
                return None;
            }
        }
        None
    };
    // Seen also while the container takes no input, when nothing is asked of `from`.
    tokio::select! { end = down => end, () = up => None, () = to.closed() => None }
}

fn parse(frame: &[u8]) -> Option<Input> {
    let (channel, rest) = frame.split_first()?;
    match *channel {
        INPUT => Some(Input::Bytes(rest.to_vec().into())),
        CLOSE if rest == [INPUT] => Some(Input::End),
        SIZE => {
            let size: serde_json::Value = serde_json::from_slice(rest).ok()?;
            let of = |name: &str| u16::try_from(size[name].as_u64()?).ok();
            Some(Input::Size { width: of("Width")?, height: of("Height")? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_of_the_fifth_protocol() {
        assert!(matches!(parse(&[0, b'x']), Some(Input::Bytes(b)) if b == "x"));
        assert!(matches!(parse(&[255, 0]), Some(Input::End)));
        assert!(matches!(parse(b"\x04{\"Width\":80,\"Height\":24}"), Some(Input::Size { width: 80, height: 24 })));
        assert!(parse(b"\x04{\"Width\":80}").is_none() && parse(&[]).is_none() && parse(&[9, 1]).is_none());
    }
}
