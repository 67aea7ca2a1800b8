//! Amounts of what a node has and an instance asks for, and the whole units in which the planner counts them.

/// What is counted on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Cpu,
    Memory,
    Storage,
    Pids,
    Bandwidth,
    Instances,
}

pub(crate) const KINDS: usize = 6;
pub(crate) const ALL: [Resource; KINDS] = [Resource::Cpu, Resource::Memory, Resource::Storage, Resource::Pids, Resource::Bandwidth, Resource::Instances];

/// As a node's amount: not counted there.
pub const UNLIMITED: u64 = u64::MAX;

/// More than any real node has, and far enough from the end of `i32` that a difference of two never overflows.
pub(crate) const MOST: i64 = 1 << 30;

impl Resource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Pids => "pids",
            Self::Bandwidth => "bandwidth",
            Self::Instances => "instances",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "millicores",
            Self::Memory | Self::Storage => "bytes",
            Self::Pids => "processes",
            Self::Bandwidth => "kbit/s",
            Self::Instances => "instances",
        }
    }

    /// How much of the public amount one unit of the planner is: 64 KiB of memory, 1 MiB of storage. So 32 bits reach for a
    /// node of 64 TiB of memory and 1 PiB of storage, and twice as many nodes are compared at once.
    pub(crate) fn grain(self) -> u64 {
        match self {
            Self::Memory => 64 << 10,
            Self::Storage => 1 << 20,
            Self::Cpu | Self::Pids | Self::Bandwidth | Self::Instances => 1,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub storage_bytes: u64,
    pub pids: u64,
    pub bandwidth_kbps: u64,
    /// Of a node: how many instances it may have. Of an instance: 1, whatever is said.
    pub instances: u64,
}

impl Amounts {
    pub fn of(&self, kind: Resource) -> u64 {
        match kind {
            Resource::Cpu => self.cpu_millis,
            Resource::Memory => self.memory_bytes,
            Resource::Storage => self.storage_bytes,
            Resource::Pids => self.pids,
            Resource::Bandwidth => self.bandwidth_kbps,
            Resource::Instances => self.instances,
        }
    }

    /// Rounded up: never less than what is asked.
    pub(crate) fn asked(&self) -> [i64; KINDS] {
        let mut units = ALL.map(|kind| i64::try_from(self.of(kind).div_ceil(kind.grain())).unwrap_or(MOST).min(MOST));
        units[Resource::Instances as usize] = 1;
        units
    }

    /// Rounded up, and nothing added.
    pub(crate) fn units(&self) -> [i64; KINDS] {
        ALL.map(|kind| i64::try_from(self.of(kind).div_ceil(kind.grain())).unwrap_or(MOST).min(MOST))
    }

    /// Rounded down, after overcommitment in percent: never more than there may be.
    pub(crate) fn limit(&self, overcommit_percent: &Self) -> [i64; KINDS] {
        ALL.map(|kind| match (self.of(kind), overcommit_percent.of(kind)) {
            (UNLIMITED, _) => MOST,
            (amount, percent) => {
                let wide = u128::from(amount) * u128::from(percent) / 100 / u128::from(kind.grain());
                i64::try_from(wide).unwrap_or(MOST).min(MOST)
            }
        })
    }

    /// 100 percent of everything: no overcommitment.
    pub fn plain_percent() -> Self {
        Self { cpu_millis: 100, memory_bytes: 100, storage_bytes: 100, pids: 100, bandwidth_kbps: 100, instances: 100 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_rounds_up_and_having_rounds_down() {
        let amounts = Amounts { memory_bytes: (64 << 10) + 1, storage_bytes: 1, ..Amounts::default() };
        assert_eq!(amounts.asked(), [0, 2, 1, 0, 0, 1]);
        assert_eq!(amounts.limit(&Amounts::plain_percent()), [0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn overcommitment_widens_and_unlimited_stays_so() {
        let has = Amounts { cpu_millis: 1000, pids: UNLIMITED, ..Amounts::default() };
        let limit = has.limit(&Amounts { cpu_millis: 250, ..Amounts::plain_percent() });
        assert_eq!((limit[0], limit[3]), (2500, MOST));
    }
}
