//! Whether an image is for the machine it says: the architecture of its config beside those of its programs.

use std::collections::BTreeMap;

/// Architectures whose machines run the programs of another, too.
const ALSO_RUN: [(&str, &str); 2] = [("amd64", "386"), ("arm64", "arm")];

/// What does not fit, in words; none when it fits, or when there is nothing to compare.
pub fn mismatch(said: &str, machines: &BTreeMap<String, u32>) -> Option<String> {
    let runs = |machine: &str| machine == said || ALSO_RUN.contains(&(said, machine));
    let total: u32 = machines.values().sum();
    let fits: u32 = machines.iter().filter(|(m, _)| runs(m)).map(|(_, n)| n).sum();
    // A few foreign programs are tools and test data; an image of them is a mistake.
    if said.is_empty() || total == 0 || fits * 2 >= total {
        return None;
    }
    let (most, count) = machines.iter().filter(|(m, _)| !runs(m)).max_by_key(|(_, n)| **n)?;
    Some(format!("but {count} of its {total} programs are for {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_foreign_programs_is_said_so() {
        let machines = |all: &[(&str, u32)]| all.iter().map(|(m, n)| ((*m).to_owned(), *n)).collect::<BTreeMap<_, _>>();
        assert_eq!(mismatch("amd64", &machines(&[("arm64", 3)])).as_deref(), Some("but 3 of its 3 programs are for arm64"));
        assert_eq!(mismatch("amd64", &machines(&[("amd64", 50), ("arm64", 2)])), None);
        assert_eq!(mismatch("amd64", &machines(&[("386", 5)])), None);
        assert_eq!(mismatch("amd64", &BTreeMap::new()), None);
        assert_eq!(mismatch("", &machines(&[("arm64", 3)])), None);
    }
}
