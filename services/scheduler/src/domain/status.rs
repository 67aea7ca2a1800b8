//! The one word and sentence in which an application's condition is told.

/// What the word depends on.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    pub deleted: bool,
    pub stopped: bool,
    /// Instances that have not ended.
    pub alive: u32,
    pub wanted: u32,
    /// Current and available.
    pub available: u32,
    pub releasing: Option<(u64, Option<u64>)>,
    /// Where a release that goes step by step is.
    pub step: Option<String>,
    pub failure: Option<String>,
    /// Why instances wait for a place, if they do.
    pub pending: Option<String>,
    /// Of the instances, that stay with an earlier revision, since the document says so.
    pub kept: u32,
    /// Which job has failed for good, and why.
    pub given_up: Option<String>,
    /// The last trouble of an instance, if one is in trouble.
    pub trouble: Option<String>,
}

/// The state (pending | releasing | running | degraded | failed | stopped | deleting | deleted) and a sentence.
pub fn state(c: &Condition) -> (&'static str, String) {
    let kept = if c.kept > 0 { format!(", {} of them of an earlier revision, as the document says", c.kept) } else { String::new() };
    let progress = format!("{} of {} instances are ready{kept}", c.available, c.wanted);
    let because = |text: String| match (&c.pending, &c.trouble) {
        // A release that failed for what is still in the way has told it.
        (Some(why), _) | (None, Some(why)) if !text.contains(why.as_str()) => format!("{text}: {why}"),
        _ => text,
    };
    match c {
        Condition { deleted: true, alive: 0, .. } => ("deleted", "it has been deleted".into()),
        Condition { deleted: true, .. } => ("deleting", format!("{} instances are still stopping", c.alive)),
        Condition { stopped: true, alive: 0, .. } => ("stopped", "it is stopped".into()),
        Condition { stopped: true, .. } => ("stopped", format!("{} instances are still stopping", c.alive)),
        Condition { releasing: Some((revision, from)), .. } => {
            let what = match (from, &c.failure) {
                (_, Some(failure)) => format!("going back to revision {revision} because {failure}"),
                (Some(from), None) => format!("revision {revision} replaces {from}"),
                (None, None) => format!("revision {revision} starts"),
            };
            let what = c.step.as_ref().map_or(what.clone(), |step| format!("{what}; {step}"));
            if c.pending.is_some() { ("pending", because(what)) } else { ("releasing", because(format!("{what}; {progress}"))) }
        }
        Condition { given_up: Some(why), .. } => ("failed", why.clone()),
        Condition { failure: Some(failure), .. } if c.available < c.wanted => ("failed", because(failure.clone())),
        Condition { failure: Some(failure), .. } => ("running", format!("{progress}; the last release failed: {failure}")),
        _ if c.available >= c.wanted => ("running", progress),
        _ if c.pending.is_some() => ("pending", because(progress)),
        _ => ("degraded", because(progress)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(change: impl FnOnce(&mut Condition)) -> &'static str {
        let mut condition = Condition { alive: 2, wanted: 2, available: 2, ..Condition::default() };
        change(&mut condition);
        state(&condition).0
    }

    #[test]
    fn each_condition_has_its_word() {
        assert_eq!(word(|_| {}), "running");
        assert_eq!(word(|c| c.available = 1), "degraded");
        assert_eq!(word(|c| (c.available, c.pending) = (1, Some("no room".into()))), "pending");
        assert_eq!(word(|c| c.releasing = Some((2, Some(1)))), "releasing");
        assert_eq!(word(|c| (c.available, c.failure) = (0, Some("slow".into()))), "failed");
        let kept = state(&Condition { alive: 2, wanted: 2, available: 2, kept: 1, ..Condition::default() });
        assert_eq!(kept.1, "2 of 2 instances are ready, 1 of them of an earlier revision, as the document says");
        assert_eq!(word(|c| c.given_up = Some("migrate: failed once and is given up".into())), "failed");
        assert_eq!(word(|c| (c.given_up, c.releasing) = (Some("migrate".into()), Some((1, None)))), "releasing", "that is about to end");
        assert_eq!(word(|c| c.stopped = true), "stopped");
        assert_eq!(word(|c| c.deleted = true), "deleting");
        assert_eq!(word(|c| (c.deleted, c.alive) = (true, 0)), "deleted");
    }

    #[test]
    fn what_a_failed_release_has_told_is_not_told_twice() {
        let failed = |pending: &str| {
            let failure = Some("no progress for 120 s; db: no room".to_owned());
            state(&Condition { wanted: 1, failure, pending: Some(pending.to_owned()), ..Condition::default() }).1
        };
        assert_eq!(failed("db: no room"), "no progress for 120 s; db: no room");
        assert_eq!(failed("db: no image"), "no progress for 120 s; db: no room: db: no image");
    }
}
