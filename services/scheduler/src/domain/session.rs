//! The words of a session: channels as `v5.channel.k8s.io` numbers them, and how one ends.

use std::fmt;

/// What goes into the instance.
pub const INPUT: u8 = 0;
/// What it says.
pub const OUTPUT: u8 = 1;
/// Its standard error, unless it is on a terminal.
pub const ERRORS: u8 = 2;
/// The size of the terminal: `{"Width": n, "Height": n}`.
pub const SIZE: u8 = 4;
/// A channel that is closed, by its number.
pub const CLOSE: u8 = 255;
/// How it ended: JSON, once, the last.
pub const END: u8 = 3;

/// What a caller says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    Bytes(&'a [u8]),
    /// Nothing more comes.
    End,
    Size {
        width: u16,
        height: u16,
    },
}

impl<'a> Word<'a> {
    /// `None`: nothing that means something.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let (channel, rest) = frame.split_first()?;
        match *channel {
            INPUT => Some(Self::Bytes(rest)),
            CLOSE if rest == [INPUT] => Some(Self::End),
            SIZE => {
                let size: serde_json::Value = serde_json::from_slice(rest).ok()?;
                let of = |name: &str| u16::try_from(size[name].as_u64()?).ok();
                Some(Self::Size { width: of("Width")?, height: of("Height")? })
            }
            _ => None,
        }
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    /// A sentence for the caller.
    Failed(String),
    /// The caller went away; what it had started was ended.
    Left,
}

impl End {
    /// From what came over [`END`], with the channel's number in front.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (END, text) = frame.split_first().map(|(c, rest)| (*c, rest))? else { return None };
        let value: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
        let code = value["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
        let failed = || Self::Failed(value["error"].as_str().unwrap_or("the node gives no reason").to_owned());
        Some(code.map_or_else(failed, Self::Exited))
    }

    /// As it is sent to the caller.
    pub fn frame(&self) -> Vec<u8> {
        let value = match self {
            Self::Exited(code) => serde_json::json!({"exit_code": code}),
            Self::Failed(why) => serde_json::json!({"error": why}),
            Self::Left => serde_json::json!({"error": "the caller left"}),
        };
        let mut frame = vec![END];
        frame.extend_from_slice(value.to_string().as_bytes());
        frame
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Failed(why) => f.write_str(why),
            Self::Left => f.write_str("the caller left"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_says_is_read() {
        assert_eq!(Word::parse(b"\x00hi"), Some(Word::Bytes(b"hi")));
        assert_eq!(Word::parse(&[255, 0]), Some(Word::End));
        assert_eq!(Word::parse(b"\x04{\"Width\":80,\"Height\":24}"), Some(Word::Size { width: 80, height: 24 }));
        assert_eq!((Word::parse(b"\x04{\"Width\":80}"), Word::parse(&[]), Word::parse(&[9, 1]), Word::parse(&[255, 1])), (None, None, None, None));
    }

    #[test]
    fn an_end_survives_the_way() {
        for end in [End::Exited(0), End::Exited(137), End::Failed("no such program".into())] {
            assert_eq!(End::parse(&end.frame()), Some(end));
        }
        assert_eq!(End::parse(&[OUTPUT, b'x']), None);
        assert_eq!(End::parse(&[]), None);
        assert!(matches!(End::parse(&[END, b'{']), Some(End::Failed(_))));
    }
}
