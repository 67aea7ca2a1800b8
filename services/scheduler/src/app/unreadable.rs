//! What is stored and cannot be read, told once each: a row of a newer version, or a damaged one. Whoever meets it acts neither by it
//! nor as if nothing was set; what people see of it says so, too.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// What was told, by kind and id.
#[derive(Default)]
pub struct Unreadable(Mutex<BTreeMap<(&'static str, String), String>>);

impl Unreadable {
    /// Logs it, unless the same was logged before; `then`: what becomes of it, in half a sentence.
    pub fn tell(&self, kind: &'static str, id: impl Display, error: impl Display, then: &str) {
        let (id, error) = (id.to_string(), error.to_string());
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&(kind, id.clone())) == Some(&error) {
            return;
        }
        tracing::error!(kind, id, error, "what is stored of a {kind} cannot be read: {then}");
        told.insert((kind, id), error);
    }
}
