//! The terminal in front of the person: raw while a session has it, and as it was afterwards.

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// While it lives every key goes to the other side.
pub struct Raw(Termios);

impl Raw {
    /// Nothing if standard input is no terminal.
    pub fn new() -> Option<Self> {
        let input = rustix::stdio::stdin();
        let before = isatty(input).then(|| tcgetattr(input).ok()).flatten()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(input, OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Width and height in characters, if standard output is a terminal.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}
