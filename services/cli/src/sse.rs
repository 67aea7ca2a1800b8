//! Server-sent events out of a byte stream (WHATWG HTML section 9.2): as much as this program needs.

use anyhow::Result;
use futures::StreamExt;
use reqwest::Response;

use crate::failure::{Failure, Problem};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
}

/// Calls `on_event` for each event until it says stop or the stream ends.
///
/// # Errors
/// When the connection breaks, or the platform ends the stream with a problem.
pub async fn each(answer: Response, mut on_event: impl FnMut(Event) -> Result<bool>) -> Result<()> {
    let mut parser = Parser::default();
    let mut bytes = answer.bytes_stream();
    while let Some(chunk) = bytes.next().await {
        for event in parser.push(&chunk?) {
            if event.name == "problem" {
                let problem = serde_json::from_str(&event.data).unwrap_or_else(|_| Problem { detail: event.data, ..Problem::default() });
                return Err(Failure::Refused(Box::new(problem)).into());
            }
            if !on_event(event)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    open: Event,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(chunk);
        let mut done = Vec::new();
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            let (field, value) = line.split_once(':').map_or((line, ""), |(f, v)| (f, v.strip_prefix(' ').unwrap_or(v)));
            match field {
                "" if line.is_empty() => {
                    let event = std::mem::take(&mut self.open);
                    // Comments (keep-alive) make no event.
                    done.extend(Some(event).filter(|e| !e.data.is_empty() || !e.name.is_empty()));
                }
                "event" => value.clone_into(&mut self.open.name),
                "data" => {
                    if !self.open.data.is_empty() {
                        self.open.data.push('\n');
                    }
                    self.open.data.push_str(value);
                }
                _ => {}
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let text = ": keep\n\nevent: state\ndata: {\"a\":1}\n\ndata: x\ndata: y\r\n\r\n";
        let want = [Event { name: "state".into(), data: "{\"a\":1}".into() }, Event { name: String::new(), data: "x\ny".into() }];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let seen: Vec<Event> = text.as_bytes().chunks(size).flat_map(|c| parser.push(c)).collect();
            assert_eq!(seen, want, "chunks of {size}");
        }
    }
}
