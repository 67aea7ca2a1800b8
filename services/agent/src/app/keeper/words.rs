//! What the keeper's steps are called.

use crate::domain::plan::Action;

/// As it stands in the log.
pub(super) fn name(action: &Action) -> &'static str {
    match action {
        Action::Create { .. } => "create",
        Action::Start { .. } => "start",
        Action::Stop { .. } => "stop",
        Action::Beside { .. } => "start sidecar",
        Action::StopBeside { .. } => "stop sidecar",
        Action::Remove { .. } => "remove",
    }
}

/// As it stands in the audit trail.
pub(super) fn kind(action: &Action) -> &'static str {
    match action {
        Action::Create { .. } => "engine.created",
        Action::Start { .. } => "engine.started",
        Action::Stop { .. } => "engine.stopped",
        Action::Beside { .. } => "engine.sidecar-started",
        Action::StopBeside { .. } => "engine.sidecar-stopped",
        Action::Remove { .. } => "engine.removed",
    }
}
