//! What an instance writes on the node's disk besides volumes, and whether it is more than it may: as the kubelet has it, a container by its own
//! limit, the instance by the sum of its containers' limits with its scratch space, and scratch space by its size.

use std::collections::BTreeMap;

use gantry_contract::proto::scheduler::WantedInstance;

use super::wanted::staying;

/// In bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Into each container's own layer, by its name; that of the main one is empty.
    pub layers: BTreeMap<String, u64>,
    /// Into scratch space, by its folder.
    pub scratch: BTreeMap<String, u64>,
}

/// The folder of a scratch space below the instance's own. Containers of an instance share it by its name.
pub fn scratch_folder(source: &str) -> String {
    let name: String = source.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("scratch-{name}")
}

/// Whether there is anything to measure.
pub fn is_limited(instance: &WantedInstance) -> bool {
    containers(instance).any(|(_, c)| limit(c) > 0) || sizes(instance).next().is_some()
}

/// Why it is to be ended; nothing if it keeps to its limits.
pub fn excess(instance: &WantedInstance, written: &Written) -> Option<String> {
    let over = |what: &str, used: u64, limit: u64| {
        (limit > 0 && used > limit).then(|| format!("evicted: {what} has written {} to the node's disk, its limit is {}", amount(used), amount(limit)))
    };
    let spaces = sizes(instance).find_map(|(source, size)| {
        let used = written.scratch.get(&scratch_folder(source)).copied().unwrap_or(0);
        (used > size).then(|| format!("evicted: scratch space `{source}` holds {}, its size is {}", amount(used), amount(size)))
    });
    let own = containers(instance).find_map(|(name, container)| {
        let what = if name.is_empty() { "its container".to_owned() } else { format!("container {name}") };
        over(&what, written.layers.get(name).copied().unwrap_or(0), limit(container))
    });
    let all = written.layers.values().chain(written.scratch.values()).fold(0, |sum: u64, n| sum.saturating_add(*n));
    // Init containers that have ended have nothing left to write, so their limits give the others no room.
    let whole = std::iter::once(instance).chain(staying(instance)).fold(0, |sum: u64, c| sum.saturating_add(limit(c)));
    spaces.or(own).or_else(|| over("it", all, whole))
}

/// With the name by which each is told apart.
fn containers(instance: &WantedInstance) -> impl Iterator<Item = (&str, &WantedInstance)> {
    std::iter::once(("", instance)).chain(instance.init.iter().chain(&instance.sidecars).map(|c| (c.name.as_str(), c)))
}

/// Scratch spaces with a size.
fn sizes(instance: &WantedInstance) -> impl Iterator<Item = (&str, u64)> {
    let mounts = containers(instance).flat_map(|(_, c)| &c.mounts);
    mounts.filter(|m| m.kind == "scratch" && m.size_bytes > 0).map(|m| (m.source.as_str(), m.size_bytes))
}

fn limit(container: &WantedInstance) -> u64 {
    container.limits.unwrap_or_default().storage_bytes
}

/// `1.5 GiB`: tenths, cut off.
fn amount(bytes: u64) -> String {
    let (unit, name) = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")].into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((1, "bytes"));
    let tenths = bytes % unit * 10 / unit;
    if tenths == 0 { format!("{} {name}", bytes / unit) } else { format!("{}.{tenths} {name}", bytes / unit) }
}

#[cfg(test)]
mod tests {
    use gantry_contract::proto::scheduler as wire;

    use super::*;

    fn with(limit: u64) -> WantedInstance {
        WantedInstance { limits: Some(wire::Resources { storage_bytes: limit, ..Default::default() }), ..Default::default() }
    }

    fn written(layers: &[(&str, u64)], scratch: &[(&str, u64)]) -> Written {
        let all = |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Written { layers: all(layers), scratch: all(scratch) }
    }

    #[test]
    fn without_limits_nothing_is_too_much() {
        assert!(!is_limited(&WantedInstance::default()));
        assert_eq!(excess(&WantedInstance::default(), &written(&[("", u64::MAX)], &[("scratch-a", u64::MAX)])), None);
    }

    #[test]
    fn a_container_is_held_against_its_own_limit() {
        let log = WantedInstance { name: "log".into(), ..with(1 << 20) };
        let pod = WantedInstance { sidecars: vec![log], ..with(10 << 20) };
        assert!(is_limited(&pod));
        assert_eq!(excess(&pod, &written(&[("", 10 << 20), ("log", 1 << 20)], &[])), None, "the limit itself is allowed");
        let said = excess(&pod, &written(&[("", 0), ("log", 3 << 19)], &[])).unwrap();
        assert_eq!(said, "evicted: container log has written 1.5 MiB to the node's disk, its limit is 1 MiB");
        assert!(excess(&pod, &written(&[("", (10 << 20) + 1)], &[])).unwrap().contains("its container has written 10 MiB"));
    }

    #[test]
    fn scratch_space_counts_for_the_whole_and_has_a_size_of_its_own() {
        let mount = |size_bytes| wire::Mount { kind: "scratch".into(), source: "w_rk".into(), target: "/work".into(), size_bytes, ..Default::default() };
        let whole = WantedInstance { mounts: vec![mount(0)], ..with(10 << 20) };
        assert!(excess(&whole, &written(&[("", 4 << 20)], &[("scratch-wrk", 7 << 20)])).unwrap().starts_with("evicted: it has written 11 MiB"));
        let sized = WantedInstance { mounts: vec![mount(1 << 10)], ..Default::default() };
        assert!(is_limited(&sized));
        assert_eq!(excess(&sized, &written(&[("", 1 << 30)], &[("scratch-wrk", 1 << 10)])), None);
        assert!(excess(&sized, &written(&[], &[("scratch-wrk", 2000)])).unwrap().contains("scratch space `w_rk` holds 1.9 KiB, its size is 1 KiB"));
    }

    #[test]
    fn what_ended_before_the_main_container_gives_it_no_room() {
        let init = WantedInstance { name: "fetch".into(), ..with(100 << 20) };
        let pod = WantedInstance { init: vec![init], mounts: Vec::new(), ..with(1 << 20) };
        assert!(excess(&pod, &written(&[("", 1 << 19)], &[("scratch-a", 1 << 20)])).is_some());
    }
}
