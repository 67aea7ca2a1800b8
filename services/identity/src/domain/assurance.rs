//! How sure we are of a person, from the methods that were used (`amr`, RFC 8176), and what a request asks for (`acr`).

/// Ordered: a greater one does for a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One factor.
    One,
    /// Two different factors.
    Two,
    /// A passkey that checked its holder: no page that looks like ours can fish for it.
    Phishproof,
}

/// Names that requests and tokens use. The last one is of OpenID Connect EAP ACR Values 1.0.
pub const NAMES: [(&str, Level); 3] = [("1", Level::One), ("2", Level::Two), ("phr", Level::Phishproof)];

impl Level {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, level)| *level == self).map_or("1", |(name, _)| name)
    }

    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }
}

/// The level that the methods of a session reach. `amr`: separated by spaces.
pub fn level(amr: &str) -> Level {
    let has = |method: &str| amr.split_ascii_whitespace().any(|m| m == method);
    match (has("hwk") || has("swk"), has("mfa")) {
        (true, true) => Level::Phishproof,
        (false, true) => Level::Two,
        (_, false) => Level::One,
    }
}

/// The least level that `acr_values` is content with; `None` when it names none that we know.
pub fn asked(acr_values: &str) -> Option<Level> {
    acr_values.split_ascii_whitespace().filter_map(Level::named).min()
}

/// The methods of a first and a second step together.
pub fn with_second(first: &str, second: &str) -> String {
    let mut all: Vec<&str> = first.split_ascii_whitespace().filter(|m| *m != "mfa").collect();
    if !all.contains(&second) {
        all.push(second);
    }
    all.push("mfa");
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_from_the_methods() {
        assert_eq!(level("pwd"), Level::One);
        assert_eq!(level(&with_second("pwd", "otp")), Level::Two);
        assert_eq!(level(&with_second("pwd", "hwk")), Level::Phishproof);
        assert_eq!(level("hwk user mfa"), Level::Phishproof);
        assert_eq!(level("hwk"), Level::One, "a key that did not check its holder is one factor");
        assert_eq!(with_second("pwd otp mfa", "otp"), "pwd otp mfa");
    }

    #[test]
    fn a_request_is_content_with_the_least_it_names() {
        assert_eq!(asked("phr 2"), Some(Level::Two));
        assert_eq!(asked("phr"), Some(Level::Phishproof));
        assert_eq!(asked("urn:other"), None);
        for (name, level) in NAMES {
            assert_eq!((Level::named(name), level.name()), (Some(level), name));
        }
    }
}
