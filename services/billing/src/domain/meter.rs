//! Which meters there are, and the unit each is billed in.

use rust_decimal::Decimal;

use super::amounts::Amounts;

/// A meter as samples carry it and as bills show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Name on samples.
    pub sample: &'static str,
    /// Name on price plans and bills.
    pub billed: &'static str,
    /// How many sample units make one billed unit.
    pub per: u32,
}

/// Billing by use.
pub const METERS: [Meter; 6] = [
    Meter { sample: "cpu_core_seconds", billed: "cpu_core_hours", per: 3_600 },
    Meter { sample: "memory_gib_seconds", billed: "memory_gib_hours", per: 3_600 },
    Meter { sample: "storage_gib_seconds", billed: "storage_gib_hours", per: 3_600 },
    Meter { sample: "container_seconds", billed: "container_hours", per: 3_600 },
    Meter { sample: "build_seconds", billed: "build_minutes", per: 60 },
    Meter { sample: "requests", billed: "requests", per: 1 },
];

/// Billing by time: what was reserved times how long, used or not (clause 6.5.4.2).
pub const RESERVED: [&str; 4] = ["reserved_cpu_core_hours", "reserved_memory_gib_hours", "reserved_storage_gib_hours", "reserved_container_hours"];

/// The name on the bill of a sample's meter. A meter this program does not know is billed under its own name.
pub fn billed_name(sample: &str) -> &str {
    METERS.iter().find(|m| m.sample == sample).map_or(sample, |m| m.billed)
}

/// A sampled amount in billed units.
pub fn billed_amount(sample: &str, amount: Decimal) -> Decimal {
    METERS.iter().find(|m| m.sample == sample).map_or(amount, |m| amount / Decimal::from(m.per))
}

/// Whether a price plan may name it.
pub fn is_priceable(billed: &str) -> bool {
    RESERVED.contains(&billed) || METERS.iter().any(|m| m.billed == billed) || (is_name(billed) && !METERS.iter().any(|m| m.sample == billed))
}

/// 1 to 64 of a-z, 0-9, `_`, starting with a letter.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `amounts` held for `seconds`, per meter of [`RESERVED`], in billed units.
pub fn reserved(amounts: &Amounts, seconds: Decimal) -> [(&'static str, Decimal); 4] {
    let hours = seconds / Decimal::from(3_600);
    let gib = Decimal::from(1_u64 << 30);
    [
        (RESERVED[0], Decimal::from(amounts.cpu_millis) / Decimal::from(1_000) * hours),
        (RESERVED[1], Decimal::from(amounts.memory_bytes) / gib * hours),
        (RESERVED[2], Decimal::from(amounts.storage_bytes) / gib * hours),
        (RESERVED[3], Decimal::from(amounts.containers) * hours),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_reserved_for_half_an_hour_are_one_core_hour() {
        let amounts = Amounts { cpu_millis: 2_000, memory_bytes: 1 << 31, storage_bytes: 0, containers: 4 };
        let lines = reserved(&amounts, Decimal::from(1_800));
        assert_eq!(lines.map(|(_, q)| q), [Decimal::ONE, Decimal::ONE, Decimal::ZERO, Decimal::TWO]);
    }

    #[test]
    fn seconds_become_hours_on_the_bill() {
        assert_eq!(billed_name("cpu_core_seconds"), "cpu_core_hours");
        assert_eq!(billed_amount("cpu_core_seconds", Decimal::from(7_200)), Decimal::TWO);
        assert_eq!(billed_name("gpu_things"), "gpu_things");
        assert!(!is_priceable("cpu_core_seconds"), "a price per second and one per hour would contradict each other");
    }
}
