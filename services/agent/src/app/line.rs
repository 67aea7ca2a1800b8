//! The way to the scheduler, as it is at the moment: another one after each renewal of the node's certificate.

use std::sync::{Arc, Mutex, PoisonError};

use gantry_host::Channel;

/// Cheap to clone; all clones see the same.
#[derive(Clone)]
pub struct Line(Arc<Mutex<Channel>>);

impl Line {
    pub fn now(&self) -> Channel {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace(&self, channel: Channel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }
}

impl From<Channel> for Line {
    fn from(channel: Channel) -> Self {
        Self(Arc::new(Mutex::new(channel)))
    }
}
