use gantry_kernel::Uuid;
use proptest::prelude::*;

use super::*;

fn wanted(count: u32, surge: u32, max_unavailable: u32) -> Wanted {
    let update = Update { surge, max_unavailable, ..Update::default() };
    Wanted { kind: WorkloadKind::Stateless, count, update, completed: 0, hold: false, keep: None, at_once: 0 }
}

fn instance(n: u32, current: bool, available: bool) -> Instance {
    Instance { id: InstanceId(Uuid::from_u128(n.into())), index: n, current, available, stopping: false, displaced: false }
}

fn place(index: u32) -> Action {
    Action::Place { index }
}

fn stop(n: u32) -> Action {
    Action::Stop { instance: InstanceId(Uuid::from_u128(n.into())) }
}

#[test]
fn a_first_release_places_all_at_once() {
    let plan = plan(&wanted(3, 1, 0), &[]);
    assert_eq!(plan.actions, [place(0), place(1), place(2)]);
    assert!(!plan.settled);
}

#[test]
fn an_update_adds_one_before_one_goes() {
    let old = [instance(0, false, true), instance(1, false, true)];
    assert_eq!(plan(&wanted(2, 1, 0), &old).actions, [place(2)]);
    let starting = [old[0], old[1], instance(2, true, false)];
    assert_eq!(plan(&wanted(2, 1, 0), &starting).actions, []);
    let ready = [old[0], old[1], instance(2, true, true)];
    assert_eq!(plan(&wanted(2, 1, 0), &ready).actions, [stop(1)]);
}

#[test]
fn without_surge_one_goes_before_one_is_added() {
    let old = [instance(0, false, true), instance(1, false, true)];
    assert_eq!(plan(&wanted(2, 0, 1), &old).actions, [stop(1)]);
}

#[test]
fn an_old_instance_that_serves_nobody_goes_at_once() {
    let some = [instance(0, false, true), instance(1, false, false)];
    assert_eq!(plan(&wanted(2, 1, 0), &some).actions, [stop(1), place(2)]);
}

#[test]
fn scaling_down_takes_the_highest_numbers_and_to_zero_takes_all() {
    let three = [instance(0, true, true), instance(1, true, true), instance(2, true, true)];
    assert_eq!(plan(&wanted(1, 1, 0), &three).actions, [stop(2), stop(1)]);
    assert_eq!(plan(&wanted(0, 1, 0), &three).actions.len(), 3);
}

#[test]
fn a_job_runs_so_many_at_once_until_all_have_ended_well() {
    let job = |completed| Wanted { kind: WorkloadKind::Job, completed, at_once: 2, ..wanted(5, 1, 0) };
    assert_eq!(plan(&job(0), &[]).actions, [place(0), place(1)]);
    let two = [instance(0, true, true), instance(1, true, true)];
    assert_eq!(plan(&job(0), &two).actions, []);
    assert_eq!(plan(&job(1), &two[..1]).actions, [place(1)], "one has ended, and the next one begins");
    assert_eq!(plan(&job(4), &[]).actions, [place(0)], "one is left");
    assert!(plan(&job(5), &[]).settled && !plan(&job(3), &two).settled);
}

#[test]
fn a_stateful_workload_starts_in_order_and_never_has_a_number_twice() {
    let stateful = Wanted { kind: WorkloadKind::Stateful, ..wanted(3, 1, 0) };
    assert_eq!(plan(&stateful, &[]).actions, [place(0)]);
    assert_eq!(plan(&stateful, &[instance(0, true, false)]).actions, []);
    assert_eq!(plan(&stateful, &[instance(0, true, true)]).actions, [place(1)]);
    let old: Vec<_> = (0..3).map(|n| instance(n, false, true)).collect();
    assert_eq!(plan(&stateful, &old).actions, [stop(2)]);
    let mut going = old.clone();
    going[2].stopping = true;
    assert_eq!(plan(&stateful, &going).actions, [], "number 2 is still there");
    assert_eq!(plan(&stateful, &old[..2]).actions, [place(2)]);
    let parallel = Wanted { update: Update { parallel: true, ..stateful.update }, ..stateful };
    assert_eq!(plan(&parallel, &[]).actions, [place(0), place(1), place(2)]);
    assert_eq!(plan(&parallel, &[instance(1, true, false)]).actions, [place(0), place(2)]);
    assert_eq!(plan(&parallel, &old).actions, [stop(2)], "it is replaced one by one all the same");
    assert_eq!(plan(&parallel, &going).actions, [], "number 2 is still there");
}

#[test]
fn a_job_is_done_when_enough_have_ended_well() {
    let job = |completed| Wanted { kind: WorkloadKind::Job, completed, ..wanted(2, 1, 0) };
    assert_eq!(plan(&job(0), &[]).actions, [place(0), place(1)]);
    let one = plan(&job(1), &[instance(1, true, true)]);
    assert_eq!((one.actions, one.settled), (vec![], false));
    assert!(plan(&job(2), &[]).settled);
}

#[test]
fn an_instance_on_a_node_that_is_emptied_is_replaced_first() {
    let mut moving = instance(0, true, true);
    moving.displaced = true;
    assert_eq!(plan(&wanted(1, 1, 0), &[moving]).actions, [place(1)]);
    assert_eq!(plan(&wanted(1, 1, 0), &[moving, instance(1, true, true)]).actions, [stop(0)]);
}

#[test]
fn a_hold_places_nothing_and_settles_nothing() {
    let held = plan(&Wanted { hold: true, ..wanted(2, 1, 0) }, &[]);
    assert_eq!((held.actions, held.settled), (vec![], false));
}

#[test]
fn a_release_is_overdue_after_its_deadline() {
    let update = Update { progress_deadline_seconds: 10, ..Update::default() };
    assert!(!overdue(&update, Duration::from_secs(10)));
    assert!(overdue(&update, Duration::from_secs(11)));
}

/// A world in which the plan's actions happen, in random order, with crashes.
#[derive(Clone, Debug)]
struct World {
    instances: Vec<Instance>,
    next: u128,
}

impl World {
    fn available(&self) -> u32 {
        u32::try_from(self.instances.iter().filter(|i| i.available && !i.stopping).count()).unwrap()
    }

    fn carry_out(&mut self, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Place { index } => {
                    self.next += 1;
                    let id = InstanceId(Uuid::from_u128(self.next));
                    self.instances.push(Instance { id, index: *index, current: true, available: false, stopping: false, displaced: false });
                }
                Action::Stop { instance } => self.instances.iter_mut().filter(|i| i.id == *instance).for_each(|i| i.stopping = true),
            }
        }
    }

    /// 0..: one that starts becomes available; one that stops goes away; one crashes.
    fn happen(&mut self, what: u8, pick: usize) {
        let fits = |i: &Instance| match what {
            0..=3 => !i.available && !i.stopping,
            4..=6 => i.stopping,
            _ => !i.stopping,
        };
        let found: Vec<usize> = (0..self.instances.len()).filter(|n| fits(&self.instances[*n])).collect();
        if let Some(at) = found.get(pick % found.len().max(1)).copied() {
            if what <= 3 {
                self.instances[at].available = true;
            } else {
                self.instances.remove(at);
            }
        }
    }
}

fn kinds() -> impl Strategy<Value = WorkloadKind> {
    prop_oneof![Just(WorkloadKind::Stateless), Just(WorkloadKind::Stateful)]
}

proptest! {
    #[test]
    fn an_update_keeps_enough_in_rotation_whatever_happens_and_ends(
        kind in kinds(), before in 0u32..6, count in 0u32..6, surge in 0u32..3, unavailable in 0u32..3,
        events in proptest::collection::vec((0u8..9, any::<usize>()), 0..60),
    ) {
        let wanted = Wanted { kind, ..wanted(count, surge, unavailable) };
        let (extra, may_miss) = room(&wanted);
        let mut world = World { instances: (0..before).map(|n| instance(n, false, true)).collect(), next: 1000 };
        for (what, pick) in events {
            let next = plan(&wanted, &world.instances);
            prop_assert_eq!(&next, &plan(&wanted, &world.instances));
            let had = world.available();
            world.carry_out(&next);
            // The plan itself never goes below the floor, except from where it already was.
            prop_assert!(world.available() >= had.min(count.saturating_sub(may_miss)), "{} of {count}", world.available());
            let alive = u32::try_from(world.instances.iter().filter(|i| !i.stopping).count()).unwrap();
            prop_assert!(alive <= (count + extra).max(before), "{alive} alive");
            if kind == WorkloadKind::Stateful {
                let mut numbers: Vec<_> = world.instances.iter().map(|i| i.index).collect();
                numbers.sort_unstable();
                prop_assert!(numbers.windows(2).all(|w| w[0] != w[1]), "{numbers:?}");
            }
            world.happen(what, pick);
        }
        // When things stop going wrong it ends, with exactly what is wanted.
        for _ in 0..200 {
            let next = plan(&wanted, &world.instances);
            if next.settled && world.instances.iter().all(|i| !i.stopping) {
                break;
            }
            world.carry_out(&next);
            world.happen(0, 0);
            world.happen(4, 0);
        }
        prop_assert!(plan(&wanted, &world.instances).settled, "{world:?}");
        prop_assert_eq!(world.instances.len(), usize::try_from(count).unwrap());
        prop_assert!(world.instances.iter().all(|i| i.current && i.available));
    }
}

#[test]
fn a_budget_holds_what_an_emptied_node_would_lose() {
    let displaced = |n| Instance { displaced: true, ..instance(n, true, true) };
    let stateful = |keep| Wanted { kind: WorkloadKind::Stateful, keep, ..wanted(2, 0, 1) };
    let standing = [instance(0, true, true), displaced(1)];
    let without = plan(&stateful(None), &standing);
    assert_eq!((without.actions, without.held), (vec![stop(1)], 0));
    let held = plan(&stateful(Some(2)), &standing);
    assert_eq!((held.actions, held.held, held.settled), (vec![], 1, false));
    // With one more beside them the budget is kept, whoever goes.
    let surged = [instance(0, true, true), displaced(1), instance(2, true, true)];
    assert_eq!(plan(&Wanted { keep: Some(2), ..wanted(2, 1, 0) }, &surged).actions, [stop(1)]);
}

#[test]
fn what_goes_on_elsewhere_is_kept_until_its_successor_is_ready() {
    gantry_testkit::clause("6.3.3.x");
    let before = Instance { displaced: true, ..instance(1, true, true) };
    let successor = |available| Instance { index: before.index, ..instance(2, true, available) };
    for of in [Wanted { kind: WorkloadKind::Stateful, ..wanted(1, 0, 1) }, wanted(1, 1, 0), wanted(1, 0, 1)] {
        assert_eq!(plan(&of, &[before, successor(false)]).actions, [], "{of:?}");
        assert_eq!(plan(&of, &[before, successor(true)]).actions, [stop(1)], "{of:?}");
    }
    let of = Wanted { kind: WorkloadKind::Stateful, ..wanted(0, 0, 1) };
    assert_eq!(plan(&of, &[before, successor(false)]).actions.len(), 2, "what is stopped waits for nobody");
}
