//! Which waiting runs may start: oldest first, within the limits of the platform and of one project.

use std::collections::HashMap;

use gantry_kernel::{ProjectId, RunId};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Runs at once on this platform.
    pub runs: usize,
    /// Runs at once in one project, so that one team cannot keep all others waiting.
    pub runs_per_project: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub project: ProjectId,
}

/// The runs of `queue` (oldest first) that may start beside `running`.
pub fn admit(running: &[Waiting], queue: &[Waiting], limits: Limits) -> Vec<RunId> {
    let mut total = running.len();
    let mut per_project: HashMap<ProjectId, usize> = HashMap::new();
    for run in running {
        *per_project.entry(run.project).or_default() += 1;
    }
    let mut admitted = Vec::new();
    for waiting in queue {
        let used = per_project.entry(waiting.project).or_default();
        if total < limits.runs && *used < limits.runs_per_project {
            total += 1;
            *used += 1;
            admitted.push(waiting.run);
        }
    }
    admitted
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_kernel::Uuid;
    use proptest::prelude::*;

    fn waiting(run: u128, project: u128) -> Waiting {
        Waiting { run: RunId(Uuid::from_u128(run)), project: ProjectId(Uuid::from_u128(project)) }
    }

    #[test]
    fn a_busy_project_does_not_hold_up_another() {
        let limits = Limits { runs: 3, runs_per_project: 1 };
        let admitted = admit(&[waiting(1, 1)], &[waiting(2, 1), waiting(3, 2)], limits);
        assert_eq!(admitted, [waiting(3, 2).run]);
    }

    proptest! {
        #[test]
        fn the_limits_hold(running in proptest::collection::vec(0u128..4, 0..4), queue in proptest::collection::vec(0u128..4, 0..20), runs in 4usize..8, each in 4usize..6) {
            let running: Vec<_> = running.iter().enumerate().map(|(i, p)| waiting(i as u128, *p)).collect();
            let queue: Vec<_> = queue.iter().enumerate().map(|(i, p)| waiting(100 + i as u128, *p)).collect();
            let admitted = admit(&running, &queue, Limits { runs, runs_per_project: each });
            prop_assert!(running.len() + admitted.len() <= runs);
            for project in 0..4 {
                let count = running.iter().chain(queue.iter().filter(|w| admitted.contains(&w.run))).filter(|w| w.project == waiting(0, project).project).count();
                prop_assert!(count <= each);
            }
        }
    }
}
