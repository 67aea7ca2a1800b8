//! What a synchronisation did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Remarks beyond this many are counted only.
const REMARKS: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Report {
    /// Entries read.
    pub seen: u64,
    pub created: u64,
    pub changed: u64,
    /// Linked to an account that was here, by a trusted address.
    pub linked: u64,
    pub suspended: u64,
    pub resumed: u64,
    pub skipped: u64,
    pub roles_given: u64,
    pub roles_taken: u64,
    pub groups: u64,
    pub milliseconds: u64,
    /// What somebody should look at, with the user name it is about; the first hundred.
    pub remarks: Vec<String>,
    pub more_remarks: u64,
    /// Why it failed.
    pub fault: Option<String>,
}

impl Report {
    pub fn remark(&mut self, text: impl Into<String>) {
        if self.remarks.len() < REMARKS { self.remarks.push(text.into()) } else { self.more_remarks += 1 }
    }
}
